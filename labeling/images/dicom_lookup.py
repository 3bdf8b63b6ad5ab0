"""Interpret the pixel values of a DICOM file: palettes, lookup tables, windows, padding and which end is white."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import ImageProblem

_ENTRIES = 2**16


def is_reinterpreted(data: Any) -> bool:
    """Return whether earlier versions of HOSHINA interpreted the values differently."""
    return bool(
        data.get("PhotometricInterpretation") == "PALETTE COLOR"
        or _table_of(data) is not None
        or (is_inverse(data) and data.get("PhotometricInterpretation") != "MONOCHROME1")
        or str(data.get("VOILUTFunction", "")).upper() == "SIGMOID"
        or any(name in data for name in _PADDINGS)
        or (_windows(data)[:1] != [window(data)] and "WindowWidth" in data)
    )


# The functional groups of frames, and the pixels.
_LARGE = frozenset({0x52009229, 0x52009230, 0x7FE00008, 0x7FE00009, 0x7FE00010})
# Functional groups that affect display, and their relevant elements.
_GROUPS = {
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


def frame_elements(data: Any, number: int) -> Any:
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
def in_colors(stored: NDArray[Any], data: Any) -> NDArray[np.uint8]:
    """Return the palette colors (h, w, 3) of stored palette indices (h, w)."""
    name = "{}PaletteColorLookupTableDescriptor"
    if name.format("Red") not in data:
        raise ImageProblem("The DICOM file has a palette image without a palette; copy or export it again.")
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


def padding(stored: NDArray[Any], data: Any) -> NDArray[np.bool_] | None:
    """Return the mask of stored values that the file declares as padding; None if it declares none."""
    name = next((name for name in _PADDINGS if data.get(name) is not None), None)
    if name is None:
        return None
    value = _as_stored(data.get(name), stored.dtype)
    limit = data.get(name.replace("Value", "RangeLimit"))
    other = value if limit is None else _as_stored(limit, stored.dtype)
    return np.asarray((stored >= min(value, other)) & (stored <= max(value, other)))


def is_inverse(data: Any) -> bool:
    """Return whether the smallest value is shown white."""
    is_first = data.get("PhotometricInterpretation") == "MONOCHROME1"
    return is_first or str(data.get("PresentationLUTShape", "")).upper() == "INVERSE"


def window(data: Any) -> tuple[float, float] | None:
    """Return the center and width of the first valid window; None if there is none."""
    for center, width in _windows(data):
        if math.isfinite(center) and math.isfinite(width) and width > 0:
            return center, width
    return None


def by_table(values: NDArray[Any], data: Any) -> NDArray[np.uint8] | None:
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
