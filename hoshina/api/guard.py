"""Guard the endpoints: how often a client asks, how large a body is, and what a client reads if something fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hoshina.api.rate_limit import seconds_to_wait
from hoshina.core.http import holder
from hoshina.core.problems import CONTENT_TYPE, problem
from hoshina.core.roles import Role

# Of endpoints that declare no other limit.
USUAL_BODY = 1024 * 1024
_View = TypeVar("_View", bound=Callable[..., Any])


def body_limit(n_bytes: int) -> Callable[[_View], _View]:
    """Declare how large the body of a request to an endpoint may be."""

    def decorate(view: _View) -> _View:
        view.body_limit = n_bytes  # type: ignore[attr-defined]
        return view

    return decorate


def guarded(
    view: Callable[..., HttpResponseBase], roles: tuple[Role, Role], most: int = USUAL_BODY
) -> Callable[..., HttpResponseBase]:
    """Return the view of an endpoint with its roles (to look, to change) and limits.

    Unlike django-ninja's, it is not exempt from the check of CSRF tokens, which requests with a session need.
    """

    def respond(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        if wait := seconds_to_wait(holder(request)):
            hint = f"Wait {wait} s. The setting AL_API_RATE is the number of requests in a minute."
            return problem(429, "Too many requests.", hint=hint, headers={"Retry-After": str(wait)})
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > most:
            hint = f"Send at most {most:,} bytes: in several requests, or with a command."
            return problem(413, f"The body has {int(length):,} bytes.", hint=hint)
        return _answered(request, view(request, **kwargs))

    respond.roles = roles  # type: ignore[attr-defined]
    return respond


def _answered(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code == 405 and not response.headers["Content-Type"].startswith(CONTENT_TYPE):
        allowed = response.headers["Allow"]
        return problem(405, f"This address takes {allowed}, not {request.method}.", headers={"Allow": allowed})
    if response.status_code == 202:
        response.headers.setdefault("Retry-After", "1")
    response.headers.setdefault("Cache-Control", "no-store")
    return response
