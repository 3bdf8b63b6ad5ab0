"""Read JPEG XL. Requires the optional package imagecodecs (``uv sync --extra codecs``)."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import TRUNCATED, ImageProblem, refuse_too_large
from labeling.images.raster import Raster

_BARE = b"\xff\x0a"
_BOXED = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_PARTIAL_HEADER = 4  # of a jxlp box: its number
_BITS = (9, 13, 18, 30)
# Ratios of width to height that the header encodes instead of the width.
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def is_jpegxl(stream: BinaryIO) -> bool:
    """Return whether the file is JPEG XL. Leave the stream at its start."""
    start = stream.read(len(_BOXED))
    stream.seek(0)
    return start == _BOXED or start.startswith(_BARE)


def read(stream: BinaryIO) -> Raster:
    """Decode the first frame, upright. Raises ImageProblem, also if imagecodecs is not installed."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageProblem(
            "This is a JPEG XL image. To show it, install the Python package imagecodecs "
            "(in HOSHINA: uv sync --extra codecs)."
        ) from error
    content = stream.read()
    refuse_too_large(*size_of(content))
    pixels: NDArray[Any] = imagecodecs.jpegxl_decode(content, index=0)
    if pixels.ndim == 2:
        return Raster(pixels, is_for_screen=pixels.dtype == np.uint8)
    colors, alpha = pixels, None
    if pixels.shape[2] in {2, 4}:
        colors, alpha = pixels[..., :-1], _opacity(pixels[..., -1])
    colors = colors[..., 0] if colors.shape[2] == 1 else colors[..., :3]
    return Raster(colors, alpha, is_for_screen=pixels.dtype == np.uint8)


def _opacity(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    if alpha.dtype == np.uint8:
        return alpha
    full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return np.asarray(np.rint(np.clip(alpha / full, 0, 1) * 255).astype(np.uint8))


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height, from the header alone."""
    start = _codestream(content)
    if not start.startswith(_BARE):
        raise ImageProblem(TRUNCATED)
    bits = int.from_bytes(start[2:18], "little")

    def take(n: int) -> int:
        nonlocal bits
        value: int = bits & (2**n - 1)
        bits >>= n
        return value

    is_small = take(1)

    def length() -> int:
        return (take(5) + 1) * 8 if is_small else take(_BITS[take(2)]) + 1

    height = length()
    ratio = take(3)
    if not ratio:
        return length(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _codestream(content: bytes) -> bytes:
    """Return the first bytes of the codestream, which may be inside a container."""
    if content.startswith(_BARE):
        return content[:18]
    at = 0
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        header = 8
        if length == 1:
            length, header = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        if kind in {b"jxlc", b"jxlp"}:
            begin = at + header + (_PARTIAL_HEADER if kind == b"jxlp" else 0)
            return content[begin : begin + 18]
        if length < header:
            break
        at += length
    return b""
