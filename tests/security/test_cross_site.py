"""What another site can make a signed-in browser do: nothing. Forged requests, frames, redirects, hosts and caches."""

from typing import Any

import pytest
from django.conf import settings as site_settings
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern

from hoshina.core.roles import Role
from hoshina.web.sign_in import local_sign_in_path
from labeling.models import Dataset, LabelClass
from tests.people import PASSWORD, account
from tests.security.addresses import addresses, path_of, paths

pytestmark = pytest.mark.django_db
EVIL = "https://evil.example"


@pytest.fixture
def dataset(make_dataset: Any, settings: Any, store: Any) -> Dataset:
    settings.LOGIN_REQUIRED = True
    made: Dataset = make_dataset(3)
    return made


@pytest.fixture
def browser(dataset: Dataset) -> Client:
    """Provide a browser whose administrator is signed in, and whose requests are checked for CSRF tokens."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(account(Role.ADMINISTRATOR))
    return client


def token_of(client: Client) -> str:
    client.get("/account/")
    return str(client.cookies["csrftoken"].value)


# -- Requests forged by another site ------------------------------------------------------------------
@pytest.mark.attack("forged requests (CSRF)")
@pytest.mark.parametrize(("name", "pattern"), sorted(addresses(), key=lambda pair: pair[0]))
def test_no_address_is_changed_by_a_form_of_another_site(
    browser: Client, dataset: Dataset, name: str, pattern: URLPattern
) -> None:
    """A form of another site sends the cookies of this one, but it cannot read the token."""
    response = browser.post(path_of(name, pattern, dataset), {"name": "forged", "on": "1"})
    assert response.status_code in (403, 405)
    assert dataset.classes.count() == 2
    assert not LabelClass.objects.filter(name="forged").exists()


@pytest.mark.attack("forged requests (CSRF)")
@pytest.mark.parametrize("token", ["", "x", "0" * 32, "0" * 64, "²" * 64, "a" * 10_000, "null", "\x00"])
def test_no_guessed_token_is_taken(browser: Client, dataset: Dataset, token: str) -> None:
    token_of(browser)
    data = {"name": "forged", "csrfmiddlewaretoken": token}
    assert browser.post(f"/d/{dataset.slug}/classes/add/", data).status_code == 403
    header = {"X-CSRFToken": token.encode("latin-1", "replace").decode("latin-1").replace("\x00", "")}
    assert browser.post(f"/d/{dataset.slug}/classes/add/", {"name": "forged"}, headers=header).status_code == 403
    assert dataset.classes.count() == 2


@pytest.mark.attack("forged requests (CSRF)")
def test_the_token_of_another_browser_is_not_taken(browser: Client, dataset: Dataset) -> None:
    other = Client(enforce_csrf_checks=True)
    other.force_login(account(Role.MANAGER))
    token_of(browser)
    forged = browser.post(f"/d/{dataset.slug}/classes/add/", {"name": "x", "csrfmiddlewaretoken": token_of(other)})
    assert forged.status_code == 403
    own = browser.post(f"/d/{dataset.slug}/classes/add/", {"name": "x", "csrfmiddlewaretoken": token_of(browser)})
    assert own.status_code == 200, "the check lets through what is right"


@pytest.mark.attack("requests of other origins")
@pytest.mark.parametrize(
    "origin",
    [EVIL, "http://testserver.evil.example", "http://evil.example/testserver", "null", "http://testserver:1",
     "https://testserver", "ftp://testserver", "http://testserver@evil.example", "file://", "x"],
)  # fmt: skip
def test_even_a_right_token_counts_only_from_this_origin(browser: Client, dataset: Dataset, origin: str) -> None:
    data = {"name": "forged", "csrfmiddlewaretoken": token_of(browser)}
    response = browser.post(f"/d/{dataset.slug}/classes/add/", data, headers={"Origin": origin})
    assert response.status_code == 403
    assert dataset.classes.count() == 2


@pytest.mark.attack("requests of other origins")
@pytest.mark.parametrize("referer", [EVIL, "https://testserver.evil.example/", "http://testserver/", "", "x"])
def test_under_https_the_referer_has_to_be_this_site(browser: Client, dataset: Dataset, referer: str) -> None:
    data = {"name": "forged", "csrfmiddlewaretoken": token_of(browser)}
    headers = {"Referer": referer} if referer else {}
    response = browser.post(f"/d/{dataset.slug}/classes/add/", data, secure=True, headers=headers)
    assert response.status_code == 403
    assert dataset.classes.count() == 2


@pytest.mark.attack("reading from other origins")
@pytest.mark.parametrize("origin", [EVIL, "null"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_answer_is_opened_to_other_origins(browser: Client, dataset: Dataset, origin: str, method: str) -> None:
    for name, path in paths(dataset):
        response = browser.generic(method, path, headers={"Origin": origin})
        response.close()
        assert not [header for header in response.headers if header.startswith("Access-Control-")], name


@pytest.mark.attack("methods in disguise")
@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_a_header_does_not_make_a_change_of_a_view(browser: Client, dataset: Dataset, header: str) -> None:
    for query in ("", "?_method=POST&name=forged"):
        path = f"/d/{dataset.slug}/classes/add/{query}"
        assert browser.get(path, headers={header: "POST"}).status_code == 405
    assert dataset.classes.count() == 2


@pytest.mark.attack("methods in disguise")
@pytest.mark.parametrize("method", ["TRACE", "DELETE", "PROPFIND", "get", "POST\r\nX: y"])
def test_unusual_methods_change_nothing_and_show_nothing(browser: Client, dataset: Dataset, method: str) -> None:
    for name, path in paths(dataset):
        response = browser.generic(method, path, headers={"Secret": "echo-of-a-header"})
        assert response.status_code < 500, name
        body = b"" if response.streaming else response.content
        response.close()
        assert b"echo-of-a-header" not in body, name
    assert Dataset.objects.count() == 1
    assert dataset.classes.count() == 2


# -- Frames and types ------------------------------------------------------------------------------------
@pytest.mark.attack("clickjacking")
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_no_page_is_shown_in_a_frame(browser: Client, dataset: Dataset, is_signed_in: bool) -> None:
    if not is_signed_in:
        browser.logout()
    for name, path in [*paths(dataset), ("sign-in", "/sign-in/")]:
        response = browser.get(path)
        response.close()
        policy = response.headers.get("Content-Security-Policy", "")
        assert response.headers.get("X-Frame-Options") == "DENY", name
        assert "frame-ancestors 'none'" in policy, name
        assert "object-src 'none'" in policy, name
        assert "base-uri 'none'" in policy, name


@pytest.mark.attack("guessed types of answers")
def test_every_answer_names_its_type_and_forbids_guessing(browser: Client, dataset: Dataset) -> None:
    for name, path in paths(dataset):
        response = browser.get(path)
        response.close()
        assert response.headers.get("X-Content-Type-Options") == "nosniff", name
        if response.status_code not in (204, 301, 302, 304) and (response.streaming or response.content):
            assert response.headers.get("Content-Type"), name


@pytest.mark.attack("guessed types of answers")
@pytest.mark.parametrize(
    "script", ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "'-alert(1)-'", "{{7*191}}"]
)
def test_what_a_person_sends_comes_back_escaped(browser: Client, dataset: Dataset, script: str) -> None:
    """Messages quote what was wrong; a browser must not take the quote for a part of the page."""
    keys = ("size", "frame", "s", "queue", "row", "x", "template", "label", "by", "of", "a", "color", "next", "state")
    for name, path in paths(dataset):
        response = browser.get(path, dict.fromkeys(keys, script))
        body = b"" if response.streaming else response.content
        response.close()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            for found in (b"<script>alert", b"<svg onload", b"'-alert", b"1337"):
                assert found not in body, (name, found)


# -- Redirects and hosts -----------------------------------------------------------------------------------
ELSEWHERE = [
    EVIL, "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example",
    "javascript:alert(1)", "data:text/html,x", "http://testserver@evil.example/", "http://testserver.evil.example",
    "\thttps://evil.example", "ht\ntps://evil.example", "//evil%E3%80%82example", "/%09/evil.example",
    "https://[::1]evil.example", "http:///evil.example",
]  # fmt: skip


def leads_elsewhere(response: HttpResponseBase) -> bool:
    """Return whether a browser that follows this answer would leave the site."""
    location = response.headers.get("Location", "")
    cleaned = "".join(character for character in location if character > " ").replace("\\", "/")
    return not cleaned.startswith("/") or cleaned.startswith("//")


@pytest.mark.attack("open redirects")
@pytest.mark.parametrize("target", ELSEWHERE)
def test_signing_in_leads_to_no_other_site(dataset: Dataset, target: str) -> None:
    account(Role.LABELER)
    data = {"username": "labeler", "password": PASSWORD, "next": target}
    response = Client().post("/sign-in/", data, query_params={"next": target})
    assert response.status_code == 302
    assert not leads_elsewhere(response), response["Location"]


@pytest.mark.attack("open redirects")
@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_link_leads_to_no_other_site(client: Client, store: Any, settings: Any, target: str) -> None:
    settings.TOKEN_REQUIRED = True
    response = client.get(local_sign_in_path(target))
    assert response.status_code == 302
    assert not leads_elsewhere(response), response["Location"]


@pytest.mark.attack("open redirects")
@pytest.mark.parametrize("target", ELSEWHERE[:3])
def test_no_address_redirects_to_what_a_parameter_says(browser: Client, dataset: Dataset, target: str) -> None:
    for name, path in paths(dataset):
        response = browser.get(path, dict.fromkeys(("next", "url", "return", "back", "path", "to"), target))
        response.close()
        if response.status_code in (301, 302):
            assert not leads_elsewhere(response), (name, response["Location"])


@pytest.mark.attack("false hosts")
@pytest.mark.parametrize(
    "host",
    ["evil.example", "testserver.evil.example", "evil.example:80", "testserver@evil.example", "a b", "", "[::1",
     "testserver/", "testserver#x", "testserver:x", "evil.example, testserver", "\u0430pple"],
)  # fmt: skip
def test_a_false_host_is_refused(browser: Client, dataset: Dataset, settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    for path in ("/", "/sign-in/", f"/d/{dataset.slug}/", "/api/thumb/1"):
        response = Client().get(path, SERVER_NAME="evil.example", headers={"Host": host})
        assert response.status_code == 400, path


@pytest.mark.attack("false hosts")
def test_no_other_header_names_the_host(browser: Client, dataset: Dataset) -> None:
    names = ("X-Forwarded-Host", "X-Host", "X-Forwarded-Server", "X-Original-Host", "X-Original-URL", "X-Rewrite-URL")
    for name, path in paths(dataset):
        response = browser.get(path, headers=dict.fromkeys(names, "evil.example"))
        body = b"" if response.streaming else response.content
        response.close()
        assert b"evil.example" not in body + str(response.headers).encode(), name


# -- Caches and cookies ---------------------------------------------------------------------------------------
@pytest.mark.attack("shared caches")
@pytest.mark.parametrize("role", [None, Role.LABELER, Role.ADMINISTRATOR])
def test_no_shared_cache_keeps_what_one_person_may_see(dataset: Dataset, role: Role | None) -> None:
    """A cache in front of the server would show one person's answer to the next one."""
    client = Client()
    if role:
        client.force_login(account(role))
    for name, path in paths(dataset):
        if name == "healthz":
            continue
        response = client.get(path)
        response.close()
        caching = response.headers.get("Cache-Control", "")
        assert "public" not in caching, name
        assert "s-maxage" not in caching, name
        assert "private" in caching or "no-store" in caching or "Cookie" in response.headers.get("Vary", ""), name


@pytest.mark.attack("shared caches")
@pytest.mark.parametrize("suffix", ["/x.css", "/x.png", ".js", ";x.css", "%2fx.css", "/..%2fx.css"])
def test_an_address_that_looks_like_a_file_shows_no_page(browser: Client, dataset: Dataset, suffix: str) -> None:
    """Caches keep what ends in .css; a page must not be had under such an address."""
    for path in ("/account", f"/d/{dataset.slug}/classes", "/jobs", "/disk"):
        assert browser.get(f"{path}{suffix}").status_code == 404


@pytest.mark.attack("stolen cookies")
@pytest.mark.parametrize("is_https", [False, True])
def test_scripts_cannot_read_the_session_and_https_keeps_it(dataset: Dataset, settings: Any, is_https: bool) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = is_https
    account(Role.LABELER)
    client = Client()
    client.post("/sign-in/", {"username": "labeler", "password": PASSWORD}, secure=is_https)
    cookie = client.cookies[site_settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Lax"
    assert bool(cookie["secure"]) is is_https
    assert client.cookies["csrftoken"]["samesite"] == "Lax" if "csrftoken" in client.cookies else True
