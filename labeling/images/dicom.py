"""Read DICOM, the format of medical images. Requires the optional package pydicom (``uv sync --extra dicom``)."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images import dicom_codecs, dicom_lookup
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
        shown = [dicom_lookup.frame_elements(data, first + number) for number in range(len(frames))]
    if len(frames) == 3:
        gray = [frame if frame.ndim == 2 else frame.mean(axis=2) for frame in frames]
        bands = [_bytes(band, data_of_band, rendering) for band, data_of_band in zip(gray, shown, strict=True)]
        image = Image.fromarray(np.stack(bands, axis=-1))
    else:
        image = Image.fromarray(_bytes(frames[0], shown[0], rendering)).convert("RGB")
    return image, int(shown[0] is not data or dicom_lookup.is_reinterpreted(data))


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
        return dicom_lookup.in_colors(stored, data)
    dtype = np.float64 if stored.dtype.itemsize > 2 else np.float32
    values = np.array(pixels.apply_modality_lut(stored, dicom_lookup.frame_elements(data, number)), dtype=dtype)
    padding = dicom_lookup.padding(stored, data)
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
    if dicom_lookup.is_inverse(data):
        picture = 255 - picture
    if values.dtype.kind == "f":
        picture[np.isnan(values)] = 0
    return picture


def _by_file_settings(values: NDArray[Any], data: Any) -> NDArray[np.uint8] | None:
    """Apply the lookup table or window in the file; return None if it has neither."""
    picture = dicom_lookup.by_table(values, data)
    if picture is not None:
        return picture
    window = dicom_lookup.window(data)
    if window is None:
        return None
    center, width = window
    if str(data.get("VOILUTFunction", "")).upper() == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values.astype(np.float64) - center) / width, -700, 700)))
        return np.asarray(np.rint(np.nan_to_num(share) * 255).astype(np.uint8))
    return between(values, center - width / 2, center + width / 2)
