"""Test EXIF metadata in all formats that have them, in all hemispheres, and in broken blocks."""

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from labeling.images.exif import COMMENTS, facts_in, name_of
from labeling.images.file_headers import header_of, values_of
from labeling.images.library_warnings import without_warnings
from labeling.images.problems import ImageProblem
from tests.labeling.images.pictures import png_chunk

Rationals = tuple[tuple[int, int], ...]
SYDNEY: Rationals = ((33, 1), (51, 1), (354, 10))
BROKEN: Rationals = ((1, 1), (2, 1), (5, 0))


def block(gps: dict[int, Any] | None = None, exif: dict[int, Any] | None = None, **base: str) -> Image.Exif:
    """Return an EXIF block with some defaults."""
    exif_block = Image.Exif()
    exif_block[ExifTags.Base.Make] = base.get("make", "Canon")
    exif_block[ExifTags.Base.Model] = base.get("model", "EOS R5  ")
    exif_block.get_ifd(ExifTags.IFD.Exif).update(
        {0x9003: "2024:05:01 12:34:56", 0x9291: "125", 0x9011: "+02:00", 0x829A: IFDRational(1, 250), 0x8827: 400}
        if exif is None else exif
    )  # fmt: skip
    exif_block.get_ifd(ExifTags.IFD.GPSInfo).update(
        {1: "S", 2: rationals(SYDNEY), 3: "E", 4: (151.0, 12.0, 40.0), 5: b"\0", 6: IFDRational(125, 10),
         7: (10.0, 34.0, 56.5), 29: "2024:05:01"} if gps is None else gps
    )  # fmt: skip
    return exif_block


def rationals(parts: Rationals) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(*part) for part in parts)


def facts(exif: Image.Exif | bytes, kind: str = "JPEG") -> dict[str, str]:
    stream = io.BytesIO()
    with without_warnings():
        Image.new("RGB", (8, 8)).save(stream, kind, exif=exif)
    return facts_in(stream)


WHOLE = {
    "DateTimeOriginal": "2024-05-01T12:34:56.125+02:00", "GPSDateTime": "2024-05-01T10:34:56.500Z",
    "GPSLatitude": "-33.85983333", "GPSLongitude": "151.21111111", "GPSAltitude": "12.5", "Make": "Canon",
    "Model": "EOS R5", "ExposureTime": "0.004", "ISO": "400",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_every_format_says_the_same(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    assert facts(block(), kind) == WHOLE


def test_tiff_needs_no_pixels_that_pillow_knows(tmp_path: Path) -> None:
    # An EXIF block is a TIFF file. The other file has 64-bit floats, which Pillow does not open.
    assert facts_in(io.BytesIO(block().tobytes()[6:])) == WHOLE
    for is_big in (False, True):
        file = tmp_path / f"{is_big}.tif"
        tags = [(271, 2, 6, "Zeiss", True), (306, 2, 20, "2021:05:03 14:22:11", True)]
        tifffile.imwrite(
            file, np.zeros((4, 4, 5)), extratags=tags, metadata=None, bigtiff=is_big,
            byteorder="<" if is_big else ">", photometric="minisblack",
        )  # fmt: skip
        with file.open("rb") as stream:
            values = facts_in(stream)
        assert values == {"Make": "Zeiss", "DateTime": "2021-05-03T14:22:11"}


def test_a_png_may_have_its_block_behind_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    chunk = png_chunk(b"eXIf", block().tobytes()[6:])
    png = stream.getvalue()
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("Pixels were decoded."))
    assert facts_in(io.BytesIO(png[:-12] + chunk + png[-12:])) == WHOLE
    assert facts_in(io.BytesIO(png)) == {}


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        (("N", ((48, 1), (51, 1), (30, 1))), ("W", ((70, 1), (15, 1), (0, 1))), ("48.85833333", "-70.25")),
        (("S", ((0, 1), (30, 1), (0, 1))), ("E", ((0, 1), (0, 1), (0, 1))), ("-0.5", "0")),
        (("s\0", ((338, 10),)), ("w", ((70, 1), (75, 10))), ("-33.8", "-70.125")),
        (("N", BROKEN), ("E", BROKEN), (None, None)),
        (("N", ((0, 0), (0, 0), (0, 0))), ("E", ((181, 1),)), (None, None)),
        (("", SYDNEY), ("X", SYDNEY), (None, None)),
        (("N", ((91, 1), (0, 1), (0, 1))), ("E", ((180, 1), (0, 1), (0, 1))), (None, "180")),
    ],
)
def test_degrees_are_signed_and_surely_known(latitude: Any, longitude: Any, expected: Any) -> None:
    gps = {1: latitude[0], 2: rationals(latitude[1]), 3: longitude[0], 4: rationals(longitude[1])}
    values = facts(block(gps))
    assert (values.get("GPSLatitude"), values.get("GPSLongitude")) == expected


@pytest.mark.parametrize(
    ("reference", "meters", "expected"),
    [(b"\0", (12345, 100), "123.45"), (b"\1", (430, 1), "-430"), (None, (5, 1), "5"), (b"\0", (5, 0), None)],
)
def test_altitude_is_negative_below_sea_level(reference: bytes | None, meters: Any, expected: str | None) -> None:
    gps: dict[int, Any] = {6: IFDRational(*meters)} | ({5: reference} if reference else {})
    assert facts(block(gps)).get("GPSAltitude") == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({0x9003: "2024:05:01 12:34:56"}, "2024-05-01T12:34:56"),
        ({0x9003: "2024:05:01 12:34:56", 0x9291: "5  "}, "2024-05-01T12:34:56.5"),
        ({0x9003: "2024:05:01 12:34:56", 0x9291: "123456789"}, "2024-05-01T12:34:56.123456"),
        ({0x9003: "2024:05:01 12:34:56", 0x9011: "   :  "}, "2024-05-01T12:34:56"),
        ({0x9003: "2024-05-01 12:34:56\0junk"}, "2024-05-01T12:34:56"),
        ({0x9003: "0000:00:00 00:00:00"}, None),
        ({0x9003: "    :  :     :  :  "}, None),
        ({0x9003: "2024:06:31 12:00:00"}, None),
        ({0x9003: "yesterday"}, None),
        ({}, None),
    ],
)
def test_times(tags: dict[int, Any], expected: str | None) -> None:
    assert facts(block(exif=tags)).get("DateTimeOriginal") == expected


def test_a_broken_block_costs_what_is_broken() -> None:
    whole = block().tobytes()
    assert facts(b"Exif\0\0rubbish that is no TIFF") == {}
    for cut in range(6, len(whole), 7):
        values = facts(whole[:cut])
        assert values.items() <= WHOLE.items() or values.keys() <= WHOLE.keys()
    rng = np.random.default_rng(1)
    for _ in range(300):
        content = bytearray(whole)
        for place in rng.integers(6, len(whole), 6):
            content[place] = rng.integers(256)
        assert facts(bytes(content)).keys() <= COMMENTS.keys()


def test_headers_of_pictures_and_of_what_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(file, exif=block(make="Nikon", model="7"))
    assert values_of(file, ["gpslatitude", "MAKE", "NOWHERE", "LensModel"]) == ["-33.85983333", "Nikon", "", ""]
    card = next(card for card in header_of(file).cards if card.name == "GPSLatitude")
    assert (card.value, card.comment) == ("-33.85983333", "decimal degrees, south negative")
    assert name_of("datetimeoriginal") == "DateTimeOriginal"
    file.write_bytes(b"no picture at all")
    with pytest.raises(ImageProblem, match="text"):
        values_of(file, ["Make"])


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("ending", ["jpg", "tif", "png", "webp"])
def test_what_exiftool_writes(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    Image.new("RGB", (8, 8)).save(file)
    write: Callable[..., Any] = subprocess.run
    write(
        [
            "exiftool", "-q", "-overwrite_original", "-DateTimeOriginal=2024:05:01 12:34:56", "-GPSLatitude=33.5",
            "-GPSLatitudeRef=S", "-GPSLongitude=70.25", "-GPSLongitudeRef=W", "-GPSAltitude=12",
            "-GPSAltitudeRef=Below Sea Level", "-Model=Caméra", "-LensModel=50mm", str(file),
        ],
        check=True,
    )  # fmt: skip
    with file.open("rb") as stream:
        values = facts_in(stream)
    assert values == {
        "DateTimeOriginal": "2024-05-01T12:34:56", "GPSLatitude": "-33.5", "GPSLongitude": "-70.25",
        "GPSAltitude": "-12", "Model": "Caméra", "LensModel": "50mm",
    }  # fmt: skip
