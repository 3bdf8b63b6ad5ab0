"""Describe the API in the format OpenAPI 3.1."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from pydantic import BaseModel, ConfigDict, Field

from hoshina.api.rest import api
from hoshina.core.problems import CONTENT_TYPE
from hoshina.core.roles import Role, requires

_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of the page Account."},
}
# Reasons that any request may have.
_PROBLEM = {
    "description": "What went wrong, and what to do about it.",
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class Problem(BaseModel):
    """Represent a problem (RFC 9457).

    `errors` lists all invalid values; decisions add `results`, `conflicts` and `counts`.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="What happened.")
    hint: str = Field("", description="What to do about it.")
    field: str = Field("", description="The parameter at fault.")


@cache
def schema() -> dict[str, Any]:
    """Return the description of all endpoints."""
    described: dict[str, Any] = dict(api.get_openapi_schema(path_prefix="/api/"))
    described["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    described["components"]["securitySchemes"] = _SECURITY
    described["security"] = [{"token": []}]
    described["servers"] = [{"url": "/"}]
    for methods in described["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = _PROBLEM
            # The name of the function, without that of its module.
            operation["operationId"] = operation["operationId"].rpartition("endpoints_")[2].partition("_")[2]
    return described


@requires(Role.LABELER)
@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """Return the description as JSON, for generators of clients and other tools."""
    return JsonResponse(schema(), headers={"Cache-Control": "no-store"})
