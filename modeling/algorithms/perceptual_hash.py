"""Compute signatures of images, small gray pictures, and perceptual hashes of signatures.

The hash compares the low frequencies of the discrete cosine transform with their median: Christoph Zauner,
*Implementation and benchmarking of perceptual image hash functions*, master's thesis, Hagenberg (2010).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
# Each hash is this many words of 16 bits, one per band of the search.
BANDS = 8
SIDE = 32
_BITS = 16
_BLOCK = 4096


def signature_of(image: Image.Image) -> Pixels:
    """Reduce an image to gray and to a square of 32 pixels, uint8 (32, 32)."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.uint8)


def hashes_of(signatures: Pixels) -> NDArray[np.uint16]:
    """Return the hash of each signature (n, 32, 32): uint16 (n, 8), 128 bits in the order of their frequencies.

    A bit is set if the frequency's coefficient is above the median of its word. The brightness is left out.
    """
    from scipy.fft import dct  # slow to import, and every process imports this module

    rows, columns = _frequencies()
    transform = dct(np.eye(SIDE), axis=0, norm="ortho")[: rows.max() + 1].astype(np.float32)
    hashes = np.empty((len(signatures), BANDS), np.uint16)
    weights = (1 << np.arange(_BITS)).astype(np.uint16)
    for start in range(0, len(signatures), _BLOCK):
        pixels = signatures[start : start + _BLOCK].astype(np.float32)
        spectrum = (transform @ pixels @ transform.T)[:, rows, columns].reshape(len(pixels), BANDS, _BITS)
        # The median, several times faster than with np.median.
        middle = np.sort(spectrum, axis=2)[:, :, _BITS // 2 - 1 : _BITS // 2 + 1].mean(axis=2, keepdims=True)
        bits = spectrum > middle
        hashes[start : start + _BLOCK] = (bits * weights).sum(axis=2, dtype=np.uint16)
    return hashes


@cache
def _frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows and columns of the 128 lowest frequencies without the mean, spread over the bands."""
    rows, columns = np.divmod(np.arange(SIDE**2), SIDE)
    order = np.lexsort((rows, rows**2 + columns**2))[1 : BANDS * _BITS + 1]
    spread = order.reshape(_BITS, BANDS).T.ravel()
    return rows[spread], columns[spread]
