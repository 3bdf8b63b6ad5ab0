"""Signed URLs of thumbnails: answered without Django for the session that they were made for, and for nobody else."""

from __future__ import annotations

import html
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.conf import settings
from django.test import Client

from hoshina.web.thumbs_first import thumbs_first
from hoshina.wsgi import application
from labeling.display.signed_thumbs import picture_of
from labeling.images.decoder_pool import pictures
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import Frame
from tests.factories import MakeFolder, count_queries, text
from tests.labeling.factories import Steps
from tests.people import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(store: Path, picture_folder: MakeFolder) -> Client:
    """Return a browser with a session, and a dataset of three pictures."""
    ingest(dataset_for(picture_folder(3)), Steps())  # type: ignore[arg-type]
    return person("Vera")


def thumbs_of(client: Client) -> list[str]:
    """Return the URLs of the grid's thumbnails."""
    page = text(client.get("/d/pictures/grid/?queue=all"))
    return [html.unescape(url) for url in re.findall(r'<img src="([^"]*)"', page)]


def request(url: str, cookie: str, **more: str) -> tuple[str, dict[str, str], bytes]:
    """Send a request to the application; return ("", {}, b"") if it goes on to Django."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    path, _, query = url.partition("?")
    environ |= {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "HTTP_COOKIE": cookie, **more}
    started: list[Any] = ["", {}]

    def start(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        started[:] = [status, dict(headers)]

    body = thumbs_first(lambda environ, start: [])(environ, start)  # type: ignore[arg-type]
    return started[0], started[1], b"".join(body)


def cookie_of(client: Client) -> str:
    return f"theme=dark; {settings.SESSION_COOKIE_NAME}={client.session.session_key}"


def test_same_answer_as_django_without_a_query(client: Client) -> None:
    cookie = cookie_of(client)
    for url in thumbs_of(client):
        slow = client.get(url)  # renders it
        assert count_queries(request, url, cookie) == 0
        status, headers, body = request(url, cookie)
        assert (status, body) == ("200 OK", slow.content)
        for name in ("ETag", "Content-Type", "Cache-Control", "X-Content-Type-Options"):
            assert headers[name] == slow[name]
        status, headers, body = request(url, cookie, HTTP_IF_NONE_MATCH=headers["ETag"])
        assert (status, body) == ("304 Not Modified", b"")


def test_a_thumbnail_that_is_not_cached_is_rendered_by_django(client: Client) -> None:
    url = thumbs_of(client)[0]
    assert request(url, cookie_of(client))[0] == ""
    assert client.get(url).status_code == 200
    place = pictures().find(Frame.objects.earliest("pk").picture_hash, 256)
    assert place is not None
    place.write_bytes(b"cut")
    assert request(url, cookie_of(client))[0] == ""


@pytest.mark.attack("signed addresses of pictures")
def test_other_sessions_and_altered_urls(client: Client) -> None:
    first, second = thumbs_of(client)[:2]
    for url in (first, second):
        client.get(url)
    mine, other = cookie_of(client), cookie_of(person("Cecilia"))
    plain, _, signature = first.partition("&k=")
    name = settings.SESSION_COOKIE_NAME
    attempts = [
        (first, ""), (first, other), (first, f"{name}="), (first, f"{name}=x"),
        (first, mine.replace(name, "sessionid_of_another_server")),
        (plain, mine), (f"{plain}&k=", mine), (f"{plain}&k={signature[:-4]}", mine), (f"{plain}&k=é", mine),
        (f"{plain}&k={'A' * 64}", mine), (f"{plain}&k=%00", mine), (f"{first}&k={signature}", mine),
        (f"{first}=", mine), (f"{first}%00", mine), (f"{plain}&k={signature[:9]}&v={signature[9:]}", mine),
        (f"{plain}&k={signature.replace('_', '/').replace('-', '+')}.", mine),
        (f"{first}&size=512", mine), (f"{plain}&size=512&k={signature}", mine),
        (first.replace("?v=", "?frame=x&v="), mine), (re.sub(r"thumb/\d+", "thumb/7", first), mine),
        (f"{plain}&k={second.partition('&k=')[2]}", mine), (first.replace("thumb", "file"), mine),
        (first.replace("/api/thumb/", "/api/thumb/../thumb/"), mine),
    ]  # fmt: skip
    for url, cookie in attempts:
        assert request(url, cookie) == ("", {}, b""), (url, cookie)
    assert request(first, mine)[0] == "200 OK"
    # Only GET: other methods are Django's.
    assert request(first, mine, REQUEST_METHOD="POST")[0] == ""


@pytest.mark.attack("signed addresses of pictures")
def test_a_picture_cannot_be_chosen(client: Client) -> None:
    """The hash in the signature is part of what is signed."""
    first = thumbs_of(client)[0]
    plain, _, signature = first.partition("&k=")
    key = str(client.session.session_key)
    assert picture_of(first, key) == (Frame.objects.earliest("pk").picture_hash, "")
    forged = urlsafe_b64encode(b"\0" * 32).decode()[:43] + signature[43:]
    assert picture_of(f"{plain}&k={forged}", key) is None


def test_without_a_session_django_asks_to_sign_in(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TOKEN_REQUIRED", True)
    url = thumbs_of(client)[0]
    client.get(url)
    assert Client().get(url).status_code == 401
    started: list[str] = []
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    path, _, query = url.partition("?")
    environ |= {"PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": "localhost"}
    application(environ, lambda status, *_: started.append(status))  # type: ignore[arg-type, return-value]
    assert started == ["401 Unauthorized"]
