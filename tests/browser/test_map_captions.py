"""Captions of clusters on the map: they neither overlap nor leave the map, hidden ones appear on demand, and cards."""

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from labeling.models import Item
from modeling.models import Projection
from tests.browser.axe import require_accessible
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.browser.map_page import Map
from tests.factories import decide, not_none
from tests.sampling.maps.factories import add_map

LONG = "spiral galaxy seen from the side with a prominent dust lane"
N = 600
VISIBLE = """() => [...document.querySelectorAll('#map-marks .caption')].filter(text => text.style.display !== 'none')
    .map(text => text.getBoundingClientRect()).map(({ left, right, top, bottom }) => ({ left, right, top, bottom }))"""


@pytest.fixture
def crowded(site: Site, page: Page) -> Map:
    """Provide a map of 24 clusters close to each other, half of them with labels of a class with a long name."""
    dataset = site.dataset(N, classes=(LONG, "dog"))
    at = np.arange(N) % 24
    rng = np.random.default_rng(0)
    places = np.stack([at % 6, at // 6], axis=1) * 10 + rng.normal(size=(N, 2)) * 0.8
    decide(dataset, "assign", [row for row in range(N) if row % 24 < 12], LONG)
    return Map(Bench(page, site.address, dataset), add_map(dataset, places))


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 720), (1920, 1080)])
def test_captions_neither_overlap_nor_leave_the_map(crowded: Map, page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    crowded.open()
    expect(page.locator(".cluster")).to_have_count(24)
    for step in range(4):
        boxes = page.evaluate(VISIBLE)
        assert boxes, f"no caption after {step} steps"
        assert len(boxes) >= min(3, 12 // (1 + step))
        view = not_none(crowded.view.bounding_box())
        for at, box in enumerate(boxes):
            assert box["left"] >= view["x"] - 1
            assert box["right"] <= view["x"] + view["width"] + 1
            assert box["top"] >= view["y"] - 1
            assert box["bottom"] <= view["y"] + view["height"] + 1
            for other in boxes[at + 1 :]:
                is_apart = (
                    box["right"] <= other["left"]
                    or other["right"] <= box["left"]
                    or box["bottom"] <= other["top"]
                    or other["bottom"] <= box["top"]
                )
                assert is_apart, (box, other)
        page.locator('[data-map-zoom="1.6"]').click()
        crowded.drawn()


def test_long_names_take_two_lines_and_hidden_captions_appear_on_demand(crowded: Map, page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    crowded.open()
    expect(page.locator(".cluster")).to_have_count(24)
    caption = page.locator("#map-marks .caption", has_text="spiral").first
    expect(caption.locator(".title")).to_have_count(2)
    expect(caption).to_contain_text("25 of 25 labels, 25 images")
    expect(caption).not_to_contain_text("%")
    hidden = page.locator("#map-marks .caption:not(:visible)")
    if not hidden.count():
        pytest.fail("All captions fit: the map is not crowded.")
    cluster = not_none(hidden.first.get_attribute("data-cluster"))
    n_before = len(page.evaluate(VISIBLE))
    outline = page.locator(f'.cluster[data-cluster="{cluster}"]')
    box = not_none(outline.bounding_box())
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(f'.caption[data-cluster="{cluster}"]')).to_be_visible()
    view = not_none(crowded.view.bounding_box())
    page.mouse.move(view["x"] + 2, view["y"] + view["height"] - 2)
    expect(page.locator(f'.caption[data-cluster="{cluster}"]')).to_be_hidden()
    assert len(page.evaluate(VISIBLE)) == n_before


def test_captions_leave_the_notice_of_a_region_free(crowded: Map, page: Page) -> None:
    crowded.open()
    expect(page.locator(".cluster")).to_have_count(24)
    crowded.click(crowded.spots()[np.arange(N) % 24 == 14].mean(axis=0))
    expect(page.locator("#map-region")).to_contain_text("in the region")
    notice = not_none(page.locator("#map-region").bounding_box())
    for box in page.evaluate(VISIBLE):
        is_right_of, is_below = (
            box["left"] >= notice["x"] + notice["width"],
            box["top"] >= notice["y"] + notice["height"],
        )
        assert is_right_of or is_below, box


# -- Cards ----------------------------------------------------------------------------------------
@pytest.fixture
def heaps(bench: Bench) -> Projection:
    at = np.arange(60)
    centers = np.array([[0, 0], [10, 1], [1, 10], [11, 11]])
    return add_map(bench.dataset, centers[at % 4] + np.stack([(at // 4) % 4, at // 16], axis=1) * 0.5)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 720), (1920, 1080)])
def test_the_card_says_what_a_point_is_and_leaves_the_pointer_free(
    bench: Bench, heaps: Projection, page: Page, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    decide(bench.dataset, "assign", [5], "cat")
    plane = Map(bench, heaps).open()
    expect(page.locator(".cluster")).to_have_count(4)
    view, card = not_none(plane.view.bounding_box()), page.locator("#map-card")
    for row in (5, 0, 58, 23):
        x, y = plane.spots()[row] + [view["x"], view["y"]]
        page.mouse.move(x, y)
        expect(card).to_contain_text(Item.objects.get(row=row).path)
        expect(card.locator("img")).to_be_visible()
        expect(card).to_contain_text("Cluster")
        expect(card.locator(".decided")).to_have_text("cat" if row == 5 else "Unlabeled")
        box = not_none(card.bounding_box())
        is_over = box["x"] <= x <= box["x"] + box["width"] and box["y"] <= y <= box["y"] + box["height"]
        assert not is_over, (box, x, y)
        assert box["x"] >= view["x"]
        assert box["x"] + box["width"] <= view["x"] + view["width"]
    require_accessible(page)
    page.mouse.move(view["x"] + view["width"] / 2, view["y"] + 2)
    expect(card).to_be_hidden()


def test_a_tap_shows_the_card_and_a_second_one_the_cluster(
    browser: Browser, site: Site, bench: Bench, heaps: Projection
) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 1024, "height": 768})
    page = context.new_page()
    plane = Map(Bench(page, site.address, bench.dataset), heaps).open()
    expect(page.locator(".cluster")).to_have_count(4)
    view, spot, card = not_none(plane.view.bounding_box()), plane.spots()[5], page.locator("#map-card")
    page.touchscreen.tap(view["x"] + spot[0], view["y"] + spot[1])
    expect(card).to_contain_text(Item.objects.get(row=5).path)
    expect(page.locator("#map-region")).to_be_hidden()
    card.get_by_role("button", name="Show its images").click()
    expect(page.locator("#map-region")).to_contain_text("15 images in the region")
    page.get_by_role("button", name="Show all images").click()
    other = plane.spots()[6]
    for _ in range(2):
        page.touchscreen.tap(view["x"] + other[0], view["y"] + other[1])
    expect(page.locator("#map-region")).to_contain_text("15 images in the region")
    context.close()


def test_the_card_of_the_crosshair_leaves_its_center_free(bench: Bench, heaps: Projection, page: Page) -> None:
    plane = Map(bench, heaps).open()
    expect(page.locator(".cluster")).to_have_count(4)
    bench.press("m", "Home")
    card = page.locator("#map-card")
    for _ in range(8):
        bench.press("ArrowLeft", "ArrowDown")
    expect(card).to_be_visible()
    expect(card).to_contain_text("Cluster")
    view, box = not_none(plane.view.bounding_box()), not_none(card.bounding_box())
    x, y = page.locator('#map-marks [data-part="crosshair"]').evaluate(
        "path => { const { x, y, width, height } = path.getBBox(); return [x + width / 2, y + height / 2]; }"
    )
    x, y = x + view["x"], y + view["y"]
    assert not (box["x"] <= x <= box["x"] + box["width"] and box["y"] <= y <= box["y"] + box["height"])
