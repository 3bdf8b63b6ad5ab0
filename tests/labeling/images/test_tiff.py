"""Test TIFF files whose samples most readers misinterpret."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from labeling.images import open_image as open_image_module
from labeling.images import tiff
from labeling.images.file_check import examine
from labeling.images.open_image import ImageProblem, open_image
from labeling.images.pixel_values import values_in
from labeling.images.rendering import Rendering
from tests.factories import not_none
from tests.labeling.images.quadrants import (
    COLORS,
    SHAPE,
    assert_colors,
    assert_refused,
    assert_rising,
    corners,
    opened,
    quadrants,
)

RISING = [1000, 21000, 38000, 55000]
PACKINGS: list[dict[str, Any]] = [
    {}, {"compression": "zlib"}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True},
    {"tile": (32, 32)}, {"tile": (16, 48), "compression": "zlib"}, {"byteorder": ">"}, {"bigtiff": True},
    {"rowsperstrip": 5, "compression": "packbits"},
]  # fmt: skip
packed = pytest.mark.parametrize(
    "packing", PACKINGS, ids=lambda packing: "-".join(map(str, packing.values())) or "plain"
)


def retagged(file: Path, **values: Any) -> None:
    with tifffile.TiffFile(file, mode="r+b") as written:
        for name, value in values.items():
            written.pages[0].tags[name].overwrite(value)


def no_data(value: str) -> dict[str, Any]:
    return {"extratags": [(42113, "s", 0, value, True)]}


# -- White at zero, signs, 32 bits ----------------------------------------------------------------------
@packed
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f4"])
def test_white_is_zero_in_every_depth_sign_and_packing(tmp_path: Path, dtype: str, packing: dict[str, Any]) -> None:
    stored = np.array([250, 170, 90, 0]) if dtype == "u1" else np.array([100, 40, -30, -100])
    if dtype in {"u2", "u4"}:
        stored = np.array([55000, 38000, 21000, 1000]) * (70_000 if dtype == "u4" else 1)
    if packing.get("predictor") and dtype == "f4":
        packing = {"compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", quadrants(stored).astype(dtype), photometric="miniswhite", **packing)
    if dtype == "u1":
        assert corners(opened(tmp_path / "a.tif"))[:, 0].tolist() == [5, 85, 165, 255]
    else:
        assert_rising(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_white_is_zero_in_bits_that_are_no_bytes(tmp_path: Path, bits: int) -> None:
    full = 2**bits - 1
    stored = np.array([full, full, 0, 0]) if bits == 1 else np.array([full, 2 * full // 3, full // 3, 0])
    values = quadrants(stored)
    raw = np.packbits((values[..., None] >> np.arange(bits - 1, -1, -1)) & 1).tobytes()
    write_raw(tmp_path / "a.tif", raw, bits=bits, photometric=0)
    seen = corners(opened(tmp_path / "a.tif"))[:, 0]
    assert (seen[0], seen[3]) == (0, 255)
    assert (np.diff(seen) >= 0).all()


def write_raw(file: Path, raw: bytes, *, bits: int, photometric: int) -> None:
    """Write one strip of gray with any number of bits, using Pillow's tag writer."""
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    height, width = SHAPE
    values = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: height, 279: len(raw)}
    for code, value in values.items():
        tags[code] = value
    directory = tags.tobytes(8)  # the offset of the strip is relative to the end of the tags
    file.write_bytes(b"II*\x00\x08\x00\x00\x00" + directory + raw)


@packed
def test_unsigned_32_bits_above_half_of_their_range(tmp_path: Path, packing: dict[str, Any]) -> None:
    values = quadrants([1_000_000_000, 2_000_000_000, 3_000_000_000, 4_200_000_000]).astype(np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", values, **packing)
    assert_rising(tmp_path / "a.tif")
    assert corners(values_in(tmp_path / "a.tif")).max() == 4_200_000_000


@packed
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "i4", "f4", "f8"])
def test_every_depth_in_both_orders_of_bytes(
    tmp_path: Path, dtype: str, byteorder: str, packing: dict[str, Any]
) -> None:
    scale = {"i2": 0.5, "u4": 70_000, "i4": 30_000}.get(dtype, 1)
    values = quadrants(np.array(RISING) * scale).astype(dtype)
    if dtype[0] == "f":
        packing = {key: kind for key, kind in packing.items() if key != "predictor"}
    tifffile.imwrite(tmp_path / "a.tif", values, **(packing | {"byteorder": byteorder}))
    assert_rising(tmp_path / "a.tif")
    assert (values_in(tmp_path / "a.tif") == values).all()


@packed
def test_signed_bytes(tmp_path: Path, packing: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", quadrants([-100, -40, 30, 100]).astype(np.int8), **packing)
    assert_rising(tmp_path / "a.tif")


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("dtype", "photometric"), [("u2", "miniswhite"), ("u4", "minisblack"), ("i1", "minisblack"), ("u2", "rgb")]
)
def test_orientation_counts_in_every_depth(tmp_path: Path, dtype: str, photometric: str, turn: int) -> None:
    values = {"u2": RISING, "u4": np.array(RISING) * 70_000, "i1": [-100, -40, 30, 100]}[dtype]
    stored = quadrants(values[::-1] if photometric == "miniswhite" else values).astype(dtype)
    if photometric == "rgb":
        stored = np.stack([stored, stored, stored], axis=-1)
    packing = {"compression": "lzw"} if turn % 2 else {}
    tifffile.imwrite(tmp_path / "plain.tif", stored, photometric=photometric)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric=photometric, extratags=[(274, "H", 1, turn, True)], **packing
    )
    upright = Image.fromarray(opened(tmp_path / "plain.tif"))
    if turn in open_image_module.UPRIGHT:
        upright = upright.transpose(open_image_module.UPRIGHT[turn])
    assert (opened(tmp_path / "a.tif") == np.asarray(upright)).all()
    assert (examine(tmp_path / "a.tif").width, examine(tmp_path / "a.tif").height) == upright.size


# -- No data --------------------------------------------------------------------------------------------
@packed
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("u1", "255"), ("u2", "65535"), ("u2", "0"), ("i2", "-32768"), ("i2", "-9999.0"), ("u4", "4294967295"),
        ("i4", "-2147483648"), ("f4", "-9999"), ("f4", "1e20"), ("f4", "-3.4e38"), ("f4", "-3.4028234663852886e+38"),
        ("f4", "-3.40282346638529e+38"), ("f8", "-1.7976931348623157e+308"), ("f4", "-9999,0"), ("f4", "nan"),
    ],
)  # fmt: skip
def test_no_data_is_unknown_and_the_rest_has_contrast(
    tmp_path: Path, dtype: str, value: str, packing: dict[str, Any]
) -> None:
    packing = {key: kind for key, kind in packing.items() if key != "predictor"}
    values = quadrants([10, 80, 170, 250] if dtype == "u1" else [100, 200, 300, 400]).astype(dtype)
    edge = (slice(None), slice(0, 10))
    number = float(value.replace(",", "."))
    values[edge] = np.clip(number, np.finfo(dtype).min, np.finfo(dtype).max) if dtype[0] == "f" else int(number)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", **no_data(value), **packing)
    for choices in ({}, {"is_inverted": True}):
        assert (opened(tmp_path / "a.tif", **choices)[edge] == 0).all()
    if dtype == "u1":
        assert corners(opened(tmp_path / "a.tif"))[:, 0].tolist() == [10, 80, 170, 250]
    else:
        assert_rising(tmp_path / "a.tif")
    finite = np.isfinite(values_in(tmp_path / "a.tif"))
    assert (finite == (np.arange(SHAPE[1]) >= 10)).all()


def test_no_data_of_64_bits_is_compared_digit_by_digit(tmp_path: Path) -> None:
    values = quadrants([2**63 - 3, 2**63 - 2, 2**63 - 1, 2**63 - 1]).astype(np.int64)
    tifffile.imwrite(tmp_path / "a.tif", values, **no_data(str(2**63 - 1)))
    finite = np.isfinite(values_in(tmp_path / "a.tif"))
    assert finite[: SHAPE[0] // 2].all()
    assert not finite[SHAPE[0] // 2 :].any()


def test_no_data_of_colors_is_where_all_of_them_have_it(tmp_path: Path) -> None:
    colors = np.concatenate([COLORS[:3], [[255, 255, 255]]]).astype(np.uint8)
    pixels = quadrants(colors)
    pixels[0, 0] = 255, 0, 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **no_data("255"))
    shown = opened(tmp_path / "a.tif")
    assert shown[0, 0].tolist() == [255, 0, 255]
    assert corners(shown).tolist() == [*COLORS[:3].tolist(), [0, 0, 0]]


def test_a_value_that_is_none_is_passed_over(tmp_path: Path) -> None:
    for value in ("", "none", "1e400", "-1", "70000"):
        tifffile.imwrite(tmp_path / "a.tif", quadrants(RISING).astype(np.uint16), **no_data(value))
        assert_rising(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["nan", "nodata", "u1", "palette", "max"])
def test_an_image_without_a_known_pixel_is_a_problem(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.tif"
    if kind == "nan":
        Image.fromarray(np.full(SHAPE, np.nan, np.float32)).save(file)
    elif kind == "palette":
        maps = np.zeros((3, 256), np.uint16)
        tifffile.imwrite(file, np.full((8, 8), 7, np.uint8), photometric="palette", colormap=maps, **no_data("7"))
    elif kind == "max":
        tifffile.imwrite(file, np.full((3, 8, 8), np.nan, np.float32), photometric="minisblack")
    else:
        tifffile.imwrite(file, np.full((8, 8), 7, np.uint8 if kind == "u1" else np.int16), **no_data("7"))
    assert_refused(file, "no finite value", rendering=Rendering(plane="max" if kind == "max" else "first"))


# -- Bands and alpha --------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("packing", [{}, {"compression": "zlib", "tile": (32, 32)}], ids=["plain", "tiled"])
def test_an_extra_channel_is_a_band_unless_the_file_calls_it_alpha(
    tmp_path: Path, dtype: str, layout: str, packing: dict[str, Any]
) -> None:
    scale = {"u1": 1, "u2": 200, "f4": 0.01}[dtype]
    gray, other = quadrants([0, 80, 170, 255]) * scale, quadrants([0, 0, 255, 0]) * scale
    write(tmp_path / "a.tif", [gray, other], dtype, layout, photometric="minisblack", extrasamples=[0], **packing)
    assert_rising(tmp_path / "a.tif")
    assert corners(opened(tmp_path / "a.tif", plane=1))[:, 0].tolist() == [0, 0, 255, 0]
    with pytest.raises(ImageProblem, match=r"no band 2\. It has 2 bands, counted from 0"):
        opened(tmp_path / "a.tif", plane=2)

    colors = np.moveaxis(quadrants(COLORS) * scale, -1, 0)
    infrared = np.zeros(SHAPE)
    infrared[:, :48] = 200 * scale
    write(tmp_path / "rgb.tif", [*colors, infrared], dtype, layout, photometric="rgb", extrasamples=[0], **packing)
    of = {} if dtype == "u1" else {"stretch": "linear", "low": 0.0, "high": 255.0 * scale}
    assert_colors(tmp_path / "rgb.tif", **of)
    assert corners(opened(tmp_path / "rgb.tif", plane=3, **of))[:, 0].tolist() == [200, 0, 200, 0]

    alpha = quadrants([255, 255, 255, 0]) * scale if dtype != "f4" else quadrants([1.0, 1.0, 1.0, 0.0])
    if dtype == "u2":
        alpha = quadrants([65535, 65535, 65535, 0])
    write(tmp_path / "alpha.tif", [*colors, alpha], dtype, layout, photometric="rgb", extrasamples=[2], **packing)
    seen = corners(opened(tmp_path / "alpha.tif", background="#010203", **of))
    assert seen[3].tolist() == [1, 2, 3]
    assert abs(seen[:3] - COLORS[:3]).max() <= 1


def write(file: Path, bands: list[np.ndarray], dtype: str, layout: str, **how: Any) -> None:
    pixels = np.stack(bands).astype(dtype)
    pixels = pixels if layout == "separate" else np.moveaxis(pixels, 0, -1)
    tifffile.imwrite(file, pixels, planarconfig=layout, **how)


def test_colors_that_were_multiplied_by_their_alpha_are_as_bright_as_meant(tmp_path: Path) -> None:
    alpha = np.full(SHAPE, 32768)
    colors = quadrants(COLORS) * 257
    stored = np.concatenate([colors * alpha[..., None] / 65535, alpha[..., None]], axis=-1)
    tifffile.imwrite(
        tmp_path / "a.tif", stored.astype(np.uint16), photometric="rgb", extrasamples=[1], planarconfig="contig"
    )
    seen = corners(opened(tmp_path / "a.tif", background="#000000", stretch="linear", low=0, high=65535))
    assert abs(seen - COLORS / 2).max() <= 2


def test_of_five_channels_the_colors_are_shown_and_each_can_be_chosen(tmp_path: Path) -> None:
    bands = [*np.moveaxis(quadrants(COLORS), -1, 0), quadrants([0, 80, 170, 255]), quadrants([9, 9, 9, 9])]
    write(tmp_path / "a.tif", bands, "u1", "separate", photometric="rgb", extrasamples=[0, 0])
    assert_colors(tmp_path / "a.tif")
    assert_colors(tmp_path / "a.tif", plane="rgb")
    assert_rising(tmp_path / "a.tif", plane=3)


# -- Palettes and color spaces ----------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("packing", [{}, {"compression": "zlib", "tile": (32, 32)}, {"byteorder": ">"}])
def test_palettes_of_8_and_16_bits(tmp_path: Path, dtype: str, packing: dict[str, Any]) -> None:
    numbers = np.array([3, 200, 17, 90]) * (1 if dtype == "u1" else 250)
    maps = np.zeros((3, 256 if dtype == "u1" else 65536), np.uint16)
    maps[:, numbers] = COLORS.T.astype(np.uint16) * 257
    write_palette(tmp_path / "a.tif", quadrants(numbers).astype(dtype), maps, **packing)
    assert_colors(tmp_path / "a.tif")
    write_palette(tmp_path / "b.tif", quadrants(numbers).astype(dtype), maps, **no_data(str(numbers[3])), **packing)
    assert corners(opened(tmp_path / "b.tif")).tolist() == [*COLORS[:3].tolist(), [0, 0, 0]]


def write_palette(file: Path, numbers: np.ndarray, maps: np.ndarray, **how: Any) -> None:
    """Write gray with the tags of a 16-bit palette, which tifffile refuses to write."""
    tags = [*how.pop("extratags", []), (320, "H", maps.size, tuple(int(value) for value in maps.reshape(-1)), True)]
    tifffile.imwrite(file, numbers, photometric="minisblack", extratags=tags, **how)
    retagged(file, PhotometricInterpretation=3)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_lab_is_shown_in_its_colors(tmp_path: Path, bits: int, kind: str) -> None:
    """Compare with littlecms through Pillow."""
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    converted = not_none(ImageCms.applyTransform(Image.fromarray(quadrants(COLORS).astype(np.uint8)), to_lab))
    lab = np.asarray(converted).astype(int)
    lab[..., 1:] = lab[..., 1:].astype(np.int8).astype(int) + 128
    unit = 256 if bits == 16 else 1
    lightness = lab[..., :1] * (257 if bits == 16 and kind == "cielab" else unit)
    ab = lab[..., 1:] * unit
    ab = (ab - 128 * unit) % (2**bits) if kind == "cielab" else ab
    stored = np.concatenate([lightness, ab], axis=-1).astype(f"u{bits // 8}")
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=kind, planarconfig="contig")
    assert_colors(tmp_path / "a.tif", tolerance=10)  # limited by the 8 bits of L*a*b*


@pytest.mark.parametrize("bits", [8, 16])
def test_lab_is_relative_to_the_white_that_the_file_names(tmp_path: Path, bits: int) -> None:
    """Compare with scikit-image for D65 and D50."""
    for white, illuminant in (((0.3127, 0.3290), "D65"), (None, "D50")):
        gray = np.full((*SHAPE, 3), 0.5)
        lab = rgb2lab(quadrants(COLORS) / 255 if illuminant == "D65" else gray, illuminant="D65")
        unit = 2 ** (bits - 8)
        ab = np.rint(lab[..., 1:] * unit).astype(int) % 2**bits
        lightness = np.rint(lab[..., :1] / 100 * (2**bits - 1))
        stored = np.concatenate([lightness, ab], axis=-1).astype(f"u{bits // 8}")
        tags = [(318, "2I", 2, (31270, 100_000, 32900, 100_000), True)] if white else []
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="cielab", planarconfig="contig", extratags=tags)
        if white:
            assert_colors(tmp_path / "a.tif", tolerance=10 if bits == 8 else 2)
        else:
            assert abs(corners(opened(tmp_path / "a.tif")) - 128).max() <= 2


# -- Pages ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("place", ["first page", "below"])
def test_a_thumbnail_on_the_first_page_is_not_the_image(tmp_path: Path, dtype: str, place: str) -> None:
    scale = 1 if dtype == "u1" else 200
    image = (quadrants([0, 80, 170, 255]) * scale).astype(dtype)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((16, 24), dtype), subfiletype=1, subifds=1 if place == "below" else 0)
        writer.write(image)
    assert_rising(tmp_path / "a.tif")
    assert (examine(tmp_path / "a.tif").width, examine(tmp_path / "a.tif").height) == SHAPE[::-1]
    assert (corners(values_in(tmp_path / "a.tif")) == np.array([0, 80, 170, 255]) * scale).all()


def test_smaller_copies_and_masks_are_no_pages_to_choose(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.full((40, 60), 10, np.uint8))
        writer.write(np.full((20, 30), 99, np.uint8), subfiletype=1)
        writer.write(np.ones((40, 60), np.bool_), subfiletype=4, photometric="mask")
        writer.write(np.full((40, 60), 30, np.uint8))
    assert (opened(tmp_path / "a.tif", plane=1) == 30).all()
    assert (opened(tmp_path / "a.tif", plane="mean") == 20).all()
    with pytest.raises(ImageProblem, match="2 pages, counted from 0"):
        opened(tmp_path / "a.tif", plane=2)


# -- Gigapixels, and files without a codec ------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["miniswhite", "nodata", "palette", "infrared", "u4", "i1"])
def test_what_is_reduced_means_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("labeling.images.open_image.MAX_PIXELS", 3000)
    file, tiles = tmp_path / "a.tif", {"tile": (16, 32), "compression": "zlib"}
    if kind == "palette":
        maps = np.zeros((3, 256), np.uint16)
        maps[:, [3, 200, 17, 90]] = COLORS.T.astype(np.uint16) * 257
        write_palette(file, quadrants([3, 200, 17, 90]).astype(np.uint8), maps, **tiles)
    elif kind == "infrared":
        bands = [*np.moveaxis(quadrants(COLORS), -1, 0), np.zeros(SHAPE)]
        write(file, bands, "u1", "contig", photometric="rgb", extrasamples=[0], **tiles)
    elif kind == "miniswhite":
        tifffile.imwrite(file, quadrants(RISING[::-1]).astype(np.uint16), photometric="miniswhite", **tiles)
    elif kind == "nodata":
        values = quadrants([100, 200, 300, 400]).astype(np.float32)
        values[:, :16] = -9999
        tifffile.imwrite(file, values, **no_data("-9999"), **tiles)
    else:
        values = np.array(RISING) * 70_000 if kind == "u4" else np.array([-100, -40, 30, 100])
        tifffile.imwrite(file, quadrants(values).astype(kind), **tiles)
    pixels = np.asarray(open_image(file, max_side=48))
    if kind in {"palette", "infrared"}:
        assert abs(corners(pixels) - COLORS).max() <= 1
    else:
        seen = corners(pixels)[:, 0]
        assert seen[3] == 255
        assert np.diff(seen).min() > 40
    if kind == "nodata":
        assert pixels[:, :7].max() <= 2


@pytest.mark.parametrize("kind", ["miniswhite", "nodata", "u4", "i1"])
def test_without_imagecodecs_pillow_helps_with_what_it_can_unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    dtype = {"miniswhite": "u2", "nodata": "i2"}.get(kind, kind)
    values = {"u2": RISING[::-1], "i2": [-300, -100, 100, 300], "u4": np.array(RISING) * 70_000}.get(
        dtype, [-100, -40, 30, 100]
    )
    stored = quadrants(values).astype(dtype)
    how = {"photometric": "miniswhite"} if kind == "miniswhite" else {}
    if kind == "nodata":
        stored[:, :10] = -32768
        how = no_data("-32768")
    tifffile.imwrite(tmp_path / "a.tif", stored, compression="lzw", **how)
    lacking_codecs(monkeypatch)
    assert_rising(tmp_path / "a.tif")


def lacking_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tifffile behave as if imagecodecs is not installed."""
    lacking = ValueError("<COMPRESSION> requires the 'imagecodecs' package")
    monkeypatch.setattr(tiff, "_samples", Mock(side_effect=lacking))


@pytest.mark.parametrize("packing", ["webp", "jpeg2000", "zstd", "jpegxl"])
def test_compressions_of_others_are_read_or_their_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    file = tmp_path / "a.tif"
    how = {"compressionargs": {"lossless": True}} if packing == "webp" else {}
    tifffile.imwrite(file, quadrants(COLORS).astype(np.uint8), photometric="rgb", compression=packing, **how)
    assert_colors(file, tolerance=6)
    lacking_codecs(monkeypatch)
    monkeypatch.setattr(open_image_module, "page_for_pillow", lambda *_: None)
    with pytest.raises(ImageProblem, match=r"[Ii]nstall .*imagecodecs|imagecodecs .*Install it") as caught:
        opened(file)
    assert "damaged" not in caught.value.reason


@pytest.mark.parametrize("packing", ["lzw", "zlib", "jpeg", None])
def test_a_damaged_file_without_imagecodecs_is_damaged_and_lacks_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str | None
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", quadrants(COLORS).astype(np.uint8), photometric="rgb", compression=packing)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) * 3 // 4])
    lacking_codecs(monkeypatch)
    with pytest.raises(ImageProblem) as caught:
        opened(tmp_path / "a.tif")
    assert "imagecodecs" not in caught.value.reason


def test_a_codec_that_pillow_was_built_without_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(quadrants(COLORS).astype(np.uint8)).save(tmp_path / "a.jp2")
    monkeypatch.delattr("PIL._imaging.jpeg2k_decoder")
    with pytest.raises(ImageProblem, match="built without jpeg2k") as caught:
        opened(tmp_path / "a.jp2")
    assert "damaged" not in caught.value.reason
