"""Which way up an image is: by the tag of TIFF and EXIF, or by XMP alone."""

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
    """Return the orientation of an image that Pillow opened, 1 to 8. A broken EXIF block costs the orientation, not
    the image.

    TIFF files are turned by Pillow as they load, so ask after loading.
    """
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - EXIF of damaged files fails in any way at all
        return 1
    return turn if turn in UPRIGHT else 1


def upright(pixels: NDArray[Any], turn: int) -> NDArray[Any]:
    """Turn pixels (h, w, ...) of that orientation upright, whatever their type."""
    if turn in SIDEWAYS:
        pixels = np.swapaxes(pixels, 0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def turned_back(pixels: NDArray[Any], turn: int) -> NDArray[Any]:
    """Undo :func:`upright`."""
    return upright(pixels, _BACK.get(turn, turn))
