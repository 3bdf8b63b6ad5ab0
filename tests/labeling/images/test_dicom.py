"""Test DICOM files with lookup tables, windows, palettes and padding, and those that need other codecs."""

import importlib.util
import io
import math
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from labeling.images import dicom_codecs
from labeling.images.file_check import examine
from labeling.images.open_image import ImageProblem, open_image
from tests.labeling.images.pictures import scan
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

GRAYS = quadrants([100, 200, 300, 400])


def write(file: Path, pixels: np.ndarray = GRAYS, **elements: Any) -> Path:
    file.write_bytes(scan(pixels, **elements))
    return file


def table(entries: np.ndarray, first: int, bits: int) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries), first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


# -- Colors -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("first", [0, 40])
@pytest.mark.parametrize("entries", ["8 bits", "16 bits", "8 bits in 16", "4096 of 8 bits"])
def test_palette_colors(tmp_path: Path, entries: str, first: int) -> None:
    n = 4096 if entries.startswith("4096") else 256
    numbers = np.array([3, 200, 17, 90]) * (n // 256)
    tables = np.zeros((n, 3), int)
    tables[numbers] = COLORS
    file = write(tmp_path / "a.dcm", quadrants(numbers + first))
    data = pydicom.dcmread(file)
    data.PhotometricInterpretation = "PALETTE COLOR"
    data.PixelRepresentation = 0
    for at, name in enumerate(("Red", "Green", "Blue")):
        column = tables[:, at] * (257 if entries == "16 bits" else 1)
        kind = "<u2" if "16" in entries else "u1"
        data.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [n, first, 16 if kind == "<u2" else 8])
        data.add_new(f"{name}PaletteColorLookupTableData", "OW", column.astype(kind).tobytes())
    data.save_as(file)
    assert_colors(file)
    inverted = corners(opened(file, is_inverted=True))
    assert abs(inverted - (255 - COLORS)).max() <= 1


def test_a_palette_written_as_runs_and_slopes(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", quadrants([0, 100, 200, 255]))
    data = pydicom.dcmread(file)
    data.PhotometricInterpretation, data.PixelRepresentation = "PALETTE COLOR", 0
    for name, end in (("Red", 65535), ("Green", 0), ("Blue", 0)):
        data.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        # One entry of 0, followed by a slope over 255 entries.
        data.add_new(
            f"Segmented{name}PaletteColorLookupTableData", "OW", np.array([0, 1, 0, 1, 255, end], "<u2").tobytes()
        )
    data.save_as(file)
    assert abs(corners(opened(file))[:, 0] - [0, 100, 200, 255]).max() <= 1
    assert corners(opened(file))[:, 1:].max() == 0


# -- Lookup tables and windows ------------------------------------------------------------------------
@pytest.mark.parametrize("first", [0, -1000])
def test_the_lookup_table_of_the_file_counts(tmp_path: Path, first: int) -> None:
    entries = np.zeros(2048, int)
    values = quadrants([100, 200, 300, 400]) + first
    entries[[100, 200, 300, 400]] = [0, 4095, 1365, 2730]  # not possible with a window
    file = write(tmp_path / "a.dcm", values, VOILUTSequence=[table(entries, first, 12)])
    assert corners(opened(file))[:, 0].tolist() == [0, 255, 85, 170]
    assert corners(opened(file, is_inverted=True))[:, 0].tolist() == [255, 0, 170, 85]
    assert_rising(file, stretch="minmax")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE", None])
def test_white_is_where_the_file_wants_it(tmp_path: Path, photometric: str, shape: str | None) -> None:
    elements: dict[str, Any] = {"PhotometricInterpretation": photometric}
    if shape:
        elements["PresentationLUTShape"] = shape
    is_inverse = photometric == "MONOCHROME1" or shape == "INVERSE"
    pixels = GRAYS[::-1, ::-1] if is_inverse else GRAYS
    assert_rising(write(tmp_path / "a.dcm", pixels, **elements))
    of_window = elements | {"WindowCenter": 250, "WindowWidth": 300}
    assert_rising(write(tmp_path / "b.dcm", pixels, **of_window))


@pytest.mark.parametrize("width", [0, -1, "", [0, 300], None])
def test_windows_that_make_no_sense_are_passed_over(tmp_path: Path, width: Any) -> None:
    centre = [250, 250] if isinstance(width, list) else 250
    assert_rising(write(tmp_path / "a.dcm", WindowCenter=centre, WindowWidth=width))


def test_a_window_in_the_form_of_an_s(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", WindowCenter=250, WindowWidth=200, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (np.array([100, 200, 300, 400]) - 250) / 200))
    assert abs(corners(opened(file))[:, 0] - expected).max() <= 1


@pytest.mark.parametrize("place", ["shared", "each"])
def test_frames_of_enhanced_files_have_their_own_windows_and_slopes(tmp_path: Path, place: str) -> None:
    def groups(centre: float, slope: float) -> pydicom.Dataset:
        window, rescale, group = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = centre, 400
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 0
        group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [window], [rescale]
        return group

    file = tmp_path / "a.dcm"
    each = [groups(500, 2), groups(250, 1)]
    elements = {"PerFrameFunctionalGroupsSequence": each}
    if place == "shared":
        elements = {"SharedFunctionalGroupsSequence": [groups(500, 2)]}
    file.write_bytes(scan(np.stack([GRAYS, GRAYS]), **elements))
    values = np.array([100, 200, 300, 400])
    assert abs(corners(opened(file))[:, 0] - np.clip((values * 2 - 300) / 400, 0, 1) * 255).max() <= 1
    second = (values * 2 - 300) / 400 if place == "shared" else (values - 50) / 400
    assert abs(corners(opened(file, plane=1))[:, 0] - np.clip(second, 0, 1) * 255).max() <= 1
    assert_rising(file, stretch="minmax")
    if place == "each":  # the largest values are those of the first frame, with its slope of 2 and its window
        assert (opened(file, plane="max") == opened(file)).all()
        mean = np.clip((values * 1.5 - 300) / 400, 0, 1) * 255
        assert abs(corners(opened(file, plane="mean"))[:, 0] - mean).max() <= 1


# -- Padding ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "limit", "padding"),
    [(-2000, None, [-2000]), (-2000, -1990, [-2000, -1995, -1990]), (63536, None, [-2000])],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_unknown_and_black(
    tmp_path: Path, photometric: str, value: int, limit: int | None, padding: list[int]
) -> None:
    pixels = (GRAYS[::-1, ::-1] if photometric == "MONOCHROME1" else GRAYS).copy()
    for at, number in enumerate(padding):
        pixels[:, at * 4 : at * 4 + 4] = number
    file = write(tmp_path / "a.dcm", pixels, PhotometricInterpretation=photometric, RescaleSlope=2, RescaleIntercept=-9)
    data = pydicom.dcmread(file)
    data.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    if limit is not None:
        data.add_new("PixelPaddingRangeLimit", "SS", limit)
    data.save_as(file)
    for choices in ({}, {"stretch": "minmax"}, {"is_inverted": True}):
        assert (opened(file, **choices)[:, : 4 * len(padding)] == 0).all(), choices
    assert_rising(file)


def test_nothing_but_padding_is_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", np.full(SHAPE, -2000))
    data = pydicom.dcmread(file)
    data.add_new("PixelPaddingValue", "SS", -2000)
    data.save_as(file)
    assert_refused(file, "no finite value")


# -- How the file begins --------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["meta", "explicit", "implicit"])
@pytest.mark.parametrize("name", ["a.dcm", "a", "1.2.840.5"])
def test_files_without_a_preamble(tmp_path: Path, kind: str, name: str) -> None:
    content = scan(GRAYS, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")
    if kind == "meta":
        content = content[132:]
    else:
        data = pydicom.dcmread(io.BytesIO(content))
        plain = io.BytesIO()
        pydicom.dcmwrite(
            plain, pydicom.Dataset(data), implicit_vr=kind == "implicit", little_endian=True, force_encoding=True
        )
        content = plain.getvalue()
    (tmp_path / name).write_bytes(content)
    assert_rising(tmp_path / name)
    assert examine(tmp_path / name).format == "DICOM"


@pytest.mark.parametrize(
    "start", [b"\x08\x00\x05\x00CS\x04\x00abcd", b"\x02\x00\x00\x00UL\x04\x00", b"\x08\x00\x00\x00\x04\x00\x00\x00"]
)
def test_what_only_begins_like_it_is_not_dicom(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(start + bytes(range(256)) * 4)
    with pytest.raises(ImageProblem, match="not an image in a supported format"):
        open_image(tmp_path / "a.dcm")


# -- Codecs -------------------------------------------------------------------------------------------
ENCODERS = {
    "1.2.840.10008.1.2.4.57": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16),
    "1.2.840.10008.1.2.4.70": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16),
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode,
    "1.2.840.10008.1.2.4.81": lambda pixels: imagecodecs.jpegls_encode(pixels, level=2),
    "1.2.840.10008.1.2.4.90": lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True),
    "1.2.840.10008.1.2.4.91": lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", level=60),
}


def packed(file: Path, syntax: str, pixels: np.ndarray) -> Path:
    write(file, pixels.astype(np.int16))
    data = pydicom.dcmread(file)
    data.PixelRepresentation = 0
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.PixelData = encapsulate([ENCODERS[syntax](pixels.astype(np.uint16))])
    data["PixelData"].is_undefined_length = True
    data.save_as(file)
    return file


@pytest.mark.parametrize("syntax", ENCODERS)
def test_packed_pixels_are_unpacked(tmp_path: Path, syntax: str) -> None:
    values = np.linspace(0, 30000, math.prod(SHAPE)).reshape(SHAPE).astype(np.uint16)
    file = packed(tmp_path / "a.dcm", syntax, values)
    shown = opened(file, stretch="minmax")[..., 0].astype(int)
    assert abs(shown - values / 30000 * 255).max() <= (5 if syntax.endswith(".91") else 1)  # JPEG 2000 lossy


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_codec_that_is_missing_is_named_and_the_file_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    file = packed(tmp_path / "a.dcm", syntax, GRAYS)
    monkeypatch.setattr("pydicom.pixels.common.CoderBase.is_available", False)
    with pytest.raises(ImageProblem, match=r"install the Python package imagecodecs \(in HOSHINA: uv sync") as caught:
        open_image(file)
    assert UID(syntax).name in caught.value.reason
    assert "damaged" not in caught.value.reason


def test_what_no_package_reads_says_so(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.dcm", "1.2.840.10008.1.2.4.80", GRAYS)
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")  # a video
    data.save_as(file)
    with pytest.raises(ImageProblem, match=r"compressed as MPEG-4 .* HOSHINA cannot read"):
        open_image(file)


def test_the_codecs_are_those_of_imagecodecs() -> None:
    assert importlib.util.find_spec("imagecodecs") is not None
    assert all(dicom_codecs.is_available(syntax) for syntax in ENCODERS)
