"""Colour images of an item's bands: the library's word on their pixels, and how they are kept and asked for."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from django.test import Client
from django.urls import reverse
from PIL import Image

from labeling.display.item_frames import item_frames
from labeling.display.settings import compose_as
from labeling.images.composite import Composition, side_by_side
from labeling.images.lupton_rgb import composite
from labeling.images.pixel_values import values_in
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame, Item
from labeling.signals import reshown
from tests.factories import assert_contains, fresh, heard_from, not_none, text
from tests.labeling.factories import BANDS, write_bands
from tests.labeling.groups import ingest_groups
from tests.labeling.images.pictures import samples

pytestmark = pytest.mark.django_db

FITTED = Composition(layout="rgb", softening=6, range=40)
BLACK = Rendering(stretch="linear", low=100)


def lupton(*planes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return astropy's result for red, green and blue, from the bottom up."""
    return np.asarray(make_lupton_rgb(*(np.flipud(one) for one in planes), minimum=100, stretch=40, Q=6))


# -- Pixels -------------------------------------------------------------------------------------------
def test_the_last_role_is_red_and_the_pixels_are_those_of_astropy(tmp_path: Path) -> None:
    files, values = write_bands(tmp_path)
    image = composite(files, BANDS, FITTED, BLACK)
    np.testing.assert_array_equal(np.asarray(image), lupton(values["i"], values["r"], values["g"]))
    chosen = Composition(layout="rgb", bands=("g", "i", "r"), softening=6, range=40)
    np.testing.assert_array_equal(
        np.asarray(composite(files, BANDS, chosen, BLACK)), lupton(values["g"], values["i"], values["r"])
    )
    assert composite(files, BANDS, FITTED, BLACK, max_side=15).size == (15, 10)


def test_a_missing_band_and_unknown_pixels_are_black(tmp_path: Path) -> None:
    files, values = write_bands(tmp_path)
    del files["r"]
    image = np.asarray(composite(files, BANDS, FITTED, BLACK))
    np.testing.assert_array_equal(image, lupton(values["i"], np.full((20, 30), 100.0), values["g"]))
    holed = values["i"].copy()
    holed[4, 5], holed[6, 7], holed[8, 9] = np.nan, np.inf, -np.inf
    fits.PrimaryHDU(holed).writeto(files["i"], overwrite=True)
    image = np.asarray(composite(files, BANDS, FITTED, BLACK))
    filled = holed.copy()
    filled[4, 5], filled[6, 7], filled[8, 9] = 100, np.nanmax(holed[np.isfinite(holed)]), 0
    filled[8, 9] = 100
    np.testing.assert_array_equal(image, lupton(filled, np.full((20, 30), 100.0), values["g"]))


def test_limits_are_found_where_none_are_given_and_a_constant_band_does_no_harm(tmp_path: Path) -> None:
    files, _ = write_bands(tmp_path)
    fits.PrimaryHDU(np.full((20, 30), 5.0)).writeto(files["r"], overwrite=True)
    fits.PrimaryHDU(np.full((20, 30), np.nan)).writeto(files["g"], overwrite=True)
    image = np.asarray(composite(files, BANDS, Composition(layout="rgb")))
    assert image[..., 0].std() > 5
    assert not image[..., 1:].any()
    inverted = np.asarray(composite(files, BANDS, Composition(layout="rgb"), Rendering(is_inverted=True)))
    np.testing.assert_array_equal(inverted, 255 - image)


def test_bands_of_unequal_size_and_of_no_image_are_refused_in_words(tmp_path: Path) -> None:
    files, _ = write_bands(tmp_path, r=(10, 30))
    with pytest.raises(ImageProblem, match=r"the same size, and these differ: i 30 × 20, r 30 × 10, g 30 × 20"):
        composite(files, BANDS, FITTED)
    with pytest.raises(ImageProblem, match="All bands of the color image are missing: i, r, g"):
        composite({}, BANDS, FITTED)
    files["r"].write_bytes(b"no")
    with pytest.raises(ImageProblem, match=r"^r: "):
        composite(files, BANDS, FITTED)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(("a",), ("a", "a", "a")), (("a", "b"), ("b", "a", "a")), (BANDS, ("i", "r", "g")), ("ugriz", ("z", "i", "r"))],
)
def test_which_roles_are_red_green_and_blue(roles: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert Composition().bands_of(tuple(roles)) == expected


def test_values_are_those_of_the_file_and_lie_as_the_picture_does(tmp_path: Path) -> None:
    files = samples(tmp_path)
    deep = np.asarray(Image.open(files["deep.png"]))
    for name in ("deep.png", "packed.tif", "deep.tif"):
        np.testing.assert_array_equal(values_in(files[name]), deep, err_msg=name)
    for name in ("a.fits", "a.fits.gz", "rice.fits"):
        np.testing.assert_array_equal(values_in(files[name]), np.flipud(deep), err_msg=name)
    np.testing.assert_array_equal(values_in(files["deep.tif"], Rendering(plane=1)), deep + 99)
    grey = np.asarray(Image.open(files["bmp"]).convert("L"))
    np.testing.assert_array_equal(values_in(files["bmp"], Rendering(is_inverted=True)), grey)
    for name, file in files.items():
        assert values_in(file).shape == (40, 60), name
    turned = tmp_path / "turned.tif"
    Image.fromarray(deep).save(turned, tiffinfo={274: 6})
    np.testing.assert_array_equal(values_in(turned), np.rot90(deep, -1))
    with pytest.raises(ImageProblem, match="The limit is"):
        values_in(files["a.fits"], most=2399)


# -- Addresses ----------------------------------------------------------------------------------------
@pytest.fixture
def shown(store: Path, tmp_path: Path) -> Dataset:
    """Provide two items: one complete, and one without its r."""
    folder = tmp_path / "in"
    write_bands(folder)
    for role in ("g", "i"):
        (folder / f"m33_{role}.fits").write_bytes((folder / f"m31_{role}.fits").read_bytes())
    ingest_groups(folder, "{id}_{role}.fits")
    return Dataset.objects.get()


def colour(item: Item, size: int = 256, v: str = "") -> str:
    address = f"/api/thumb/{item.pk}?color=1&size={size}" if size else f"/api/file/{item.pk}?color=1"
    return address + (f"&v={v}" if v else "")


def seen(item: Item) -> Any:
    return not_none(item_frames(item.dataset, list(item.frames.order_by("id"))))


def test_a_colour_image_is_made_once_typed_and_kept(client: Client, shown: Dataset, store: Path) -> None:
    item = shown.items.get(path="m31")
    response = client.get(colour(item, v=seen(item).colour_version))
    assert (response.status_code, response["Content-Type"]) == (200, "image/png")
    assert "immutable" in response["Cache-Control"]
    files = {frame.role: frame.file for frame in item.frames.all()}
    expected = composite(files, shown.roles, Composition(layout="rgb"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.content))), np.asarray(expected))
    assert [file.read_bytes() for file in store.glob("thumbs/*/*.png")] == [response.content]
    etag = response["ETag"]
    assert client.get(colour(item), headers={"If-None-Match": etag}).status_code == 304
    full = client.get(colour(item, 0))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(full.content))), np.asarray(expected))
    assert full["ETag"] != etag
    compose_as(shown, Composition(layout="rgb", softening=2))
    assert client.get(colour(item))["ETag"] != etag


def test_a_band_that_changed_since_the_ingest_is_shown_and_not_kept(
    client: Client, shown: Dataset, store: Path
) -> None:
    item = shown.items.get(path="m33")
    before = client.get(colour(item)).content
    fits.PrimaryHDU(np.eye(20, 30)).writeto(item.frames.get(role="i").file, overwrite=True)
    kept = list(store.glob("thumbs/*/*.png"))
    response = client.get(colour(item))
    assert response["Cache-Control"] == "no-store"
    assert response.content != before
    assert list(store.glob("thumbs/*/*.png")) == kept


def test_what_has_no_colour_image_says_why(client: Client, shown: Dataset) -> None:
    item = shown.items.get(path="m31")
    assert client.get(colour(item, 300)).status_code == 404
    assert client.get(f"/api/thumb/{item.pk + 99}?color=1").status_code == 404
    item.frames.get(role="r").file.unlink()
    response = client.get(colour(item))
    assert (response.status_code, response.content) == (404, b"The file of this image is missing.")
    Frame.objects.filter(item=item, role="g").update(path="../../etc/passwd")
    assert b"outside of the dataset's folder" in client.get(colour(item)).content
    Dataset.objects.update(roles=[])
    assert client.get(colour(item)).content == b"This item has no bands for a color image."


# -- Frames together ----------------------------------------------------------------------------------
def test_frames_come_in_the_order_of_the_roles_with_what_is_missing(shown: Dataset) -> None:
    whole, holed = (seen(shown.items.get(path=path)) for path in ("m31", "m33"))
    assert [part.role for part in whole.parts] == ["g", "r", "i"]
    assert (whole.missing, holed.missing) == ([], ["r"])
    assert whole.color_legend == "red: i, green: r, blue: g"
    assert holed.color_legend == "red: i, green: r, blue: g (r missing: black here)"
    assert (whole.no_colour, holed.no_colour) == ("", "")
    assert whole.key != holed.key
    assert whole.colour_hash != holed.colour_hash
    Frame.objects.filter(role="g").update(width=31)
    assert seen(shown.items.get(path="m31")).no_colour == "bands of unequal size"
    frames = list(shown.items.get(path="m31").frames.all())
    Dataset.objects.update(roles=[])
    shown.refresh_from_db()
    assert item_frames(shown, frames) is None


def test_frames_lie_beside_each_other_up_to_four() -> None:
    assert [side_by_side(n) for n in (1, 2, 3, 4, 5, 6, 8, 9, 16)] == [
        (1, 1), (2, 1), (3, 1), (4, 1), (3, 2), (3, 2), (4, 2), (3, 3), (4, 4),
    ]  # fmt: skip


def test_vectors_are_asked_for_anew_only_when_the_model_sees_something_else(shown: Dataset) -> None:
    with heard_from(reshown) as heard:
        assert not compose_as(shown, Composition())
        assert compose_as(shown, Composition(layout="blink"))
        assert heard == []
        assert compose_as(shown, Composition(layout="blink", vectors="average"))
        assert compose_as(shown, Composition(layout="rgb"))
        assert compose_as(shown, Composition(layout="rgb", vectors="average"))
        assert [news["dataset_id"] for news in heard] == [shown.pk] * 2
    assert fresh(shown).composed_as == Composition(layout="rgb", vectors="average")


# -- On the pages -------------------------------------------------------------------------------------
def test_tiles_and_detail_show_every_frame_and_say_what_is_missing(client: Client, shown: Dataset) -> None:
    address = reverse("sampling:grid", args=[shown.slug]) + "?queue=all"
    tiles = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert tiles.count("<img") == 3 + 2 + 2
    assert tiles.count("no r</small>") == 1
    assert 'data-name="m33, no r"' in tiles
    detail = client.get(reverse("labeling:detail", args=[shown.slug, 1])).content.decode()
    assert "<dt>Missing</dt><dd>r. " in detail
    assert detail.count("data-alone") == 3
    assert "r missing: black here" in detail
    page = client.get(reverse("workbench", args=[shown.slug])).content.decode()
    assert 'data-layout="side"' in page
    compose_as(shown, Composition(layout="blink"))
    page = client.get(reverse("labeling:item", args=[shown.slug, 0])).content.decode()
    assert_contains(page, 'data-layout="blink"', 'data-rendering="blinking"')


# -- The choice, on the dataset's page of images --------------------------------------------------------
USUAL = {"plane": "first", "stretch": "usual", "background": "#808080", "layout": "side", "vectors": "concatenate"}


def test_the_page_of_images_chooses_layout_bands_and_curve(client: Client, shown: Dataset) -> None:
    address = reverse("labeling:images", args=[shown.slug])
    page = client.get(address).content.decode()
    assert "i (default)" in page
    assert page.count("/rendered/?") == 3 + 2
    chosen = {"layout": "rgb", "red": "r", "green": "g", "blue": "g", "softening": "3", "range": "50"}
    preview = client.get(f"{address}preview/", USUAL | chosen).content.decode()
    colours = re.findall(r'src="(/media/items/[^"]+)"', preview)
    assert len(colours) == 2
    picture = client.get(colours[0].replace("&amp;", "&"))
    composition = Composition(layout="rgb", bands=("r", "g", "g"), softening=3, range=50)
    files = {frame.role: frame.file for frame in shown.items.get(path="m31").frames.all()}
    expected = composite(files, shown.roles, composition)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture.content))), np.asarray(expected))
    assert fresh(shown).composed_as == Composition()
    assert client.post(address, USUAL | chosen).status_code == 302
    assert fresh(shown).composed_as == composition
    assert_contains(client.get(address), '<option value="r" selected>', 'value="50.0"')


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"red": "g"}, "Choose all three bands"),
        ({"softening": "-1"}, "The softening must be greater than 0."),
        ({"range": "0"}, "The range must be greater than 0."),
        ({"layout": "upside down"}, "is not one of the available choices"),
        ({"red": "x", "green": "g", "blue": "g"}, "is not one of the available choices"),
    ],
)
def test_what_cannot_be_composed_is_refused_in_words(
    client: Client, shown: Dataset, wrong: dict[str, str], words: str
) -> None:
    address = reverse("labeling:images", args=[shown.slug])
    assert words in text(client.post(address, USUAL | wrong), 422)
    assert words in client.get(f"{address}preview/", USUAL | wrong).content.decode()
    item = shown.items.get(path="m31")
    assert client.get(reverse("labeling:rendered_colour", args=[item.pk]), USUAL | wrong).status_code == 404
    assert fresh(shown).composed_as == Composition()
