"""Signing in: by the link of this machine's user, by passwords, and never by guessing."""

import json
import re
import stat
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from hoshina.core import sign_in_token
from hoshina.core.http import local_user
from hoshina.core.roles import Role
from hoshina.web import open_browser
from hoshina.web.sign_in import local_sign_in_path
from tests.people import PASSWORD, account

pytestmark = pytest.mark.django_db


@pytest.fixture
def by_link(settings: Any, store: Any) -> None:
    settings.TOKEN_REQUIRED = True


class TestLink:
    @pytest.mark.attack("no sign-in")
    @pytest.mark.parametrize("path", ["/", "/datasets/", "/jobs/", "/admin/", "/account/", "/docs/"])
    def test_without_the_link_pages_lead_to_the_sign_in_page(self, client: Client, by_link: None, path: str) -> None:
        response = client.get(path, follow=True)
        assert "sign_in_link" in response.content.decode()
        assert not User.objects.exists()

    @pytest.mark.attack("no sign-in")
    @pytest.mark.parametrize("path", ["/api/thumb/1", "/api/file/1", "/media/1/full/", "/media/1/values/"])
    def test_without_the_link_images_are_refused(self, client: Client, by_link: None, path: str) -> None:
        assert client.get(path).status_code == 401

    def test_the_link_signs_in_once(self, client: Client, by_link: None) -> None:
        path = local_sign_in_path("/jobs/")
        response = client.get(path)
        assert (response.status_code, response["Location"]) == (302, "/jobs/")
        assert client.get("/jobs/").context["user"] == local_user()
        assert client.get(path).status_code == 302  # in this browser it only leads on
        other = Client()
        again = other.get(path)
        assert again.status_code == 403
        assert "This link has been used" in again.content.decode()
        assert other.get("/jobs/").status_code == 302

    @pytest.mark.attack("false links")
    @pytest.mark.parametrize("token", ["x", "0" * 43, "ä", "%00", "." * 5000])
    def test_a_wrong_token_is_refused_and_spends_nothing(self, client: Client, by_link: None, token: str) -> None:
        valid = sign_in_token.current()
        assert client.get(f"/sign-in/link/{token}/").status_code == 403
        assert client.head(f"/sign-in/link/{valid}/").status_code == 405
        assert client.post(f"/sign-in/link/{valid}/").status_code == 405
        assert sign_in_token.current() == valid

    def test_it_leads_to_no_other_site(self, client: Client, by_link: None) -> None:
        path = local_sign_in_path("https://evil.example/")
        assert client.get(path)["Location"] == "/"

    def test_where_people_have_passwords_there_is_no_link(self, client: Client, settings: Any, store: Any) -> None:
        settings.LOGIN_REQUIRED, settings.TOKEN_REQUIRED = True, False
        assert client.get(f"/sign-in/link/{sign_in_token.current()}/").status_code == 404

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file modes.")
    def test_only_the_user_reads_the_token(self, by_link: None, settings: Any) -> None:
        sign_in_token.current()
        assert stat.S_IMODE((settings.STORE_DIR / "sign_in_token").stat().st_mode) == 0o600
        assert stat.S_IMODE(settings.STORE_DIR.stat().st_mode) == 0o700

    def test_the_browser_is_given_a_file_and_not_the_token(
        self, by_link: None, monkeypatch: Any, tmp_path: Any
    ) -> None:
        """Other users of the machine can read the arguments of every process."""
        opened: list[tuple[str, str, int]] = []

        def look(address: str) -> None:
            file = next(tmp_path.glob("*/*.html"), None) or next(tmp_path.glob("*.html"))
            opened.append((address, file.read_text(), stat.S_IMODE(file.stat().st_mode)))

        monkeypatch.setattr("webbrowser.open", look)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
        open_browser.open_browser("http://127.0.0.1:1/sign-in/link/secret/?a=1&b=2")
        ((address, content, mode),) = opened
        assert address.startswith("file://")
        assert "secret" not in address
        assert "url=http://127.0.0.1:1/sign-in/link/secret/?a=1&amp;b=2" in content
        assert mode == 0o600 or sys.platform == "win32"
        assert not list(tmp_path.rglob("*.html"))


class TestPasswords:
    @pytest.fixture(autouse=True)
    def _with_passwords(self, settings: Any) -> None:
        settings.LOGIN_REQUIRED = True

    def sign_in(self, client: Client, password: str, **headers: str) -> int:
        data = {"username": "labeler", "password": password}
        return client.post("/sign-in/", data, headers=headers).status_code

    @pytest.mark.attack("guessed passwords")
    def test_guessing_is_locked_out(self, client: Client, settings: Any, caplog: Any) -> None:
        account(Role.LABELER)
        tries = [self.sign_in(client, f"guess {number}") for number in range(settings.AXES_FAILURE_LIMIT)]
        assert set(tries[:-1]) == {200}
        assert tries[-1] == 429
        assert self.sign_in(client, PASSWORD) == 429
        assert (
            "Too many attempts" in client.post("/sign-in/", {"username": "labeler", "password": "x"}).content.decode()
        )
        assert "127.0.0.1" in caplog.text
        assert PASSWORD not in caplog.text

    def test_others_still_sign_in(self, client: Client, settings: Any) -> None:
        account(Role.LABELER)
        for number in range(settings.AXES_FAILURE_LIMIT):
            self.sign_in(client, f"guess {number}")
        elsewhere = Client(REMOTE_ADDR="192.0.2.7")
        assert self.sign_in(elsewhere, PASSWORD) == 302

    @pytest.mark.attack("guessed passwords")
    def test_an_address_of_the_clients_own_making_counts_for_nothing(self, client: Client, settings: Any) -> None:
        account(Role.LABELER)
        for number in range(settings.AXES_FAILURE_LIMIT):
            self.sign_in(client, "guess", **{"X-Forwarded-For": f"192.0.2.{number}"})
        assert self.sign_in(client, PASSWORD, **{"X-Forwarded-For": "192.0.2.99"}) == 429

    @pytest.mark.attack("guessed passwords")
    @pytest.mark.parametrize("password", ["short", "12345678901", "password123", "labeler1"])
    def test_weak_passwords_are_refused(self, client: Client, password: str) -> None:
        client.force_login(account(Role.LABELER))
        data = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}
        assert client.post("/account/", data).status_code == 200
        assert User.objects.get(username="labeler").check_password(PASSWORD)

    @pytest.mark.attack("forged sessions")
    def test_changing_the_password_signs_out_other_browsers(self, client: Client) -> None:
        user, elsewhere = account(Role.LABELER), Client()
        client.force_login(user)
        elsewhere.force_login(user)
        new = "another-sentence-about-dust"
        data = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
        assert client.post("/account/", data).status_code == 302
        assert client.get("/account/").status_code == 200
        assert elsewhere.get("/account/").status_code == 302

    def test_signing_out_elsewhere(self, client: Client) -> None:
        user, elsewhere, somebody = account(Role.LABELER), Client(), Client()
        client.force_login(user)
        elsewhere.force_login(user)
        somebody.force_login(account(Role.MANAGER))
        assert "<dd>1</dd>" in client.get("/account/").content.decode()
        client.post("/account/sign-out-elsewhere/")
        assert client.get("/account/").status_code == somebody.get("/account/").status_code == 200
        assert elsewhere.get("/account/").status_code == 302


class TestCommand:
    def run(self, capsys: Any, *arguments: str) -> str:
        call_command("sign_in_link", *arguments, "--json")
        return str(json.loads(capsys.readouterr().out)["url"])

    def test_a_new_link_of_this_machine(self, client: Client, by_link: None, capsys: Any) -> None:
        url = self.run(capsys)
        assert client.get(url.removeprefix("http://127.0.0.1:8000")).status_code == 302
        assert client.get("/jobs/").status_code == 200

    def test_an_account_with_a_role_chooses_its_password(self, client: Client, settings: Any, capsys: Any) -> None:
        settings.LOGIN_REQUIRED = True
        url = self.run(capsys, "ann", "--role", "manager")
        path = re.sub(r"^https?://[^/]+", "", url)
        form = client.get(path, follow=True)
        data = {"new_password1": PASSWORD, "new_password2": PASSWORD}
        assert client.post(form.redirect_chain[-1][0], data).status_code == 302
        assert User.objects.get(username="ann").has_perm(Role.MANAGER.value)
        assert client.get("/account/").status_code == 200
        assert "This link has been used" in Client().get(path, follow=True).content.decode()

    def test_behind_a_proxy_it_has_the_address_that_people_use(self, settings: Any, capsys: Any) -> None:
        settings.LOGIN_REQUIRED = settings.BEHIND_HTTPS = settings.LOCAL_ONLY = True
        settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = ["labels.example.org"], ["https://*.example.org"]
        assert self.run(capsys, "ann").startswith("https://labels.example.org/sign-in/first/")
        settings.CSRF_TRUSTED_ORIGINS = ["https://labels.example.org:8443/"]
        assert self.run(capsys, "ann").startswith("https://labels.example.org:8443/sign-in/first/")

    def test_the_role_replaces_the_one_before(self, capsys: Any) -> None:
        account(Role.ADMINISTRATOR, "ann")
        self.run(capsys, "ann", "--role", "labeler")
        assert not User.objects.get(username="ann").has_perm(Role.MANAGER.value)

    def test_bad_usage_is_told(self, by_link: None, settings: Any) -> None:
        with pytest.raises(Exception, match="Name it"):
            call_command("sign_in_link", role="manager")
        with pytest.raises(Exception, match="not allowed"):
            call_command("sign_in_link", "no spaces")
        settings.TOKEN_REQUIRED = False
        with pytest.raises(Exception, match="password here"):
            call_command("sign_in_link")
