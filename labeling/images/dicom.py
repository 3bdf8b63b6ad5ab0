"""Read DICOM, the format of medical images. Requires the optional package pydicom (``uv sync --extra dicom``)."""

from __future__ import annotations

import math
import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images import dicom_codecs
from labeling.images.library_warnings import without_warnings
from labeling.images.planes import combine
from labeling.images.problems import ImageProblem, refuse_too_large
from labeling.images.raster import refuse_unknown
from labeling.images.rendering import USUAL, Rendering
from labeling.images.stretch import between, stretch

EXTENSIONS = (".dcm", ".dicom")
_MAGIC_AT, _MAGIC = 128, b"DICM"
_MOST_BYTES = 2**31
# First bytes of files without the preamble: an element of group 2 or 8 followed by its type or its length.
_ELEMENT = re.compile(rb"[\x02\x08]\x00[\x00-\x7f]\x00(?:UL|OB|UI|CS|LO|SH|DA|TM|ST|PN|IS)", re.DOTALL)
_IMPLICIT = re.compile(rb"\x08\x00[\x00\x01\x05\x08\x16\x18]\x00[\x00-\x80]\x00\x00\x00", re.DOTALL)
BEGINNING = _MAGIC_AT + len(_MAGIC)
_ENTRIES = 2**16


def is_dicom(stream: BinaryIO) -> bool:
    """Return whether the file is DICOM, with or without its preamble. Leave the stream at its start."""
    start = stream.read(BEGINNING)
    stream.seek(0)
    if start[_MAGIC_AT:] == _MAGIC:
        return True
    return begins_like_dicom(start) and _has_image(stream)


def begins_like_dicom(start: bytes) -> bool:
    """Return whether the first bytes of a file look like DICOM."""
    return start[_MAGIC_AT:] == _MAGIC or bool(_ELEMENT.match(start) or _IMPLICIT.match(start))


def _has_image(stream: BinaryIO) -> bool:
    """Return whether a possible DICOM file has the elements of an image; False if pydicom is not installed."""
    try:
        import pydicom

        with without_warnings():
            data = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
            return bool(data.get("Rows")) and bool(data.get("Columns"))
    except Exception:  # noqa: BLE001 - no DICOM file then
        return False
    finally:
        stream.seek(0)


def read(stream: BinaryIO, rendering: Rendering) -> tuple[Image.Image, int]:
    """Return the picture of the chosen frame as RGB, and its revision (labeling.images.revisions).

    The usual stretch is the lookup table or window in the file, or else percentiles. MONOCHROME1 images are inverted,
    so that their smallest value is white. Pixels that the file declares as padding are unknown and shown black.
    Raises ImageProblem if the file has no pixels or is too large, or if pydicom is not installed.
    """
    try:
        import pydicom
        from pydicom import pixels
    except ImportError as error:
        raise ImageProblem(
            "This is a DICOM file. To show it, install the Python package pydicom (in HOSHINA: uv sync --extra dicom)."
        ) from error
    with without_warnings():
        data = pydicom.dcmread(stream, force=True)
        _complete_meta(data)
        n = _refuse(data)
        dicom_codecs.require(data)
        frames = combine(n, lambda number: _frame(pixels, data, number), rendering.plane, kind="frame")
        refuse_unknown(*frames)
        first = rendering.plane if isinstance(rendering.plane, int) and n > 1 else 0
        shown = [_frame_elements(data, first + number) for number in range(len(frames))]
    if len(frames) == 3:
        gray = [frame if frame.ndim == 2 else frame.mean(axis=2) for frame in frames]
        bands = [_bytes(band, data_of_band, rendering) for band, data_of_band in zip(gray, shown, strict=True)]
        image = Image.fromarray(np.stack(bands, axis=-1))
    else:
        image = Image.fromarray(_bytes(frames[0], shown[0], rendering)).convert("RGB")
    return image, int(shown[0] is not data or _is_reinterpreted(data))


def _complete_meta(data: Any) -> None:
    """Add the missing transfer syntax, which pydicom requires, from the encoding that pydicom detected."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = getattr(data, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        is_implicit, is_little = data.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
        data.file_meta = meta


def _refuse(data: Any) -> int:
    """Return the number of frames. Raises ImageProblem for files without an image and images that are too large."""
    if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
        raise ImageProblem("The DICOM file contains no image. Remove it, or copy it again if it should contain one.")
    height, width = int(data.Rows), int(data.Columns)
    refuse_too_large(width, height)
    frame = width * height * int(data.get("SamplesPerPixel", 1)) * max(1, int(data.get("BitsAllocated", 8)) // 8)
    if not frame or frame > _MOST_BYTES:
        raise ImageProblem("The DICOM image has no pixels, or too many for the memory. Remove it or save it smaller.")
    return max(1, int(data.get("NumberOfFrames") or 1))


def _frame(pixels: Any, data: Any, number: int) -> NDArray[Any]:
    """Return one frame in the units of the file (such as Hounsfield units): gray (h, w) or color (h, w, 3)."""
    stored: NDArray[Any] = pixels.pixel_array(data, index=number)
    if stored.ndim == 3:
        return stored
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _in_colors(stored, data)
    dtype = np.float64 if stored.dtype.itemsize > 2 else np.float32
    values = np.array(pixels.apply_modality_lut(stored, _frame_elements(data, number)), dtype=dtype)
    padding = _padding(stored, data)
    if padding is not None:
        values[padding] = np.nan
    return values


def _bytes(values: NDArray[Any], data: Any, rendering: Rendering) -> NDArray[np.uint8]:
    if values.ndim == 3 and values.dtype == np.uint8:
        return 255 - values if rendering.is_inverted else values
    picture = _by_file_settings(values, data) if rendering.stretch == USUAL and values.ndim == 2 else None
    if picture is None:
        picture = stretch(values, rendering)
    elif rendering.is_inverted:
        picture = 255 - picture
    if _is_inverse(data):
        picture = 255 - picture
    if values.dtype.kind == "f":
        picture[np.isnan(values)] = 0
    return picture


def _by_file_settings(values: NDArray[Any], data: Any) -> NDArray[np.uint8] | None:
    """Apply the lookup table or window in the file; return None if it has neither."""
    picture = _by_table(values, data)
    if picture is not None:
        return picture
    window = _window(data)
    if window is None:
        return None
    center, width = window
    if str(data.get("VOILUTFunction", "")).upper() == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values.astype(np.float64) - center) / width, -700, 700)))
        return np.asarray(np.rint(np.nan_to_num(share) * 255).astype(np.uint8))
    return between(values, center - width / 2, center + width / 2)


# -- Interpreting values: palettes, lookup tables, windows, padding and which end is white ----------------
def _is_reinterpreted(data: Any) -> bool:
    """Return whether earlier versions of HOSHINA interpreted the values differently."""
    return bool(
        data.get("PhotometricInterpretation") == "PALETTE COLOR"
        or _table_of(data) is not None
        or (_is_inverse(data) and data.get("PhotometricInterpretation") != "MONOCHROME1")
        or str(data.get("VOILUTFunction", "")).upper() == "SIGMOID"
        or any(name in data for name in _PADDINGS)
        or (_windows(data)[:1] != [_window(data)] and "WindowWidth" in data)
    )


# The functional groups of frames, and the pixels.
_LARGE = frozenset({0x52009229, 0x52009230, 0x7FE00008, 0x7FE00009, 0x7FE00010})
# Functional groups that affect display, and their relevant elements.
_GROUPS = {
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


def _frame_elements(data: Any, number: int) -> Any:
    """Return the elements that control display: those of the frame in an enhanced file, or else those of the file."""
    each, shared = data.get("PerFrameFunctionalGroupsSequence") or [], data.get("SharedFunctionalGroupsSequence") or []
    groups = [*each[number : number + 1], *shared[:1]]
    elements_of_groups = {}
    for name, elements in _GROUPS.items():
        items = [group.get(name)[0] for group in groups if group.get(name)]
        for element in elements:
            item = next((item for item in items if item.get(element) is not None), None)
            if item is not None and data.get(element) is None:
                elements_of_groups[element] = item[element]
    if not elements_of_groups:
        return data
    from pydicom import Dataset

    copy = Dataset()  # pydicom's copies share their elements
    copy.update({tag: data.get_item(tag) for tag in data.keys() if tag not in _LARGE})  # noqa: SIM118 - plain numbers
    for element in elements_of_groups.values():
        copy.add(element)
    return copy


# -- Colors -----------------------------------------------------------------------------------------
def _in_colors(stored: NDArray[Any], data: Any) -> NDArray[np.uint8]:
    """Return the palette colors (h, w, 3) of stored palette indices (h, w)."""
    name = "{}PaletteColorLookupTableDescriptor"
    if name.format("Red") not in data:
        raise ImageProblem("The DICOM file has a palette image without a palette. Copy or export it again.")
    first = _first(data[name.format("Red")].value[1], data)
    tables = np.stack([_channel(data, color) for color in ("Red", "Green", "Blue")], axis=-1)
    # Some programs write 8-bit colors into 16-bit tables.
    if tables.dtype.itemsize > 1 and tables.max() > 255:
        tables = tables >> 8
    indices = np.clip(stored.astype(np.int64) - first, 0, len(tables) - 1)
    return np.asarray(tables.astype(np.uint8)[indices])


def _channel(data: Any, color: str) -> NDArray[Any]:
    n = int(data[f"{color}PaletteColorLookupTableDescriptor"].value[0]) or _ENTRIES
    plain = data.get(f"{color}PaletteColorLookupTableData")
    if plain is None:
        return _from_segments(data, color, n)
    return _numbers(plain, n, data)


def _from_segments(data: Any, color: str, n: int) -> NDArray[Any]:
    """Return one channel of a segmented lookup table, which pydicom expands."""
    from pydicom.pixels.processing import apply_color_lut

    first = _first(data.RedPaletteColorLookupTableDescriptor[1], data)
    numbers = np.arange(first, first + n).reshape(1, -1)
    return np.asarray(apply_color_lut(numbers, data)[0, :, ("Red", "Green", "Blue").index(color)])


# -- Gray -------------------------------------------------------------------------------------------
_PADDINGS = ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue")


def _padding(stored: NDArray[Any], data: Any) -> NDArray[np.bool_] | None:
    """Return the mask of stored values that the file declares as padding; None if it declares none."""
    name = next((name for name in _PADDINGS if data.get(name) is not None), None)
    if name is None:
        return None
    value = _as_stored(data.get(name), stored.dtype)
    limit = data.get(name.replace("Value", "RangeLimit"))
    other = value if limit is None else _as_stored(limit, stored.dtype)
    return np.asarray((stored >= min(value, other)) & (stored <= max(value, other)))


def _is_inverse(data: Any) -> bool:
    """Return whether the smallest value is shown white."""
    is_first = data.get("PhotometricInterpretation") == "MONOCHROME1"
    return is_first or str(data.get("PresentationLUTShape", "")).upper() == "INVERSE"


def _window(data: Any) -> tuple[float, float] | None:
    """Return the center and width of the first valid window; None if there is none."""
    for center, width in _windows(data):
        if math.isfinite(center) and math.isfinite(width) and width > 0:
            return center, width
    return None


def _by_table(values: NDArray[Any], data: Any) -> NDArray[np.uint8] | None:
    """Apply the file's lookup table (VOI LUT Sequence) to gray values; return None if it has none."""
    table = _table_of(data)
    if table is None:
        return None
    n, first, bits = (int(number) for number in table.LUTDescriptor)
    entries = _numbers(table.LUTData, n or _ENTRIES, data).astype(np.int64)
    if first >= _ENTRIES // 2 and np.nanmin(values) < 0:
        first -= _ENTRIES
    indices = np.clip(np.rint(np.nan_to_num(values)).astype(np.int64) - first, 0, len(entries) - 1)
    full = max(2**bits - 1, int(entries.max()), 1)
    return np.asarray(np.rint(entries[indices] * (255 / full)).astype(np.uint8))


def _table_of(data: Any) -> Any:
    tables = data.get("VOILUTSequence")
    return tables[0] if tables and tables[0].get("LUTData") is not None and "LUTDescriptor" in tables[0] else None


def _windows(data: Any) -> list[tuple[float, float]]:
    centers, widths = _floats(data.get("WindowCenter")), _floats(data.get("WindowWidth"))
    return list(zip(centers, widths, strict=False))


def _floats(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    values = [value] if isinstance(value, int | float | str) else list(value)
    return [float(number) for number in values if number not in (None, "")]


def _numbers(table: Any, n: int, data: Any) -> NDArray[Any]:
    """Return the ``n`` entries of a lookup table of 8 or 16 bits."""
    if not isinstance(table, bytes):
        return np.asarray(table if isinstance(table, list | tuple) or hasattr(table, "__iter__") else [table])[:n]
    if len(table) < 2 * n:
        return np.frombuffer(table, np.uint8)[:n]
    is_little = getattr(data, "original_encoding", (None, True))[1] is not False
    return np.frombuffer(table[: 2 * n], "<u2" if is_little else ">u2")


def _first(number: Any, data: Any) -> int:
    """Return the pixel value that a table's first entry applies to; it is negative only if pixels are signed."""
    first = int(number)
    return first - _ENTRIES if first >= _ENTRIES // 2 and data.get("PixelRepresentation") == 1 else first


def _as_stored(value: Any, dtype: np.dtype[Any]) -> float:
    """Return a value as the pixels store it. Some programs write negative values as large ones, and vice versa."""
    number = float(value)
    if dtype.kind == "f":
        return float(np.dtype(dtype).type(number))
    limits = np.iinfo(dtype)
    if number > limits.max:
        number -= 2 ** (8 * dtype.itemsize)
    elif number < limits.min:
        number += 2 ** (8 * dtype.itemsize)
    return number
