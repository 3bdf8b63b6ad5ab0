"""Read the full values of images that have more than 8 bits per channel with Pillow.

Pillow keeps only the upper 8 bits of 16-bit colors. With the byte order reversed it keeps the lower 8. Images are
therefore decoded once in each byte order, which works for all compressions and filters of Pillow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from labeling.images.color import over_ground
from labeling.images.raster import refuse_unknown
from labeling.images.rendering import Rendering
from labeling.images.stretch import stretch

_GRAY_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
# libtiff returns the native byte order.
_OTHER_BYTE = {
    f"{mode};16{order}": f"{mode};16{'L' if order == 'B' else 'B'}"
    for mode in ("RGB", "RGBA", "RGBX", "RGBa")
    for order in "LBN"
}
_GRAY_WITH_ALPHA = "LA;16B"


def is_deep(image: Image.Image) -> bool:
    """Return whether an image, of which only the header was read, has more than 8 bits per channel."""
    raw = _raw_mode(image)
    return image.mode in _GRAY_MODES or raw in _OTHER_BYTE or raw == _GRAY_WITH_ALPHA


def values_of(image: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> NDArray[Any]:
    """Return all bits of a deep image: (h, w), or (h, w, channels) with alpha last if there are 2 or 4 channels.

    ``again`` opens the same image at the same frame once more.
    """
    raw = _raw_mode(image)
    image.load()  # also turns a TIFF upright
    if image.mode in _GRAY_MODES:
        return np.asarray(image)
    other = again()
    if raw == _GRAY_WITH_ALPHA:
        _read_as(other, "RGBA", "RGBA")
        pairs = np.asarray(other).astype(np.uint16)
        return np.asarray(pairs[..., ::2] << 8 | pairs[..., 1::2])
    _read_as(other, image.mode, _OTHER_BYTE[raw])
    upper = np.asarray(image).astype(np.uint16)
    return np.asarray(upper << 8 | np.asarray(other))


def picture_of(values: NDArray[Any], rendering: Rendering) -> Image.Image:
    """Return deep values stretched by opaque pixels, as RGB on the background. Raises ImageProblem if none is known."""
    refuse_unknown(values)
    if values.ndim == 2 or values.shape[2] == 3:
        return Image.fromarray(stretch(values, rendering)).convert("RGB")
    colors, alpha = values[..., :-1], values[..., -1]
    colors = np.where(alpha[..., None] > 0, colors, np.float32(np.nan))
    colors = colors[..., 0] if colors.shape[2] == 1 else colors
    image = Image.fromarray(stretch(colors, rendering)).convert("RGB")
    largest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    opaque = np.rint(np.clip(alpha / largest, 0, 1) * 255).astype(np.uint8)
    return over_ground(image, Image.fromarray(opaque), rendering)


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of the layout in which the file stores its pixels."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0].args
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _read_as(image: ImageFile.ImageFile, mode: str, raw: str) -> None:
    """Load the image as if its bytes had another layout of the same size."""
    image._mode = mode
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in image.tile
    ]
    image.load()
