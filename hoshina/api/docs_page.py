"""Show the documentation of the API as a page: every endpoint with its parameters and an example for curl."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from hoshina.api.openapi import schema
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires

_PATH_VALUES = {"slug": "galaxies", "item_id": "17", "name": "uncertain", "number": "3", "pk": "JOB"}
_EXAMPLES: dict[str, Any] = {
    "add_class": {"name": "spiral"},
    "change_class": {"name": "barred spiral", "key": "b"},
    "pull_queue": {"n": 20},
    "start_job": {"kind": "retrain"},
    "annotate": {
        "actions": [
            {
                "uuid": "6f0c3c0e-6b6e-4b39-9a0e-0d1c7c1f6a55",
                "kind": "assign",
                "class_name": "spiral",
                "items": [{"id": 17, "seen": 0, "round": 5, "rank": 0}],
            }
        ]
    },
}


@dataclass(frozen=True)
class Parameter:
    """Represent a parameter of an endpoint: of its address, its query, or its body."""

    name: str
    place: str
    type: str
    is_required: bool
    description: str


@dataclass(frozen=True)
class Endpoint:
    """Represent an endpoint as the page shows it."""

    method: str
    path: str
    anchor: str
    tag: str
    summary: str
    description: str
    parameters: list[Parameter]
    returns: list[Parameter]
    curl: str

    def matches(self, terms: list[str]) -> bool:
        """Return whether all terms occur in what the page says about it."""
        names = [name for each in (*self.parameters, *self.returns) for name in (each.name, each.description)]
        text = " ".join([self.method, self.path, self.summary, self.description, *names]).casefold()
        return all(term in text for term in terms)


@requires(Role.LABELER)
@require_safe
def docs(request: HtmxHttpRequest) -> HttpResponse:
    """Show all endpoints, or those that the words of ``q`` occur in; only the list to htmx."""
    text = request.GET.get("q", "")[:200]
    terms = text.casefold().split()
    server = f"{request.scheme}://{request.get_host()}"
    found = [endpoint for endpoint in endpoints(server) if endpoint.matches(terms)]
    by_tag: dict[str, list[Endpoint]] = {}
    for endpoint in found:
        by_tag.setdefault(endpoint.tag, []).append(endpoint)
    context = {"by_tag": list(by_tag.items()), "q": text, "server": server}
    name = "api/_endpoints.html" if request.htmx else "api/docs.html"
    response = render(request, name, context)
    patch_vary_headers(response, ["HX-Request"])
    return response


def endpoints(server: str = "http://127.0.0.1:8000") -> list[Endpoint]:
    """Return all endpoints in the order of the schema."""
    return [
        _endpoint(server, path, method, operation)
        for path, methods in schema()["paths"].items()
        for method, operation in methods.items()
    ]


def _endpoint(server: str, path: str, method: str, operation: Mapping[str, Any]) -> Endpoint:
    parameters = [_of_address(each) for each in operation["parameters"]]
    request_body: Mapping[str, Any] = operation.get("requestBody", {})
    content: dict[str, Any] = request_body.get("content", {})
    kind, body = next(iter(content.items()), ("", dict[str, Any]()))
    parameters += _properties(body.get("schema", {}), "form" if "form" in kind else "body")
    answers = [answer for status, answer in operation["responses"].items() if status != "default"]
    answer = _json_schema(answers[0])
    return Endpoint(
        method=method.upper(),
        path=path,
        anchor=operation["operationId"],
        tag=operation["tags"][0],
        summary=operation["summary"],
        description=operation.get("description", ""),
        parameters=parameters,
        returns=list(_properties(answer.get("items", answer), "")),
        curl=_curl(server, path, method.upper(), operation["operationId"], kind),
    )


def _json_schema(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = answer.get("content", {})
    media: Mapping[str, Any] = content.get("application/json", {})
    found: Mapping[str, Any] = media.get("schema", {})
    return found


def _of_address(parameter: Mapping[str, Any]) -> Parameter:
    found = parameter["schema"]
    description = parameter.get("description") or found.get("description", "")
    return Parameter(parameter["name"], parameter["in"], type_of(found), parameter["required"], description)


def _properties(found: Mapping[str, Any], place: str) -> Iterator[Parameter]:
    resolved = _resolved(found)
    required = resolved.get("required", [])
    for name, value in resolved.get("properties", {}).items():
        description = value.get("description", "")
        yield Parameter(name, place, type_of(value), name in required, description)


def _resolved(found: Mapping[str, Any]) -> Mapping[str, Any]:
    name = found.get("$ref", "").rpartition("/")[2]
    return schema()["components"]["schemas"][name] if name else found


def type_of(found: Mapping[str, Any]) -> str:
    """Describe the type of a value: ``integer``, ``list of string``, ``one of a, b`` …"""
    if "$ref" in found:
        properties = _resolved(found).get("properties", {})
        return f"object ({', '.join(properties)})"
    if "enum" in found:
        return f"one of {', '.join(str(value) for value in found['enum'] if value != '')}"
    if "const" in found:
        return str(found["const"])
    if "anyOf" in found:
        return " or ".join(dict.fromkeys(type_of(each) for each in found["anyOf"]))
    if found.get("type") == "array":
        return f"list of {type_of(found.get('items', {}))}"
    if found.get("format") in ("uuid", "date-time", "binary"):
        return {"uuid": "UUID", "date-time": "time", "binary": "file"}[found["format"]]
    return str(found.get("type", "any"))


def _curl(server: str, path: str, method: str, name: str, kind: str) -> str:
    for parameter, value in _PATH_VALUES.items():
        path = path.replace("{" + parameter + "}", value)
    parts = ['curl -H "Authorization: Bearer $TOKEN"']
    if "form" in kind:
        parts += ["-F file=@labels.csv", "-F create_classes=true"]
    elif kind:
        body = json.dumps(_EXAMPLES[name])
        parts += [] if method == "POST" else [f"-X {method}"]
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}"]
    elif method == "POST":
        parts.append("-X POST")
    elif name == "export":
        parts.append("-o labels.zip")
    return " ".join([*parts, f"{server}{path}"])
