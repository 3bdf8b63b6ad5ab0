"""Test JPEG 2000, which Pillow reads, and JPEG XL, which imagecodecs reads."""

import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from labeling.images import jpegxl
from labeling.images.browser_formats import format_for_browsers
from labeling.images.file_check import examine
from labeling.images.open_image import DEFAULT_EXTENSIONS, ImageProblem, open_image
from labeling.images.pixel_values import values_in
from tests.labeling.images.quadrants import COLORS, SHAPE, assert_colors, assert_rising, corners, opened, quadrants

PICTURE = quadrants(COLORS).astype(np.uint8)
GRAYS = quadrants([1000, 21000, 38000, 55000]).astype(np.uint16)


@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
def test_jpeg_2000(tmp_path: Path, suffix: str) -> None:
    assert f".{suffix}" in DEFAULT_EXTENSIONS
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(PICTURE).save(file)
    assert_colors(file)
    assert examine(file).format == "JPEG 2000"
    Image.fromarray(GRAYS).save(file)
    assert_rising(file)
    assert (corners(values_in(file)) == [1000, 21000, 38000, 55000]).all()
    assert format_for_browsers(file) == ""
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ImageProblem):
        open_image(file)


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("kind", ["rgb", "gray", "deep", "float", "alpha"])
def test_jpeg_xl(tmp_path: Path, kind: str, container: bool) -> None:
    assert ".jxl" in DEFAULT_EXTENSIONS
    file = tmp_path / "a.jxl"
    pixels = {
        "rgb": PICTURE,
        "gray": quadrants([0, 80, 170, 255]).astype(np.uint8),
        "deep": GRAYS,
        "float": quadrants([0.0, 0.3, 0.6, 0.9]).astype(np.float32),
        "alpha": np.dstack([PICTURE, quadrants([255, 255, 255, 0]).astype(np.uint8)]),
    }[kind]
    file.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=container))
    examined = examine(file)
    assert (examined.format, examined.width, examined.height) == ("JPEG XL", *SHAPE[::-1])
    assert format_for_browsers(file) == ""
    if kind == "rgb":
        assert_colors(file)
    elif kind == "alpha":
        assert corners(opened(file, background="#010203")).tolist() == [*COLORS[:3].tolist(), [1, 2, 3]]
    else:
        assert_rising(file)
        assert values_in(file).shape == SHAPE


@pytest.mark.parametrize("size", [(1, 1), (8, 256), (256, 256), (300, 200), (640, 480), (1000, 3), (2000, 1125)])
def test_the_size_of_a_jpeg_xl_is_known_by_its_header(size: tuple[int, int]) -> None:
    for how in ({}, {"usecontainer": True}):
        assert jpegxl.size_of(imagecodecs.jpegxl_encode(np.zeros(size[::-1], np.uint8), **how)) == size


def test_a_jpeg_xl_that_claims_too_much_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(PICTURE))
    monkeypatch.setattr(jpegxl, "refuse_too_large", lambda *size: (_ for _ in ()).throw(ImageProblem(f"{size}")))
    with pytest.raises(ImageProblem, match=r"\(96, 64\)"):
        open_image(tmp_path / "a.jxl")


@pytest.mark.parametrize("n", [1, 5, 14, 40])
def test_a_cut_jpeg_xl_is_a_problem(tmp_path: Path, n: int) -> None:
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(PICTURE, usecontainer=True)[:n])
    with pytest.raises(ImageProblem):
        open_image(tmp_path / "a.jxl")


def test_without_imagecodecs_it_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(PICTURE))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageProblem, match=r"install the Python package imagecodecs \(in HOSHINA: uv sync") as caught:
        open_image(tmp_path / "a.jxl")
    assert "damaged" not in caught.value.reason
