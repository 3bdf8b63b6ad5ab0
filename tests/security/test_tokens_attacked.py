"""Tokens that were forged, altered, guessed, or sent where they do not belong."""

from typing import Any

import pytest
from django.test import Client

from hoshina.core import upload_permit
from hoshina.core.roles import Role
from labeling.models import Dataset, LabelClass
from tests.api.clients import Program
from tests.people import account

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: Any, settings: Any, store: Any) -> Dataset:
    settings.LOGIN_REQUIRED = True
    made: Dataset = make_dataset(3)
    return made


@pytest.fixture
def program(dataset: Dataset) -> Program:
    return Program(account(Role.ADMINISTRATOR))


@pytest.mark.attack("forged tokens")
@pytest.mark.parametrize(
    "change",
    [
        str.upper, str.lower, lambda text: text[:-1], lambda text: text + "x", lambda text: text.partition(".")[0],
        lambda text: "hoshina_." + text.partition(".")[2], lambda text: text.replace("hoshina_", ""),
        lambda text: text + " ", lambda text: f"{text}, {text}", lambda text: f"%{text}%",
        lambda text: "hoshina_' OR 1=1 --", lambda text: "hoshina_" + "x" * 5000, lambda text: text[:14] + "…",
    ],
)  # fmt: skip
def test_an_altered_token_opens_nothing(program: Program, change: Any) -> None:
    altered = change(program.text)
    if altered.strip() == program.text:
        assert program.get("me").status_code == 200  # spaces around a token mean nothing
        return
    headers = {"Authorization": f"Bearer {altered}".encode().decode("latin-1")}
    assert Client().get("/api/v1/me", headers=headers).status_code == 401


@pytest.mark.attack("forged tokens")
def test_a_token_that_was_never_issued_is_refused_whatever_its_signature(program: Program) -> None:
    """The signature only lets the web server take a large body; the database decides who gets in."""
    text = "hoshina_" + "A" * 43
    signed = f"{text}.{upload_permit.signature_of(text)}"
    assert upload_permit.is_token(f"Bearer {signed}")
    assert Client().get("/api/v1/me", headers={"Authorization": f"Bearer {signed}"}).status_code == 401


@pytest.mark.attack("forged tokens")
@pytest.mark.parametrize("where", ["query", "form", "cookie", "X-Authorization", "Proxy-Authorization", "basic"])
def test_a_token_counts_only_in_its_header(program: Program, where: str) -> None:
    """Addresses are in logs and in the history of browsers; cookies are sent by forms of other sites."""
    client = Client(enforce_csrf_checks=True)
    path, data, headers = "/api/v1/datasets/pictures/classes", {"name": "forged"}, {}
    if where == "query":
        path += f"?token={program.text}&access_token={program.text}&Authorization=Bearer%20{program.text}"
    elif where == "form":
        data |= {"token": program.text, "Authorization": f"Bearer {program.text}"}
    elif where == "cookie":
        client.cookies["Authorization"] = f"Bearer {program.text}"
        client.cookies["token"] = program.text
    elif where == "basic":
        headers["Authorization"] = f"Basic {program.text}"
    else:
        headers[where] = f"Bearer {program.text}"
    response = client.post(path, data, headers=headers)
    assert response.status_code in (401, 403)
    assert not LabelClass.objects.filter(name="forged").exists()


@pytest.mark.attack("forged tokens")
@pytest.mark.parametrize("path", ["/account/", "/admin/", "/admin/api/token/", "/d/pictures/", "/jobs/", "/disk/"])
def test_a_token_opens_no_page(program: Program, path: str) -> None:
    """Whoever has a token cannot create others, change the password, or manage people."""
    response = program.client.get(path, headers=program.headers)
    assert response.status_code == 302
    assert "sign-in" in response["Location"] or "login" in response["Location"]


@pytest.mark.attack("forged tokens")
def test_a_request_with_a_token_starts_no_session(program: Program) -> None:
    response = program.get("me")
    assert response.status_code == 200
    assert not response.cookies
    assert program.client.get("/api/v1/me").status_code == 401
