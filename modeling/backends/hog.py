"""Compute HOG + color vectors: an encoder that needs no weights and no network.

Histograms of oriented gradients as in Dalal & Triggs (2005), "Histograms of Oriented Gradients for Human Detection",
CVPR; the same values as ``skimage.feature.hog``, but for whole batches: scikit-image takes milliseconds per image. A
color histogram is added, since shape alone cannot distinguish a lemon from a lime.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray
from modeling.backends.plugins import ImageEncoder

SIDE = 64
CELL = 8
ORIENTATIONS = 9
BLOCK = 2
CELLS = SIDE // CELL
BLOCKS = CELLS - BLOCK + 1
HOG_DIM = BLOCKS * BLOCKS * BLOCK * BLOCK * ORIENTATIONS
COLOUR_BINS = 4  # per channel: red, green, blue
COLOUR_DIM = COLOUR_BINS**3
# Weight of the color part relative to the HOG part, which has length 1.
COLOUR_WEIGHT = 1.0
_BATCH = 128


class HogEncoder(ImageEncoder):
    """Gradients and colors of a 64 x 64 version of the image: 1764 + 64 values, each part of length 1."""

    title, license = "HOG + color", "MIT"
    about = "Gradients and colors. The fastest of all."
    dim = HOG_DIM + COLOUR_DIM
    input_size = SIDE
    batch_size = _BATCH
    is_thread_safe = True

    def load(self) -> None:
        """Load nothing: there are no weights."""

    def facts(self) -> dict[str, str | int | float]:
        return {
            "architecture": "hog-colour",
            "side": SIDE,
            "cell": CELL,
            "orientations": ORIENTATIONS,
            "block": BLOCK,
            "colour_bins": COLOUR_BINS,
            "colour_weight": COLOUR_WEIGHT,
            "resize": "bilinear squash",
        }

    def encode(self, batch: Pixels) -> FloatArray:
        out = np.empty((len(batch), self.dim), dtype=np.float32)
        for start in range(0, len(batch), _BATCH):
            pixels = batch[start : start + _BATCH]
            part = out[start : start + _BATCH]
            part[:, :HOG_DIM] = unit_rows(hog(to_grey(pixels)))
            part[:, HOG_DIM:] = COLOUR_WEIGHT * unit_rows(np.sqrt(colour_histogram(pixels)))
        return out


def to_grey(pixels: Pixels) -> Pixels:
    """Convert uint8 (n, h, w, 3) to gray uint8 (n, h, w), with Pillow's weights (ITU-R 601-2)."""
    n, height, width, _ = pixels.shape
    stacked = Image.fromarray(np.ascontiguousarray(pixels).reshape(n * height, width, 3))
    return np.asarray(stacked.convert("L")).reshape(n, height, width)


def hog(grey: Pixels) -> FloatArray:
    """Compute histograms of oriented gradients of a batch: uint8 (n, 64, 64) to float32 (n, 1764).

    The values of ``skimage.feature.hog(orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2),
    block_norm="L2-Hys")``. Gray values are integers, so a gradient is one of 511 x 511 pairs, whose direction and
    magnitude are looked up in a table.
    """
    n = len(grey)
    bins, strengths = _gradient_tables()
    values = grey.astype(np.int32)
    down = np.zeros_like(values)
    right = np.zeros_like(values)
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    right[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    pair = (down + 255) * 511 + (right + 255)

    # One bin for each (image, cell row, cell column, orientation).
    cell = np.arange(SIDE) // CELL
    cell_of_pixel = (cell[:, None] * CELLS + cell[None, :]) * ORIENTATIONS
    first = np.arange(n, dtype=np.intp)[:, None, None] * (CELLS * CELLS * ORIENTATIONS)
    index = bins[pair] + (first + cell_of_pixel)
    sums = np.bincount(index.ravel(), weights=strengths[pair].ravel(), minlength=n * CELLS * CELLS * ORIENTATIONS)
    cells = (sums / (CELL * CELL)).astype(np.float32).reshape(n, CELLS, CELLS, ORIENTATIONS)
    return _normalised_blocks(cells)


def colour_histogram(pixels: Pixels) -> FloatArray:
    """Return the share of pixels in 4 x 4 x 4 bins of red, green, blue: uint8 (n, h, w, 3) to float32 (n, 64)."""
    n, height, width, _ = pixels.shape
    box = (pixels // (256 // COLOUR_BINS)).astype(np.intp)
    index = (box[..., 0] * COLOUR_BINS + box[..., 1]) * COLOUR_BINS + box[..., 2]
    index += np.arange(n, dtype=np.intp)[:, None, None] * COLOUR_DIM
    counts = np.bincount(index.ravel(), minlength=n * COLOUR_DIM).reshape(n, COLOUR_DIM)
    shares: FloatArray = (counts / (height * width)).astype(np.float32)
    return shares


@cache
def _gradient_tables() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return orientation bin and magnitude of each (down, right) gradient, at (down + 255) * 511 + (right + 255)."""
    steps = np.arange(-255, 256, dtype=np.float64)
    down, right = np.meshgrid(steps, steps, indexing="ij")
    degrees = np.rad2deg(np.arctan2(down, right)) % 180
    bins = np.minimum((degrees / (180 / ORIENTATIONS)).astype(np.intp), ORIENTATIONS - 1)
    return bins.ravel(), np.hypot(down, right).astype(np.float32).ravel()


def _normalised_blocks(cells: FloatArray) -> FloatArray:
    """Normalize blocks of 2 x 2 neighboring cells to length 1, clip at 0.2, and normalize again (L2-Hys)."""
    blocks = np.stack(
        [cells[:, r : r + BLOCKS, c : c + BLOCKS] for r in range(BLOCK) for c in range(BLOCK)], axis=3
    ).reshape(len(cells), BLOCKS * BLOCKS, -1)
    for clip in (True, False):
        blocks /= np.sqrt((blocks * blocks).sum(axis=2, keepdims=True) + 1e-10)
        if clip:
            np.minimum(blocks, 0.2, out=blocks)
    return blocks.reshape(len(cells), HOG_DIM)


def unit_rows(rows: FloatArray) -> FloatArray:
    """Scale rows to length 1; rows of zeros (images of one color have no gradients) stay zero."""
    length = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    length[length == 0] = 1
    unit: FloatArray = rows / length
    return unit
