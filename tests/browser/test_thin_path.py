"""From a folder to a downloaded data set, with the keyboard, in one command's process tree."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.bench import Labeler
from tests.browser.factories import write_digits
from tests.factories import opened, table
from tests.parts import free_port, wait_until
from tests.processes import Up

NAMES = ("zero", "one", "two")


def _has_another(running: Up, pid: int) -> bool:
    try:
        return running.child("worker", "interactive").pid != pid
    except ValueError:  # none just now
        return False


def test_from_a_folder_to_a_data_set(browser: Browser, up: Callable[..., Up], tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", NAMES, 40)
    running = up(str(tmp_path / "digits"), "--port", str(free_port()))
    address = f"http://127.0.0.1:{running.port}/"
    running.wait_until_well()
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(address)
    expect(page.locator("#grid .tile").first).to_be_visible()

    person = Labeler(page, NAMES)
    person.add_classes()

    # Labels are made while the worker is gone, and it comes back.
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

    page.locator("#nav summary", has_text="Data").click()
    page.get_by_role("link", name="Import and export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    rows = table(opened(download.value.path().read_bytes()), "labels.csv")
    assert {row["path"]: row["label"] for row in rows if row["label"]} == person.labels
    page.close()
