"""How images are viewed: brightness, contrast, gamma and inversion, recorded with labels, and the scale bar."""

import io
import re

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from playwright.sync_api import Page, expect

from labeling.models import Annotation, Frame
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.labeling.factories import orion_header


def _newest_rendering() -> str:
    return Annotation.objects.latest("pk").rendering


def _filter_of(page: Page, selector: str) -> str:
    return str(page.locator(selector).first.evaluate("image => getComputedStyle(image).filter"))


def test_an_inverted_view_is_recorded_and_stored(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    assert _filter_of(page, ".tile .picture img") == "none"
    bench.press("i")
    expect(bench.toasts).to_contain_text("Images inverted")
    assert "view-adjustment" in _filter_of(page, ".tile .picture img")
    bench.press("1")
    bench.settle()
    assert _newest_rendering() == "inverted view"
    page.reload()
    bench.ready()
    assert "view-adjustment" in _filter_of(page, ".tile .picture img")
    bench.press("i")
    assert _filter_of(page, ".tile .picture img") == "none"
    bench.press("1")
    bench.settle()
    assert _newest_rendering() == ""


def test_the_filter_changes_the_pixels_as_it_says(bench: Bench, page: Page) -> None:
    """Compare the shown pixels of a tile with the formula."""
    bench.open("queue=all")
    image = page.locator(".tile .picture img").nth(3)
    before = _center(page, image.bounding_box())
    bench.press("e")
    panel = page.get_by_role("region", name="Brightness and contrast")
    panel.get_by_label("Brightness").fill("20")
    panel.get_by_label("Contrast").fill("-6")
    panel.get_by_label("Gamma").fill("6")
    panel.get_by_label("Invert").check()
    after = _center(page, image.bounding_box())
    contrast, gamma = 10 ** (-6 / 20), 10 ** (6 / 20)
    expected = 255 * np.clip(contrast * (0.5 - before / 255) + 0.7, 0, 1) ** (1 / gamma)
    assert np.abs(after - expected).max() < 4
    assert np.abs(after - before).max() > 10


def _center(page: Page, box: dict[str, float] | None) -> np.ndarray:
    """Return the mean color of the middle of a box on the screen."""
    assert box is not None
    clip = {"x": box["x"] + box["width"] / 2 - 2, "y": box["y"] + box["height"] / 2 - 2, "width": 4, "height": 4}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]
    return np.asarray(picture, float).mean(axis=(0, 1))


def test_the_panel_by_keyboard(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    bench.press("e")
    panel = page.get_by_role("region", name="Brightness and contrast")
    expect(panel.get_by_label("Brightness")).to_be_focused()
    bench.press("ArrowRight", "ArrowRight")
    assert bench.index() == 0
    bench.press("2")  # classes are labeled while the panel is open
    bench.settle()
    assert _newest_rendering() == "brightness +10 %"
    require_accessible(page)
    require_no_wider_than_the_window(page)
    panel.get_by_role("button", name="Reset").click()
    assert _filter_of(page, ".tile .picture img") == "none"
    bench.press("Escape")
    expect(panel).to_be_hidden()
    bench.press("ArrowRight")
    assert bench.index() == 2


def test_the_detail_has_a_button_for_the_panel(bench: Bench, page: Page) -> None:
    bench.open("queue=all")
    bench.press(" ")
    page.locator("#side").get_by_role("button", name="Brightness and contrast").click()
    page.locator("#adjustment").get_by_label("Contrast").fill("10")
    expect(page.locator("#side [data-adjust]")).to_have_attribute("aria-pressed", "true")
    assert "view-adjustment" in _filter_of(page, "#side-body .zoom img")
    page.locator("#adjustment").get_by_role("button", name="Close").click()
    expect(page.locator("#adjustment")).to_be_hidden()
    page.goto(f"{bench.url}items/3/")
    expect(page.locator("[data-zoom-level]")).to_have_text(re.compile(r"\d+ %"))
    assert "view-adjustment" in _filter_of(page, ".zoom img")
    page.keyboard.press("1")
    expect(page.locator(".history li").first).to_contain_text("shown as contrast 3.2")


@pytest.fixture
def orion(site: Site, page: Page) -> Bench:
    dataset = site.dataset(2)
    for number in range(2):
        values = np.tile(np.arange(60, dtype=np.float32), (40, 1))
        header = orion_header() if number == 0 else None
        fits.PrimaryHDU(values, header).writeto(dataset.data_dir / f"image{number:04d}.png", overwrite=True)
    Frame.objects.filter(dataset=dataset).update(format="FITS", width=60, height=40)
    return Bench(page, site.address, dataset)


def test_the_scale_bar_follows_the_zoom(orion: Bench, page: Page) -> None:
    page.goto(f"{orion.url}items/0/")
    bar = page.locator(".scale-bar")
    expect(bar).to_be_visible()
    first = bar.inner_text()
    assert re.fullmatch(r"\d+[°′″]", first.strip())
    _assert_true_to_scale(page)
    for _ in range(4):
        page.get_by_role("button", name="Zoom in").click()
    expect(bar).not_to_have_text(first)
    _assert_true_to_scale(page)


def _assert_true_to_scale(page: Page) -> None:
    """Compare the bar's length with the image's: 60 pixels of 1.8 seconds of arc."""
    text = page.locator(".scale-bar").inner_text().strip()
    seconds = float(text[:-1]) * {"°": 3600, "′": 60, "″": 1}[text[-1]]
    length = page.locator(".scale-bar i").evaluate("bar => bar.getBoundingClientRect().width")
    pixels = float(page.locator("[data-zoom]").get_attribute("data-pixels") or 0)
    assert length == pytest.approx(seconds / 1.8 * pixels, rel=0.02)
    level = int(page.locator("[data-zoom-level]").inner_text().removesuffix(" %"))
    assert pixels == pytest.approx(level / 100, rel=0.02)


def test_no_scale_bar_without_a_scale(orion: Bench, page: Page) -> None:
    page.goto(f"{orion.url}items/1/")
    expect(page.locator("[data-zoom-level]")).to_have_text(re.compile(r"\d+ %"))
    expect(page.locator(".scale-bar")).to_be_hidden()
