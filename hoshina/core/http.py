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
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django_htmx.middleware import HtmxDetails

# Served to anyone without creating a session, because machines request them.
_WITHOUT_SESSION = ("/healthz", "/static/")
HOLDER_CHARS = 40


class HtmxHttpRequest(HttpRequest):
    """A request of a signed-in person, with what django-htmx adds."""

    htmx: HtmxDetails
    user: User


def local_user() -> User:
    """Return the user of this machine, who need not sign in and has all permissions."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        name = "local"
    user, _ = get_user_model().objects.get_or_create(
        username=name, defaults={"is_staff": True, "is_superuser": True, "password": "!"}
    )
    return user


def local_user_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Sign in requests from this machine as its user, unless AL_LOGIN is set."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if (
            not settings.LOGIN_REQUIRED
            and not request.path.startswith(_WITHOUT_SESSION)
            and not request.user.is_authenticated
        ):
            login(request, local_user(), backend="django.contrib.auth.backends.ModelBackend")
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


class SignInMiddleware(LoginRequiredMiddleware):
    """Middleware that redirects people who are not signed in; fragments and scripts get status 401 instead."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        refusal = super().process_view(request, view_func, view_args, view_kwargs)
        is_page = request.method in {"GET", "HEAD"} and not request.headers.get("HX-Request")
        if refusal is None or is_page:
            return refusal
        return HttpResponse("Please sign in.", status=401, headers={"HX-Redirect": reverse(settings.LOGIN_URL)})


def holder(request: HttpRequest) -> str:
    """Return a name for this browser, under which its actions can be undone: a hash of the session's key.

    With the key itself, anyone who reads the database or a backup could take over the session.
    """
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
