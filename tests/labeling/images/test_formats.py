"""Test scientific images against reference results: high bit depth, planes, color spaces and gigapixels."""

import gzip
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import sunpy.data.test
import tifffile
from astropy.io import fits
from PIL import Image

from labeling.images import thumbnails, tiff_reduced
from labeling.images.browser_formats import format_for_browsers
from labeling.images.encoder_inputs import decode_side, squash
from labeling.images.file_check import examine
from labeling.images.open_image import ImageProblem, open_for_resizing, open_image
from labeling.images.rendering import Rendering
from tests.labeling.factories import swapped_profile
from tests.labeling.images.pictures import oriented, png16, samples, scan
from tests.labeling.images.quadrants import opened

RAMP = np.linspace(0, 4000, 64 * 64).reshape(64, 64)


def gray(file: Path, **choices: Any) -> np.ndarray:
    pixels = opened(file, **choices)
    assert (pixels[..., :1] == pixels).all()
    return pixels[..., 0].astype(int)


def in_colors(ramp: np.ndarray) -> np.ndarray:
    """Return colors in which red increases, green decreases and blue is constant."""
    return np.stack([ramp, ramp.max() - ramp, np.full_like(ramp, ramp.max() / 2)], axis=-1)


# -- More than 8 bits -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["a.png", "a.tif", "big.tif", "a.fits", "float.tif", "float.fits", "rice.fits.fz"])
def test_a_ramp_of_16_bits_shows_as_a_ramp(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    values = RAMP.astype(np.float32 if name.startswith("float") else np.uint16)
    if name == "rice.fits.fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values[::-1])]).writeto(file)
    elif file.suffix == ".fits":
        fits.PrimaryHDU(values[::-1]).writeto(file)
    elif name == "big.tif":
        tifffile.imwrite(file, values, byteorder=">")
    else:
        Image.fromarray(values).save(file)
    assert abs(gray(file, stretch="minmax") - np.rint(values / 4000 * 255)).max() <= 1
    steps = np.diff(gray(file).reshape(-1))  # under the usual stretch
    assert steps.min() >= 0
    assert steps.max() <= 1
    assert (gray(file).min(), gray(file).max()) == (0, 255)


@pytest.mark.parametrize("kind", ["png", "tif", "big.tif", "deflate.tif", "float.tif", "planar.tif"])
def test_colors_of_16_bits_keep_all_of_them(tmp_path: Path, kind: str) -> None:
    values = in_colors(RAMP / 16)  # 0 to 250: the upper bytes are zero
    file = tmp_path / f"colors.{kind}"
    if kind == "png":
        file.write_bytes(png16(values))
    else:
        stored = values.astype(np.float32 if kind == "float.tif" else np.uint16)
        stored = np.moveaxis(stored, -1, 0) if kind == "planar.tif" else stored
        tifffile.imwrite(
            file, stored, photometric="rgb", byteorder=">" if kind == "big.tif" else "<",
            compression="zlib" if kind == "deflate.tif" else None,
            planarconfig="separate" if kind == "planar.tif" else "contig",
        )  # fmt: skip
    expected = np.rint(values.astype(int if kind != "float.tif" else float) / 250 * 255)
    assert abs(opened(file, stretch="linear", low=0, high=250).astype(int) - expected).max() <= 1
    assert format_for_browsers(file) == ""
    assert (examine(file).width, examine(file).height) == (64, 64)


def test_transparency_of_16_bits_lies_over_the_ground_and_does_not_stretch(tmp_path: Path) -> None:
    values = np.zeros((10, 10, 2))
    values[..., 0], values[..., 1] = np.linspace(100, 200, 10), 65535
    values[0] = 60000, 0  # bright and transparent
    (tmp_path / "a.png").write_bytes(png16(values))
    pixels = opened(tmp_path / "a.png", stretch="minmax", background="#102030")
    assert pixels[0, 0].tolist() == [16, 32, 48]
    assert pixels[5, 0].tolist() == [0, 0, 0]
    assert pixels[5, 9].tolist() == [255, 255, 255]


@pytest.mark.parametrize("name", ["a.fits", "a.tif"])
def test_stretches_against_their_formulas(tmp_path: Path, name: str) -> None:
    values = RAMP.astype(np.float32)
    if name == "a.fits":
        fits.PrimaryHDU(values[::-1]).writeto(tmp_path / name)
    else:
        Image.fromarray(values).save(tmp_path / name)
    share = np.clip((values - 1000) / 2000, 0, 1)
    for stretch, expected in {
        "linear": share,
        "sqrt": np.sqrt(share),
        "log": np.log(1000 * share + 1) / np.log(1001),
        "asinh": np.arcsinh(share / 0.1) / np.arcsinh(10),
    }.items():
        shown = gray(tmp_path / name, stretch=stretch, low=1000, high=3000)
        assert abs(shown - expected * 255).max() <= 0.51, stretch
        inverted = gray(tmp_path / name, stretch=stretch, low=1000, high=3000, is_inverted=True)
        assert (inverted == 255 - shown).all()


def test_limits_that_are_shared_make_images_comparable_and_found_ones_do_not(tmp_path: Path) -> None:
    for name, factor in (("dim", 0.25), ("bright", 1.0)):
        Image.fromarray((RAMP * factor).astype(np.uint16)).save(tmp_path / f"{name}.tif")
    dim, bright = (tmp_path / f"{name}.tif" for name in ("dim", "bright"))
    assert abs(gray(dim).mean() - gray(bright).mean()) < 2
    shared = {"stretch": "linear", "low": 0.0, "high": 4000.0}
    assert abs(gray(dim, **shared).mean() * 4 - gray(bright, **shared).mean()) < 2


def test_unknown_pixels_are_masked_before_the_stretch_and_black_however_it_is_inverted(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32).copy()
    values[:5, :5] = np.nan
    values[10, 10], values[11, 11], values[12, 12] = np.inf, -np.inf, 1e38
    fits.PrimaryHDU(values[::-1]).writeto(tmp_path / "a.fits")
    for stretch in ("usual", "zscale", "percentile", "asinh", "log", "sqrt", "linear"):
        for is_inverted in (False, True):
            shown = gray(tmp_path / "a.fits", stretch=stretch, is_inverted=is_inverted)
            assert (shown[:5, :5] == 0).all()
            assert len(np.unique(shown)) > 100, stretch


def test_digits_far_from_zero_are_not_lost(tmp_path: Path) -> None:
    fits.PrimaryHDU((RAMP[::-1] / 4000 * 100 + 1e9).astype(np.float64)).writeto(tmp_path / "a.fits")
    assert len(np.unique(gray(tmp_path / "a.fits", stretch="minmax"))) == 256


# -- FITS -------------------------------------------------------------------------------------------
def parts(file: Path) -> None:
    """Write a FITS file with 0 an empty HDU, 1 a table, 2 a spectrum, 3 an increasing image, 4 a cube of three planes.

    The planes of the cube are decreasing, constant and increasing.
    """
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    rising = np.tile(np.arange(50, dtype=np.float32), (40, 1))
    cube = np.stack([rising[:, ::-1], np.full_like(rising, 10), rising])
    fits.HDUList(
        [fits.PrimaryHDU(), table, fits.ImageHDU(np.arange(30.0)), fits.ImageHDU(rising), fits.ImageHDU(cube)]
    ).writeto(file)


def test_the_chosen_hdu_and_plane_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "parts.fits"
    parts(file)
    rising = np.tile(np.rint(np.arange(50) / 49 * 255), (40, 1))
    assert (gray(file, stretch="minmax") == rising).all()
    of = {"hdu": 4, "stretch": "linear", "low": 0.0, "high": 49.0}
    assert (gray(file, **of) == rising[:, ::-1]).all()
    assert (gray(file, plane=2, **of) == rising).all()
    assert (gray(file, plane="max", **of) == np.maximum(rising, rising[:, ::-1])).all()
    assert abs(gray(file, plane="mean", **of) - 255 * (49 + 10) / 3 / 49).max() <= 1
    rgb = opened(file, plane="rgb", **of)
    assert (rgb[..., 0] == rising[:, ::-1]).all()
    assert (rgb[..., 2] == rising).all()
    assert examine(file, Rendering(hdu=4)).width == 50


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"hdu": 0}, "HDU 0 of this FITS file is empty"),
        ({"hdu": 1}, "HDU 1 of this FITS file is a table of 2 rows"),
        ({"hdu": 2}, "a spectrum or a series of 30 values"),
        ({"hdu": 9}, "has no HDU 9; it has 5"),
        ({"hdu": 4, "plane": 3}, "has no plane 3. It has 3 planes, counted from 0"),
    ],
)
def test_parts_without_an_image_are_refused_with_the_reason(tmp_path: Path, choices: dict, message: str) -> None:
    parts(tmp_path / "parts.fits")
    with pytest.raises(ImageProblem, match=message):
        open_image(tmp_path / "parts.fits", rendering=Rendering(**choices))


def test_a_file_of_spectra_and_tables_says_what_it_holds(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    fits.HDUList([fits.PrimaryHDU(np.arange(4096.0)), table]).writeto(tmp_path / "a.fits")
    with pytest.raises(ImageProblem, match=r"HDU 0 is a spectrum .* 4,096 values .*; HDU 1 is a table of 2 rows"):
        open_image(tmp_path / "a.fits")


def test_scaled_values_and_blanks(tmp_path: Path) -> None:
    part = fits.PrimaryHDU(np.arange(100, dtype=np.int16).reshape(10, 10)[::-1].copy())
    part.header["BSCALE"], part.header["BZERO"], part.header["BLANK"] = 2.0, 1000.0, 50
    part.writeto(tmp_path / "a.fits")
    shown = gray(tmp_path / "a.fits", stretch="linear", low=1000, high=1000 + 2 * 99)
    expected = np.rint(np.arange(100).reshape(10, 10) / 99 * 255)
    expected[5, 0] = 0
    assert abs(shown - expected).max() <= 1
    assert shown[5, 0] == 0


@pytest.mark.parametrize("name", ["a.fits.gz", "named wrongly.fits"])
def test_packed_fits(tmp_path: Path, name: str) -> None:
    fits.PrimaryHDU(RAMP[::-1].astype(np.int16)).writeto(tmp_path / "plain.fits")
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain.fits").read_bytes()))
    assert (opened(tmp_path / name) == opened(tmp_path / "plain.fits")).all()
    assert examine(tmp_path / name).format == "FITS"
    cut = (tmp_path / name).read_bytes()[:-200]
    (tmp_path / "cut.fits.gz").write_bytes(cut)
    with pytest.raises(ImageProblem, match="truncated"):
        open_image(tmp_path / "cut.fits.gz")


def test_what_unpacks_to_too_much_is_refused_without_the_memory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("labeling.images.fits._MOST_UNPACKED", 3 * 2**20)
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 4000), ("NAXIS2", 4000)])
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(header.tostring().encode() + bytes(16_000_000)))
    with pytest.raises(ImageProblem, match="larger than"):
        open_image(tmp_path / "a.fits.gz")


def test_every_fits_file_of_sunpy_shows_sensibly_or_says_why_not() -> None:
    folder = Path(sunpy.data.test.rootdir)
    reasons = {
        "eve_l1_esp_2011046_00_truncated.fits": "HDU 0 is empty; HDU 1 is a table",
        "gbm.fits": "HDU 0 is empty; HDU 1 is a table",
        "go1520110607.fits": "HDU 3 is a table of 1 row",
        "go1520120601.fits.gz": "HDU 3 is a table of 1 row",
        "hsi_obssumm_20120601_018_truncated.fits.gz": "HDU 5 is a table of 1 row; …",
        "lyra_20150101-000000_lev3_std_truncated.fits.gz": "HDU 1 is a table of 10 rows",
        "not_actually_fits.fits": "not an image but a web page",
        "test_ana.fz": "not an image in a supported format",
    }
    files = [file for file in sorted(folder.rglob("*")) if file.name.endswith((".fits", ".gz", ".fz"))]
    assert len(files) >= 17
    for file in files:
        if file.name in reasons:
            with pytest.raises(ImageProblem, match=reasons[file.name]):
                open_image(file)
            continue
        pixels = opened(file)
        assert np.std(pixels) > 5, file.name
        assert pixels.max() > 200, file.name
        assert examine(file).format == "FITS"


# -- Colors ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_colors_come_by_their_profile(tmp_path: Path, suffix: str) -> None:
    image = Image.new("RGB", (32, 32), (255, 0, 0))
    image.save(tmp_path / f"odd.{suffix}", icc_profile=swapped_profile())
    image.save(tmp_path / f"plain.{suffix}", icc_profile=b"no profile at all")
    red, _, blue = opened(tmp_path / f"odd.{suffix}")[16, 16]
    assert (red < 10, blue > 245) == (True, True)
    red, _, blue = opened(tmp_path / f"plain.{suffix}")[16, 16]
    assert (red > 240, blue < 15) == (True, True)


def test_a_profile_counts_under_transparency_and_in_palettes(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    layer.putpixel((0, 0), (0, 0, 0, 0))
    layer.save(tmp_path / "a.png", icc_profile=swapped_profile())
    Image.new("RGB", (8, 8), (255, 0, 0)).quantize(4).save(tmp_path / "p.png", icc_profile=swapped_profile())
    assert opened(tmp_path / "a.png", background="#ffffff")[0, 0].tolist() == [255, 255, 255]
    for name in ("a.png", "p.png"):
        red, _, blue = opened(tmp_path / name)[5, 5]
        assert (red < 10, blue > 245) == (True, True), name


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_shown_in_its_colors(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (32, 32), (255, 0, 0, 0)).save(tmp_path / f"cyan.{suffix}")
    red, green, blue = opened(tmp_path / f"cyan.{suffix}")[16, 16]
    assert (red < 20, green > 235, blue > 235) == (True, True, True)


def test_an_inverted_picture_keeps_its_ground(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (8, 8), (255, 0, 10, 255))
    layer.putpixel((0, 0), (0, 0, 0, 0))
    layer.save(tmp_path / "a.png")
    pixels = opened(tmp_path / "a.png", is_inverted=True, background="#010203")
    assert pixels[4, 4].tolist() == [0, 255, 245]
    assert pixels[0, 0].tolist() == [1, 2, 3]
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert format_for_browsers(tmp_path / "b.png") == "PNG"
    assert format_for_browsers(tmp_path / "b.png", Rendering(is_inverted=True)) == ""


# -- Pages, frames, bands -----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["deep.tif", "tif", "gif", "webp", "png"])
def test_pages_and_frames_are_chosen_or_combined(tmp_path: Path, kind: str) -> None:
    levels = [40, 200, 90]
    file = tmp_path / f"a.{kind}"
    if kind == "deep.tif":
        pages = np.stack([np.full((20, 30), 100 * level, np.uint16) for level in levels])
        tifffile.imwrite(file, pages, photometric="minisblack")
    else:
        first, *others = [Image.new("L", (30, 20), level) for level in levels]
        first.save(file, save_all=True, append_images=others, **({"lossless": True} if kind == "webp" else {}))
    of = {"stretch": "linear", "low": 0.0, "high": 25500.0}
    for plane, expected in (("first", 40), (1, 200), (2, 90), ("max", 200), ("mean", 110)):
        assert abs(gray(file, plane=plane, **of) - expected).max() <= 2, plane
    assert abs(opened(file, plane="rgb", **of).astype(int) - levels).max() <= 2
    with pytest.raises(ImageProblem, match=r"no frame 3\. It has 3 frames, counted from 0"):
        opened(file, plane=3)


def test_a_file_of_one_plane_shows_it_whatever_is_chosen(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.jpg")
    for plane in ("max", "mean", "rgb", 5):
        assert (gray(tmp_path / "a.png", plane=plane) == 77).all()
        assert opened(tmp_path / "a.jpg", plane=plane).shape == (8, 8, 3)


def test_bands_that_are_no_colors_are_planes(tmp_path: Path) -> None:
    bands = np.stack([np.full((20, 30), value, np.float32) for value in (1, 2, 3, 4, 5, 6)])
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="separate")
    of = {"stretch": "linear", "low": 0.0, "high": 10.0}
    assert (gray(tmp_path / "a.tif", **of) == 26).all()
    assert (gray(tmp_path / "a.tif", plane=5, **of) == 153).all()
    assert (opened(tmp_path / "a.tif", plane="rgb", **of)[0, 0] == [26, 51, 76]).all()


# -- Gigapixels -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "how",
    [
        {"tile": (64, 96), "compression": "zlib", "predictor": True}, {"rowsperstrip": 7, "compression": "zlib"},
        {}, {"rowsperstrip": 500}, {"tile": (64, 64), "planarconfig": "separate"}, {"byteorder": ">"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colors", [1, 3])
def test_what_is_too_large_comes_reduced_and_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict, dtype: type, colors: int
) -> None:
    monkeypatch.setattr("labeling.images.open_image.MAX_PIXELS", 10_000)
    monkeypatch.setattr(tiff_reduced, "_MOST_PIECE", 200_000)
    if colors == 1 and "planarconfig" in how:
        return
    height, width = 331, 502
    y, x = np.mgrid[:height, :width]
    pixels = (np.stack([x + y, x, y], axis=-1)[..., :colors] * 0.3).astype(dtype)
    stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in how else pixels.squeeze()
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb" if colors == 3 else "minisblack", **how)
    rendering = Rendering(stretch="linear", low=0, high=255)
    image = np.asarray(open_image(tmp_path / "a.tif", max_side=50, rendering=rendering)).astype(float)
    whole = Image.fromarray(np.broadcast_to(pixels, (height, width, 3)).astype(np.uint8))
    whole.thumbnail((50, 50), Image.Resampling.LANCZOS)
    assert image.shape == np.asarray(whole).shape
    assert abs(image - np.asarray(whole)).max() < 3
    assert (examine(tmp_path / "a.tif").width, examine(tmp_path / "a.tif").height) == (502, 331)
    with pytest.raises(ImageProblem, match="can only be opened reduced"):
        open_image(tmp_path / "a.tif")


def test_a_quarter_of_a_gigapixel_comes_within_the_memory(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "giant.tif") as writer:
        tiles = (np.full((2048, 2048), 10 + number % 200, np.uint8) for number in range(8 * 8))
        how = {"tile": (2048, 2048), "compression": "zlib", "compressionargs": {"level": 1}}
        writer.write(tiles, shape=(16384, 16384), dtype=np.uint8, **how)
    tracemalloc.start()
    image = open_image(tmp_path / "giant.tif", max_side=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.size == (256, 256)
    assert abs(int(np.asarray(image)[32 * 3 + 16, 32 * 5 + 16, 0]) - (10 + 8 * 3 + 5)) <= 1
    assert peak < 80 * 2**20  # the whole image would need 256


@pytest.mark.parametrize("place", ["below", "beside"])
def test_an_overview_is_taken_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr("labeling.images.open_image.MAX_PIXELS", 10_000)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.full((600, 900), 10, np.uint8), subifds=2 if place == "below" else None)
        for size, level in ((300, 50), (100, 90)):
            writer.write(np.full((size, size * 3 // 2), level, np.uint8), subfiletype=1)
    assert (np.asarray(open_image(tmp_path / "a.tif", max_side=120)) == 90).all()
    assert (np.asarray(open_image(tmp_path / "a.tif", max_side=200)) == 50).all()


def test_one_piece_too_large_for_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.images.open_image.MAX_PIXELS", 10_000)
    monkeypatch.setattr(tiff_reduced, "_MOST_PIECE", 50_000)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((400, 500), np.uint8), rowsperstrip=400, compression="zlib")
    with pytest.raises(ImageProblem, match="Save it in tiles"):
        open_image(tmp_path / "a.tif", max_side=50)


@pytest.mark.parametrize("width", [50_000_000, 3_000_000_000])
def test_a_size_that_asks_for_pieces_that_are_not_there_is_refused_at_once(tmp_path: Path, width: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 60), np.uint8), tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["ImageWidth"].overwrite(width, dtype="I")
    with pytest.raises(ImageProblem, match=r"requires .* pieces, and it lists 12|megapixels"):
        examine(tmp_path / "a.tif")


# -- HEIF, AVIF, DICOM --------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", ["avif", "heic"])
def test_pictures_of_telephones(tmp_path: Path, suffix: str) -> None:
    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (64, 48), (250, 10, 10))
    image.paste((10, 10, 250), (32, 0, 64, 48))
    image.save(tmp_path / f"a.{suffix}", quality=95)
    assert abs(opened(tmp_path / f"a.{suffix}")[24, 10].astype(int) - [250, 10, 10]).max() < 12
    examined = examine(tmp_path / f"a.{suffix}")
    assert (examined.format, examined.width, examined.height) == ({"heic": "HEIF"}.get(suffix, "AVIF"), 64, 48)
    assert format_for_browsers(tmp_path / f"a.{suffix}") == ""
    if suffix == "avif":  # pillow-heif can't write an orientation
        image.save(tmp_path / "turned.avif", quality=95, exif=oriented(6))
        turned = opened(tmp_path / "turned.avif")
        assert turned.shape == (64, 48, 3)
        assert abs(turned[10, 24].astype(int) - [250, 10, 10]).max() < 12
        assert examine(tmp_path / "turned.avif").height == 64


def test_dicom_by_its_own_window_and_slope(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(scan(RAMP, RescaleSlope=0.5, RescaleIntercept=-1000, WindowCenter=[0, 5], WindowWidth=[1000, 9]))
    expected = np.clip((np.floor(RAMP) * 0.5 - 1000 + 500) / 1000, 0, 1) * 255
    assert abs(gray(file) - expected).max() <= 1
    assert abs(gray(file, stretch="minmax") - RAMP / 4000 * 255).max() <= 1
    assert examine(file).format == "DICOM"
    file.write_bytes(scan(RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert abs(gray(file, stretch="minmax") - (255 - RAMP / 4000 * 255)).max() <= 1


def test_frames_of_dicom_and_files_without_one(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(scan(np.stack([RAMP, RAMP[::-1]])))
    assert abs(gray(tmp_path / "a.dcm", plane=1, stretch="minmax") - RAMP[::-1] / 4000 * 255).max() <= 1
    content = scan(RAMP)
    (tmp_path / "cut.dcm").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageProblem):
        open_image(tmp_path / "cut.dcm")


# -- One picture for the person and the model ---------------------------------------------------------
RENDERINGS = {
    "usual": Rendering(),
    "asinh": Rendering(stretch="asinh", is_inverted=True, background="#ff8000"),
    "limits": Rendering(stretch="sqrt", low=100, high=3000, plane="mean"),
}


@pytest.mark.parametrize("name", RENDERINGS)
def test_the_model_sees_the_pixels_that_the_person_sees(tmp_path: Path, name: str) -> None:
    rendering = RENDERINGS[name]
    for kind, file in samples(tmp_path).items():
        shown, _ = thumbnails.render(file, 256, rendering)
        seen = np.asarray(Image.open(io.BytesIO(shown)))
        assert seen.shape == (40, 60, 3)
        for side in (96, 224):
            squashed = squash(open_for_resizing(file, decode_side(side), rendering), side)
            assert (squashed == squash(Image.fromarray(seen), side)).all(), kind
