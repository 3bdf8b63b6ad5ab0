"""What every test shares: a store of its own, small folders of real images, and datasets made from them."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from django.conf import settings
from django.core.management import call_command
from PIL import Image

from labeling.models import Dataset, Frame, Item, LabelClass
from tests.databases import database_file
from tests.processes import Up

# No test asserts a time: on a busy machine any single example may take long.
hypothesis.settings.register_profile("hoshina", deadline=None)
hypothesis.settings.load_profile("hoshina")

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


@pytest.fixture
def store(tmp_path: Path, settings: object) -> Path:
    """Provide an empty store for this test alone."""
    settings.STORE_DIR = tmp_path / "store"  # type: ignore[attr-defined]
    settings.BROKER_DIR = tmp_path / "store" / "broker"  # type: ignore[attr-defined]
    settings.STORE_DIR.mkdir()  # type: ignore[attr-defined]
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def _nothing_ahead(settings: object) -> None:
    """Prefetch nothing, so that no thread reads the database during a test; tests of prefetching ask for it."""
    settings.MAKE_AHEAD = False  # type: ignore[attr-defined]


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of small PNG files of noise on a coloured ground."""

    def make(n: int = 6, *, name: str = "pictures", size: int = 24) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(7)
        for number in range(n):
            pixels = rng.integers(0, 255, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"image{number:04d}.png")
        return folder

    return make


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """Make a dataset of ``n`` items with one frame each (no files) and classes, without an ingest."""

    def make(n: int = 20, *, name: str = "pictures", classes: tuple[str, ...] = ("cat", "dog")) -> Dataset:
        dataset = Dataset.objects.create(name=name, slug=name, root=str(tmp_path / name), n_items=n)
        items = Item.objects.bulk_create(
            [Item(dataset=dataset, row=row, path=f"image{row:04d}.png") for row in range(n)]
        )
        Frame.objects.bulk_create(
            [
                Frame(
                    item=item, dataset=dataset, path=item.path, sha256=f"{item.row:064x}", size=100,
                    mtime_ns=1, width=24, height=24, format="PNG",
                )
                for item in items
            ]
        )  # fmt: skip
        for number, class_name in enumerate(classes):
            LabelClass.objects.create(
                dataset=dataset, name=class_name, colour=COLOURS[number % 7], key=number + 1, order=number
            )
        return dataset

    return make


@pytest.fixture
def ranked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank in this process, not in a worker."""
    monkeypatch.setattr("sampling.queues.dispatch._is_for_a_worker", lambda dataset, order: False)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """Provide a migrated, empty database file to copy."""
    file = tmp_path_factory.mktemp("migrated") / "app.db"
    with django_db_blocker.unblock(), database_file(file):
        call_command("migrate", verbosity=0)
    return file


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start ``hoshina up`` with the given arguments and a store of its own; stopped after the test."""
    started: list[Up] = []

    def start(*arguments: str, **options: str) -> Up:
        started.append(Up(tmp_path / "store", *arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture(autouse=True)
def _fresh_memory() -> None:
    """Clear what the process caches by dataset id: every test makes datasets with the same ids."""
    from labeling.fields import split_groups
    from labeling.progress import tallies
    from modeling.assistive import policy
    from sampling.maps import clusters_of_map, colors, quantized, region_filter
    from sampling.queues import pool

    pool.forget()
    tallies.forget()
    split_groups._counted.cache_clear()
    for cached in (
        quantized._drawn, region_filter._inside, clusters_of_map._clusters, clusters_of_map._gaps,
        colors._likeliest, colors._unsure, colors._decided,
    ):  # fmt: skip
        cached.cache_clear()
    policy._look_again_at.clear()


# Fixtures that start servers, workers or `uv`, or import TensorFlow.
SLOW_FIXTURES = frozenset(
    {"any_store", "containers", "files_store", "keras", "mobile", "models", "package", "up", "wheel", "working_store"}
)
SLOW_MARKS = ("browser", "redis", "postgres")


def pytest_configure() -> None:
    """Hash passwords fast in this process; the programs that tests start hash them as the product does."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in several processes. Named tests run in this one, and so does everything with `-n 0`."""
    option = config.option
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_worker = "PYTEST_XDIST_WORKER" in os.environ  # or each worker would start workers of its own
    if is_whole and not is_worker and getattr(option, "numprocesses", 0) is None and not option.usepdb:
        # One more than there are cores: many tests wait for other processes, browsers and timeouts.
        option.numprocesses = min(4, 1 + (os.cpu_count() or 1))
        option.dist = "loadfile"
        option.loadscopereorder = False  # in the order of pytest_collection_modifyitems


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what needs another program or process; other tests that take long carry the mark themselves.

    Files with slow tests come first, so that no process is left with a long one at the end.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if SLOW_FIXTURES.intersection(fixtures) or any(item.get_closest_marker(name) for name in SLOW_MARKS):
            item.add_marker("slow")
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)


_slow_tests_run: set[str] = set()


@pytest.fixture(autouse=True)
def _no_tensorflow_in_fast_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that imports TensorFlow, which takes ten seconds, and is not marked as slow."""
    if request.node.get_closest_marker("slow"):
        _slow_tests_run.add(request.node.nodeid)
    yield
    if "tensorflow" in sys.modules and not _slow_tests_run:
        _slow_tests_run.add(request.node.nodeid)
        pytest.fail("This test imports TensorFlow: mark it as slow.")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the session if a test was skipped although no part may be missing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("HOSHINA_REQUIRE_PARTS") == "1" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
