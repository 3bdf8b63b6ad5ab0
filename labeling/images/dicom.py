"""DICOM, the format of medicine, where the optional package pydicom is installed (``uv sync --extra dicom``)."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images.planes import combined
from labeling.images.problems import ImageProblem, refuse_too_large
from labeling.images.quiet import silenced
from labeling.images.rendering import USUAL, Rendering
from labeling.images.stretching import between, stretch

EXTENSIONS = (".dcm", ".dicom")
_MAGIC_AT, _MAGIC = 128, b"DICM"
_MOST_BYTES = 2**31


def is_dicom(stream: BinaryIO) -> bool:
    """Whether the file begins as DICOM does; the position is left at the start."""
    start = stream.read(_MAGIC_AT + len(_MAGIC))
    stream.seek(0)
    return start[_MAGIC_AT:] == _MAGIC


def read(stream: BinaryIO, rendering: Rendering) -> Image.Image:
    """The picture of the chosen frame as RGB.

    The usual stretch is the window that the file itself names, else percentiles; MONOCHROME1 is shown with its white
    where it belongs. Raises ImageProblem for a file without pixels, a too large one, or without pydicom.
    """
    try:
        import pydicom
        from pydicom import pixels
    except ImportError as error:
        raise ImageProblem(
            "This is a DICOM file. To show it, install the Python package pydicom (in HOSHINA: uv sync --extra dicom)."
        ) from error
    with silenced():
        data = pydicom.dcmread(stream)
        n = _refuse(data)
        frames = combined(n, lambda number: _frame(pixels, data, number), rendering.plane, kind="frame")
    if len(frames) == 3:
        grey = [frame if frame.ndim == 2 else frame.mean(axis=2) for frame in frames]
        return Image.fromarray(np.stack([_bytes(one, data, rendering) for one in grey], axis=-1))
    return Image.fromarray(_bytes(frames[0], data, rendering)).convert("RGB")


def _refuse(data: Any) -> int:
    """How many frames there are; refuses what is not to be shown."""
    if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
        raise ImageProblem("The DICOM file holds no image; remove it, or copy it again if it should.")
    height, width = int(data.Rows), int(data.Columns)
    refuse_too_large(width, height)
    frame = width * height * int(data.get("SamplesPerPixel", 1)) * max(1, int(data.get("BitsAllocated", 8)) // 8)
    if not frame or frame > _MOST_BYTES:
        raise ImageProblem("The DICOM image has no pixels, or too many for the memory.")
    return max(1, int(data.get("NumberOfFrames") or 1))


def _frame(pixels: Any, data: Any, number: int) -> NDArray[Any]:
    """One frame in the units of the file (such as Hounsfield's): (h, w), or (h, w, 3) of colours."""
    values: NDArray[Any] = pixels.pixel_array(data, index=number)
    if values.ndim == 3:
        return values
    return np.asarray(pixels.apply_modality_lut(values, data), dtype=np.float32)


def _bytes(values: NDArray[Any], data: Any, rendering: Rendering) -> NDArray[np.uint8]:
    if values.ndim == 3 and values.dtype == np.uint8:
        return 255 - values if rendering.is_inverted else values
    window = _window(data)
    if rendering.stretch == USUAL and window is not None and values.ndim == 2:
        picture = between(values, *window)
        if rendering.is_inverted:
            picture = 255 - picture
    else:
        picture = stretch(values, rendering)
    return 255 - picture if data.get("PhotometricInterpretation") == "MONOCHROME1" else picture


def _window(data: Any) -> tuple[float, float] | None:
    """The lowest and highest value of the window that the file asks for."""
    centre, width = data.get("WindowCenter"), data.get("WindowWidth")
    if centre is None or width is None:
        return None
    # Of several windows the first.
    centre = centre if isinstance(centre, int | float) else centre[0]
    width = width if isinstance(width, int | float) else width[0]
    return float(centre) - float(width) / 2, float(centre) + float(width) / 2
