"""Tokens: created on the account page or by a command, and what they open."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hoshina.api import local_access, tokens
from hoshina.api.models import Token
from hoshina.core.errors import Refusal
from hoshina.core.roles import Role
from labeling.models import Dataset
from tests.api.clients import Program, problem, read
from tests.factories import command_json, command_output, count_queries, fresh, text
from tests.people import account

pytestmark = pytest.mark.django_db


def test_a_token_lets_a_program_in_for_its_person(dataset: Dataset, program: Program) -> None:
    me = read(program.get("me"))
    assert (me["user"], me["role"], me["token"], me["scope"]) == ("manager", "manager", "test", "write")


def test_only_a_hash_of_the_token_is_stored(dataset: Dataset, program: Program) -> None:
    stored = str(Token.objects.values().get())
    assert program.text not in stored
    assert program.text[-22:] not in stored


@pytest.mark.parametrize("header", ["Bearer x", "Bearer ", "Bearer hoshina_x.y", "Basic YTpi", "Token x", "Bearer é"])
def test_what_is_no_token_is_refused_with_the_challenge(dataset: Dataset, client: Client, header: str) -> None:
    client.force_login(account(Role.ADMINISTRATOR))  # a session does not help a wrong token
    response = client.get("/api/v1/me", headers={"Authorization": header.encode().decode("latin-1")})
    assert problem(response, 401)["hint"]
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_without_a_token_or_a_session_the_answer_says_how_to_get_one(dataset: Dataset, client: Client) -> None:
    response = client.get("/api/v1/datasets")
    assert "api_token" in problem(response, 401)["hint"]
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_is_refused(dataset: Dataset, program: Program) -> None:
    Token.objects.update(expires_at=timezone.now())
    assert "expired" in problem(program.get("me"), 401)["detail"]


def test_a_revoked_token_is_refused(dataset: Dataset, program: Program) -> None:
    tokens.revoke(program.token.user, program.token.pk)
    problem(program.get("me"), 401)


def test_a_token_of_a_closed_account_is_refused(dataset: Dataset, program: Program) -> None:
    program.token.user.is_active = False
    program.token.user.save()
    problem(program.get("me"), 401)


def test_a_token_that_may_read_changes_nothing(dataset: Dataset) -> None:
    reader = Program(account(Role.MANAGER), scope="read")
    assert read(reader.get("datasets"))
    assert "only read" in problem(reader.post("datasets/pictures/classes", {"name": "bird"}), 403)["detail"]
    assert dataset.classes.count() == 2


def test_a_token_never_has_more_than_the_role_of_its_person(dataset: Dataset) -> None:
    labeler = Program(account(Role.LABELER))
    refused = problem(labeler.post("datasets/pictures/classes", {"name": "bird"}), 403)
    assert refused["detail"] == Role.MANAGER.refusal
    problem(labeler.get("datasets/pictures/export"), 403)
    problem(labeler.post("datasets/pictures/jobs", {"kind": "embed"}), 403)
    read(labeler.post("datasets/pictures/jobs", {"kind": "retrain"}), 202)


def test_a_token_opens_pictures_but_no_pages(dataset: Dataset, program: Program) -> None:
    item = dataset.items.get(row=0)
    assert program.client.get(f"/api/thumb/{item.pk}", headers=program.headers).status_code == 404  # it has no file
    assert program.client.get(f"/api/thumb/{item.pk}").status_code == 401
    assert program.client.get("/d/pictures/", headers=program.headers).status_code == 302


def test_use_is_noted_at_most_once_a_minute(dataset: Dataset, program: Program) -> None:
    read(program.get("me"))
    first = fresh(program.token).last_used_at
    assert first is not None
    with_note = timezone.now() - timedelta(minutes=2)
    n = count_queries(program.get, "me")
    assert fresh(program.token).last_used_at == first
    Token.objects.update(last_used_at=with_note)
    assert count_queries(program.get, "me") == n + 1
    assert fresh(program.token).last_used_at > with_note  # type: ignore[operator]


def test_a_session_may_use_the_api_with_a_csrf_token(dataset: Dataset) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(account(Role.MANAGER))
    assert read(browser.get("/api/v1/me"))["token"] is None
    body = {"name": "bird"}
    refused = browser.post("/api/v1/datasets/pictures/classes", body, content_type="application/json")
    assert "X-CSRFToken" in problem(refused, 403)["hint"]
    browser.get("/account/")
    header = {"X-CSRFToken": browser.cookies["csrftoken"].value}
    added = browser.post("/api/v1/datasets/pictures/classes", body, content_type="application/json", headers=header)
    assert read(added, 201)["name"] == "bird"


# -- The account page -----------------------------------------------------------------------------------
def test_a_person_creates_and_revokes_a_token(dataset: Dataset, client: Client) -> None:
    client.force_login(account(Role.LABELER))
    page = client.post("/account/tokens/", {"name": "notebook", "scope": "read", "days": "30"})
    token = Token.objects.get()
    assert (token.name, token.scope) == ("notebook", "read")
    assert timedelta(days=29) < token.expires_at - timezone.now() < timedelta(days=31)
    shown = page.context["text"]
    assert shown in text(page, 200)
    assert "no-store" in page["Cache-Control"]
    assert shown not in text(client.get("/account/"), 200)
    assert "notebook" in text(client.get("/account/"))
    client.post(f"/account/tokens/{token.pk}/revoke/")
    assert not Token.objects.exists()
    assert "revoked in the meantime" in text(client.post(f"/account/tokens/{token.pk}/revoke/"), 422)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "x" * 81}, {"scope": "all"}, {"days": "0"}, {"days": "100000"}, {"days": "x"}]
)  # fmt: skip
def test_a_wrong_form_creates_no_token(dataset: Dataset, client: Client, wrong: dict[str, str]) -> None:
    client.force_login(account(Role.LABELER))
    page = client.post("/account/tokens/", {"name": "notebook", "scope": "read", "days": "30"} | wrong)
    assert page.status_code == 422
    assert 'role="alert"' in text(page)
    assert not Token.objects.exists()


def test_nobody_revokes_the_token_of_another_person(dataset: Dataset, client: Client, program: Program) -> None:
    client.force_login(account(Role.ADMINISTRATOR))
    assert client.post(f"/account/tokens/{program.token.pk}/revoke/").status_code == 422
    assert Token.objects.exists()


def test_an_administrator_sees_all_tokens_and_revokes_them(dataset: Dataset, client: Client, program: Program) -> None:
    client.force_login(account(Role.ADMINISTRATOR))
    listed = text(client.get("/admin/api/token/"), 200)
    assert "manager" in listed
    assert program.text not in listed
    client.post(f"/admin/api/token/{program.token.pk}/delete/", {"post": "yes"})
    problem(program.get("me"), 401)


def test_a_manager_does_not_see_the_tokens_of_others(dataset: Dataset, client: Client, program: Program) -> None:
    client.force_login(program.token.user)
    assert client.get("/admin/api/token/").status_code == 403


# -- The command ------------------------------------------------------------------------------------------
def test_the_command_prints_a_token(dataset: Dataset) -> None:
    account(Role.LABELER, "eva")
    printed = command_output("api_token", "eva", "script", "--scope", "read", "--days", "3").strip()
    found = tokens.find(printed)
    assert found is not None
    assert (found.user.username, found.scope, found.name) == ("eva", "read", "script")
    assert command_json("api_token", "eva", "other")["scope"] == "write"


def test_the_command_refuses_unknown_accounts_and_lifetimes(dataset: Dataset) -> None:
    account(Role.LABELER, "eva")
    for arguments in (("nobody", "x"), ("eva", "x", "--days", "0"), ("eva", " ")):
        with pytest.raises(Exception, match=r"account|days|name"):
            command_output("api_token", *arguments)
    assert not Token.objects.exists()


def test_an_account_has_a_limited_number_of_tokens(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 1)
    user = account(Role.LABELER)
    tokens.issue(user, "first", scope="read")
    with pytest.raises(Refusal, match="Revoke one"):
        tokens.issue(user, "second", scope="read")


def test_tokens_that_expired_long_ago_are_deleted(dataset: Dataset, program: Program) -> None:
    Token.objects.update(expires_at=timezone.now() - timedelta(days=29))
    tokens.forget_expired()
    assert Token.objects.exists()
    Token.objects.update(expires_at=timezone.now() - timedelta(days=31))
    tokens.forget_expired()
    assert not Token.objects.exists()


# -- Programs of this machine -----------------------------------------------------------------------------
def test_up_leaves_a_file_with_address_and_token_that_only_its_owner_reads(dataset: Dataset, client: Client) -> None:
    import json

    local_access.offer("http://127.0.0.1:8000/")
    local_access.offer("http://127.0.0.1:8001/")
    assert Token.objects.filter(is_local=True).count() == 1
    file = local_access.file()
    assert file.stat().st_mode & 0o777 == 0o600
    offered = json.loads(file.read_text())
    assert offered["url"] == "http://127.0.0.1:8001/"
    headers = {"Authorization": f"Bearer {offered['token']}"}
    me: Any = read(client.get("/api/v1/me", headers=headers))
    assert (me["role"], me["token"]) == ("administrator", local_access.NAME)
    local_access.withdraw()
    assert not file.exists()
    problem(client.get("/api/v1/me", headers=headers), 401)
