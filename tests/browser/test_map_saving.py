"""Save the map: PNG and SVG files open, have the expected content, and are readable on white paper."""

import base64
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone
from PIL import Image
from playwright.sync_api import Download, Page, expect

from modeling.models import Projection
from tests.browser.axe import require_accessible
from tests.browser.bench import Bench
from tests.browser.conftest import Site
from tests.browser.map_page import Map
from tests.factories import decide
from tests.sampling.maps.factories import add_map

SVG = "{http://www.w3.org/2000/svg}"
N = 60


@pytest.fixture
def projection(bench: Bench) -> Projection:
    at = np.arange(N)
    centers = np.array([[0, 0], [10, 1], [1, 10], [11, 11]])
    decide(bench.dataset, "assign", [0, 4, 8, 12, 16, 20], "cat")
    return add_map(bench.dataset, centers[at % 4] + np.stack([(at // 4) % 4, at // 16], axis=1) * 0.5)


@pytest.fixture
def plane(bench: Bench, projection: Projection, page: Page) -> Map:
    plane = Map(bench, projection).open()
    expect(page.locator(".cluster")).to_have_count(4)
    return plane


def save(page: Page, kind: str) -> Download:
    page.get_by_text("Save the map as an image").locator("..").click()
    with page.expect_download() as download:
        page.get_by_role("button", name=f"{kind} image").click()
    return download.value


def content(download: Download) -> bytes:
    return Path(download.path()).read_bytes()


def test_the_svg_has_points_captions_title_and_legend(plane: Map, page: Page) -> None:
    download = save(page, "SVG")
    assert download.suggested_filename == f"pictures-umap-1-{timezone.localdate()}.svg"
    root = ET.fromstring(content(download))
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert texts[0] == "Map of pictures"
    assert any(text.startswith("60 images. Computed ") for text in texts)
    assert {"cat", "6 of 6 labels, 15 images", "Label", "labeled", "unlabeled", "cat  6"} <= set(texts)
    cat = plane.bench.dataset.classes.get(name="cat").colour
    red, green, blue = (int(cat[at : at + 2], 16) for at in (1, 3, 5))
    of_cat = [node for node in root.iter(f"{SVG}circle") if node.get("fill") == f"rgb({red} {green} {blue})"]
    rings = [node for node in root.iter(f"{SVG}circle") if node.get("stroke") == "rgb(154 154 154)"]
    assert (len(of_cat), len(rings)) == (6, 54)
    assert len(list(root.iter(f"{SVG}polygon"))) == 4
    assert not list(root.iter(f"{SVG}image"))
    assert root.find(f"{SVG}rect").get("fill") == "#ffffff"  # type: ignore[union-attr]


def test_the_png_opens_and_is_on_white(plane: Map, page: Page) -> None:
    download = save(page, "PNG")
    assert download.suggested_filename == f"pictures-umap-1-{timezone.localdate()}.png"
    image = Image.open(io.BytesIO(content(download))).convert("RGB")
    assert image.width == 3 * 848
    pixels = np.asarray(image).reshape(-1, 3)
    assert (pixels == 255).all(axis=1).mean() > 0.8
    cat = plane.bench.dataset.classes.get(name="cat").colour
    color = [int(cat[at : at + 2], 16) for at in (1, 3, 5)]
    assert np.count_nonzero((pixels == color).all(axis=1)) > 6 * 100


def test_what_the_legend_and_the_view_leave_out_is_not_saved(plane: Map, page: Page) -> None:
    page.locator("#map-legend-slot .legend-entry", has_text="cat").click()
    page.locator('[data-map-zoom="1.6"]').click()
    plane.drawn()
    root = ET.fromstring(content(save(page, "SVG")))
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert any("part of the map" in text for text in texts)
    assert "No label" not in " ".join(texts)
    assert not [node for node in root.iter(f"{SVG}circle") if node.get("stroke") == "rgb(154 154 154)"]


def test_odd_names_are_text(site: Site, page: Page) -> None:
    dataset = site.dataset(12, classes=('a <b> & "c"', "dog"))
    dataset.name = 'Birds <of> "Spain" & France'
    dataset.save()
    decide(dataset, "assign", [0], 'a <b> & "c"')
    places = np.random.default_rng(0).normal(size=(12, 2))
    Map(Bench(page, site.address, dataset), add_map(dataset, places, name="Größe / 2: <x>")).open()
    download = save(page, "SVG")
    assert download.suggested_filename == f"pictures-größe-2-x-{timezone.localdate()}.svg"
    root = ET.fromstring(content(download))
    assert root.findtext(f"{SVG}title") == 'Map of Birds <of> "Spain" & France'
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert 'a <b> & "c"  1' in texts
    assert any(text.startswith("Größe / 2: <x>: UMAP") for text in texts)


def test_more_than_5000_points_are_an_image_in_the_svg(site: Site, page: Page) -> None:
    dataset = site.make_dataset(5001, name="many")
    places = np.random.default_rng(0).normal(size=(5001, 2))
    Map(Bench(page, site.address, dataset), add_map(dataset, places)).open()
    root = ET.fromstring(content(save(page, "SVG")))
    (node,) = root.findall(f".//{SVG}image")
    kind, _, encoded = (node.get("href") or "").partition(",")
    assert kind == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert image.width == 3 * 800
    pixels = np.asarray(image.convert("L"))
    assert 0.02 < (pixels < 250).mean() < 0.9
    assert len(root.findall(f".//{SVG}circle")) < 10, "only those of the legend"


def test_the_menu_by_the_keyboard_and_axe(plane: Map, page: Page) -> None:
    page.get_by_text("Save the map as an image").locator("..").press("Enter")
    require_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG image").press("Enter")
    assert download.value.suggested_filename.endswith(".svg")
    page.keyboard.press("Control+k")
    page.keyboard.type("map as png")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".png")
