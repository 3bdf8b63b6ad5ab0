"""Compare in a real browser: beside labeled images, where class keys label and the arrow keys move on."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from labeling.models import Item
from tests.browser.axe import require_accessible, require_no_wider_than_the_window
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.modeling.factories import add_three_kinds, import_labels


@pytest.fixture
def bench(site: Site, page: Page) -> Bench:
    """Provide a workbench with 60 pictures of three kinds, the first 12 labeled."""
    dataset = site.dataset(classes=("cat", "dog", "wolf"))
    _, y = add_three_kinds(dataset)
    import_labels(dataset, list(range(12)), y)
    return Bench(page, site.address, dataset)


def test_y_compares_and_a_class_key_labels_the_image(bench: Bench) -> None:
    page = bench.open().page
    bench.press("y")
    panel = page.locator("#compare")
    expect(panel.locator(".compare-path")).to_have_text("image0012.png")
    expect(panel.locator(".compare-class")).to_have_count(2)
    expect(panel.locator(".compare-class img")).to_have_count(6)
    expect(panel).to_be_focused()
    expect(page.locator("#stage")).to_have_attribute("inert", "")
    assert panel.locator("img").evaluate_all("images => images.every(image => image.alt)")
    bench.press("1")
    expect(panel.locator(".compare-path")).to_have_text("image0013.png")
    bench.press("ArrowRight")
    expect(panel.locator(".compare-path")).to_have_text("image0014.png")
    bench.press("z")
    expect(panel.locator(".compare-path")).to_have_text("image0012.png")
    bench.settle()
    assert not Item.objects.get(row=12).label
    bench.press("3")
    bench.settle()
    bench.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.locator("#grid .tile.here")).to_be_focused()
    assert bench.outcome(Item.objects.get(row=12).pk) == (1, "wolf")
    bench.press("y", "y")
    expect(panel).to_be_hidden()


def test_another_second_class_stays_chosen_until_the_panel_is_closed(bench: Bench) -> None:
    page = bench.open().page
    bench.press("y")
    classes = page.locator("#compare .compare-class .name")
    expect(classes).to_have_count(2)
    first, second = classes.all_inner_texts()
    (third,) = {"cat", "dog", "wolf"} - {first, second}
    page.get_by_label("Second class").select_option(third)
    expect(classes).to_have_text([first, third])
    expect(page.locator("#compare")).to_be_focused()
    bench.press("ArrowRight")
    expect(page.locator("#compare .compare-path")).to_have_text("image0013.png")
    assert third in classes.all_inner_texts()
    bench.press("y", "y")
    expect(classes).to_have_count(2)


def test_the_button_in_the_detail_compares_with_the_mouse(bench: Bench) -> None:
    page = bench.open().page
    bench.press("Enter")
    page.get_by_role("button", name="Compare with labeled images").click()
    expect(page.locator("#compare .compare-class")).to_have_count(2)
    page.locator("#class-pane").get_by_role("button", name=re.compile("dog")).click()
    expect(page.locator("#compare .compare-path")).to_have_text("image0013.png")
    page.locator("#compare").get_by_role("button", name="Close").click()
    expect(page.locator("#compare")).to_be_hidden()
    bench.settle()
    assert bench.outcome(Item.objects.get(row=12).pk) == (1, "dog")


def test_the_comparison_follows_when_the_page_turns(bench: Bench) -> None:
    page = bench.open().page
    bench.press("y")
    path = page.locator("#compare .compare-path")
    expect(path).to_have_text("image0012.png")
    next_path = f"image{12 + bench.n_tiles():04d}.png"
    bench.press("n")
    expect(path).to_have_text(next_path)
    bench.press("2", "Escape")
    bench.settle()
    assert bench.outcome(Item.objects.get(path=next_path).pk) == (1, "dog")


def test_blind_mode_closes_the_comparison(bench: Bench) -> None:
    page = bench.open().page
    bench.press("y")
    expect(page.locator("#compare .compare-class")).to_have_count(2)
    bench.press("b")
    expect(page.locator("#compare")).to_be_hidden()


def test_on_the_page_of_an_item(bench: Bench) -> None:
    page = bench.page
    page.goto(f"{bench.url}items/20/")
    page.keyboard.press("y")
    panel = page.locator("#compare")
    expect(panel.locator(".compare-class")).to_have_count(2)
    page.keyboard.press("2")
    expect(panel.locator("figcaption").first).to_contain_text("dog")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.get_by_role("button", name="Compare with labeled images").click()
    expect(panel.locator(".compare-class")).to_have_count(2)
    assert bench.outcome(Item.objects.get(row=20).pk) == (1, "dog")
    require_accessible(page)


def test_what_is_missing_is_said(site: Site, page: Page) -> None:
    bench = Bench(page, site.address, site.dataset(6)).open()
    bench.press("y")
    expect(page.locator("#compare")).to_contain_text("No embeddings yet")
    bench.press("1")  # labels all the same
    expect(page.locator("#compare .compare-path")).to_have_text("image0001.png")


def test_the_key_can_be_changed(bench: Bench) -> None:
    page = bench.open().page
    bench.press("?")
    page.locator('[data-rebind="compare"]').click()
    page.keyboard.press("h")
    page.keyboard.press("Escape")
    bench.press("h")
    expect(page.locator("#compare .compare-class")).to_have_count(2)


def test_the_comparison_is_accessible_and_fits(bench: Bench) -> None:
    page = bench.open().page
    bench.press("y")
    expect(page.locator("#compare .compare-class")).to_have_count(2)
    require_accessible(page)
    require_no_wider_than_the_window(page)
    page.set_viewport_size({"width": 1280, "height": 720})
    boxes = [dict(page.locator("#compare img").nth(n).bounding_box() or {}) for n in range(7)]
    assert min(np.array([box["height"] for box in boxes])) > 120
    assert max(box["y"] + box["height"] for box in boxes) < 720


def test_the_browsers_back_closes_the_comparison_and_stays_on_the_page(bench: Bench) -> None:
    page = bench.open("queue=all").page
    address, panel = page.url, page.locator("#compare")
    page.evaluate("window.isSamePage = true")
    bench.press("y")
    expect(panel.locator(".compare-class")).to_have_count(2)
    page.go_back()
    expect(panel).to_be_hidden()
    expect(page.locator("#grid .tile.here")).to_be_focused()
    bench.press("y")
    expect(panel).to_be_visible()
    bench.press("Escape")
    expect(panel).to_be_hidden()
    assert (page.url, page.evaluate("window.isSamePage")) == (address, True)
