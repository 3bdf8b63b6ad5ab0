"""Combine HOG, scattering and color vectors: the default encoder without weights.

Histograms of oriented gradients (``modeling.backends.hog``) and scattering averages (``modeling.backends.scattering``)
make errors on different images, so that a classifier on both is better than on either (DESIGN_NOTES.md has the
figures).
"""

from __future__ import annotations

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends import hog, scattering
from modeling.backends.encoder import FloatArray, fingerprint
from modeling.backends.scattering import PatchesEncoder, PooledEncoder

SIDE = hog.SIDE
TIMES = SIDE // scattering.SIDE
DIM = hog.HOG_DIM + scattering.DIM
# Scattering values are logarithms with about this many times the spread of the HOG part, which has length 1. Dividing
# by it gives both parts the same weight in distances.
SCATTERING_SCALE = 24.0
_BATCH = 128


class HogScatteringEncoder(PooledEncoder):
    """HOG of a 64 x 64 version of the image, scattering and a color histogram of a 32 x 32 version."""

    title = "HOG + Scattering"
    about = "Gradients, wavelets and colors side by side, as earlier versions used without weights."
    dim = DIM
    input_size = SIDE
    batch_size = _BATCH

    def facts(self) -> dict[str, str | int | float]:
        return {
            "architecture": "hog+scattering",
            "hog": f"{SIDE} {hog.CELL} {hog.ORIENTATIONS} {hog.BLOCK}",
            "scattering": fingerprint(**PatchesEncoder().facts()),
            "scattering_scale": SCATTERING_SCALE,
            "resize": "bilinear squash, then means of 2 x 2",
        }

    def describe(self, pixels: Pixels) -> FloatArray:
        return described(pixels)


def described(pixels: Pixels) -> FloatArray:
    """Encode uint8 (n, 64, 64, 3) as float32 (n, DIM)."""
    outlines = hog.unit_rows(hog.hog(hog.to_grey(pixels)))
    textures = scattering.described(halved(pixels)) / np.float32(SCATTERING_SCALE)
    return np.concatenate([outlines, textures], axis=1, dtype=np.float32)


def halved(pixels: Pixels) -> Pixels:
    """Halve the size of uint8 (n, 64, 64, 3): the rounded mean of each 2 x 2 pixels, (n, 32, 32, 3)."""
    n, height, width, channels = pixels.shape
    cells = pixels.reshape(n, height // TIMES, TIMES, width // TIMES, TIMES, channels)
    sums = cells.sum(axis=(2, 4), dtype=np.uint16)
    means: Pixels = ((sums + TIMES**2 // 2) // TIMES**2).astype(np.uint8)
    return means
