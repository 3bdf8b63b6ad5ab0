"""Read the orientation of images from the TIFF and EXIF tag, or from XMP, and turn pixels upright."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset({5, 6, 7, 8})
_BACK = {6: 8, 8: 6}


def orientation(image: Image.Image) -> int:
    """Return the orientation, 1 to 8, of an image that Pillow opened; 1 if the EXIF block is broken.

    Pillow turns TIFF files upright as it loads them, so call this after loading.
    """
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF of damaged files raises anything
        return 1
    return turn if turn in UPRIGHT else 1


def upright(pixels: NDArray[Any], turn: int) -> NDArray[Any]:
    """Turn pixels (h, w, ...) of any type and of orientation ``turn`` upright."""
    if turn in SIDEWAYS:
        pixels = np.swapaxes(pixels, 0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def undo_upright(pixels: NDArray[Any], turn: int) -> NDArray[Any]:
    """Undo :func:`upright`."""
    return upright(pixels, _BACK.get(turn, turn))
