"""Two hosts on one PostgreSQL, Redis and shared folder. The clock of one is two hours ahead, and its folder is slow."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.factories import new_folder
from tests.jobs.tasks import notes
from tests.label_clients import Browser
from tests.operations.hosts import Host, Shared
from tests.parts import postgres_server, redis_server, require, wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

N = 120
# Of the jobs of tests.jobs.tasks.
CHUNKS, STEPS = 60, 20

ENQUEUE = """if True:
    from hoshina.jobs.lifecycle import enqueue
    for kind, name, params in {jobs!r}:
        enqueue(kind, params=dict(name=name, notes=f"{folder}/{{name}}.txt", **params))
"""
CLASSES = """if True:
    from labeling.decisions.classes import add
    from labeling.models import Dataset, Item
    dataset = Dataset.objects.get()
    classes = [add(dataset, name).pk for name in ("flat", "upright")]
    print(dataset.pk, *classes, *Item.objects.order_by("row").values_list("pk", flat=True))
"""


class Laboratory:
    """Two hosts, and a dataset with embeddings."""

    def __init__(self, folder: Path, database: str, broker: str) -> None:
        self.folder = folder
        self.shared = Shared(new_folder(folder / "store"), database, broker)
        self.north = Host("north", self.shared)
        self.south = Host("south", self.shared, hours=2, slow_seconds=0.01)

    def start(self) -> None:
        """Start what does not run."""
        for host in (self.north, self.south):
            host.start()
        for host in (self.north, self.south):
            host.wait_until_well()

    def fill(self) -> None:
        """Make a dataset of images in two orientations, and their embeddings."""
        pictures = new_folder(self.folder / "pictures")
        for numbers in (range(2), range(2, N)):
            for number in numbers:
                picture = Image.linear_gradient("L").rotate(90 * (number % 2) + number / 7).resize((32, 32))
                picture.save(pictures / f"{number:03}.png")
            self.north.manage("ingest", f"--data-dir={pictures}", "--dataset=a", "--json")
            self.wait_for_jobs()
            # UMAP, which takes long to compile, starts when there are twice as many.
            self.shared.execute(f"UPDATE modeling_embeddingset SET n_mapped = {N}")
        ids = self.south.manage("shell", "-v", "0", "-c", CLASSES).split()
        self.dataset_id, *self.classes = map(int, ids[:3])
        self.items = list(map(int, ids[3:]))

    def enqueue(self, *jobs: tuple[str, str, dict[str, object]]) -> None:
        """Queue jobs of tests.jobs.tasks: kind, name, parameters."""
        self.north.manage("shell", "-v", "0", "-c", ENQUEUE.format(folder=self.folder, jobs=jobs))

    def notes(self, name: str) -> list[list[str]]:
        return [line.split(":") for line in notes(self.folder / f"{name}.txt")]

    def jobs(self, kind: str) -> list[Any]:
        """Return attempts and worker of the jobs of a kind that succeeded."""
        return self.shared.query(f"SELECT attempts, worker FROM jobs_job WHERE kind = '{kind}' AND state = 'succeeded'")

    def wait_for_jobs(self) -> None:
        """Wait until no job is queued or runs; all have to have succeeded."""
        active = "SELECT kind FROM jobs_job WHERE state IN ('queued', 'running')"
        wait_until(lambda: not self.shared.query(active), seconds=120, why="all jobs to end")
        others = self.shared.query("SELECT kind, state, error FROM jobs_job WHERE state != 'succeeded'")
        assert others == [], [host.log.read_text() for host in (self.north, self.south)]

    def browsers(self) -> list[Browser]:
        """Return a browser at each host; one labels the flat images, the other the upright ones."""
        made = [
            Browser(host.port, label, self.items[part::2])
            for part, (host, label) in enumerate(zip((self.north, self.south), self.classes, strict=True))
        ]
        for browser in made:
            browser.ask("GET", "/d/a/classes/")
        return made

    def saved(self) -> dict[str, int]:
        """Return the annotation of each action by the action's uuid. Every action has to have one."""
        rows = self.shared.query(
            "SELECT x.uuid, a.id FROM labeling_annotation a JOIN labeling_action x ON a.action_id = x.id"
        )
        assert len(rows) == len({name for name, _ in rows})
        return {str(name): row for name, row in rows}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Provide two hosts and a dataset with embeddings, shared by this module, because starting them is slow."""
    require("faketime")
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server())
        broker = stack.enter_context(redis_server()).url
        made = Laboratory(tmp_path_factory.mktemp("laboratory"), database, broker)
        stack.callback(made.south.kill)
        stack.callback(made.north.kill)
        made.north.manage("migrate", "-v", "0")
        made.start()
        made.fill()
        yield made


@pytest.fixture
def laboratory(both: Laboratory) -> Laboratory:
    """Provide ``both``, with everything running."""
    both.start()
    return both


def at_once(*calls: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_the_clocks_differ(laboratory: Laboratory) -> None:
    code = "import time, socket; print(int(time.time()), socket.gethostname())"
    (north, name), (south, other) = (
        host.manage("shell", "-v", "0", "-c", code).split() for host in (laboratory.north, laboratory.south)
    )
    assert 7200 <= int(south) - int(north) < 7500
    assert (name, other) == ("north", "south")
    laboratory.south.manage("worker", "heavy", "--check")  # as a container's health check does


def test_jobs_run_once_and_all_workers_take_part(laboratory: Laboratory) -> None:
    names = [f"short{number}" for number in range(STEPS)]
    laboratory.enqueue(
        ("test_chunks", "long", {"n": CHUNKS, "pause": 0.25}),
        *(("test_steps", name, {"n": 2, "pause": 0.1}) for name in names),
    )
    laboratory.wait_for_jobs()
    begun = [laboratory.notes(name) for name in names]
    assert [len(lines) for lines in begun] == [1] * STEPS
    workers = {int(lines[0][1]) for lines in begun}
    assert workers == laboratory.north.pids("worker interactive") | laboratory.south.pids("worker interactive")
    shares = laboratory.notes("long")
    assert sorted(span for span, _ in shares) == sorted(f"{10 * i}-{10 * i + 10}" for i in range(CHUNKS))
    workers = {int(pid) for _, pid in shares}
    assert workers == laboratory.north.pids("worker heavy") | laboratory.south.pids("worker heavy")


def test_an_image_is_shown_to_one_window(laboratory: Laboratory) -> None:
    shown: Counter[int] = Counter()
    for browser, window in zip(laboratory.browsers(), ("first", "second"), strict=True):
        status, page = browser.ask("GET", f"/d/a/grid/?queue=random&n={N // 2}&window={window}")
        assert status == 200
        shown.update(map(int, re.findall(r'data-item="(\d+)"', page.decode())))
    assert shown == Counter(laboratory.items)


def test_both_web_servers_start_the_same_retrain(laboratory: Laboratory) -> None:
    browsers = laboratory.browsers()
    for browser in browsers:
        assert all(browser.send(browser.action(number)) for number in range(15))
    laboratory.wait_for_jobs()  # retrains that the labels caused
    polls = [f"/jobs/strip/{laboratory.dataset_id}/" for _ in browsers]
    pages = [browser.ask("GET", path)[1].decode() for browser, path in zip(browsers, polls, strict=True)]
    since = [re.findall(r"since=([^&\"]+)", page)[0] for page in pages]
    for _ in range(3):
        at_once(*(lambda browser=browser: browser.ask("POST", "/d/a/model/retrain/", {}) for browser in browsers))
    laboratory.wait_for_jobs()
    retrains = laboratory.jobs("retrain")
    versions = laboratory.shared.query("SELECT number FROM modeling_modelversion ORDER BY number")
    assert [number for (number,) in versions] == list(range(1, len(retrains) + 1))
    assert {attempts for attempts, _ in retrains} == {1}
    assert laboratory.shared.query("SELECT count(*) FROM modeling_modelversion WHERE is_active") == [(1,)]
    for browser, path, moment in zip(browsers, polls, since, strict=True):
        assert '"kind": "retrain"' in browser.header("GET", f"{path}?since={moment}", "HX-Trigger")


def test_labels_do_not_wait_for_the_folder(laboratory: Laboratory) -> None:
    """The connection of a host to the store hangs: labels are saved, and retrains requested, nevertheless."""
    browser = laboratory.browsers()[1]
    laboratory.south.hanging.touch()
    try:
        for number in range(30):
            browser.label = laboratory.classes[number % 2]
            assert browser.send(browser.action(number))
        assert browser.ask("POST", "/d/a/model/retrain/", {})[0] == 204
        assert laboratory.saved().items() >= browser.acknowledged.items()
    finally:
        laboratory.south.hanging.unlink()
    laboratory.wait_for_jobs()


def test_a_killed_hosts_jobs_are_taken_over(laboratory: Laboratory) -> None:
    browsers = laboratory.browsers()
    labeling = [threading.Thread(target=browser.label_all) for browser in browsers]
    for thread in labeling:
        thread.start()
    laboratory.enqueue(
        ("test_chunks", "shared", {"n": CHUNKS, "pause": 0.25}),
        ("test_again", "first", {"n": 100, "pause": 0.1}),
        ("test_again", "second", {"n": 100, "pause": 0.1}),
    )
    south = laboratory.south.pids("worker heavy"), laboratory.south.pids("worker interactive")
    wait_until(
        lambda: {int(pid) for _, pid in laboratory.notes("shared")} & south[0]
        and laboratory.notes("first") and laboratory.notes("second"),
        why="work on both hosts",
    )  # fmt: skip
    laboratory.south.kill()
    n_before = len(browsers[0].acknowledged)
    laboratory.wait_for_jobs()
    wait_until(lambda: len(browsers[0].acknowledged) > n_before, why="labels at the other host")
    for browser in browsers:
        browser.stopped.set()
    for thread in labeling:
        thread.join()

    assert [browser.errors for browser in browsers] == [[], []]
    saved = laboratory.saved()
    assert all(browser.acknowledged and saved.items() >= browser.acknowledged.items() for browser in browsers)
    begun = {name: [int(line[1]) for line in laboratory.notes(name)] for name in ("first", "second")}
    [taken_over] = [pids for pids in begun.values() if pids[0] in south[1]]
    [undisturbed] = [pids for pids in begun.values() if pids[0] not in south[1]]
    assert (len(taken_over), len(undisturbed)) == (2, 1)
    assert {taken_over[1], undisturbed[0]} == laboratory.north.pids("worker interactive")
    assert sorted(attempts for attempts, _ in laboratory.jobs("test_again")) == [1, 2]
    shares = [span for span, _ in laboratory.notes("shared")]
    assert set(shares) == {f"{10 * i}-{10 * i + 10}" for i in range(CHUNKS)}
    # Only what the killed workers held may have been done twice.
    assert len(shares) <= CHUNKS + len(south[0])
    last = [worker for _, worker in laboratory.jobs("test_chunks")][-1]
    assert last.startswith("north:")
