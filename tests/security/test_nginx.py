"""nginx, configured as the guide says, sends cached thumbnails itself, and only those that HOSHINA names."""

import html
import re
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from waitress.server import create_server

from hoshina.web.thumbs_first import thumbs_first
from labeling.images.decoder_pool import pictures
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from tests.factories import MakeFolder, not_none, text
from tests.labeling.factories import Steps
from tests.parts import ROOT, answers, free_port, nginx, require, wait_until
from tests.people import person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
LOCATION = "/cached-thumbnails/"


def location_of_the_guide(folder: Path) -> str:
    """Return the location of thumbnails in docs/how-to/server.md, with another folder."""
    guide = (ROOT / "docs/how-to/server.md").read_text(encoding="utf-8")
    found = not_none(re.search(rf"    location {LOCATION} {{.*?\n    }}\n", guide, re.DOTALL))[0]
    return found.replace("/srv/hoshina/store/thumbs/", f"{folder}/")


@pytest.fixture
def client(store: Path, picture_folder: MakeFolder, settings: Any) -> Client:
    """Return a browser with a session, whose three thumbnails are cached."""
    ingest(dataset_for(picture_folder(3)), Steps())  # type: ignore[arg-type]
    client = person("Vera")
    for url in thumbs_of(client):
        client.get(url)
    settings.ACCEL_REDIRECT = LOCATION
    return client


def thumbs_of(client: Client) -> list[str]:
    page = text(client.get("/d/pictures/grid/?queue=all"))
    return [html.unescape(url) for url in re.findall(r'<img src="([^"]*)"', page)]


@pytest.fixture
def port(client: Client, tmp_path: Path) -> Iterator[int]:
    """Run nginx before an application that answers cached thumbnails, and nothing else. Provide nginx's port."""
    require("nginx")

    def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [("X-Path", environ["PATH_INFO"])])
        return [b"not a cached thumbnail"]

    behind, before = free_port(), free_port()
    application = create_server(thumbs_first(nothing), host="127.0.0.1", port=behind)
    thread = threading.Thread(target=application.run)
    thread.start()
    (tmp_path / "nginx.conf").write_text(
        textwrap.dedent(f"""
        daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; user root;
        events {{}}
        http {{
          access_log off;
          client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/f;
          uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
          server {{
            listen 127.0.0.1:{before};
            location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; }}
            {location_of_the_guide(pictures().folder)}
          }}
        }}
    """)
    )
    process = subprocess.Popen([not_none(nginx()), "-c", tmp_path / "nginx.conf", "-p", tmp_path])
    try:
        wait_until(lambda: answers(before), why="nginx")
        yield before
    finally:
        process.terminate()
        process.wait(timeout=30)
        application.close()
        thread.join(timeout=30)


def ask(port: int, url: str, cookie: str = "") -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", url, headers={"Cookie": cookie})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), body


def test_nginx_sends_what_the_session_may_see(client: Client, port: int) -> None:
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"
    for url in thumbs_of(client):
        status, headers, body = ask(port, url, cookie)
        assert status == 200
        assert body == client.get(url).content
        assert headers["Content-Type"] in {"image/png", "image/jpeg"}
        assert "immutable" in headers["Cache-Control"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'"
        assert "X-Accel-Redirect" not in headers
        assert ask(port, url)[0] == 404, "without a session"


@pytest.mark.attack("the cache of thumbnails through nginx")
@pytest.mark.parametrize(
    "path", [f"{LOCATION}FILE", f"{LOCATION}../app.db", f"{LOCATION}..%2fapp.db", "/cached-thumbnails../app.db"]
)
def test_the_location_is_not_open_to_browsers(client: Client, port: int, path: str) -> None:
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}"
    file = next(pictures().folder.glob("*/*.*"))
    url = path.replace("FILE", file.relative_to(pictures().folder).as_posix())
    status, _, body = ask(port, url, cookie)
    assert status == 404
    assert body == b"not a cached thumbnail" or b"nginx" in body
