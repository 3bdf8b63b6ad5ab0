"""Answer programs with problems in the format of RFC 9457: JSON with type, title, status, detail, and our hint."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from hoshina.core.errors import Refusal

CONTENT_TYPE = "application/problem+json"
API = "/api/v1/"
OPENAPI = "/api/openapi.json"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="HOSHINA"'}
SIGN_IN_HINT = (
    "Send a token in the header Authorization: Bearer. People create tokens on the page Account; the command "
    "hoshina api_token prints one."
)


def is_for_programs(request: HttpRequest) -> bool:
    """Return whether the address is one of the API, whose errors programs read."""
    return request.path_info.startswith(API) or request.path_info == OPENAPI


def problem(
    status: int,
    detail: str,
    *,
    hint: str = "",
    field: str = "",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> HttpResponse:
    """Return a problem: what happened (``detail``), what to do (``hint``), and the field at fault, if there is one."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body |= {"detail": detail} | ({"hint": hint} if hint else {}) | ({"field": field} if field else {}) | more
    content = json.dumps(body, ensure_ascii=False, default=str)
    response = HttpResponse(content, status=status, content_type=CONTENT_TYPE, headers=headers)
    response["Cache-Control"] = "no-store"
    return response


def not_signed_in(detail: str = "This needs a token or a session.") -> HttpResponse:
    """Return status 401, with how to get in."""
    return problem(401, detail, hint=SIGN_IN_HINT, headers=CHALLENGE)


def of_refusal(refusal: Refusal, status: int) -> HttpResponse:
    """Return the problem that a refusal describes."""
    return problem(status, refusal.message, hint=refusal.hint, field=refusal.field)
