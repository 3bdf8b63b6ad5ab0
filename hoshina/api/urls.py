"""Define the addresses of the API. Django imports this module, and django-ninja with it, at the first request."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from hoshina.api.docs_page import docs
from hoshina.api.guard import USUAL_BODY, guarded
from hoshina.api.openapi import openapi
from hoshina.api.rest import ROUTERS, api
from hoshina.core.problems import problem
from hoshina.core.roles import SAFE_METHODS, Role

app_name = "api"


def nowhere(request: HttpRequest, path: str) -> HttpResponse:
    """Answer for an address that does not exist."""
    hint = "The addresses are listed at /api/docs. None ends in a slash."
    return problem(404, f"There is nothing at {request.path[:200]}.", hint=hint)


def _endpoints() -> list[URLPattern]:
    """Return the addresses of the endpoints, one for all methods, with the roles that their functions declare."""
    views: dict[str, list[Any]] = {}
    for router in ROUTERS:
        for methods in router.path_operations.values():
            for operation in methods.operations:
                views.setdefault(operation.url_name, []).append(operation)
    patterns = {}
    for pattern in api.urls[0]:
        if isinstance(pattern, URLPattern) and pattern.name in views and pattern.name not in patterns:
            operations = views[pattern.name]
            most = max(getattr(operation.view_func, "body_limit", USUAL_BODY) for operation in operations)
            view = guarded(pattern.callback, _roles(operations), most)
            patterns[pattern.name] = URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)
    return list(patterns.values())


def _roles(operations: list[Any]) -> tuple[Role, Role]:
    look, change = Role.LABELER, Role.MANAGER
    for operation in operations:
        to_look, to_change = getattr(operation.view_func, "roles", (Role.LABELER, Role.MANAGER))
        if set(operation.methods) <= SAFE_METHODS:
            look = to_look
        else:
            change = to_change
    return look, change


urlpatterns = [
    path("openapi.json", openapi, name="openapi"),
    path("docs", docs, name="docs"),
    *_endpoints(),
    path("v1/<path:path>", guarded(nowhere, (Role.LABELER, Role.LABELER)), name="nowhere"),
]
