"""Images of more than 8 bits a channel, as Pillow opens them: their full values.

Of 16-bit colours Pillow keeps the upper 8 bits. Told that the other byte comes first, it keeps the lower 8: an
image is decoded once each way, with every compression and filter that Pillow knows.
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

_GREY_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
# libtiff gives the machine's own order.
_OTHER_BYTE = {
    f"{mode};16{order}": f"{mode};16{'L' if order == 'B' else 'B'}"
    for mode in ("RGB", "RGBA", "RGBX", "RGBa")
    for order in "LBN"
}
_GREY_WITH_ALPHA = "LA;16B"


def is_deep(image: Image.Image) -> bool:
    """Whether the image, of which only the header was read, has more than 8 bits a channel."""
    raw = _raw_mode(image)
    return image.mode in _GREY_MODES or raw in _OTHER_BYTE or raw == _GREY_WITH_ALPHA


def values_of(image: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> NDArray[Any]:
    """All bits of a deep image: (h, w), or (h, w, 2 to 4) with alpha last where there are 2 or 4.

    ``again`` opens the same image anew, at the same frame.
    """
    raw = _raw_mode(image)
    image.load()  # which turns a TIFF upright
    if image.mode in _GREY_MODES:
        return np.asarray(image)
    other = again()
    if raw == _GREY_WITH_ALPHA:
        _read_as(other, "RGBA", "RGBA")
        pairs = np.asarray(other).astype(np.uint16)
        return np.asarray(pairs[..., ::2] << 8 | pairs[..., 1::2])
    _read_as(other, image.mode, _OTHER_BYTE[raw])
    upper = np.asarray(image).astype(np.uint16)
    return np.asarray(upper << 8 | np.asarray(other))


def picture_of(values: NDArray[Any], rendering: Rendering) -> Image.Image:
    """Deep values as RGB under the stretch; what is transparent doesn't count for it and lies over the background.

    Raises ImageProblem if nothing is known.
    """
    refuse_unknown(values)
    if values.ndim == 2 or values.shape[2] == 3:
        return Image.fromarray(stretch(values, rendering)).convert("RGB")
    colours, alpha = values[..., :-1], values[..., -1]
    colours = np.where(alpha[..., None] > 0, colours, np.float32(np.nan))
    colours = colours[..., 0] if colours.shape[2] == 1 else colours
    image = Image.fromarray(stretch(colours, rendering)).convert("RGB")
    largest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    opaque = np.rint(np.clip(alpha / largest, 0, 1) * 255).astype(np.uint8)
    return over_ground(image, Image.fromarray(opaque), rendering)


def _raw_mode(image: Image.Image) -> str:
    """How the bytes of the file's pixels are laid out, in Pillow's words."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0].args
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw if isinstance(raw, str) else ""


def _read_as(image: ImageFile.ImageFile, mode: str, raw: str) -> None:
    """Have the bytes taken as another layout of the same size."""
    image._mode = mode
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in image.tile
    ]
    image.load()
