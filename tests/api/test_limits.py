"""Limits of requests and bodies, problems without internals, and the page that documents the API."""

import logging
import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.test import Client

from hoshina.api import docs_page, rate_limit
from hoshina.core import upload_permit
from hoshina.core.roles import Role
from labeling.models import Dataset
from tests.api.clients import Program, problem, read
from tests.factories import assert_contains, said, text
from tests.people import account

pytestmark = pytest.mark.django_db


def test_too_many_requests_are_refused_with_the_time_to_wait(dataset: Dataset, program: Program, settings: Any) -> None:
    settings.API_RATE = 3
    assert [program.get("me").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = program.get("me")
    assert "AL_API_RATE" in problem(refused, 429)["hint"]
    assert 1 <= int(refused["Retry-After"]) <= 20
    # Each token has a limit of its own, and pictures have none.
    read(Program(account(Role.LABELER)).get("me"))
    assert program.client.get("/api/thumb/0", headers=program.headers).status_code == 404


def test_requests_come_back_evenly(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("hoshina.api.rate_limit.time.monotonic", lambda: clock[0])
    rate_limit.forget()
    settings.API_RATE = 60
    assert [rate_limit.seconds_to_wait("a") for _ in range(61)] == [0] * 60 + [1]
    clock[0] += 2
    assert [rate_limit.seconds_to_wait("a") for _ in range(3)] == [0, 0, 1]
    settings.API_RATE = 0
    assert rate_limit.seconds_to_wait("a") == 0


def test_a_large_body_is_refused(dataset: Dataset, program: Program) -> None:
    body = b'{"actions": [' + b" " * 1_100_000 + b"]}"
    response = program.post("datasets/pictures/annotations", body)
    assert "1,048,576" in problem(response, 413)["hint"]


def test_the_web_server_takes_large_bodies_only_with_a_token_of_its_own(program: Program) -> None:
    assert upload_permit.is_token(f"Bearer {program.text}")
    assert upload_permit.is_token(f"bearer  {program.text}")
    for wrong in ("", "Bearer ", program.text, f"Bearer {program.text}x", f"Bearer x{program.text}", "Bearer a.b"):
        assert not upload_permit.is_token(wrong)


def test_an_internal_error_is_a_problem_without_details(
    dataset: Dataset, program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("hoshina.api.endpoints.datasets.active_model", fail)
    with caplog.at_level(logging.ERROR):
        response = program.get("datasets/pictures")
    assert "secret" not in response.content.decode()
    assert response["X-Request-ID"] in problem(response, 500)["hint"]
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nowhere", 404), ("GET", "datasets/", 404), ("DELETE", "datasets", 405), ("POST", "me", 405)],
)  # fmt: skip
def test_addresses_and_methods_that_do_not_exist(
    dataset: Dataset, program: Program, method: str, path: str, status: int
) -> None:
    response = program.client.generic(method, f"/api/v1/{path}", headers=program.headers)
    problem(response, status)
    if status == 405:
        assert response["Allow"] == "GET"


def test_answers_are_kept_in_no_cache(dataset: Dataset, program: Program) -> None:
    for path in ("me", "datasets/pictures/items", "nowhere"):
        assert "no-store" in program.get(path)["Cache-Control"]


# -- The description --------------------------------------------------------------------------------------
def test_the_page_shows_every_address_and_finds_words(dataset: Dataset, client: Client) -> None:
    assert client.get("/api/docs").status_code == 302  # to the page to sign in
    client.force_login(account(Role.LABELER))
    page = text(client.get("/api/docs"), 200)
    endpoints = docs_page.endpoints()
    assert len(endpoints) >= 26
    for endpoint in endpoints:
        assert endpoint.path in page
        assert endpoint.description, endpoint.path
        assert "curl" in endpoint.curl
    assert "<script>" not in page
    found = text(client.get("/api/docs?q=min_probability", headers={"HX-Request": "true"}), 200)
    assert_contains(
        found, "after <code>cursor</code>", "/api/v1/datasets/{slug}/items", lacks=["<html", "/api/v1/jobs"]
    )
    assert "No address" in said(client.get("/api/docs?q=<b>xyzzy"))


def test_the_description_is_open_api(dataset: Dataset, program: Program, client: Client) -> None:
    problem(client.get("/api/openapi.json"), 401)
    described = read(program.client.get("/api/openapi.json", headers=program.headers))
    assert described["openapi"].startswith("3.1")
    assert described["security"] == [{"token": []}]
    identities = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(identities) == len(set(identities))


def test_pages_do_not_load_the_libraries_of_the_api() -> None:
    """The start of the web process, and a page, import neither django-ninja nor pydantic."""
    script = (
        "import sys; from hoshina.wsgi import application; from django.urls import resolve, reverse;"
        "resolve(reverse('labeling:thumb', args=[1])); resolve('/d/x/');"
        "assert not {'ninja', 'pydantic'} & set(sys.modules);"
        "resolve('/api/v1/me'); assert 'ninja' in sys.modules"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=site_settings.BASE_DIR, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
