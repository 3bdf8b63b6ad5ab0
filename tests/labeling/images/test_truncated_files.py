"""Test truncated files: complete pictures are always shown, others if a setting allows it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from labeling.images.file_check import examine
from labeling.images.open_image import ImageProblem, open_for_resizing, open_image
from labeling.images.pixel_values import values_in
from labeling.images.rendering import Rendering
from tests.labeling.images.pictures import noise, oriented
from tests.labeling.images.quadrants import COLORS, assert_colors, assert_refused, corners, opened, quadrants

SHOWN = Rendering(shows_cut=True)


def content(suffix: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(quadrants(COLORS).astype(np.uint8)).save(buffer, suffix, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("turn", [1, 6])
def test_a_jpeg_without_its_end_is_shown_with_a_note(tmp_path: Path, how: dict[str, Any], turn: int) -> None:
    whole = content("JPEG", exif=oriented(turn), **how)
    assert whole.endswith(b"\xff\xd9")
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "a.jpg").write_bytes(whole[:-2])
    assert (opened(tmp_path / "a.jpg") == opened(tmp_path / "whole.jpg")).all()
    examined = examine(tmp_path / "a.jpg")
    assert examined.note == "The end of the file is missing, but the picture is complete. Copy it again to be sure."
    assert (examined.width, examined.height) == ((96, 64) if turn == 1 else (64, 96))
    assert examine(tmp_path / "whole.jpg").note == ""


def test_a_large_jpeg_without_its_end_is_known_at_any_size(tmp_path: Path) -> None:
    noise(1600, 1200).save(tmp_path / "whole.jpg", quality=90)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-2])
    for side in (64, 256, 8192):
        pictures = [np.asarray(open_for_resizing(tmp_path / name, side)) for name in ("a.jpg", "whole.jpg")]
        assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize("how", [{}, {"progressive": True}])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_jpeg_that_is_cut_is_refused_unless_cut_files_are_wanted(
    tmp_path: Path, share: float, how: dict[str, Any]
) -> None:
    buffer = io.BytesIO()
    noise(640, 480).save(buffer, "JPEG", quality=90, **how)
    whole = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(whole[: int(len(whole) * share)])
    assert_refused(tmp_path / "a.jpg", "truncated")
    assert "is shown gray" in examine(tmp_path / "a.jpg", SHOWN).note
    if not how:
        pixels = opened(tmp_path / "a.jpg", shows_cut=True)
        assert abs(pixels[-8:, -100:].astype(int) - 128).max() <= 2
        assert pixels[:8].std() > 30


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "P", "RGBA"])
def test_a_cut_png_is_gray_where_it_is_missing(tmp_path: Path, mode: str) -> None:
    image = noise(200, 150)
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 60000, (150, 200)).astype(np.uint16))
    elif mode != "RGB":
        image = image.convert(mode)
    image.save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageProblem, match="truncated"):
        open_image(tmp_path / "a.png")
    of = {"stretch": "linear", "low": 0.0, "high": 65535.0} if mode == "I;16" else {}
    shown, expected = (opened(tmp_path / name, shows_cut=True, **of) for name in ("a.png", "whole.png"))
    assert shown.shape == (150, 200, 3)
    assert (shown[:50] == expected[:50]).all()
    if mode != "P":
        assert abs(shown[-40:].astype(int) - 128).max() <= 1
    note = examine(tmp_path / "a.png", SHOWN).note
    assert "is shown gray" in note
    assert 35 < int(note.split("(")[1].split("%")[0]) < 65


def test_a_cut_bmp_is_gray_where_it_is_missing(tmp_path: Path) -> None:
    whole = content("BMP")
    (tmp_path / "a.bmp").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(ImageProblem, match="truncated"):
        open_image(tmp_path / "a.bmp")
    pixels = opened(tmp_path / "a.bmp", shows_cut=True)  # rows begin at the bottom
    assert (pixels[:15] == 128).all()
    assert corners(pixels)[2:].tolist() == COLORS[2:].tolist()


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_what_has_hardly_begun_is_refused_in_any_case(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix.lower()}"
    for n in (20, 50, 60):
        file.write_bytes(content(suffix)[:n])
        with pytest.raises(ImageProblem):
            open_image(file, rendering=SHOWN)


def test_whole_files_are_as_ever_where_cut_ones_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content("PNG"))
    assert_colors(tmp_path / "a.png", shows_cut=True)
    assert examine(tmp_path / "a.png", SHOWN).note == ""


@pytest.mark.parametrize(
    "how",
    [
        {}, {"rowsperstrip": 8}, {"rowsperstrip": 8, "compression": "zlib"}, {"tile": (16, 16)},
        {"rowsperstrip": 4, "compression": "lzw"}, {"planarconfig": "separate", "rowsperstrip": 8},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_cut_tiff_is_gray_where_it_is_missing(tmp_path: Path, dtype: str, how: dict[str, Any]) -> None:
    pixels = np.random.default_rng(3).integers(0, 250 if dtype == "u1" else 60000, (64, 96, 3)).astype(dtype)
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in how else pixels
    tifffile.imwrite(tmp_path / "whole.tif", stored, photometric="rgb", **how)
    whole = (tmp_path / "whole.tif").read_bytes()
    share = 0.9 if "planarconfig" in how else 0.5
    (tmp_path / "a.tif").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageProblem):
        open_image(tmp_path / "a.tif")
    of = {} if dtype == "u1" else {"stretch": "linear", "low": 0.0, "high": 60000.0}
    shown, expected = (opened(tmp_path / name, shows_cut=True, **of) for name in ("a.tif", "whole.tif"))
    assert (shown[:16] == expected[:16]).all()
    assert (shown[-4:] == 128).all()
    assert "is shown gray" in examine(tmp_path / "a.tif", SHOWN).note


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("order", ["BOTTOM-UP", "TOP-DOWN"])
def test_a_cut_fits_is_gray_where_it_is_missing(tmp_path: Path, dtype: str, order: str) -> None:
    pixels = np.random.default_rng(3).integers(0, 250, (200, 300)).astype(dtype)
    part = fits.PrimaryHDU(pixels)
    part.header["ROWORDER"] = order
    if dtype == "i2":
        part.header["BSCALE"], part.header["BZERO"] = 2.0, 10.0
        pixels = (pixels * 2 + 10).astype(dtype)
    part.writeto(tmp_path / "whole.fits")
    whole = (tmp_path / "whole.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(whole[: 2880 + pixels.dtype.itemsize * 300 * 120 + 7])
    with pytest.raises(ImageProblem, match="truncated"):
        open_image(tmp_path / "a.fits")
    of = {"stretch": "linear", "low": 0.0, "high": 600.0}
    shown, expected = (opened(tmp_path / name, shows_cut=True, **of) for name in ("a.fits", "whole.fits"))
    rows = slice(0, 119) if order == "TOP-DOWN" else slice(81, 200)
    gone = slice(121, 200) if order == "TOP-DOWN" else slice(0, 79)
    assert (shown[rows] == expected[rows]).all()
    assert (shown[gone] == 128).all()
    assert "(40%) is shown gray" in examine(tmp_path / "a.fits", SHOWN).note
    assert np.isnan(values_in(tmp_path / "a.fits", SHOWN)[gone]).all()
    (tmp_path / "a.fits").write_bytes(whole[:2880])
    with pytest.raises(ImageProblem, match="truncated"):
        open_image(tmp_path / "a.fits", rendering=SHOWN)
