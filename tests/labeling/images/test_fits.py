"""Test FITS files whose first row is at the top, or whose first image is empty."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from labeling.images.file_check import examine
from labeling.images.file_headers import values_of
from labeling.images.open_image import ImageProblem, open_image
from labeling.images.pixel_values import values_in
from labeling.images.rendering import Rendering
from labeling.images.sky_coordinates import sky_in
from tests.labeling.images.quadrants import HEIGHT, WIDTH, corners, opened, quadrants

GRAYS = quadrants([100, 200, 300, 400]).astype(np.float32)


def write(file: Path, pixels: np.ndarray = GRAYS, **cards: Any) -> Path:
    part = fits.PrimaryHDU(pixels)
    part.header.update(cards)
    part.writeto(file, overwrite=True)
    return file


@pytest.mark.parametrize(
    ("cards", "choice", "is_top"),
    [
        ({"ROWORDER": "TOP-DOWN"}, "bottom", True), ({"ROWORDER": "top-down "}, "bottom", True),
        ({"ROWORDER": "TOP-DOWN"}, "top", True), ({"ROWORDER": "BOTTOM-UP"}, "top", False),
        ({"ROWORDER": "BOTTOM-UP"}, "bottom", False), ({"ROWORDER": "sideways"}, "bottom", False),
        ({}, "bottom", False), ({}, "top", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "cube", "rice"])
def test_the_first_row_is_where_the_header_or_the_dataset_says(
    tmp_path: Path, cards: dict[str, str], choice: str, is_top: bool, kind: str
) -> None:
    file = tmp_path / "a.fits"
    if kind == "rice":
        part = fits.CompImageHDU(GRAYS.astype(np.int16))
        part.header.update(cards)
        fits.HDUList([fits.PrimaryHDU(), part]).writeto(file)
    else:
        write(file, np.stack([GRAYS, GRAYS]) if kind == "cube" else GRAYS, **cards)
    rendering = Rendering(first_row=choice, stretch="minmax")
    expected = [0, 85, 170, 255] if is_top else [170, 255, 0, 85]
    assert corners(opened(file, first_row=choice, stretch="minmax"))[:, 0].tolist() == expected
    assert corners(values_in(file, rendering)).tolist() == ([100, 200, 300, 400] if is_top else [300, 400, 100, 200])
    assert examine(file, rendering).revision == int(cards.get("ROWORDER", "").strip().upper() == "TOP-DOWN")


def test_the_sky_is_where_the_pixels_are(tmp_path: Path) -> None:
    world = WCS(naxis=2)
    world.wcs.ctype, world.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-0.01, 0.01]
    world.wcs.crval, world.wcs.crpix = [83.8, -5.4], [10, 5]
    cards = dict(world.to_header())
    usual, flipped = write(tmp_path / "a.fits", **cards), write(tmp_path / "b.fits", **cards, ROWORDER="TOP-DOWN")
    grids = [sky_in(file) for file in (usual, flipped)]
    assert grids[0] is not None
    assert grids[1] is not None
    assert np.allclose(grids[0].vectors, grids[1].vectors[::-1])
    assert not np.allclose(grids[0].vectors, grids[1].vectors)


@pytest.mark.parametrize("shape", [(0, 0), (0, 20), (3, 0, 20)])
@pytest.mark.parametrize("place", ["first", "second"])
def test_an_image_of_no_pixels_is_passed_over(tmp_path: Path, shape: tuple[int, ...], place: str) -> None:
    file = tmp_path / "a.fits"
    empty = np.zeros(shape, np.float32)
    parts = [fits.PrimaryHDU(empty)] if place == "first" else [fits.PrimaryHDU(), fits.ImageHDU(empty)]
    shown = fits.ImageHDU(GRAYS)
    shown.header["OBJECT"] = "M42"
    fits.HDUList([*parts, shown]).writeto(file)
    assert corners(opened(file, stretch="minmax"))[:, 0].tolist() == [170, 255, 0, 85]
    assert (examine(file).width, examine(file).height) == (WIDTH, HEIGHT)
    assert values_of(file, ["OBJECT"]) == ["M42"]
    fits.HDUList(parts).writeto(file, overwrite=True)
    with pytest.raises(ImageProblem, match="contains no image: HDU 0 is empty"):
        open_image(file)
    with pytest.raises(ImageProblem, match="is empty, which can't be shown"):
        open_image(file, rendering=Rendering(hdu=len(parts) - 1))


@pytest.mark.parametrize("plane", ["first", "max", "mean", "rgb", 1])
def test_unknown_in_all_planes_is_a_problem(tmp_path: Path, plane: Any) -> None:
    write(tmp_path / "a.fits", np.full((3, 20, 30), np.nan, np.float32))
    with pytest.raises(ImageProblem, match="no finite value"):
        open_image(tmp_path / "a.fits", rendering=Rendering(plane=plane))
