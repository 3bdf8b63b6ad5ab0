"""What every answer has to keep to, as a web server gets it."""

from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest

from hoshina.wsgi import application
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import Frame
from tests.factories import MakeFolder
from tests.labeling.factories import Steps

pytestmark = pytest.mark.django_db


def answer(method: str, path: str) -> tuple[str, dict[str, str], bytes]:
    """Call the application as a WSGI server does: the status, the headers and the body."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {
        "REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": "localhost", "wsgi.input": BytesIO(),
        "wsgi.file_wrapper": FileWrapper,
    }  # fmt: skip
    started: list[Any] = []
    body = application(environ, lambda status, headers, *_: started.extend((status, dict(headers))))
    try:
        return started[0], started[1], b"".join(body)
    finally:
        body.close()


def test_no_body_follows_the_answer_to_head(store: Path, picture_folder: MakeFolder) -> None:
    """Its bytes would be taken for the next answer on the same connection."""
    dataset = dataset_for(picture_folder(2))
    ingest(dataset, Steps())  # type: ignore[arg-type]
    item = Frame.objects.earliest("pk").item_id
    for path in ("/d/pictures/", f"/api/thumb/{item}", f"/api/file/{item}", "/d/pictures/map/", "/static/icon.svg"):
        got_status, got, body = answer("GET", path)
        status, headers, nothing = answer("HEAD", path)
        assert (got_status, status) == ("200 OK", "200 OK"), path
        assert body, path
        assert nothing == b"", path
        assert headers["Content-Type"] == got["Content-Type"]
        if "Content-Length" in got and not path.startswith("/d/"):
            assert headers["Content-Length"] == got["Content-Length"], path
