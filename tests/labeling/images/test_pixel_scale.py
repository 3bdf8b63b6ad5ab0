"""The size of a pixel as the headers give it, written by the libraries that write such files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from labeling.images.pixel_scale import PixelScale, scale_in
from labeling.images.problems import ImageProblem
from tests.labeling.factories import orion_header
from tests.labeling.images.pictures import scan

GRAY = np.zeros((8, 10), np.uint8)


def scale_of_tiff(file: Path, **options: Any) -> PixelScale | None:
    tifffile.imwrite(file, GRAY, **options)
    return scale_in(file)


def test_fits_gives_seconds_of_arc(tmp_path: Path) -> None:
    header = orion_header()
    fits.PrimaryHDU(np.zeros((40, 60), np.float32), header).writeto(tmp_path / "a.fits")
    scale = scale_in(tmp_path / "a.fits")
    assert scale is not None
    assert scale.unit == "arcsec"
    assert scale.size == pytest.approx(3600 * abs(header["CDELT1"]), rel=1e-6)


def test_fits_without_a_position_gives_none(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((4, 6), np.float32)).writeto(tmp_path / "a.fits")
    assert scale_in(tmp_path / "a.fits") is None


def test_ome_gives_the_physical_size(tmp_path: Path) -> None:
    options = {"ome": True, "metadata": {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "axes": "YX"}}
    assert scale_of_tiff(tmp_path / "a.ome.tif", **options) == PixelScale(pytest.approx(0.25e-6), "m")
    options["metadata"] = {"PhysicalSizeX": 12, "PhysicalSizeXUnit": "nm", "axes": "YX"}
    assert scale_of_tiff(tmp_path / "b.ome.tif", **options) == PixelScale(pytest.approx(12e-9), "m")
    options["metadata"] = {"axes": "YX"}
    assert scale_of_tiff(tmp_path / "c.ome.tif", **options) is None


@pytest.mark.parametrize(
    ("unit", "meters"), [("um", 1e-6), ("micron", 1e-6), ("mm", 1e-3), ("parsec", None), ("", None)]
)
def test_imagej_gives_pixels_per_unit(tmp_path: Path, unit: str, meters: float | None) -> None:
    scale = scale_of_tiff(tmp_path / "a.tif", imagej=True, resolution=(4, 4), metadata={"unit": unit})
    assert scale == (None if meters is None else PixelScale(pytest.approx(meters / 4), "m"))


def test_slide_scanners_give_microns_in_the_description(tmp_path: Path) -> None:
    scale = scale_of_tiff(tmp_path / "a.tif", description="Aperio Image Library |AppMag = 40|MPP = 0.2520|Left = 1")
    assert scale == PixelScale(pytest.approx(0.252e-6), "m")
    assert scale_of_tiff(tmp_path / "b.tif", description="MPP = 1.2.3") is None


def test_dots_per_inch_are_no_scale(tmp_path: Path) -> None:
    assert scale_of_tiff(tmp_path / "a.tif", resolution=(300, 300), resolutionunit="INCH") is None
    Image.fromarray(GRAY).save(tmp_path / "a.jpg", dpi=(300, 300))
    Image.fromarray(GRAY).save(tmp_path / "a.png", dpi=(300, 300))
    assert scale_in(tmp_path / "a.jpg") is None
    assert scale_in(tmp_path / "a.png") is None


def test_dicom_gives_the_spacing_of_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(scan(GRAY, PixelSpacing=[0.5, 0.25]))
    assert scale_in(file) == PixelScale(pytest.approx(0.25e-3), "m")
    file.write_bytes(scan(GRAY))
    assert scale_in(file) is None


def test_a_file_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="no longer exists"):
        scale_in(tmp_path / "a.tif")
