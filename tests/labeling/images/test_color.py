"""Test colors that a file describes by other means than a profile."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from labeling.images.browser_formats import format_for_browsers
from labeling.images.file_check import examine
from labeling.images.open_image import open_image
from tests.labeling.images.quadrants import COLORS, corners, quadrants

# Quadrants stored with a gamma of 1 (linear light), as displayed by a browser (Chromium 142).
LINEAR = [[239, 110, 110], [110, 219, 133], [110, 133, 239], [244, 239, 133]]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write_png(
    file: Path, gamma: float, mode: str = "RGB", *, has_srgb_chunk: bool = False, profile: bytes = b""
) -> None:
    chunks = PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    if has_srgb_chunk:
        chunks.add(b"sRGB", b"\0")
    image = Image.fromarray(quadrants(COLORS).astype(np.uint8))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    options = {"icc_profile": profile} if profile else {}
    image.save(file, pnginfo=chunks, **options)


def shown(file: Path) -> np.ndarray:
    return corners(np.asarray(open_image(file)))


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_the_gamma_of_a_png_is_applied(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "linear.png"
    write_png(file, 1.0, mode)
    assert np.abs(shown(file) - LINEAR).max() <= 1
    assert format_for_browsers(file) == ""
    assert examine(file).revision == 1


def test_the_gamma_of_gray_is_applied(tmp_path: Path) -> None:
    file = tmp_path / "linear.png"
    write_png(file, 1.0, "L")
    write_png(tmp_path / "usual.png", 0.45455, "L")
    stored = shown(tmp_path / "usual.png") / 255
    expected = 255 * np.where(stored <= 0.0031308, 12.92 * stored, 1.055 * stored ** (1 / 2.4) - 0.055)
    assert np.abs(shown(file) - expected).max() <= 1


@pytest.mark.parametrize(
    ("gamma", "options"),
    [(0.45455, {}), (0.4546, {}), (1.0, {"has_srgb_chunk": True}), (1.0, {"profile": SRGB})],
    ids=["sRGB's own", "rounded", "an sRGB chunk", "a profile"],
)
def test_a_gamma_that_says_nothing_new_changes_nothing(tmp_path: Path, gamma: float, options: dict[str, bytes]) -> None:
    file = tmp_path / "usual.png"
    write_png(file, gamma, **options)
    assert np.abs(shown(file) - np.asarray(COLORS)).max() <= 1
    assert examine(file).revision == 0


def test_a_shrunk_picture_shows_the_same(tmp_path: Path) -> None:
    file = tmp_path / "linear.png"
    write_png(file, 1.0)
    assert np.abs(corners(np.asarray(open_image(file, max_side=64))) - LINEAR).max() <= 3
