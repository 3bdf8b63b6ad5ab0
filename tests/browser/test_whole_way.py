"""From an empty store to an export, through all that a user is promised.

Other work occupies every core while images are embedded, labeled and ranked.

The product's own command runs with real workers. Nothing here may depend on how fast the machine is.
"""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from tests.browser.bench import Labeler
from tests.factories import manifest, new_folder, opened, table
from tests.modeling.weights import hide_lite2
from tests.parts import BROWSER_TIMEOUT, free_port, wait_until
from tests.processes import Up

NAMES = ("zero", "one", "seven")
LONG = 300_000  # ms; a machine that others use may take minutes to compile a layout


@pytest.fixture
def busy() -> Iterator[Callable[[], None]]:
    """Provide a loop on every core, as on a laptop with other work, and what ends them."""
    code = "while True: pass"
    loops = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(os.cpu_count() or 1)]

    def end() -> None:
        for loop in loops:
            loop.kill()
            loop.wait()

    yield end
    end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide seventy digits each of 0, 1 and 7, named after what they show, in PNG, 16-bit TIFF and FITS files."""
    folder = new_folder(tmp_path / "digits")
    digits = load_digits()
    for digit, name in ((0, "zero"), (1, "one"), (7, "seven")):
        for number, image in enumerate(digits.images[digits.target == digit][:70]):
            file = folder / f"{name}{number:02d}"
            large = np.kron(image, np.ones((4, 4)))
            if number % 10 == 8:
                fits.PrimaryHDU((large[::-1] * 100).astype(np.float32)).writeto(file.with_suffix(".fits"))
            elif number % 10 == 9:
                Image.fromarray((large * 4000).astype(np.uint16)).save(file.with_suffix(".tif"))
            else:
                Image.fromarray((large * 15.9).astype(np.uint8)).save(file.with_suffix(".png"))
    return folder


@pytest.fixture
def running(busy: object, up: Callable[..., Up], tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Up:
    """Provide ``up`` on a new store, on a machine without weights and without a network."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    hide_lite2(monkeypatch, tmp_path / "hidden")
    return up(str(folder), "--port", str(free_port()), backend="auto")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    context.set_default_timeout(LONG)
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors, errors


def test_from_an_empty_store_to_an_export(running: Up, page: Page, busy: Callable[[], None]) -> None:
    expect.set_options(timeout=LONG)
    try:
        _walk(running, page, busy)
    finally:
        expect.set_options(timeout=BROWSER_TIMEOUT)


def _walk(running: Up, page: Page, end_other_work: Callable[[], None]) -> None:
    site = f"http://127.0.0.1:{running.port}"
    running.wait_for("HOSHINA is at")
    page.goto(site)
    expect(page.locator("#grid .tile.here")).to_be_visible()
    running.wait_until_well()
    labels = _add_classes_and_label(page)
    _see_pictures_at_their_addresses(page, site)
    _train(running, page)
    _choose_queues(page)
    _find_similar(page)
    _pull_the_band(page)
    end_other_work()
    _measure_on_the_images_page(page, site)
    _select_a_cluster_of_the_umap(page, site)
    _export(page, site, labels)


def _add_classes_and_label(page: Page) -> dict[str, str]:
    person = Labeler(page, NAMES)
    person.add_classes()
    person.label(24)
    person.settle()
    expect(page.locator("[data-count=labelled]").first).to_have_text("24")
    return person.labels


def _see_pictures_at_their_addresses(page: Page, site: str) -> None:
    """Check the tile's picture at /api/thumb/{item_id}, and that the full view converts what browsers cannot show."""
    for tile in page.locator("#grid .tile").all()[:8]:
        item = tile.get_attribute("data-item")
        assert re.match(rf"/api/thumb/{item}\?", tile.locator("img").get_attribute("src") or "")
    page.goto(f"{site}/d/digits/?queue=all&state=any")
    expect(page.locator("#grid .tile.here")).to_be_visible()
    for suffix, kind in ((".fits", "image/png"), (".tif", "image/png"), (".png", "image/png")):
        item = page.locator(f'#grid .tile[data-name$="{suffix}"]').first.get_attribute("data-item")
        answer = page.request.get(f"{site}/api/file/{item}")
        assert (answer.status, answer.headers["content-type"]) == (200, kind)
        with Image.open(io.BytesIO(answer.body())) as image:
            assert image.size == (32, 32)


def _train(running: Up, page: Page) -> None:
    """Train a model with R; without weights, embeddings are those of HOG joined with Scattering."""
    page.keyboard.press("r")
    expect(page.locator("#badge")).to_contain_text("model")
    encoder = "select encoder from modeling_embeddingset where is_active"
    wait_until(lambda: running.query(encoder) == [("HOG + color + Scattering",)], why="the encoder without weights")
    expect(page.locator("#badge")).to_contain_text(re.compile(r"model \d"))


def _choose_queues(page: Page) -> None:
    page.keyboard.press("q")
    menu = page.locator("#queue-menu")
    expect(menu.locator('button[aria-current="true"]')).to_be_focused()
    for title in ("Auto", "Uncertain", "Diverse", "Oddities", "Band", "Random"):
        entry = menu.locator(".queue").filter(has=page.locator(f'b:text-is("{title}")'))
        expect(entry).to_be_enabled()
        expect(entry.locator("span")).to_have_text(re.compile(r"\w+ .+\."))
    menu.locator('button[value="uncertain"]').click()
    expect(page.locator('#grid[data-kind="uncertain"] .suggestion').first).to_contain_text("%")
    expect(page.locator("#queue-menu summary")).to_contain_text("Uncertain")


def _find_similar(page: Page) -> None:
    tile = page.locator("#grid .tile").nth(2)
    tile.hover()
    row = tile.get_attribute("data-row")
    tile.locator(".tile-similar").click()
    expect(page.locator('#grid[data-kind="similar"] .tile').first).to_be_visible()
    expect(page).to_have_url(re.compile(rf"\bto={row}\b"))


def _pull_the_band(page: Page) -> None:
    page.locator("#queue-menu summary").click()
    page.locator('#queue-menu button[value="band"]').click()
    low, high = page.locator("#band-low"), page.locator("#band-high")
    expect(low).to_have_value("0.3")
    expect(high).to_have_value("0.8")
    high.focus()
    page.keyboard.press("End")
    low.focus()
    page.keyboard.press("Home")
    count = page.locator("#pull-count")
    expect(count).to_have_text(re.compile(r"^\d+ images$"))
    n = int((count.text_content() or "").split()[0])
    assert n == 210 - 24, "all that is not labeled"
    page.get_by_role("button", name=re.compile("^Pull")).click()
    expect(page.locator('#grid[data-kind="band"] .tile').first).to_be_visible()


def _measure_on_the_images_page(page: Page, site: str) -> None:
    """Make a choice and press a button right after it: neither aborts the other."""
    page.goto(f"{site}/d/digits/images/")
    page.get_by_label("Stretch", exact=True).select_option("linear")
    page.get_by_role("button", name="Measure limits").click()
    expect(page.get_by_label("White point")).to_have_value(re.compile(r"\d"))


def _select_a_cluster_of_the_umap(page: Page, site: str) -> None:
    """Click inside an outline of the UMAP, which is made automatically, to select the images in it."""

    def is_umap() -> bool:
        page.goto(f"{site}/d/digits/map/")
        return "UMAP" in (page.locator(".map-which > summary, #map-pane h2").first.text_content() or "")

    wait_until(is_umap, seconds=600, why="the UMAP map")
    outlines = page.locator("#map-marks .cluster")
    expect(outlines.first).to_be_attached()
    for place in page.evaluate(_MIDDLES):
        page.mouse.click(*place)
        page.wait_for_timeout(500)
        if "map=" in page.url:
            break
    expect(page).to_have_url(re.compile("map="))
    expect(page.locator("#region")).to_contain_text("Within a region")
    expect(page.locator("#grid .tile").first).to_be_visible()


# Places well inside of outlines, in the window's pixels.
_MIDDLES = """() => [...document.querySelectorAll("#map-marks .cluster")].map(outline => {
    const { left, top, width, height } = outline.getBoundingClientRect();
    return [[1 / 2, 1 / 2], [1 / 3, 1 / 2], [1 / 2, 1 / 3]].map(([x, y]) => [left + width * x, top + height * y]);
}).flat()"""


def _export(page: Page, site: str, labels: dict[str, str]) -> None:
    page.goto(f"{site}/d/digits/export/")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    archive = opened(download.value.path().read_bytes())
    rows = table(archive, "labels.csv")
    images = [name for name in archive.namelist() if name.startswith("images/")]
    assert {row["path"]: row["label"] for row in rows if row["label"]} == labels
    assert all(row["created_at"] for row in rows if row["label"])
    assert len(images) == len(labels), "images are included by default"
    text = json.dumps(manifest(archive))
    for name in ("python", "astropy", "umap-learn", "embedding_backend"):
        assert name in text, name
