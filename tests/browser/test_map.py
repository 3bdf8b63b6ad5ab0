"""The map in a real browser: regions by hand, outline and keyboard fill the grid; labels recolour points at once."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from labeling.models import Annotation
from modeling.models import Projection
from tests.browser.axe import serious_violations
from tests.browser.bench import Bench, tell_job_finished
from tests.browser.conftest import Site
from tests.browser.factories import add_falling_model, label_counts
from tests.browser.map_page import Map
from tests.factories import decide, not_none
from tests.sampling.maps.factories import add_map

N = 60
HEAPS = np.array([[0, 0], [10, 1], [1, 10], [11, 11]])


def heap(number: int) -> np.ndarray:
    return np.flatnonzero(np.arange(N) % 4 == number)


def rgb(hexadecimal: str) -> tuple[int, ...]:
    return tuple(int(hexadecimal[at : at + 2], 16) for at in (1, 3, 5))


def is_near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 6


@pytest.fixture
def projection(bench: Bench) -> Projection:
    """Provide four heaps of 15 points, their rows interleaved; the points of each heap lie apart from each other."""
    at = np.arange(N)
    within = np.stack([(at // 4) % 4, at // 16], axis=1) * 0.5
    return add_map(bench.dataset, HEAPS[at % 4] + within)


@pytest.fixture
def plane(bench: Bench, projection: Projection) -> Map:
    # Small tiles, so that a cluster of 15 images fits beside the map.
    bench.page.add_init_script("localStorage.setItem('hoshina:tile-size', '80')")
    return Map(bench, projection)


def test_a_lassoed_heap_is_labelled_with_a_key_recoloured_and_taken_back(plane: Map, page: Page) -> None:
    plane.open()
    rows = heap(1)
    other = int(heap(2)[0])
    before = {row: plane.colour(row) for row in [*rows.tolist(), other]}
    plane.lasso(rows)
    expect(page.locator("#map-region")).to_contain_text("15 images in the region")
    expect(plane.bench.tiles).to_have_count(15)
    assert set(plane.bench.rows()) == set(rows.tolist())
    page.keyboard.press("Control+a")
    plane.bench.press("1")
    cat = rgb(plane.bench.dataset.classes.get(name="cat").colour)
    plane.bench.settle()
    plane.drawn()
    assert all(is_near(plane.colour(int(row)), cat) for row in rows)
    assert is_near(plane.colour(other), before[other]), "the others stay as they were"
    assert label_counts(plane.bench.dataset) == {"cat": 15, "dog": 0, "bird": 0}

    plane.bench.press("z")
    plane.bench.settle()
    plane.drawn()
    assert all(is_near(plane.colour(row), seen) for row, seen in before.items())
    assert label_counts(plane.bench.dataset) == {"cat": 0, "dog": 0, "bird": 0}


def test_a_label_for_a_region_leaves_alone_what_has_it_already(plane: Map, page: Page) -> None:
    rows, cat = heap(1), plane.bench.dataset.classes.get(name="cat")
    decide(plane.bench.dataset, "assign", rows[:3].tolist(), "cat")
    decide(plane.bench.dataset, "assign", rows[3:].tolist(), "dog")
    plane.open("queue=all&state=any")
    plane.lasso(rows)
    expect(plane.bench.tiles).to_have_count(15)
    page.keyboard.press("Control+a")
    plane.bench.press("1")
    expect(page.locator("#toasts")).to_contain_text("12 labeled as cat, 3 already were.")
    plane.bench.settle()
    assert label_counts(plane.bench.dataset)["cat"] == 15
    of_cats = Annotation.objects.filter(label=cat)
    assert of_cats.count() == of_cats.values("item").distinct().count() == 15

    page.keyboard.press("Control+a")
    plane.bench.press("1")
    expect(page.locator("#toasts")).to_contain_text("All 15 images already had the label cat.")
    page.keyboard.press("Escape")
    plane.bench.press("1")  # a single image is labeled again on request
    plane.bench.settle()
    assert of_cats.count() == 16


def test_on_a_phone_thumbnails_wait_until_the_map_is_zoomed(plane: Map, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 600})
    plane.open()
    thumbs = page.locator("#map-thumbs img")
    page.wait_for_timeout(600)  # longer than the map waits before it shows some
    expect(thumbs).to_have_count(0)
    plane.bench.press("m")
    expect(thumbs.first).to_be_visible()


def test_an_outline_is_clicked_and_its_cluster_swept(plane: Map, page: Page) -> None:
    add_falling_model(plane.bench.dataset)  # rows below 40 are cats
    cat = plane.bench.dataset.classes.get(name="cat")
    plane.open(f"queue=sweep&of={cat.pk}")
    expect(page.locator(".cluster:not(.gap)")).to_have_count(4)
    predicted = page.locator("#map-marks .caption", has_text="predicted")
    expect(predicted).to_have_count(4)
    plane.bench.press("b")  # whoever labels blind is not told by the map either
    expect(predicted).to_have_count(0)
    plane.bench.press("b")
    spot = page.evaluate(
        """row => {
        const [x, y] = row;
        const box = document.getElementById('map').getBoundingClientRect();
        for (const path of document.querySelectorAll('.cluster')) {
            const place = path.getBoundingClientRect();
            const [left, top] = [box.left + x, box.top + y];
            if (left < place.left || left > place.right || top < place.top || top > place.bottom) continue;
            for (let at = 0; at < path.getTotalLength(); at += path.getTotalLength() / 40) {
                const on = path.getPointAtLength(at).matrixTransform(path.getScreenCTM());
                if (document.elementFromPoint(on.x, on.y) === path) return [on.x - box.left, on.y - box.top];
            }
        }
        return null;
    }""",
        plane.spots()[int(heap(2)[5])].tolist(),
    )
    assert spot
    plane.click(np.array(spot))
    cats = {int(row) for row in heap(2) if row < 40}
    expect(page.locator("#map-region")).to_contain_text("15 images")
    expect(page.locator("#sweep-bar")).to_contain_text(f"{len(cats)} images")
    assert set(plane.bench.rows()) == cats
    n_later = page.locator("#grid .tile[data-later]").count()
    plane.bench.press("a")
    plane.bench.settle()
    expect(page.locator("#sweep-bar")).to_contain_text(f"{n_later} image")
    expect(page.locator("#sweep-bar")).to_contain_text("shown again")
    assert label_counts(plane.bench.dataset) == {"cat": len(cats) - n_later, "dog": 0, "bird": 0}
    plane.bench.press("a")
    plane.bench.settle()
    expect(page.locator("#grid")).to_contain_text("No cat left to sweep")
    assert label_counts(plane.bench.dataset) == {"cat": len(cats), "dog": 0, "bird": 0}


def test_everything_by_the_keyboard(plane: Map, page: Page) -> None:
    plane.open()
    plane.bench.press("m")
    expect(plane.view).to_be_focused()
    card = page.locator("#map-card")
    expect(card).to_contain_text(plane.bench.dataset.items.get(row=0).path)
    expect(page.locator("#map-thumbs img").first).to_be_visible()
    plane.bench.press("Home", "ArrowLeft")
    # From the middle of the pane to the middle of the first heap, and a circle around all of it.
    for _ in range(40):
        x, y, radius = cross(page)
        goal = plane.spots()[heap(0)].mean(axis=0)
        if abs(goal[0] - x) > 13:
            plane.bench.press("ArrowLeft" if goal[0] < x else "ArrowRight")
        elif abs(goal[1] - y) > 13:
            plane.bench.press("ArrowUp" if goal[1] < y else "ArrowDown")
        elif radius < np.linalg.norm(plane.spots()[heap(0)] - goal, axis=1).max() + 20:
            plane.bench.press("]")
        else:
            break
    expect(page.locator("#announcements")).to_have_text("15 images in the circle, 0 labeled. Press Enter to show them.")
    plane.bench.press("Enter")
    expect(plane.bench.tiles).to_have_count(15)
    assert set(plane.bench.rows()) == set(heap(0).tolist())
    expect(plane.bench.focused).to_be_focused()
    page.get_by_role("button", name="Show all images").click()
    expect(page.locator("#map-region")).to_be_hidden()
    expect(plane.bench.tiles).not_to_have_count(15)
    expect(plane.bench.focused).to_be_focused()

    page.locator("summary", has_text="Clusters").press("Enter")
    link = page.locator("#map-clusters-slot [data-cluster]").first
    link.focus()
    expect(page.locator(".cluster.highlighted")).to_have_count(1)
    link.press("Enter")
    expect(page.locator("#map-region")).to_contain_text("15 images in the region")
    expect(plane.bench.tiles).to_have_count(15)
    page.go_back()
    expect(page.locator("#map-region")).to_be_hidden()


def cross(page: Page) -> tuple[float, float, float]:
    """Return the position of the crosshair and the width of its circle, from its path in the overlay."""
    box = page.locator('#map-marks [data-part="crosshair"]').evaluate("""path => {
        const { x, y, width, height } = path.getBBox();
        return [x + width / 2, y + height / 2, width / 2];
    }""")
    return float(box[0]), float(box[1]), float(box[2])


def test_the_legend_filters_and_others_labels_arrive(plane: Map, page: Page) -> None:
    dataset = plane.bench.dataset
    decide(dataset, "assign", [0, 4, 8], "cat")
    plane.open()
    cat, none = rgb(dataset.classes.get(name="cat").colour), plane.colour(2)
    assert is_near(plane.colour(4), cat)
    legend = page.locator("#map-legend-slot")
    entry = legend.locator(".legend-entry", has_text="cat")
    expect(entry).to_contain_text("3")
    entry.click()
    plane.drawn()
    assert is_near(plane.colour(4), cat)
    assert not is_near(plane.colour(2), none), "what has no label is hidden"
    decide(dataset, "assign", [1, 5], "cat")
    page.evaluate("document.body.dispatchEvent(new CustomEvent('hoshina:saved'))")
    expect(entry).to_contain_text("5")
    plane.drawn()
    assert is_near(plane.colour(5), cat)
    expect(entry).to_have_attribute("aria-pressed", "true")
    entry.click()
    plane.drawn()
    assert is_near(plane.colour(2), none)


def test_what_there_is_to_do_without_a_map(site: Site, page: Page) -> None:
    bench = Bench(page, site.address, site.dataset(6))
    page.goto(f"{bench.url}map/")
    expect(page.locator("#map-pane")).to_contain_text("These images have no embeddings yet")
    bench.ready()
    made = add_map(bench.dataset, np.arange(12, dtype=float).reshape(6, 2))
    tell_job_finished(page, "project_map")
    expect(page.locator("#map-pane")).to_contain_text("no embeddings yet")
    page.get_by_role("link", name="Show map").click()
    Map(bench, made).drawn()
    page.goto(f"{bench.url}map/?projection={made.pk + 1}")
    expect(page.locator("#map-pane")).to_contain_text("Map not found")
    page.get_by_role("link", name="Show the newest map").click()
    Map(bench, made).drawn()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(plane: Map, page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    decide(plane.bench.dataset, "assign", [0, 4, 8], "cat")
    plane.open()
    plane.lasso(heap(1))
    expect(plane.bench.tiles).to_have_count(15)
    page.locator("summary", has_text="Clusters").click()
    expect(page.locator("#map-clusters-slot [data-cluster]").first).to_be_visible()
    assert serious_violations(page) == []


def test_a_click_anywhere_inside_an_outline_selects_its_cluster(plane: Map, page: Page) -> None:
    plane.open()
    expect(page.locator(".cluster:not(.gap)")).to_have_count(4)
    spots = plane.spots()
    # On a point, between points, and after another cluster: each selects the 15 images of its heap.
    inner = heap(2)[np.argsort(np.linalg.norm(spots[heap(2)] - spots[heap(2)].mean(axis=0), axis=1))[0]]
    for number, spot in ((2, spots[inner]), (1, (spots[heap(1)[0]] + spots[heap(1)[5]]) / 2), (0, spots[heap(0)[5]])):
        plane.click(spot)
        expect(page.locator("#map-region")).to_contain_text("15 images in the region")
        plane.shows(heap(number))
    # Once its cluster is selected, a point is a point again: its tile gets the focus.
    row = int(heap(0)[6])
    plane.click(spots[row])
    expect(page.locator(f'#grid .tile[data-row="{row}"]')).to_be_focused()
    plane.shows(heap(0))


def test_the_outline_that_a_click_would_select_is_highlighted(plane: Map, page: Page) -> None:
    plane.open()
    expect(page.locator(".cluster:not(.gap)")).to_have_count(4)
    box, spots = not_none(plane.view.bounding_box()), plane.spots()
    page.mouse.move(box["x"] + spots[heap(3)].mean(axis=0)[0], box["y"] + spots[heap(3)].mean(axis=0)[1])
    expect(page.locator(".cluster.highlighted")).to_have_count(1)
    expect(plane.view).to_have_css("cursor", "pointer")
    between = spots.mean(axis=0)
    page.mouse.move(box["x"] + between[0], box["y"] + between[1])
    expect(page.locator(".cluster.highlighted")).to_have_count(0)


def test_close_to_the_points_a_click_on_one_means_the_point(plane: Map, page: Page) -> None:
    plane.open("queue=all&row=6")  # the map opens close to that point
    expect(page.locator(".cluster:not(.gap)")).to_have_count(4)
    middle = np.array([plane.view.bounding_box()["width"], plane.view.bounding_box()["height"]]) / 2  # type: ignore[index]
    page.wait_for_timeout(200)  # the flight
    plane.drawn()
    tile = page.locator('#grid .tile[data-row="6"]')
    plane.click(middle)
    expect(tile).to_be_focused()
    expect(page.locator("#map-region")).to_be_hidden()
    plane.click(middle + np.array([0, 24]))  # inside the outline, beside the point
    expect(page.locator("#map-region")).to_contain_text("15 images in the region")
    plane.shows(heap(2))


@pytest.mark.parametrize(("place", "expected"), [(5, "large"), (2.5, "small"), (15, None)])
def test_of_nested_outlines_the_smallest_is_meant(plane: Map, page: Page, place: float, expected: str | None) -> None:
    plane.open()
    found = page.evaluate(
        """async place => {
        const script = [...document.scripts].find(({ src }) => src.includes("/js/map/page")).src;
        const { smallestAround } = await import(script.replace(/page[.\\w]*\\.js$/, "outlines.js"));
        const square = (id, from, to) => ({ id, outline: [[from, from], [to, from], [to, to], [from, to]] });
        const all = [square("small", 2, 3), square("large", 0, 10), square("beside", 20, 30)];
        return smallestAround(all, { x: place, y: place })?.id ?? null;
    }""",
        place,
    )
    assert found == expected
