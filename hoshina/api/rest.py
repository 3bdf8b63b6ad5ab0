"""Assemble the API from its endpoints, and answer what goes wrong as problems (RFC 9457)."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from hoshina.api.endpoints import datasets, decisions, external, history, items, jobs, models, queues, transfer
from hoshina.core.errors import Refusal
from hoshina.core.logs import request_id
from hoshina.core.problems import of_refusal, problem
from sampling.queues.strategy import BadParameter

log = logging.getLogger(__name__)

DESCRIPTION = (
    "Everything that pages and commands do with datasets, for programs. Send a token as `Authorization: Bearer`, which "
    "people create on the page Account. Errors are problems of RFC 9457 with a hint on what to do."
)
ROUTERS = [module.router for module in (datasets, items, history, queues, decisions, jobs, models, transfer, external)]
_LONGEST_MESSAGE = 500


class _Encoder(NinjaJSONEncoder):
    """Write times with microseconds: a client sends them back to continue a list."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if isinstance(o, datetime) else super().default(o)


class _Renderer(JSONRenderer):
    encoder_class = _Encoder


api = NinjaAPI(
    title="HOSHINA", version="1", description=DESCRIPTION, docs_url=None, openapi_url=None, renderer=_Renderer()
)  # fmt: skip
for _router in ROUTERS:
    api.add_router("/v1", _router)


def refused(request: HttpRequest, refusal: Any) -> HttpResponse:
    """Answer 422 if an option or a field is at fault, and 409 if the state of the dataset is."""
    return of_refusal(refusal, 422 if refusal.field or isinstance(refusal, BadParameter) else 409)


def invalid(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer 422 with every invalid parameter; the first one is the detail."""
    errors = [
        {"field": ".".join(map(str, _place(found["loc"]))), "message": str(found["msg"])[:_LONGEST_MESSAGE]}
        for found in error.errors
    ]
    first = errors[0]
    hint = "The documentation of this address is at /api/docs."
    return problem(
        422, f"{first['field'] or 'body'}: {first['message']}", hint=hint, field=first["field"], errors=errors
    )


def _place(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return where an invalid value is, without the part of the request and the name of the function's parameter."""
    inside = place[1:]
    return inside[1:] if place[:1] in (("body",), ("form",)) and len(inside) > 1 else inside


def not_found(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(404, str(error) or "There is nothing at this address.")


def forbidden(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(403, str(error) or "You may not do this.")


def too_large(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(413, "The body is too large.", hint="Send it in several requests.")


def malformed(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(400, str(error)[:_LONGEST_MESSAGE] or "The request is malformed.")


def http_error(request: HttpRequest, error: Any) -> HttpResponse:
    return problem(error.status_code, str(error)[:_LONGEST_MESSAGE])


def failed(request: HttpRequest, error: Any) -> HttpResponse:
    """Answer 500 without details, which are in the log under the id of the request."""
    log.exception("%s %s failed.", request.method, request.path, exc_info=error)
    identity = request_id.get()
    hint = f"This is a bug. The log has the details under {identity}." if identity else "This is a bug; see the log."
    return problem(500, "The server failed to answer.", hint=hint)


_HANDLERS: dict[type[Exception], Any] = {
    Exception: failed,
    HttpError: http_error,
    ValidationError: invalid,
    Http404: not_found,
    PermissionDenied: forbidden,
    BadRequest: malformed,
    SuspiciousOperation: malformed,
    RequestDataTooBig: too_large,
    Refusal: refused,
}
for _error, _handler in _HANDLERS.items():
    api.add_exception_handler(_error, _handler)
