"""Measure black and white limits for all images of a dataset on a sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.display.frame_file import inside
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.images.rendering import CURVES, Rendering
from labeling.images.stretch import limits
from labeling.models import Dataset, Frame

# Images that are measured, from all over the folder, and pixels of each: every image counts the same.
IMAGES = 32
PIXELS = 20_000


def measured_limits(dataset: Dataset, rendering: Rendering) -> tuple[float, float]:
    """Return black and white, in the files' units, that suit all images under the rendering's curve. Raises Refusal."""
    if rendering.stretch not in CURVES:
        curves = ", ".join(CURVES)
        raise Refusal(f"Choose one of {curves} first: the other stretches find the limits of each image.")
    own = replace(rendering, low=None, high=None)
    values = [part for frame in _some(dataset) if (part := _sample(frame, own)) is not None]
    if not values:
        raise Refusal("None of the images could be read. The Problems page says why.")
    return limits(np.concatenate(values), rendering.stretch)


def _some(dataset: Dataset) -> Sequence[Frame]:
    step = max(1, dataset.n_items // IMAGES)
    rows = list(range(0, dataset.n_items, step))[:IMAGES]
    found = Frame.objects.filter(item__dataset=dataset, item__row__in=rows, item__is_available=True)
    return list(found.select_related("dataset").order_by("item__row", "pk"))


def _sample(frame: Frame, rendering: Rendering) -> NDArray[np.float32] | None:
    """Return finite pixel values from all over an image; None if it cannot be read."""
    try:
        values = np.frombuffer(decoders().values(inside(frame), rendering), np.dtype("<f4"))
    except ImageProblem:
        return None  # its reason is on the Problems page; the other images tell as much
    finite: NDArray[np.float32] = values[np.isfinite(values)]
    return finite[:: max(1, len(finite) // PIXELS)]
