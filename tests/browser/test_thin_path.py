"""From a folder to a downloaded data set, with the keyboard, in one command's process tree."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from tests.parts import free_port, wait_until
from tests.processes import Up

NAMES = ("zero", "one", "two")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Provide forty handwritten pictures each of 0, 1 and 2, named after what they show."""
    folder = tmp_path / "digits"
    folder.mkdir()
    found = load_digits()
    for digit, name in enumerate(NAMES):
        images = found.images[found.target == digit][:40]
        for number, image in enumerate(images):
            Image.fromarray((image * 15.9).astype("uint8")).save(folder / f"{name}{number:02d}.png")
    return folder


@pytest.fixture
def running(tmp_path: Path, digits: Path) -> Iterator[Up]:
    one = Up(tmp_path / "store", str(digits), "--port", str(free_port()))
    yield one
    one.end()


class Labeler:
    """A person who knows what the pictures show."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.labels: dict[str, str] = {}

    def label(self, n: int) -> None:
        """Label the next ``n`` tiles, one key each."""
        for _ in range(n):
            tile = self.page.locator("#grid .tile.here")
            path = tile.get_attribute("data-name") or ""
            name = path[:-6]
            self.page.keyboard.press(str(NAMES.index(name) + 1))
            self.labels[path] = name

    def settle(self) -> None:
        self.page.wait_for_function("() => !Object.keys(localStorage).some(key => key.startsWith('hoshina:outbox:'))")


def _has_another(running: Up, pid: int) -> bool:
    try:
        return running.child("worker", "interactive").pid != pid
    except ValueError:  # none just now
        return False


def test_from_a_folder_to_a_data_set(browser: Browser, running: Up) -> None:
    address = f"http://127.0.0.1:{running.port}/"
    running.wait_until_well()
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(address)
    expect(page.locator("#grid .tile").first).to_be_visible()

    page.keyboard.press("c")
    for name in NAMES:
        page.locator("#class-add-name").fill(name)
        page.keyboard.press("Enter")
        expect(page.locator("#class-list")).to_contain_text(name)
        expect(page.locator("#class-add-name")).to_have_value("")
    page.keyboard.press("Escape")
    expect(page.locator("#class-pane [data-class]")).to_have_count(3)

    # Labels are made while the worker is gone, and it comes back.
    person = Labeler(page)
    person.label(8)
    worker = running.child("worker", "interactive")
    worker.kill()
    worker.wait(timeout=30)
    person.label(8)
    person.settle()
    wait_until(lambda: _has_another(running, worker.pid), why="a new worker")
    running.wait_until_well()
    expect(page.locator("[data-count=labelled]").first).to_have_text("16")

    wait_until(
        lambda: running.query("select count(*) from modeling_embeddingset where n_vectors = 120") == [(1,)],
        seconds=120,
        why="the vectors",
    )
    page.keyboard.press("r")
    expect(page.locator("#badge")).to_contain_text("model 1", timeout=120_000)

    page.locator("#queue-menu summary").click()
    page.locator('#queue-menu button[value="uncertain"]').click()
    expect(page.locator("#grid[data-kind=uncertain] .suggestion").first).to_contain_text("%")
    before = dict(person.labels)
    person.label(3)
    page.keyboard.press("z")
    page.keyboard.press("z")
    person.settle()
    kept = list(person.labels)[: len(before) + 1]
    assert len(kept) == 17
    person.labels = {path: person.labels[path] for path in kept}
    expect(page.locator("[data-count=labelled]").first).to_have_text("17")

    page.get_by_role("button", name="Pages").click()
    page.get_by_role("link", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("labels.csv").decode())))
    assert {row["path"]: row["label"] for row in rows if row["label"]} == person.labels
    page.close()
