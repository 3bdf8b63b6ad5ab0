"""How images are shown, in a browser: the stretch under a key, and the page that sets it for everyone."""

import re

import pytest
from django.db.models import Value
from django.db.models.functions import Concat
from playwright.sync_api import Locator, expect

from labeling.images.rendering import Rendering
from labeling.models import Annotation, Frame, Item
from tests.browser.bench import Bench
from tests.factories import fresh

CYCLE = ["minmax", "linear", "asinh", "log", "sqrt", "percentile", "zscale"]


def brightness(image: Locator) -> float:
    """Return the mean of the picture as the browser has it, once it is loaded."""
    return float(
        image.evaluate("""async (image) => {
            await image.decode();
            const canvas = document.createElement("canvas");
            canvas.width = image.naturalWidth;
            canvas.height = image.naturalHeight;
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
            return data.reduce((sum, one, i) => (i % 4 ? sum : sum + one), 0) / (data.length / 4);
        }""")
    )


def test_a_key_goes_through_the_stretches_in_grid_and_detail_and_back(sky: Bench) -> None:
    sky.open()
    sky.press("Enter")
    tile, large = sky.tiles.first.locator("img"), sky.page.locator("[data-zoom] img")
    sky.page.evaluate("window.isSamePage = true")
    usual = brightness(tile)
    for name in CYCLE:
        sky.press("f")
        for image in (tile, large):
            expect(image).to_have_attribute("src", re.compile(f"[?&]s={name}$"))
        if name == "minmax":
            assert brightness(tile) < 2  # the star alone is bright
            assert usual > 50
    sky.press("f")
    for image in (tile, large):
        expect(image).not_to_have_attribute("src", re.compile("[?&]s="))
    assert brightness(tile) == usual
    assert sky.page.evaluate("window.isSamePage")


def test_a_stretch_is_chosen_in_the_panel_beside_brightness(sky: Bench) -> None:
    page = sky.open().page
    sky.press("e")
    stretch = page.locator("#adjustment").get_by_label("Stretch")
    stretch.select_option("asinh")
    expect(sky.tiles.first.locator("img")).to_have_attribute("src", re.compile("[?&]s=asinh$"))
    page.keyboard.press("Escape")
    sky.press("f")
    expect(stretch).to_have_value("log")
    sky.press("e")
    page.get_by_role("button", name="Reset").click()
    expect(stretch).to_have_value("")
    expect(sky.tiles.first.locator("img")).not_to_have_attribute("src", re.compile("[?&]s="))


def test_without_deeper_images_there_is_no_choice_of_a_stretch(bench: Bench) -> None:
    Item.objects.update(path=Concat("path", Value(".jpg")))
    bench.open().press("e")
    expect(bench.page.get_by_role("slider", name="Brightness")).to_be_visible()
    expect(bench.page.locator("#adjustment").get_by_label("Stretch")).to_be_hidden()


def test_the_stretch_lasts_over_pages_and_is_kept_with_the_labels(sky: Bench) -> None:
    sky.open()
    sky.press("f", "f", "f", "1")
    sky.settle()
    assert Annotation.objects.latest("pk").rendering == "seen as asinh"
    sky.page.reload()
    sky.ready()
    expect(sky.tiles.first.locator("img")).to_have_attribute("src", re.compile("s=asinh"))
    sky.page.goto(f"{sky.address}/d/pictures/items/4/")
    expect(sky.page.locator("[data-zoom] img")).to_have_attribute("src", re.compile("s=asinh"))
    sky.press("f", "f", "f", "f", "f", "2")
    expect(sky.page.locator(".detail-state")).to_have_text("Now: dog")
    assert Annotation.objects.latest("pk").rendering == ""


def test_the_page_shows_before_it_saves(sky: Bench) -> None:
    page = sky.page
    page.goto(f"{sky.address}/d/pictures/images/")
    image = page.locator("#images-preview img").first
    usual = brightness(image)
    page.get_by_label("Invert").check()
    expect(image).to_have_attribute("src", re.compile("is_inverted"))
    assert brightness(image) == pytest.approx(255 - usual, abs=3)
    page.get_by_label("Black point").fill("5")
    page.get_by_label("Black point").blur()
    expect(page.locator("#images-preview .error")).to_contain_text("usual determines the limits from each image")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#images-preview .error")).to_contain_text("usual determines the limits")
    page.get_by_label("Stretch", exact=True).select_option("linear")
    page.get_by_role("button", name="Measure limits").click()
    expect(page.get_by_label("White point")).to_have_value(re.compile(r"\d"))
    expect(image).to_have_attribute("src", re.compile("high="))
    page.get_by_label("Black point").fill("5")
    page.get_by_label("White point").fill("85")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Saved.")
    assert fresh(sky.dataset).shown_as == Rendering(stretch="linear", low=5, high=85, is_inverted=True)
    expect(page.get_by_label("White point")).to_have_value("85.0")
    sky.open()
    assert brightness(sky.tiles.last.locator("img")) < brightness(sky.tiles.first.locator("img")) - 50
    sky.press("1")
    sky.settle()
    assert Annotation.objects.latest("pk").rendering == "linear 5…85, inverted"


def test_what_cannot_be_shown_so_says_why(sky: Bench) -> None:
    page = sky.page
    page.goto(f"{sky.address}/d/pictures/images/")
    page.get_by_label("HDU", exact=True).fill("3")
    page.get_by_label("HDU", exact=True).blur()
    expect(page.locator(".images-reason").first).to_have_text("The FITS file has no HDU 3; it has 1, counted from 0.")


def test_the_header_is_read_when_it_is_opened_and_searched_by_typing(sky: Bench) -> None:
    Frame.objects.update(format="FITS")
    page = sky.page
    page.goto(f"{sky.address}/d/pictures/items/2/")
    details = page.locator(".file-header")
    expect(details.locator("table")).to_have_count(0)
    details.locator("summary").click()
    expect(details.locator("tbody tr:visible")).not_to_have_count(1)
    details.get_by_label("Search the header").fill("naxis2")
    expect(details.locator("tbody tr:visible")).to_have_count(1)
    expect(details.locator("tbody tr:visible")).to_contain_text("60")
    page.locator("body").click(position={"x": 2, "y": 2})
    page.keyboard.press("1")
    expect(page.locator(".detail-state")).to_have_text("Now: cat")
    expect(details.locator("tbody tr:visible")).to_have_count(1)
