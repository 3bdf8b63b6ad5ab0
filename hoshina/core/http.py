"""Provide what every request shares: its type, the signed-in person, and the names of browser and window."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseForbidden,
    StreamingHttpResponse,
)
from django.urls import reverse
from django.views.csrf import csrf_failure as django_csrf_failure
from django_htmx.middleware import HtmxDetails

from hoshina.core import problems, roles

# Served to anyone without creating a session, because machines request them.
_WITHOUT_SESSION = ("/healthz", "/static/")
_NO_PAGES = ("/api/", "/media/")
API_DOCS = "/api/docs"
HOLDER_CHARS = 40
# Sessions name the backend of their account.
PASSWORD_BACKEND = "django.contrib.auth.backends.ModelBackend"  # noqa: S105 - a dotted path, not a password


class HtmxHttpRequest(HttpRequest):
    """Represent a request of a signed-in person, with what django-htmx adds.

    ``bearer``: names the token of a program that made the request in place of a browser (:mod:`hoshina.api.bearer`).
    """

    htmx: HtmxDetails
    user: User
    bearer: str


def local_user() -> User:
    """Return the user of this machine, who needs no password and has all permissions."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        name = "local"
    user, _ = get_user_model().objects.get_or_create(
        username=name, defaults={"is_staff": True, "is_superuser": True, "password": "!"}
    )
    return user


def local_user_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Sign every request in as the user of this machine if neither AL_LOGIN nor AL_TOKEN asks for a sign-in."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if (
            not settings.LOGIN_REQUIRED
            and not settings.TOKEN_REQUIRED
            and not request.path.startswith(_WITHOUT_SESSION)
            and not request.user.is_authenticated
        ):
            login(request, local_user(), backend=PASSWORD_BACKEND)
        return get_response(request)

    return middleware


def head_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Send no body with responses to HEAD, which the web server leaves to the application.

    A client would take the body for the beginning of the connection's next response.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if request.method != "HEAD":
            return response
        if isinstance(response, StreamingHttpResponse):
            if isinstance(response, FileResponse) and response.file_to_stream is not None:
                response.file_to_stream.close()
                response.file_to_stream = None
            response.streaming_content = ()
        elif isinstance(response, HttpResponse):
            response.headers.setdefault("Content-Length", str(len(response.content)))
            response.content = b""
        return response

    return middleware


class AccessMiddleware(LoginRequiredMiddleware):
    """Middleware that lets people open what their role allows, once they are signed in.

    Without a session, pages redirect to the sign-in page, and fragments, scripts and pictures get status 401. Without
    the role (:mod:`hoshina.core.roles`), both get status 403 with the reason.
    """

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        refusal = super().process_view(request, view_func, view_args, view_kwargs)
        if refusal is not None:
            if _is_page(request):
                return refusal
            if problems.is_for_programs(request):
                return problems.not_signed_in()
            return HttpResponse("Please sign in.", status=401, headers={"HX-Redirect": reverse(settings.LOGIN_URL)})
        if not getattr(view_func, "login_required", True):
            return None
        role = roles.role_for(view_func, request.method or "")
        if roles.may(request.user, role):
            return None
        if _is_page(request):
            raise PermissionDenied(role.refusal)
        if problems.is_for_programs(request):
            return problems.problem(403, role.refusal)
        return HttpResponseForbidden(role.refusal, content_type="text/plain")


def _is_page(request: HttpRequest) -> bool:
    """Return whether a browser would show the response as a page: not a fragment, a picture or what a script gets."""
    is_no_page = request.path.startswith(_NO_PAGES) and request.path != API_DOCS
    is_fragment = request.headers.get("HX-Request") or is_no_page
    return request.method in {"GET", "HEAD"} and not is_fragment


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Refuse a request without a valid CSRF token: as a problem to programs, as Django's page otherwise."""
    if problems.is_for_programs(request):
        hint = "Send the cookie csrftoken also as the header X-CSRFToken, or use a token instead of a session."
        return problems.problem(403, f"The request was refused: {reason}", hint=hint)
    return django_csrf_failure(request, reason=reason)


def client_address(request: HttpRequest) -> str:
    """Return the address of the client: behind a proxy, that which the proxy saw."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.BEHIND_HTTPS else ""
    return str(forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", ""))


def holder(request: HttpRequest) -> str:
    """Return a name for this browser, under which its actions can be undone: a hash of the session's key.

    With the key itself, anyone who reads the database or a backup could take over the session. A program is known by
    its token.
    """
    if bearer := getattr(request, "bearer", ""):
        return hashlib.sha256(f"token/{bearer}".encode()).hexdigest()[:HOLDER_CHARS]
    if request.session.session_key is None:
        request.session.create()
    return hashlib.sha256(str(request.session.session_key).encode()).hexdigest()[:HOLDER_CHARS]


def window(request: HttpRequest) -> str:
    """Return a name for one window of this browser, to which items are leased.

    The page generates the name when it is loaded (``window`` in the address or the form). Without one, the whole
    browser counts as one window.
    """
    name = request.GET.get("window") or request.POST.get("window") or ""
    browser = holder(request)
    return hashlib.sha256(f"{browser}/{name}".encode()).hexdigest()[:HOLDER_CHARS] if name else browser
