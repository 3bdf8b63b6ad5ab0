"""Decide which files can be sent to a browser unchanged, because it shows them exactly as HOSHINA does."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image

from labeling.images import dicom, fits, jpegxl, tiff
from labeling.images.high_bit_depth import is_deep
from labeling.images.open_image import open_header
from labeling.images.orientation import orientation
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import as_image_problems, png_chunks, regular_file

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
# Chunks that browsers apply to colors and HOSHINA ignores: high dynamic range and coded color spaces (cICP).
_PNG_COLOR_CHUNKS = frozenset({b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi"})
# Gamma and chromaticities of sRGB, times 100,000.
_GAMMA = 45455
_PRIMARIES = np.array([31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000])
# Baseline and progressive JPEG with Huffman coding. Browsers read no other kinds.
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_PLAIN_BMP = 40
# Largest difference (of 256 levels) at which a profile still counts as sRGB.
_SRGB_TOLERANCE = 1


def format_for_browsers(path: Path, rendering: Rendering = DEFAULT) -> str:
    """Return the format of a file that browsers show exactly as ``open_image`` does, or "" for any other file.

    When in doubt, return "", so that HOSHINA renders a picture. This applies to FITS, TIFF and other formats that some
    browsers lack; more than 8 bits per channel (browsers show such gray nearly black); CMYK; transparency (the page
    would show through); animations (HOSHINA shows a single frame); inverted renderings; orientation stored outside the
    EXIF block of a JPEG; color profiles other than sRGB; gamma and primaries of a PNG other than those of sRGB; and
    truncated files. Raises ImageProblem.
    """
    with as_image_problems(), regular_file(path) as stream:
        detectors = (fits.is_fits, dicom.is_dicom, tiff.is_tiff, jpegxl.is_jpegxl)
        if rendering.is_inverted or any(detect(stream) for detect in detectors):
            return ""
        with open_header(stream) as image:
            name = "JPEG" if image.format == "MPO" else str(image.format)
            if name not in _FORMATS or is_deep(image) or image.mode not in {"1", "L", "P", "RGB"}:
                return ""
            profile = image.info.get("icc_profile")
            if image.has_transparency_data or (profile and not is_srgb(profile, image.mode)):
                return ""
            return name if _CHECKS[name](image, stream) else ""


def _is_plain_jpeg(image: Any, stream: BinaryIO) -> bool:
    if orientation(image) != _exif_orientation(image.info.get("exif")):
        return False
    # Within coded pixels these two bytes always mean the end of the image. Data that cameras append are harmless.
    return _frame_marker(stream) in _FRAMES and b"\xff\xd9" in stream.read()


def _exif_orientation(block: bytes | None) -> int:
    """Return the orientation in the EXIF block alone, because browsers ignore XMP; 0 if the block is broken."""
    if not block:
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - broken blocks raise anything; browsers may still read them
        return 0


def _frame_marker(stream: BinaryIO) -> int:
    """Return the start-of-frame marker of a JPEG, or 0 if there is none. Leave ``stream`` at the coded pixels."""
    stream.seek(2)
    coded = 0
    while len(head := stream.read(2)) == 2 and head[0] == 0xFF:
        marker = head[1]
        if marker == 0xFF:  # padding
            stream.seek(-1, os.SEEK_CUR)
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            coded = marker
        length = int.from_bytes(stream.read(2), "big")
        if length < 2:
            return 0
        stream.seek(length - 2, os.SEEK_CUR)
        if marker == 0xDA:
            return coded
    return 0


def _is_plain_png(image: Any, stream: BinaryIO) -> bool:
    if getattr(image, "is_animated", False):
        return False
    # The contents of larger chunks do not matter.
    chunks = {name: stream.read(size) if size <= 64 else b"" for name, size in png_chunks(stream)}
    if b"IEND" not in chunks or _PNG_COLOR_CHUNKS & chunks.keys():
        return False
    gamma, primaries = chunks.get(b"gAMA"), chunks.get(b"cHRM")
    if gamma is not None and abs(int.from_bytes(gamma[:4], "big") - _GAMMA) > 0.01 * _GAMMA:
        return False
    if primaries is not None and (
        len(primaries) != 32 or np.abs(np.frombuffer(primaries, ">u4").astype(int) - _PRIMARIES).max() > 100
    ):
        return False
    return orientation(image) == 1


def _is_plain_webp(image: Any, stream: BinaryIO) -> bool:
    return not getattr(image, "is_animated", False) and orientation(image) == 1


def _is_plain_bmp(image: Any, stream: BinaryIO) -> bool:
    """Return False for newer headers, which may declare color spaces, and for pixels of 16 or 32 bits."""
    stream.seek(14)
    header = stream.read(20)
    bits, packing = int.from_bytes(header[14:16], "little"), int.from_bytes(header[16:20], "little")
    return int.from_bytes(header[:4], "little") == _PLAIN_BMP and bits in {1, 4, 8, 24} and packing == 0


def _is_plain_gif(image: Any, stream: BinaryIO) -> bool:
    """Return False for animations and for frames that do not fill the canvas."""
    tile = image.tile[0] if image.tile else None
    return not getattr(image, "is_animated", False) and tile is not None and tile.extents == (0, 0, *image.size)


_CHECKS = {
    "JPEG": _is_plain_jpeg,
    "PNG": _is_plain_png,
    "WEBP": _is_plain_webp,
    "BMP": _is_plain_bmp,
    "GIF": _is_plain_gif,
}


@lru_cache(maxsize=64)
def is_srgb(profile: bytes, mode: str) -> bool:
    """Return whether a profile leaves the colors of an RGB image unchanged. Tests its effect, not its name."""
    from PIL import ImageCms

    if mode not in {"RGB", "P"}:
        return False
    steps = np.linspace(0, 255, 9)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3).astype(np.uint8)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        converted = ImageCms.applyTransform(Image.fromarray(colors), transform)
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError):
        return False
    assert converted is not None
    return bool(np.abs(np.asarray(converted).astype(int) - colors).max() <= _SRGB_TOLERANCE)
