"""Three bands as one colour image (Lupton et al. 2004, PASP 116, 133), as astropy implements it.

Brightness is bent by an asinh of the mean of the bands, and the colour, which is their ratio, is kept: a star's core
doesn't burn out to white while its faint surroundings are seen.
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
from labeling.images.source_file import in_plain_words

# Three bands are in memory several times over, in double precision.
MOST_PIXELS = 40_000_000
# Limits are found on a regular sample of about this many pixels.
_SAMPLE = 250_000


def composite(
    files: Mapping[str, Path],
    roles: Sequence[str],
    composition: Composition,
    rendering: Rendering = DEFAULT,
    max_side: int | None = None,
) -> Image.Image:
    """The colour image (RGB) of an item: to people, and to models.

    Parameters
    ----------
    files
        The item's files by their role. A band that is missing is black.
    roles
        The dataset's roles in their order; ``composition`` says which of them are red, green and blue.
    composition
        Bands, softening (Q) and range. Where the range is not given, it is that of zscale over the mean of the bands,
        as in ``astropy.visualization.LuptonAsinhZscaleStretch``.
    rendering
        Which part and plane of each file. Its lower limit is black in all bands; without one, each band's own zscale
        limit, since the brightness of the sky differs from band to band. Its stretch says nothing here.
    max_side
        The longer side in pixels of the result at most.

    Raises
    ------
    ImageProblem
        No band is there, they differ in size, or a file gives no image; in plain words.
    """
    wanted = composition.bands_of(roles)
    read = {role: _band(role, files[role], rendering) for role in dict.fromkeys(wanted) if role in files}
    if not read:
        raise ImageProblem(f"None of the bands of the colour image is there: {', '.join(dict.fromkeys(wanted))}.")
    if len({band.shape for band in read.values()}) > 1:
        sizes = ", ".join(f"{role} {band.shape[1]:,} × {band.shape[0]:,}" for role, band in read.items())
        raise ImageProblem(f"The bands of a colour image have to be of one size, and these are not: {sizes}.")
    with in_plain_words():
        image = Image.fromarray(_coloured([read.get(role) for role in wanted], composition, rendering))
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


def _coloured(bands: list[NDArray[Any] | None], composition: Composition, rendering: Rendering) -> NDArray[np.uint8]:
    """(h, w, 3) bytes of three bands, of which one at least is there."""
    from astropy.visualization import make_lupton_rgb

    shape = next(band.shape for band in bands if band is not None)
    ready = [np.zeros(shape) if band is None else _above_black(band, rendering) for band in bands]
    span = composition.range or _span((ready[0] + ready[1] + ready[2]) / 3)
    with np.errstate(divide="ignore", invalid="ignore"):  # of black by black, which astropy then makes black
        coloured: NDArray[np.uint8] = make_lupton_rgb(*ready, minimum=0, stretch=span, Q=composition.softening)
    return coloured


def _above_black(band: NDArray[Any], rendering: Rendering) -> NDArray[np.float64]:
    """The band's values with black at 0; unknown pixels are black, and infinite ones as bright as the brightest."""
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
