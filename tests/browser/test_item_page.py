"""An item in a real browser: zoom and pan of its image, and deciding on its own page."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from labeling.decisions import classes
from labeling.decisions.content_changes import mark_content_changed
from labeling.models import Annotation, Item, LabelClass, State
from tests.browser.bench import Bench, Held, wait_while_the_page_runs
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model
from tests.factories import not_none


@pytest.fixture
def item_page(site: Site, page: Page) -> Page:
    """Provide the page of item 2 of 5."""
    dataset = site.dataset(5)
    page.goto(f"{site.address}/d/{dataset.slug}/items/2/")
    expect(page.locator("[data-zoom-level]")).to_have_text(re.compile(r"\d+ %"))
    return page


def level(page: Page) -> int:
    return int(page.locator("[data-zoom-level]").inner_text().removesuffix(" %"))


def box_of(image: Locator) -> dict[str, float]:
    return dict(not_none(image.bounding_box()))


# -- Zoom and pan ---------------------------------------------------------------------------------
def test_the_whole_image_is_seen_first_and_buttons_zoom(item_page: Page) -> None:
    zoom, image = item_page.locator("[data-zoom]"), item_page.locator("[data-zoom] img")
    all_of_it = level(item_page)
    assert box_of(image)["height"] <= box_of(zoom)["height"] + 1
    item_page.get_by_role("button", name="Zoom in").click()
    assert level(item_page) == pytest.approx(all_of_it * 1.5, abs=2)
    item_page.get_by_role("button", name="Zoom out").click()
    assert level(item_page) == all_of_it
    item_page.get_by_role("button", name="Zoom out").click()
    assert level(item_page) == all_of_it


def test_the_wheel_zooms_where_the_pointer_is(item_page: Page) -> None:
    zoom, image = item_page.locator("[data-zoom]"), item_page.locator("[data-zoom] img")
    frame, before = box_of(zoom), box_of(image)
    # Whole pixels, as the browser rounds where a wheel was turned.
    x, y = round(frame["x"] + frame["width"] * 0.55), round(frame["y"] + frame["height"] * 0.4)
    share = (y - before["y"]) / before["height"]
    item_page.mouse.move(x, y)
    for _ in range(4):
        item_page.mouse.wheel(0, -400)
    expect(zoom).to_have_class(re.compile("zoomed"))
    # Playwright does not wait until a turn of the wheel has an effect.
    wait_while_the_page_runs(item_page, lambda: box_of(image)["height"] > before["height"] * 2, why="the zoom")
    after = box_of(image)
    assert after["height"] > before["height"] * 2
    assert after["y"] + share * after["height"] == pytest.approx(y, abs=2)
    assert item_page.evaluate("scrollY") == 0


def test_dragging_moves_and_stops_at_the_edge(item_page: Page) -> None:
    zoom, image = item_page.locator("[data-zoom]"), item_page.locator("[data-zoom] img")
    zoom.dblclick(position={"x": 300, "y": 150})
    frame, before = box_of(zoom), box_of(image)
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    item_page.mouse.move(*middle)
    item_page.mouse.down()
    item_page.mouse.move(middle[0], middle[1] + 40)
    item_page.mouse.up()
    assert box_of(image)["y"] == pytest.approx(before["y"] + 40, abs=1)
    item_page.mouse.down()
    item_page.mouse.move(middle[0], middle[1] + 5000)
    item_page.mouse.up()
    # The image's upper edge is at the frame's: nothing but image is seen.
    assert box_of(image)["y"] == pytest.approx(frame["y"], abs=1)
    item_page.mouse.move(*middle)
    assert box_of(image)["y"] == pytest.approx(frame["y"], abs=1)


def test_a_double_click_goes_in_and_out(item_page: Page) -> None:
    zoom, all_of_it = item_page.locator("[data-zoom]"), level(item_page)
    zoom.dblclick(position={"x": 200, "y": 100})
    assert level(item_page) > all_of_it
    zoom.dblclick(position={"x": 200, "y": 100})
    assert level(item_page) == all_of_it
    assert item_page.locator("[data-zoom] img").get_attribute("style") == ""


def test_keys_zoom_and_move_while_the_image_has_the_focus(item_page: Page) -> None:
    zoom, image = item_page.locator("[data-zoom]"), item_page.locator("[data-zoom] img")
    all_of_it = level(item_page)
    zoom.focus()
    for _ in range(3):
        item_page.keyboard.press("+")
    assert level(item_page) > all_of_it * 3
    before = box_of(image)
    item_page.keyboard.press("ArrowDown")
    assert box_of(image)["y"] < before["y"] - 10
    item_page.keyboard.press("Home")
    assert level(item_page) == all_of_it
    assert item_page.url.endswith("/items/2/")
    # Not zoomed, the arrows turn the page as anywhere else.
    item_page.keyboard.press("ArrowRight")
    item_page.wait_for_url("**/items/3/")


def test_small_images_stay_sharp(item_page: Page) -> None:
    image = item_page.locator("[data-zoom] img")
    assert image.evaluate("element => getComputedStyle(element).imageRendering") == "pixelated"


# -- Deciding -------------------------------------------------------------------------------------
def state_of(row: int) -> tuple[int, str]:
    item = Item.objects.select_related("label").get(row=row)
    return item.state, item.label.name if item.label else ""


def test_digits_decide_and_z_takes_back(item_page: Page) -> None:
    now = item_page.locator(".detail-state")
    item_page.keyboard.press("2")
    expect(item_page.locator('[data-decide][aria-pressed="true"]')).to_have_text(re.compile("dog"))
    expect(now).to_have_text("Now: dog")
    assert state_of(2) == (1, "dog")
    annotation = Annotation.objects.get()
    assert annotation.queue == "opened"
    assert annotation.seconds is not None
    expect(item_page.locator(".history li")).to_have_count(1)

    for key, state in (("0", "unsure"), ("x", "skipped"), ("z", "unsure"), ("z", "dog"), ("z", "unlabeled")):
        item_page.keyboard.press(key)
        expect(now).to_have_text(f"Now: {state}")
    assert state_of(2) == (0, "")
    item_page.keyboard.press("z")
    expect(item_page.locator("#toasts")).to_contain_text("nothing left to undo")


def test_the_image_stays_as_it_is_looked_at_while_deciding(item_page: Page) -> None:
    for _ in range(3):
        item_page.get_by_role("button", name="Zoom in").click()
    seen = level(item_page)
    image = not_none(item_page.locator("[data-zoom] img").element_handle())
    item_page.get_by_role("button", name="cat").click()
    expect(item_page.locator(".detail-state")).to_have_text("Now: cat")
    expect(item_page.locator(".history li")).to_have_count(1)
    assert image.evaluate("element => element.isConnected")
    assert level(item_page) == seen
    expect(item_page.get_by_role("button", name="cat")).to_be_focused()


def test_arrows_turn_the_page_and_stop_at_the_ends(item_page: Page) -> None:
    for key, row in (("ArrowRight", 3), ("ArrowRight", 4)):
        item_page.keyboard.press(key)
        item_page.wait_for_url(f"**/items/{row}/")
        expect(item_page.locator("[data-zoom-level]")).not_to_be_empty()
    item_page.keyboard.press("ArrowRight")
    item_page.keyboard.press("ArrowLeft")
    item_page.wait_for_url("**/items/3/")


def test_a_decision_waits_for_the_server(item_page: Page) -> None:
    item_page.route("**/annotate/", lambda route: route.abort())
    item_page.keyboard.press("1")
    expect(item_page.locator("#banner")).to_contain_text("1 unsent label in this browser")
    expect(item_page.locator(".detail-state")).to_have_text("Now: cat (saving)")
    item_page.unroute("**/annotate/")
    item_page.get_by_role("button", name="Try now").click()
    expect(item_page.locator(".detail-state")).to_have_text("Now: cat")
    expect(item_page.locator("#banner")).to_be_hidden()
    assert state_of(2) == (1, "cat")


def test_a_class_deleted_meanwhile_is_refused_in_words(item_page: Page) -> None:
    classes.delete(LabelClass.objects.get(name="cat"), user=None)
    item_page.keyboard.press("1")
    expect(item_page.locator("#toasts")).to_contain_text("no longer exists")
    expect(item_page.locator(".detail-state")).to_have_text("Now: unlabeled")
    expect(item_page.get_by_role("button", name="cat")).to_have_count(0)


# -- In the side pane -----------------------------------------------------------------------------
def test_the_side_pane_zooms_without_disturbing_the_grid(bench: Bench) -> None:
    LabelClass.objects.filter(name="bird").update(name="a class of a rather long name " * 2)
    bench.open()
    bench.press("Enter")
    zoom = bench.page.locator("#side [data-zoom]")
    expect(bench.page.locator("#side [data-zoom-level]")).to_have_text(re.compile(r"\d+ %"))
    before, n = level(bench.page), bench.n_tiles()
    pane = bench.page.locator("#side-body")
    assert pane.evaluate("pane => pane.scrollWidth - pane.clientWidth") == 0
    zoom.focus()
    bench.press("+")
    assert level(bench.page) > before
    assert bench.n_tiles() == n
    bench.press("2")
    assert Item.objects.get(row=0).state in (0, 1)  # the digit went to the grid, which saves behind it
    expect(bench.page.locator("#grid .tile").first).to_have_attribute("data-state", "1")


@pytest.mark.parametrize("size", [(1280, 720), (1024, 900), (1920, 1080)])
def test_the_full_detail_leaves_no_empty_band_below_the_image(bench: Bench, size: tuple[int, int]) -> None:
    page = bench.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    bench.open()
    bench.press("Enter", "Enter")
    pane, zoom, state = page.locator("#side-body"), page.locator("#side .zoom"), page.locator(".detail-state")
    expect(zoom).to_be_visible()
    whole = not_none(pane.bounding_box())
    end = whole["y"] + whole["height"]
    for _ in range(2):  # also scrolled to the end
        box = not_none(zoom.bounding_box())
        assert end - 16 <= box["y"] + box["height"] <= end
        title = not_none(page.locator(".detail-head").bounding_box())
        assert title["y"] >= whole["y"]
        assert box["y"] >= title["y"] + title["height"]
        pane.evaluate("pane => pane.scrollTo(0, pane.scrollHeight)")
    pane.evaluate("pane => pane.scrollTo(0, 0)")
    assert not_none(state.bounding_box())["y"] < whole["y"] + 140, "the decisions begin beside the top of the image"


def test_the_decisions_stay_in_place_while_the_next_probabilities_load(bench: Bench) -> None:
    add_falling_model(bench.dataset)
    bench.open()
    bench.press("Enter")
    bars = bench.page.locator("#side .probabilities")
    expect(bars).to_be_visible()
    place = bench.page.locator("#side").get_by_role("heading", name="Decisions")
    expect(bench.page.locator("#item-guide")).to_contain_text("suggested")
    before = place.bounding_box()
    held = Held(bench.page, "**/probabilities/**")
    bench.press("ArrowRight")
    held.wait_for(1)
    expect(bars).to_have_count(0)
    assert place.bounding_box() == before
    held.release_all()
    expect(bars).to_be_visible()
    assert place.bounding_box() == before


def test_a_class_takes_the_letter_of_skip(item_page: Page) -> None:
    LabelClass.objects.filter(name="dog").update(key=None, letter="x")
    item_page.reload()
    item_page.keyboard.press("Shift+X")
    expect(item_page.locator("#detail")).to_have_attribute("data-state", str(State.SKIPPED.value))
    wait_while_the_page_runs(item_page, lambda: Item.objects.get(row=2).state == State.SKIPPED, why="the decision")
    mark_content_changed([Item.objects.get(row=2).pk])
    item_page.reload()
    expect(item_page.locator("[data-key-of=skip]")).to_have_text("⇧X")
    item_page.keyboard.press("x")
    expect(item_page.locator(".detail-decide [aria-pressed=true] [data-name]")).to_have_text("dog")
    expect(item_page.locator("#confirm-changed")).to_have_count(0)
    assert Item.objects.get(row=2).state == State.LABELLED


def test_a_class_goes_to_the_image_that_the_arrows_of_the_detail_show(bench: Bench, page: Page) -> None:
    """Use a queue whose order is not that of the folder."""
    bench.open("queue=random&seed=3")
    bench.press("Enter")
    names = [tile.get_attribute("data-name") or "" for tile in bench.tiles.all()[:2]]
    title = page.locator("#side-body .detail-title")
    expect(title).to_have_text(names[0])
    page.get_by_role("button", name="Next image").click()
    expect(title).to_have_text(names[1])
    page.locator("#class-pane .class").nth(1).click()
    bench.settle()
    assert list(Item.objects.exclude(label=None).values_list("path", flat=True)) == [names[1]]
