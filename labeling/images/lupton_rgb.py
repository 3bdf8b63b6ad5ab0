"""Combine three bands into a color image (Lupton et al. 2004, PASP 116, 133), with astropy's implementation.

An asinh of the mean of the bands compresses brightness and preserves color, the ratio of the bands. The core of a star
therefore does not saturate to white while its faint surroundings are visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from labeling.images.composite import Composition
from labeling.images.open_image import shrink
from labeling.images.pixel_values import values_in
from labeling.images.problems import ImageProblem
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import as_image_problems

# Three bands need several copies in double precision.
MOST_PIXELS = 40_000_000
# Limits are computed on a regular sample of about this many pixels.
_SAMPLE = 250_000


def composite(
    files: Mapping[str, Path],
    roles: Sequence[str],
    composition: Composition,
    rendering: Rendering = DEFAULT,
    max_side: int | None = None,
) -> Image.Image:
    """Return the color image (RGB) of an item, for display and as model input.

    Parameters
    ----------
    files : The item's files by role. Missing bands are black.
    roles : The dataset's roles in order. ``composition`` selects which are red, green and blue.
    composition : Bands, softening (Q) and range. The default range is that of zscale over the mean of the bands, as in
        ``astropy.visualization.LuptonAsinhZscaleStretch``.
    rendering : Part and plane of each file. Its lower limit is black in all bands. Without one, each band uses its own
        zscale limit, since the brightness of the sky differs between bands. The stretch is ignored.
    max_side : Largest allowed longer side of the result, in pixels.

    Raises ImageProblem if no band is available, bands differ in size, or a file cannot be read.
    """
    roles_of_bands = composition.bands_of(roles)
    read = {role: _band(role, files[role], rendering) for role in dict.fromkeys(roles_of_bands) if role in files}
    if not read:
        raise ImageProblem(f"All bands of the color image are missing: {', '.join(dict.fromkeys(roles_of_bands))}.")
    if len({band.shape for band in read.values()}) > 1:
        sizes = ", ".join(f"{role} {band.shape[1]:,} × {band.shape[0]:,}" for role, band in read.items())
        raise ImageProblem(f"The bands of a color image must have the same size, and these differ: {sizes}.")
    with as_image_problems():
        image = Image.fromarray(_colored([read.get(role) for role in roles_of_bands], composition, rendering))
    if rendering.is_inverted:
        image = ImageChops.invert(image)
    if max_side is not None:
        image = shrink(image, max_side)
    return image


def _band(role: str, file: Path, rendering: Rendering) -> NDArray[Any]:
    try:
        return values_in(file, rendering, most=MOST_PIXELS)
    except ImageProblem as problem:
        raise ImageProblem(f"{role}: {problem.reason}") from problem


def _colored(bands: list[NDArray[Any] | None], composition: Composition, rendering: Rendering) -> NDArray[np.uint8]:
    """Return the color image, uint8 (h, w, 3), of three bands, at least one of which is not None."""
    from astropy.visualization import make_lupton_rgb

    shape = next(band.shape for band in bands if band is not None)
    ready = [np.zeros(shape) if band is None else _above_black(band, rendering) for band in bands]
    span = composition.range or _span((ready[0] + ready[1] + ready[2]) / 3)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0, which astropy then sets to black
        image: NDArray[np.uint8] = make_lupton_rgb(*ready, minimum=0, stretch=span, Q=composition.softening)
    return image


def _above_black(band: NDArray[Any], rendering: Rendering) -> NDArray[np.float64]:
    """Return values relative to black. Unknown pixels become 0; infinite ones get the largest finite value."""
    values = band.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape)
    black = _zscale(values)[0] if rendering.low is None else rendering.low
    largest = max(values.max(where=finite, initial=black), black)
    return np.nan_to_num(values - black, copy=False, nan=0, posinf=largest - black, neginf=0)


def _span(brightness: NDArray[np.float64]) -> float:
    low, high = _zscale(brightness)
    return high - low if high > low else 1.0


def _zscale(values: NDArray[np.float64]) -> tuple[float, float]:
    from astropy.visualization import ZScaleInterval

    sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
    sample = sample[np.isfinite(sample)]
    return (0.0, 0.0) if not sample.size else tuple(map(float, ZScaleInterval().get_limits(sample)))  # type: ignore[return-value]
