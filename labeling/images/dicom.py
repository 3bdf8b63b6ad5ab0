"""DICOM, the format of medicine, where the optional package pydicom is installed (``uv sync --extra dicom``)."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images import dicom_codecs, dicom_lookup
from labeling.images.library_warnings import silenced
from labeling.images.planes import combined
from labeling.images.problems import ImageProblem, refuse_too_large
from labeling.images.raster import refuse_unknown
from labeling.images.rendering import USUAL, Rendering
from labeling.images.stretch import between, stretch

EXTENSIONS = (".dcm", ".dicom")
_MAGIC_AT, _MAGIC = 128, b"DICM"
_MOST_BYTES = 2**31
# What files without the preamble begin with: an element of group 2 or 8 with its type, or with its length.
_ELEMENT = re.compile(rb"[\x02\x08]\x00[\x00-\x7f]\x00(?:UL|OB|UI|CS|LO|SH|DA|TM|ST|PN|IS)", re.DOTALL)
_IMPLICIT = re.compile(rb"\x08\x00[\x00\x01\x05\x08\x16\x18]\x00[\x00-\x80]\x00\x00\x00", re.DOTALL)
BEGINNING = _MAGIC_AT + len(_MAGIC)


def is_dicom(stream: BinaryIO) -> bool:
    """Return whether the file begins as DICOM does, with or without its preamble; the position is left at the start."""
    start = stream.read(BEGINNING)
    stream.seek(0)
    if start[_MAGIC_AT:] == _MAGIC:
        return True
    return begins_like_dicom(start) and _has_image(stream)


def begins_like_dicom(start: bytes) -> bool:
    """Return whether these first bytes of a file are those of DICOM, as far as they can tell."""
    return start[_MAGIC_AT:] == _MAGIC or bool(_ELEMENT.match(start) or _IMPLICIT.match(start))


def _has_image(stream: BinaryIO) -> bool:
    """Whether a file that might be DICOM has the elements of an image. Without pydicom nobody can tell: then not."""
    try:
        import pydicom

        with silenced():
            data = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
            return bool(data.get("Rows")) and bool(data.get("Columns"))
    except Exception:  # noqa: BLE001 - no DICOM file then
        return False
    finally:
        stream.seek(0)


def read(stream: BinaryIO, rendering: Rendering) -> tuple[Image.Image, int]:
    """Return the picture of the chosen frame as RGB, and its revision (labeling.images.revisions).

    The usual stretch is the lookup table or the window that the file itself names, else percentiles; MONOCHROME1 is
    shown with its white where it belongs. What the file declares as padding is unknown, and black.
    Raises ImageProblem for a file without pixels, a too large one, or without pydicom.
    """
    try:
        import pydicom
        from pydicom import pixels
    except ImportError as error:
        raise ImageProblem(
            "This is a DICOM file. To show it, install the Python package pydicom (in HOSHINA: uv sync --extra dicom)."
        ) from error
    with silenced():
        data = pydicom.dcmread(stream, force=True)
        _complete_meta(data)
        n = _refuse(data)
        dicom_codecs.require(data)
        frames = combined(n, lambda number: _frame(pixels, data, number), rendering.plane, kind="frame")
        refuse_unknown(*frames)
        first = rendering.plane if isinstance(rendering.plane, int) and n > 1 else 0
        shown = [dicom_lookup.of_frame(data, first + number) for number in range(len(frames))]
    if len(frames) == 3:
        gray = [frame if frame.ndim == 2 else frame.mean(axis=2) for frame in frames]
        bands = [_bytes(one, about, rendering) for one, about in zip(gray, shown, strict=True)]
        image = Image.fromarray(np.stack(bands, axis=-1))
    else:
        image = Image.fromarray(_bytes(frames[0], shown[0], rendering)).convert("RGB")
    return image, int(shown[0] is not data or dicom_lookup.is_reinterpreted(data))


def _complete_meta(data: Any) -> None:
    """Write down how a file is encoded that doesn't say so itself: pydicom has found out, and asks for it."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = getattr(data, "file_meta", None) or FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        is_implicit, is_little = data.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
        data.file_meta = meta


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
    """One frame in the units of the file (such as Hounsfield's): (h, w), or (h, w, 3) of colors."""
    stored: NDArray[Any] = pixels.pixel_array(data, index=number)
    if stored.ndim == 3:
        return stored
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        return dicom_lookup.in_colours(stored, data)
    wanted = np.float64 if stored.dtype.itemsize > 2 else np.float32
    values = np.array(pixels.apply_modality_lut(stored, dicom_lookup.of_frame(data, number)), dtype=wanted)
    padding = dicom_lookup.padding(stored, data)
    if padding is not None:
        values[padding] = np.nan
    return values


def _bytes(values: NDArray[Any], data: Any, rendering: Rendering) -> NDArray[np.uint8]:
    if values.ndim == 3 and values.dtype == np.uint8:
        return 255 - values if rendering.is_inverted else values
    picture = _as_asked(values, data) if rendering.stretch == USUAL and values.ndim == 2 else None
    if picture is None:
        picture = stretch(values, rendering)
    elif rendering.is_inverted:
        picture = 255 - picture
    if dicom_lookup.is_inverse(data):
        picture = 255 - picture
    if values.dtype.kind == "f":
        picture[np.isnan(values)] = 0
    return picture


def _as_asked(values: NDArray[Any], data: Any) -> NDArray[np.uint8] | None:
    """Return the picture by the lookup table or the window that the file names, if it does."""
    picture = dicom_lookup.by_table(values, data)
    if picture is not None:
        return picture
    window = dicom_lookup.window(data)
    if window is None:
        return None
    centre, width = window
    if str(data.get("VOILUTFunction", "")).upper() == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values.astype(np.float64) - centre) / width, -700, 700)))
        return np.asarray(np.rint(np.nan_to_num(share) * 255).astype(np.uint8))
    return between(values, centre - width / 2, centre + width / 2)
