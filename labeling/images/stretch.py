"""Map gray values of any depth to the 256 levels of a screen.

Curves and zscale use astropy, which is imported on first use because importing it is slow and most users need neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.rendering import USUAL, Rendering

# Limits except the extremes are computed on a regular sample of at most about this many pixels.
_SAMPLE = 1_000_000
_PERCENTILES = (0.5, 99.5)
# Percentiles for curves, which compress the bright end and can include more of it.
_CURVE_PERCENTILES = (0.25, 99.9)
_ROWS_AT_ONCE = 4_000_000


def stretch(values: NDArray[Any], rendering: Rendering, *, usual: str = "percentile") -> NDArray[np.uint8]:
    """Stretch ``values`` (h, w) or (h, w, channels) as ``rendering`` specifies; its usual stretch is ``usual``.

    Channels share their limits. NaN is black, also if the image is inverted.
    """
    name = usual if rendering.stretch == USUAL else rendering.stretch
    low, high = limits(values, name)
    low = low if rendering.low is None else rendering.low
    high = high if rendering.high is None else rendering.high
    pixels = _curved(values, low, high, name) if name in {"asinh", "log", "sqrt"} else between(values, low, high)
    if rendering.is_inverted:
        np.subtract(255, pixels, out=pixels)
        pixels[np.isnan(values)] = 0
    return pixels


def limits(values: NDArray[Any], name: str) -> tuple[float, float]:
    """Return the values that stretch ``name`` maps to black and white; (0, 0) if no value is finite."""
    if name == "minmax":
        sample = values[np.isfinite(values)]
    else:
        sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 0.0
    if name == "zscale":
        from astropy.visualization import ZScaleInterval

        low, high = ZScaleInterval().get_limits(sample)
    elif name == "minmax":
        low, high = sample.min(), sample.max()
    else:
        low, high = np.percentile(sample, _PERCENTILES if name == "percentile" else _CURVE_PERCENTILES)
    if not low < high:
        low, high = sample.min(), sample.max()
    return float(low), float(high)


def between(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``values`` linearly from ``low`` (0) to ``high`` (255), clipped, with NaN as 0. Keeps the shape."""
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    pixels = np.nan_to_num(_floats(values, high - low), nan=low, posinf=high, neginf=low)
    # Clip before scaling, so that extremes cannot overflow.
    scaled = (np.clip(pixels, low, high) - low) * pixels.dtype.type(255.0 / (high - low))
    whole: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
    return whole


def _curved(values: NDArray[Any], low: float, high: float, name: str) -> NDArray[np.uint8]:
    """Map ``values`` like :func:`between`, but along an astropy curve. Processes some rows at a time to save memory."""
    from astropy.visualization import AsinhStretch, LogStretch, SqrtStretch

    out = np.zeros(values.shape, np.uint8)
    if not high > low:
        return out
    curve = {"asinh": AsinhStretch, "log": LogStretch, "sqrt": SqrtStretch}[name]()
    step = max(1, _ROWS_AT_ONCE // max(1, values[:1].size))
    for start in range(0, len(values), step):
        rows = np.nan_to_num(values[start : start + step].astype(np.float64), nan=low, posinf=high, neginf=low)
        scaled = (np.clip(rows, low, high) - low) / (high - low)
        out[start : start + step] = np.rint(np.clip(curve(scaled), 0, 1) * 255)
    return out


def _floats(values: NDArray[Any], span: float) -> NDArray[Any]:
    """Convert to float32, or to float64 if float32 would overflow or lose digits within the span of the limits."""
    is_wide = values.dtype.itemsize > 2 and values.dtype.newbyteorder("=") != np.float32
    is_wide |= not 1e-30 < span < 1e30
    return values.astype(np.float64 if is_wide else np.float32)
