"""Grey values of any depth to the 256 of a screen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The percentiles are measured on a regular sample of at most about this many pixels.
_SAMPLE = 1_000_000


def by_percentile(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretch ``values`` (h, w), of any number type, linearly between their 0.5th and 99.5th percentile.

    Not-a-number becomes black. Where the percentiles coincide (a few bright spots on nothing) the extremes
    are taken instead, and an image of a single value is black.
    """
    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)].astype(np.float32)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(sample, (0.5, 99.5))
    if low == high:
        low, high = sample.min(), sample.max()
    return between(values, float(low), float(high))


def between(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """``low`` and below to 0, ``high`` and above to 255, linear between; not-a-number to 0. Shape is kept."""
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    pixels = np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low)
    # Clipped before scaling, so that extremes cannot overflow.
    scaled = (np.clip(pixels, low, high) - np.float32(low)) * np.float32(255.0 / (high - low))
    whole: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return whole
