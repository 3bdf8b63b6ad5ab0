"""Items of several frames in a browser: side by side, blinking, in color; one key labels all of an item."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from django.core.management import call_command
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect

from labeling.guide import guides
from labeling.models import Annotation, Dataset, Frame, Item, LabelClass
from modeling.models import EmbeddingSet
from tests.browser.axe import require_accessible, require_no_wider_than_the_window, serious_violations
from tests.browser.bench import Bench, tell_job_finished
from tests.browser.conftest import Site
from tests.factories import assign, new_folder, not_none, opened, table
from tests.modeling.factories import add_vectors

ROLES = ("target", "ref", "diff")
N = 10
NO_REF = 3  # the item without a reference


@pytest.fixture
def triplets(site: Site, page: Page, tmp_path: Path) -> Bench:
    """Provide ten triplets of FITS files as a telescope leaves them, read with a template; one lacks its reference."""
    folder = new_folder(tmp_path / "transients")
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:40, :40]
    for number in range(N):
        galaxy = 900 * np.exp(-np.hypot(x - 20, y - 18) / 6)
        new = 700 * np.exp(-((x - 24) ** 2 + (y - 21) ** 2) / 4) * (number % 2)
        ref = galaxy + rng.normal(100, 9, (40, 40))
        target = galaxy + new + rng.normal(120, 12, (40, 40))
        target[0, :4] = np.nan
        for role, values in zip(ROLES, (target, ref, target - ref), strict=True):
            if (number, role) != (NO_REF, "ref"):
                fits.PrimaryHDU(values.astype(np.float32)).writeto(folder / f"sn{number:02d}_{role}.fits")
    call_command("ingest", data_dir=folder, group="{id}_{role}.fits", json=True)
    dataset = Dataset.objects.get()
    for number, name in enumerate(("real", "bogus")):
        LabelClass.objects.create(dataset=dataset, name=name, colour="#0072B2", key=number + 1, order=number)
    return Bench(page, site.address, dataset)


def seen(place: Locator) -> list[str]:
    """Return the captions of the visible frames."""
    return list(
        place.locator(".frame").evaluate_all("""frames => frames
            .filter(one => one.clientWidth && getComputedStyle(one).visibility === 'visible')
            .map(one => one.classList.contains('color') ? 'color' : one.textContent.trim())""")
    )


def test_compare_and_the_class_guide_show_all_frames_with_the_chosen_stretch(triplets: Bench) -> None:
    labels = list(LabelClass.objects.order_by("order"))
    add_vectors(triplets.dataset, np.random.default_rng(3).normal(size=(N, 8)).astype(np.float32))
    for row in range(1, 5):
        assign(triplets.dataset, [row], labels[row % 2])
    examples = list(Item.objects.filter(row__in=(1, NO_REF)).values_list("pk", flat=True))
    guides.add_examples(triplets.dataset, examples)
    page = triplets.open().page
    triplets.press("f", "y")
    panel = page.locator("#compare")
    expect(panel.locator(".compare-item img")).to_have_count(3)
    expect(panel.get_by_role("img", name="diff of sn03")).to_be_visible()
    expect(panel.locator(".compare-class img")).to_have_count(4 * 3 - 1)
    expect(panel).to_contain_text("no ref")
    require_accessible(page)
    triplets.press("Escape", "g")
    pictures = page.locator(".guide-picture img")
    expect(pictures).to_have_count(5)
    expect(page.get_by_role("link", name="diff of sn03")).to_be_visible()
    require_accessible(page)
    for image in pictures.all():
        assert "s=minmax" in not_none(image.get_attribute("src"))
    page.keyboard.press("Escape")
    triplets.press("y")
    expect(panel.locator(".compare-class img")).to_have_count(11)
    for image in panel.locator("img").all():
        assert "s=minmax" in not_none(image.get_attribute("src"))


def boxes_of(place: Locator) -> list[FloatRect]:
    """Return the boxes of the visible images, from left to right."""
    images = place.locator("img:visible")
    expect(images.first).to_be_visible()
    return sorted((not_none(image.bounding_box()) for image in images.all()), key=lambda box: box["x"])


def assert_one_row(boxes: list[FloatRect]) -> None:
    """Check that images lie beside each other, at the same height and apart."""
    assert len({round(box["y"]) for box in boxes}) == 1
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"]


def test_three_frames_lie_in_one_row_in_detail_and_compare(triplets: Bench) -> None:
    labels = list(LabelClass.objects.order_by("order"))
    add_vectors(triplets.dataset, np.random.default_rng(3).normal(size=(N, 8)).astype(np.float32))
    for row in range(4, N):
        assign(triplets.dataset, [row], labels[row % 2])
    page = triplets.open().page
    triplets.press("Enter")
    zoom = page.locator(".zoom.frames")
    expect(zoom.locator(".frame:not(.color)")).to_have_count(3)
    assert seen(zoom) == list(ROLES)
    assert_one_row(boxes_of(zoom))
    frame = not_none(zoom.locator(".frame").first.bounding_box())
    buttons = not_none(zoom.locator(".zoom-buttons").bounding_box())
    assert buttons["y"] >= frame["y"] + frame["height"], "the buttons cover no frame"
    triplets.press("Enter")
    whole = not_none(page.locator("#side-body").bounding_box())
    boxes = boxes_of(zoom)
    assert_one_row(boxes)
    assert sum(box["width"] for box in boxes) > 0.95 * (whole["width"] - 24), "the frames are as wide as the pane"
    assert max(abs(box["height"] / box["width"] - 1) for box in boxes) < 0.02, "no empty band above and below them"
    triplets.press("Escape", "Escape", "y")
    panel = page.locator("#compare")
    expect(panel.locator(".compare-class img:visible")).to_have_count(18)
    assert_one_row(boxes_of(panel.locator(".compare-item")))
    for section in panel.locator(".compare-class").all():
        boxes = boxes_of(section)
        assert_one_row(boxes)
        gaps = [right["x"] - left["x"] - left["width"] for left, right in pairwise(boxes)]
        between, within = gaps[2::3], gaps[0::3] + gaps[1::3]
        assert min(between) > 3 * max(within), "frames of two items are farther apart than those of one"
        assert section.locator(".side-by-side").first.locator("small").all_inner_texts() == list(ROLES)
    page.set_viewport_size({"width": 390, "height": 800})
    for item in panel.locator(".side-by-side").all():
        assert_one_row(boxes_of(item))
        assert min(box["width"] for box in boxes_of(item)) > 90
    require_no_wider_than_the_window(page)


def test_the_recent_strip_shows_all_frames(triplets: Bench) -> None:
    page = triplets.open().page
    page.locator("#recent-toggle").click()
    expect(page.locator("#recent")).to_contain_text("Images that you label appear here")
    triplets.press("1", "2")
    strip = page.locator("#recent li")
    expect(strip.first.locator("img")).to_have_count(3)
    triplets.settle()
    page.reload()
    triplets.ready()
    expect(strip).to_have_count(2)
    expect(strip.last.locator("img")).to_have_count(3)


def transforms(bench: Bench) -> set[str]:
    """Return how the pictures of the detail are zoomed and moved, each way once."""
    images = bench.page.locator(".zoom.frames .frame:not(.color) img")
    return set(images.evaluate_all("images => images.map(one => one.style.transform)"))


def test_frames_stand_side_by_side_as_large_as_they_can_be_and_nothing_jumps(triplets: Bench) -> None:
    page = triplets.page
    page.add_init_script("""
        window.moved = []; // of the tiles' side of the page: the header waits for what jobs say
        const ofTiles = ({ node }) => node?.parentElement?.closest('#stage') && node.className;
        new PerformanceObserver(list => { for (const { sources } of list.getEntries())
            window.moved.push(...sources.map(ofTiles).filter(Boolean));
        })
            .observe({type: 'layout-shift', buffered: true});
    """)
    triplets.open()
    assert triplets.n_tiles() == N
    assert seen(triplets.tiles.nth(0)) == list(ROLES)
    assert seen(triplets.tiles.nth(NO_REF)) == ["target", "no ref", "diff"]
    expect(triplets.tiles.nth(NO_REF)).to_have_attribute("aria-label", re.compile("sn03, no ref, unlabeled"))
    page.wait_for_function("""() => [...document.querySelectorAll('.frame:not(.color) img')]
        .every(image => image.complete && image.naturalWidth)""")
    tile = not_none(triplets.tiles.first.bounding_box())
    assert 1.8 < tile["width"] / tile["height"] < 3.5
    # The strip that suggestions will need names the frames meanwhile, in every tile, and hides nothing of them.
    for number in (0, 5):
        tile = triplets.tiles.nth(number)
        places = (tile, tile.locator(".frame").first, tile.locator(".frame > small").first)
        whole, frame, name = (not_none(place.bounding_box()) for place in places)
        assert seen(tile) == list(ROLES)
        assert name["y"] >= frame["y"] + frame["height"] - 1
        assert name["y"] + name["height"] <= whole["y"] + whole["height"] + 1
        # Square frames take at least so much of the height above it.
        assert frame["width"] > 0.85 * frame["height"]
    assert page.evaluate("window.moved") == []
    assert serious_violations(page) == []
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    triplets.press("v")
    expect(page.locator("#toasts")).to_contain_text("Frames blinking")
    tile = not_none(triplets.tiles.first.bounding_box())
    assert 0.6 < tile["width"] / tile["height"] < 1.6
    assert not [address for address in requests if "/api/" in address or "/media/" in address]
    triplets.press("v", "v", "v")
    expect(page.locator("#toasts > .toast", has_text="Frames")).to_have_count(1)


def test_a_key_lays_frames_out_otherwise_and_the_label_says_so(triplets: Bench) -> None:
    page = triplets.open().page
    triplets.press("v")
    assert seen(triplets.focused) == ["target"]
    triplets.press(".")
    assert seen(triplets.focused) == ["ref"]
    triplets.press(".", ".", ",")
    assert seen(triplets.focused) == ["diff"]
    assert seen(triplets.tiles.nth(1)) == ["target"]
    triplets.press("2")
    assert seen(triplets.tiles.nth(0)) == ["target"]
    triplets.press("v")
    assert seen(triplets.focused) == ["color"]
    image = triplets.focused.locator(".color img")
    page.wait_for_function("image => image.complete && image.naturalWidth === 40", arg=image.element_handle())
    triplets.press("1")
    triplets.settle()
    first, second = Annotation.objects.order_by("id")
    assert (first.item.path, first.label.name, first.rendering) == ("sn00", "bogus", "frames blinking")  # type: ignore[union-attr]
    assert (second.item.path, second.rendering) == ("sn01", "frames as one colour image")
    triplets.press("z", "z")
    triplets.settle()
    assert set(Item.objects.values_list("state", flat=True)) == {0}
    page.reload()
    triplets.ready()
    assert seen(triplets.focused) == ["color"]
    triplets.press("v", "1")
    triplets.settle()
    assert Annotation.objects.latest("id").rendering == ""


def test_only_what_is_looked_at_blinks_and_nothing_with_reduced_motion(triplets: Bench, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 720}, reduced_motion="no-preference")
    bench = Bench(page, triplets.address, triplets.dataset).open()
    bench.press("v")
    for role in ("ref", "diff", "target"):
        expect(bench.tiles.nth(0).locator(".on")).to_have_text(role)
    assert seen(bench.tiles.nth(1)) == ["target"]
    bench.tiles.nth(5).hover()
    expect(bench.tiles.nth(5).locator(".on")).to_have_text("ref")
    bench.press("ArrowRight")
    expect(bench.tiles.nth(1).locator(".on")).to_have_text("diff")
    assert seen(bench.tiles.nth(0)) == ["target"]
    page.close()


def test_frames_of_the_detail_zoom_and_move_together_and_one_can_be_alone(triplets: Bench) -> None:
    page = triplets.open().page
    triplets.press("Enter")
    box = page.locator(".zoom.frames")
    expect(box.locator(".frame:not(.color)")).to_have_count(3)
    box.focus()
    triplets.press("+", "+", "ArrowLeft")
    [together] = transforms(triplets)
    assert "scale(2.25)" in together
    second = not_none(box.locator(".frame").nth(1).bounding_box())
    page.mouse.move(second["x"] + 5, second["y"] + 5)
    page.mouse.wheel(0, -300)
    expect(box.locator("img").first).not_to_have_attribute("style", re.compile(re.escape("scale(2.25)")))
    [closer] = transforms(triplets)
    assert closer != together
    box.get_by_role("button", name="ref").click()
    assert seen(box) == ["ref"]
    triplets.press(".")
    assert seen(box) == ["diff"]
    expect(box.get_by_role("button", name="diff")).to_have_attribute("aria-pressed", "true")
    box.get_by_role("button", name="diff").click()
    assert seen(box) == list(ROLES)
    triplets.press("Escape")
    page.goto(f"{triplets.url}items/{NO_REF}/")
    expect(page.locator("#detail")).to_contain_text("Missing")
    assert seen(page.locator(".zoom.frames")) == ["target", "no ref", "diff"]
    assert serious_violations(page) == []
    triplets.press("v", "v")
    expect(page.locator(".zoom .color")).to_contain_text("ref missing: black here")
    page.goto(f"{triplets.url}images/")
    page.get_by_label("Frames", exact=True).select_option("rgb")
    expect(page.locator("#images-preview img")).to_have_count(6)
    assert serious_violations(page) == []


def test_the_pointer_tells_pixel_value_and_place_in_the_sky(triplets: Bench) -> None:
    file = triplets.dataset.data_dir / "sn01_ref.fits"
    world = WCS(naxis=2)
    world.wcs.ctype, world.wcs.crval, world.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150.1, -2.2], [20.5, 20.5]
    world.wcs.cdelt = [-0.5 / 3600, 0.5 / 3600]
    values = fits.getdata(file)
    fits.PrimaryHDU(values, header=world.to_header()).writeto(file, overwrite=True)
    page = triplets.page
    page.goto(f"{triplets.url}items/1/")
    image = page.locator(".zoom .frame").nth(1).locator("img")
    line = page.locator("[data-pointer-values]")
    expect(line).to_have_text("")
    box = not_none(image.bounding_box())
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    for column, row in ((10, 30), (33, 5)):
        page.mouse.move(left + (column + 0.5) * side / 40, top + (row + 0.5) * side / 40)
        # The value and the coordinates are requested apart, and either may come first.
        complete = re.compile(rf"^ref · x {column + 1}\.0 y {40 - row}\.0 · ([-\d.]+) · RA .* \((.*)°, (.*)°\)$")
        expect(line).to_have_text(complete)
        value, longitude, latitude = not_none(complete.search(line.inner_text())).groups()
        assert float(value) == pytest.approx(values[39 - row, column], rel=1e-5)
        back = world.all_world2pix(float(longitude), float(latitude), 0)
        assert np.hypot(back[0] - column, back[1] - (39 - row)) < 0.1
    page.mouse.move(5, 5)
    expect(line).to_have_text("")


def test_triplets_are_labelled_embedded_exported_and_split_as_single_items(triplets: Bench, tmp_path: Path) -> None:
    triplets.open()
    for number in range(N):
        triplets.press("1" if number % 2 else "2")
    triplets.settle()
    call_command("embed", dataset=triplets.dataset.slug, json=True)
    vectors = EmbeddingSet.objects.get(is_active=True)
    assert vectors.n_vectors == N
    call_command("export", dataset=triplets.dataset.slug, output=tmp_path / "out.zip", with_images=True, json=True)
    archive = opened((tmp_path / "out.zip").read_bytes())
    labels, splits, frames = (table(archive, f"{name}.csv") for name in ("labels", "splits", "frames"))
    pictures = [name for name in archive.namelist() if name.endswith(".fits")]
    expected = {f"sn{number:02d}": "real" if number % 2 else "bogus" for number in range(N)}
    assert {row["path"]: row["label"] for row in labels} == expected
    assert len(splits) == len({row["item_id"] for row in splits}) == N
    assert len(frames) == len(pictures) == Frame.objects.count() == 3 * N - 1


def test_the_page_is_shown_anew_once_files_are_grouped_otherwise(triplets: Bench) -> None:
    page = triplets.open().page
    page.evaluate("window.isSamePage = true")
    tell_job_finished(page)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.isSamePage")
    Dataset.objects.update(grouping="{id}_{role}.png")
    tell_job_finished(page)
    page.wait_for_function("() => window.isSamePage === undefined")
