"""A web server on a store of its own, and programs that label there as browsers do."""

import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from hoshina import health
from tests.parts import ROOT, free_port, wait_until
from tests.processes import environment, run_python

ITEMS = 400

SETUP = f"""if True:
    from labeling.models import Dataset, Item, LabelClass
    dataset = Dataset.objects.create(name="a", slug="a", root="/nowhere", n_items={ITEMS})
    Item.objects.bulk_create([Item(dataset=dataset, row=row, path=f"{{row}}.png") for row in range({ITEMS})])
    label = LabelClass.objects.create(dataset=dataset, name="cat", colour="#E69F00", key=1, order=0)
    print(label.pk, *Item.objects.order_by("row").values_list("pk", flat=True))
"""


class Browser:
    """Posts labels one after another, as the page's script does: what has no answer is sent again."""

    def __init__(self, port: int, label: int, items: list[int]) -> None:
        self.port = port
        self.label = label
        self.items = items
        self.acknowledged: dict[str, int] = {}
        self.errors: list[str] = []
        self.stopped = threading.Event()
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        response, content = self._exchange(method, path, body)
        return response.status, content

    def header(self, method: str, path: str, name: str) -> str:
        """Return a header of the answer, "" without it."""
        return self._exchange(method, path, None)[0].getheader(name, "")

    def _exchange(self, method: str, path: str, body: object) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            if body is not None:
                headers |= {"Content-Type": "application/json", "X-CSRFToken": self.cookies.get("csrftoken", "")}
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            response = connection.getresponse()
            for cookie in response.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return response, response.read()
        finally:
            connection.close()

    def label_all(self) -> None:
        """Go round the items until stopped; an action keeps its uuid until it is answered."""
        number = 0
        while not self.stopped.is_set():
            action = self.action(number)
            number += 1
            while not self.stopped.is_set() and not self.send(action):
                time.sleep(0.02)

    def action(self, number: int) -> dict[str, object]:
        """Return the assignment of the class to the item of this number."""
        return {
            "uuid": str(uuid.uuid4()), "kind": "assign", "label": self.label, "overwrite": True,
            "at": datetime.now(UTC).isoformat(), "suggestion_shown": False,
            "items": [{"id": self.items[number % len(self.items)], "seen": 0, "seconds": 0.1, "shown": {}}],
        }  # fmt: skip

    def send(self, action: dict[str, object]) -> bool:
        try:
            if not self.cookies:
                self.ask("GET", "/d/a/classes/")
            status, content = self.ask("POST", "/d/a/annotate/", {"actions": [action]})
        except (OSError, http.client.HTTPException):
            return False  # the server is away
        if status != 200:
            self.errors.append(f"{status}: {content[:300]!r}")
            return False
        [result] = json.loads(content)["results"]
        if result["status"] not in {"saved", "repeated"}:
            self.errors.append(str(result))
            return True
        self.acknowledged[str(action["uuid"])] = result["items"][0]["annotation"]
        return True


class Server:
    """The web server as `up` starts it, on one port."""

    def __init__(self, store: Path, **variables: str) -> None:
        self.port = free_port()
        self.store = store
        self.variables = variables
        self.program: tuple[str, ...] = ("serve",)
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        return run_python("manage.py", *arguments, store=self.store, **self.variables).stdout

    def start(self) -> None:
        with (self.store / "web.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "manage.py", *self.program, "--port", str(self.port)],
                cwd=ROOT, env=environment(self.store, **self.variables), stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self.answers, why="the server")

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def healthz(self) -> tuple[int, dict[str, object]]:
        return health.ask("127.0.0.1", self.port)

    def answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.store / "web.log").read_text()
        try:
            return self.healthz()[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
