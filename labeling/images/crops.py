"""Cut regions out of an image. Imports no Django."""

from __future__ import annotations

import io
import math
from pathlib import Path

from labeling.images.open_image import open_image
from labeling.images.rendering import DEFAULT, Rendering

# Left, top, width and height as shares of the image, from its upper left corner.
Box = tuple[float, float, float, float]
_TOLERANCE = 1e-6


def crops(path: Path, boxes: list[Box], suffix: str, rendering: Rendering = DEFAULT) -> list[bytes]:
    """Return a file with each region of an upright image: JPEG of high quality for ``.jpg``, else PNG.

    Raises ImageProblem if the image cannot be read.
    """
    image = open_image(path, rendering=rendering)
    found = []
    for box in boxes:
        buffer = io.BytesIO()
        region = image.crop(pixels_of(box, *image.size))
        if suffix == ".jpg":
            region.save(buffer, "JPEG", quality=95, subsampling=0)
        else:
            region.save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def pixels_of(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom in pixels of a box: all pixels that it touches, at least one."""
    left, top = (_within(share * size, size - 1) for share, size in ((box[0], width), (box[1], height)))
    right = _within(math.ceil((box[0] + box[2]) * width - _TOLERANCE), width)
    bottom = _within(math.ceil((box[1] + box[3]) * height - _TOLERANCE), height)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _within(value: float, most: int) -> int:
    return max(0, min(most, math.floor(value + _TOLERANCE)))
