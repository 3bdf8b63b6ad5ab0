"""Start HOSHINA, FiftyOne and LightlyStudio, and send each the requests that its own front end sends.

The requests were recorded from the front ends (FiftyOne 1.22, LightlyStudio 1.2) in a browser: opening the dataset,
scrolling its grid, and giving the selected images a class (in FiftyOne's grid a tag, the only label it gives there).
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from benchmarks.stage import ROOT, Browser

NAME = "images"  # of the folder, and so of the dataset
TILES = 60
CLASSES = ("boot", "shirt")
# Errors of a server that has not started.
NOT_READY = (OSError, HTTPException)

# Each prints "mark NAME" before and after parts of the work, and waits until its input is closed.
MARK = """
import sys
def mark(name):
    print(f"\\nmark {name}", flush=True)
"""
HOSHINA_INGEST = """
import django
django.setup()
from hoshina.jobs.lifecycle import run_now
from labeling.ingest.dataset_folder import dataset_for
dataset = dataset_for(sys.argv[1], "images")
mark("begin")
run_now("ingest", dataset_id=dataset.pk)
mark("read")
"""
FIFTYONE_INGEST = """
import fiftyone as fo
fo.list_datasets()  # starts the database
mark("begin")
dataset = fo.Dataset.from_images_dir(sys.argv[1], name="images", persistent=True)
mark("paths")
dataset.compute_metadata()
mark("read")
"""
FIFTYONE_SERVE = """
import sys
import fiftyone as fo
if fo.dataset_exists("images"):
    dataset = fo.load_dataset("images")
else:
    dataset = fo.Dataset.from_images_dir(sys.argv[1], name="images", persistent=True)
fo.launch_app(dataset, address="127.0.0.1", port=int(sys.argv[2]), remote=True).wait(-1)
"""
LIGHTLY_OPEN = """
import lightly_studio
from lightly_studio.database import db_manager
db_manager.connect(db_file=sys.argv[2])
"""
LIGHTLY_INGEST = f"""
{LIGHTLY_OPEN}
dataset = lightly_studio.ImageDataset.create(name="images")
mark("begin")
dataset.add_images_from_path(path=sys.argv[1], embed=False)
mark("read")
"""
LIGHTLY_SERVE = f"""
import os, sys
is_new = not os.path.exists(sys.argv[2])
{LIGHTLY_OPEN}
if is_new:
    dataset = lightly_studio.ImageDataset.create(name="images")
    dataset.add_images_from_path(path=sys.argv[1], embed=False)
lightly_studio.start_gui(host="127.0.0.1", port=int(sys.argv[3]), open_browser=False)
"""

SAMPLES = """
query page($count: Int, $after: String, $dataset: String!, $view: BSONArray!, $filter: SampleFilter!, $filters: BSON,
           $extendedStages: BSON, $paginationData: Boolean, $maxQueryTime: Int) {
  samples(dataset: $dataset, view: $view, first: $count, after: $after, filter: $filter, filters: $filters,
          extendedStages: $extendedStages, paginationData: $paginationData, maxQueryTime: $maxQueryTime) {
    __typename
    ... on SampleItemStrConnection {
      pageInfo { hasNextPage }
      edges { cursor node { __typename ... on ImageSample { id aspectRatio sample urls { field url } } } }
    }
  }
}
"""


class App(ABC):
    """Run a tool with a store of its own. Methods with requests need :meth:`connect` first."""

    name: ClassVar[str]

    def __init__(self, python: str, images: Path) -> None:
        self.python, self.images = python, images
        self.ids: list[Any] = []  # of images without labels
        self.urls: list[str] = []  # of their pictures

    def environment(self, store: Path) -> dict[str, str]:
        """Return the environment: a store and a home of its own, and no telemetry."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("AL_", "PYTHON"))}
        return plain | {"HOME": str(store), "PYTHONUNBUFFERED": "1"}

    def prepare(self, store: Path) -> list[list[str]]:
        """Return commands that make the empty store of an ingest, which is not measured."""
        return []

    @abstractmethod
    def ingest(self, store: Path) -> list[str]:
        """Return the command that ingests the images, with marks."""

    @abstractmethod
    def serve(self, store: Path, port: int) -> list[str]:
        """Return the command that serves a store, reading the images first if it is new."""

    @abstractmethod
    def connect(self, address: str) -> None:
        """Open the connection of a browser. Raises NOT_READY while the dataset does not exist."""

    @abstractmethod
    def reconnect(self) -> None:
        """Close the connection; the next request opens another."""

    @abstractmethod
    def picture(self) -> str:
        """Request the first page, and return the URL of its first picture; "" if there is none yet."""

    @abstractmethod
    def turn(self, n: int) -> None:
        """Request the data of the next tiles, at least ``TILES``, in requests of ``n``; remember them."""

    @abstractmethod
    def get(self, url: str) -> bytes:
        """Return the answer to a request."""

    @abstractmethod
    def label(self, ids: Sequence[Any], label: str) -> None:
        """Give images a label, and check that it was saved."""

    # The number of tiles that the front end requests at once.
    page_size: ClassVar[int] = TILES


class Hoshina(App):
    """Run the working tree, with the encoder that needs no weights."""

    name = "HOSHINA"

    def environment(self, store: Path) -> dict[str, str]:
        return super().environment(store) | {
            "AL_STORE_DIR": str(store), "AL_TOKEN": "0", "DJANGO_SETTINGS_MODULE": "hoshina.settings",
            "PYTHONPATH": str(ROOT), "AL_EMBEDDING_BACKEND": "hog",
        }  # fmt: skip

    def prepare(self, store: Path) -> list[list[str]]:
        return [[self.python, str(ROOT / "manage.py"), "migrate", "-v0"]]

    def ingest(self, store: Path) -> list[str]:
        return [self.python, "-c", MARK + HOSHINA_INGEST + "sys.stdin.read()", str(self.images)]

    def serve(self, store: Path, port: int) -> list[str]:
        manage = str(ROOT / "manage.py")
        return [self.python, manage, "up", str(self.images), "--port", str(port), "--no-browser", "--dataset", NAME]

    def connect(self, address: str) -> None:
        try:
            self.browser = Browser(address, slug=NAME)
        except RuntimeError as error:  # no such dataset yet
            raise HTTPException(str(error)) from error
        self.next = f"/d/{NAME}/grid/?queue=all&n={TILES}"
        self.classes: dict[str, int] = {}

    def reconnect(self) -> None:
        self.browser.connection.close()

    def picture(self) -> str:
        match = re.search(r'<img src="([^"]+)"', self.get(f"/d/{NAME}/grid/?queue=all&n={TILES}").decode())
        return html.unescape(match.group(1)) if match else ""

    def turn(self, n: int) -> None:
        page = self.get(self.next).decode()
        self.ids += [int(item) for item in re.findall(r'data-item="(\d+)"', page)]
        self.urls += [html.unescape(url) for url in re.findall(r'<img src="([^"]+)"', page)]
        match = re.search(r'data-next="([^"]+)"', page)
        assert match, page[:300]
        self.next = html.unescape(match.group(1))

    def get(self, url: str) -> bytes:
        return self.browser.get(url)

    def label(self, ids: Sequence[Any], label: str) -> None:
        if label not in self.classes:
            self._add(label)
        answer = self.browser.post(f"/d/{NAME}/annotate/", json.dumps({"actions": [{
            "uuid": str(uuid.uuid4()), "kind": "assign", "label": self.classes[label],
            "at": datetime.now(UTC).isoformat(), "suggestion_shown": None, "overwrite": False,
            "items": [{"id": item, "seen": 0, "seconds": 0.5, "shown": {"rendering": ""}} for item in ids],
        }]}).encode())  # fmt: skip
        [result] = json.loads(answer)["results"]
        assert (result["status"], len(result["items"])) == ("saved", len(ids)), result

    def _add(self, label: str) -> None:
        body = urlencode({"name": label}).encode()
        page = self.browser.post(f"/d/{NAME}/classes/add/", body, "application/x-www-form-urlencoded").decode()
        self.classes[label] = max(int(key) for key in re.findall(r"/classes/(\d+)/edit/", page))


class JsonApp(App):
    """Run a tool whose front end requests JSON."""

    def connect(self, address: str) -> None:
        self.http = HTTPConnection(address.partition("//")[2], timeout=60)
        self.offset = 0

    def reconnect(self) -> None:
        self.http.close()

    def get(self, url: str) -> bytes:
        return self.ask("GET", url)

    def ask(self, method: str, url: str, body: Any = None) -> bytes:
        content = None if body is None else json.dumps(body).encode()
        self.http.request(method, url, content, {} if content is None else {"Content-Type": "application/json"})
        response = self.http.getresponse()
        answer = response.read()
        if response.status >= 400:
            raise HTTPException(f"{method} {url}: {response.status} {answer[:300]!r}")
        return answer

    def turn(self, n: int) -> None:
        until = self.offset + TILES
        while self.offset < until:
            ids, urls = self.tiles(self.offset, n)
            assert len(ids) == n, ids
            self.ids += ids
            self.urls += urls
            self.offset += n

    def picture(self) -> str:
        return next(iter(self.tiles(0, self.page_size)[1]), "")

    @abstractmethod
    def tiles(self, offset: int, n: int) -> tuple[list[Any], list[str]]:
        """Return the IDs of images, and the URLs of their pictures."""


class FiftyOne(JsonApp):
    """Run FiftyOne with the ``mongod`` of its wheel."""

    name = "FiftyOne"
    page_size = 20

    def environment(self, store: Path) -> dict[str, str]:
        return super().environment(store) | {
            "FIFTYONE_DO_NOT_TRACK": "true", "FIFTYONE_DATABASE_DIR": str(store / "mongo"),
            "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        }  # fmt: skip

    def ingest(self, store: Path) -> list[str]:
        return [self.python, "-c", MARK + FIFTYONE_INGEST + "sys.stdin.read()", str(self.images)]

    def serve(self, store: Path, port: int) -> list[str]:
        return [self.python, "-c", FIFTYONE_SERVE, str(self.images), str(port)]

    def tiles(self, offset: int, n: int) -> tuple[list[Any], list[str]]:
        variables: dict[str, Any] = {
            "count": n, "after": str(offset - 1) if offset else None, "dataset": NAME, "view": [],
            "filter": {"group": None}, "filters": {}, "extendedStages": {}, "paginationData": True, "maxQueryTime": 60,
        }  # fmt: skip
        answer = json.loads(self.ask("POST", "/graphql", {"query": SAMPLES, "variables": variables}))
        nodes = [edge["node"] for edge in answer["data"]["samples"]["edges"]]
        return [node["id"] for node in nodes], [f"/media?filepath={quote(self._file(node), safe='')}" for node in nodes]

    def _file(self, node: dict[str, Any]) -> str:
        return str(next(url["url"] for url in node["urls"] if url["field"] == "filepath"))

    def label(self, ids: Sequence[Any], label: str) -> None:
        answer = self.ask("POST", "/tag", {
            "dataset": NAME, "filters": {}, "modal": False, "view": [], "extended": {}, "label_fields": [],
            "target_labels": False, "group_id": None, "sample_ids": list(ids), "labels": None, "hidden_labels": None,
            "changes": {label: True},
        })  # fmt: skip
        assert json.loads(answer) == {"samples": []}, answer[:300]


class LightlyStudio(JsonApp):
    """Run LightlyStudio with DuckDB."""

    name = "LightlyStudio"
    page_size = 32

    def environment(self, store: Path) -> dict[str, str]:
        return super().environment(store) | {"LIGHTLY_STUDIO_ANALYTICS_ENABLED": "false"}

    def ingest(self, store: Path) -> list[str]:
        return [self.python, "-c", MARK + LIGHTLY_INGEST + "sys.stdin.read()", str(self.images), str(store / "db")]

    def serve(self, store: Path, port: int) -> list[str]:
        return [self.python, "-c", LIGHTLY_SERVE, str(self.images), str(store / "db"), str(port)]

    def connect(self, address: str) -> None:
        super().connect(address)
        [collection, *_] = json.loads(self.get("/api/collections"))
        self.collection = f"/api/collections/{collection['collection_id']}"

    def tiles(self, offset: int, n: int) -> tuple[list[Any], list[str]]:
        size = {"min": 28, "max": 28}  # the ranges of the sliders, which are sent even if nobody moved them
        answer = json.loads(self.ask("POST", f"{self.collection}/images/list", {
            "pagination": {"offset": offset, "limit": n},
            "sort_by": [{"source": "image", "field_name": "file_path_abs", "direction": "asc"}],
            "filters": {"sample_filter": {"metadata_filters": []}, "width": size, "height": size},
        }))  # fmt: skip
        ids = [sample["sample_id"] for sample in answer["data"]]
        return ids, [f"/images/sample/{sample}?v=1" for sample in ids]

    def label(self, ids: Sequence[Any], label: str) -> None:
        answer = self.ask("POST", f"{self.collection}/annotations/classifications/bulk_create", {
            "sample_ids": list(ids), "class_name": label, "annotation_collection_name": "annotation",
        })  # fmt: skip
        assert json.loads(answer)["created_count"] == len(ids), answer


def apps(images: Path, fiftyone: str | None, lightly: str | None) -> list[App]:
    """Return HOSHINA, and the peers whose Python was given."""
    peers = [cls(python, images) for cls, python in ((FiftyOne, fiftyone), (LightlyStudio, lightly)) if python]
    return [Hoshina(sys.executable, images), *peers]
