"""Let programs in by their tokens, before anything looks for a session."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from hoshina.api import tokens
from hoshina.api.models import Token
from hoshina.core.problems import not_signed_in, problem
from hoshina.core.roles import SAFE_METHODS

# The addresses that take tokens: the API, and pictures.
ADDRESSES = "/api/"
_SCHEME = "bearer "


def bearer_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Make a request with a token one of the token's person. A token that is not valid is refused, also with a session.

    Such a request needs no CSRF token: no other site can make a browser send the header.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        authorization = request.headers.get("Authorization", "")
        if not authorization or not request.path_info.startswith(ADDRESSES):
            return get_response(request)
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return not_signed_in("The header Authorization is not of the kind Bearer.")
        token = tokens.find(authorization[len(_SCHEME) :].strip())
        if token is None:
            return not_signed_in("The token is not valid: it expired, was revoked, or never existed.")
        if token.scope == Token.Scope.READ and request.method not in SAFE_METHODS:
            hint = "Create a token with the scope “Read and write”."
            return problem(403, "This token may only read.", hint=hint)
        request.user = token.user
        request.bearer = str(token.pk)  # type: ignore[attr-defined]
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        return get_response(request)

    return middleware
