"""A real Chromium against the real server: waitress in a thread, with a database file and pictures of its own."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from hoshina.jobs.lifecycle import claim, execute
from hoshina.jobs.models import Job
from labeling.models import Dataset, Frame
from sampling.queues import pool
from tests.browser.bench import Bench
from tests.browser.pages import furnish
from tests.databases import database_file
from tests.factories import MakeDataset, MakeFolder
from tests.parts import BROWSER_TIMEOUT, CHROMIUM_ARGS, chromium, require, wait_until

HERE = Path(__file__).parent
_numbers = count(1)
expect.set_options(timeout=BROWSER_TIMEOUT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(django_db_setup: None) -> Iterator[Any]:
    """Provide a waitress that serves the site as `hoshina serve` does."""
    require("chromium")
    # The first pull imports scikit-learn, which takes seconds where several processes share two cores.
    import_module("sampling.algorithms.auto")
    from waitress.server import create_server

    from hoshina.wsgi import application

    server = create_server(application, host="127.0.0.1", port=0, threads=8)
    thread = threading.Thread(target=server.run, name="waitress", daemon=True)
    thread.start()
    yield server
    server.close()


def _finish(server: Any) -> None:
    """Wait for requests without a waiting browser: they still use this test's database."""
    dispatcher = server.task_dispatcher
    wait_until(lambda: not dispatcher.queue and not dispatcher.active_count, why="the server to be idle")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@dataclass
class Site:
    """The server's address, with the database of this test behind it."""

    address: str
    make_dataset: MakeDataset
    picture_folder: MakeFolder

    def dataset(
        self, n: int = 60, *, name: str = "pictures", classes: tuple[str, ...] = ("cat", "dog", "bird")
    ) -> Dataset:
        """Return a dataset of ``n`` real pictures."""
        self.picture_folder(n, name=name)
        return self.make_dataset(n, name=name, classes=classes)


@pytest.fixture
def site(
    server: Any,
    migrated: Path,
    store: Path,
    django_db_blocker: Any,
    make_dataset: MakeDataset,
    picture_folder: MakeFolder,
    settings: Any,
) -> Iterator[Site]:
    settings.EMBEDDING_BACKEND = "hog"
    file = store / "app.db"
    shutil.copy(migrated, file)
    # A name of its own: what an earlier test's page still sends when it is left is refused, not taken for this one.
    name = f"test{next(_numbers)}.localhost"
    settings.ALLOWED_HOSTS = [name]
    pool.forget()  # the server's process remembers datasets by their id
    # A request leaves no connection behind.
    with django_db_blocker.unblock(), database_file(file, CONN_MAX_AGE=0):
        yield Site(f"http://{name}:{server.effective_port}", make_dataset, picture_folder)
        _finish(server)


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark", reduced_motion="reduce")
    context.set_default_timeout(BROWSER_TIMEOUT)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Provide a page whose script must not fail."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if _is_serious(message) else None)
    yield page
    assert not errors, errors


def _is_serious(message: Any) -> bool:
    """Return whether a message is a script error or a refusal by the content security policy."""
    usual = ("Failed to load resource", "htmx:sendAbort", "htmx:afterRequest", "htmx:sendError", "htmx:responseError")
    return message.type == "error" and not any(words in message.text for words in usual)


@pytest.fixture
def worker(dataset: Dataset) -> Iterator[None]:
    """Run what is queued, in this process and with this test's database; the module says what ``dataset`` is."""
    ended = threading.Event()

    def work() -> None:
        try:
            while not ended.wait(0.05):
                queued = Job.objects.filter(state=Job.State.QUEUED).first()
                job = claim(queued.pk) if queued else None
                if job is not None:
                    execute(job)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work, name="worker of the test")
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.fixture
def sky(site: Site, page: Page) -> Bench:
    """Provide a workbench with six FITS images, brighter from left to right, with a very bright star."""
    dataset = site.dataset(6)
    for number in range(6):
        values = np.tile(np.arange(80, dtype=np.float32) * (number + 1), (60, 1))
        values[30, 40] = 1e6
        # Their content decides, not their names.
        fits.PrimaryHDU(values).writeto(dataset.data_dir / f"image{number:04d}.png", overwrite=True)
    Frame.objects.filter(dataset=dataset).update(format="FITS")
    return Bench(page, site.address, dataset)


@pytest.fixture
def bench(site: Site, page: Page) -> Bench:
    """Provide a workbench with 60 pictures and the classes cat (1), dog (2) and bird (3), not opened yet."""
    return Bench(page, site.address, site.dataset())


@pytest.fixture
def furnished(site: Site) -> Dataset:
    """Provide a dataset in the middle of its life, with something to show on every page."""
    return furnish(site.dataset(), site.make_dataset)
