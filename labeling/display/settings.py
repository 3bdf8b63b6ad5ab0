"""Change how the images of a dataset are displayed, and measure black and white points for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from django.contrib.auth.models import User
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import enqueue
from labeling.display.frame_file import inside
from labeling.images.composite import Composition
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.images.rendering import CURVES, Rendering
from labeling.images.stretch import limits
from labeling.models import Dataset, Frame
from labeling.signals import reshown

# Numbers of sampled images, spread over the folder, and of pixels from each, so that all images have equal weight.
IMAGES = 32
PIXELS = 20_000


def rewrite(dataset: Dataset, rendering: Rendering) -> bool:
    """Save new display settings. Return whether they differ from the previous ones."""
    if rendering == dataset.shown_as:
        return False
    dataset.rendering = rendering.as_params()
    dataset.save(update_fields=["rendering"])
    return True


def show_as(dataset: Dataset, rendering: Rendering, user: User | None = None) -> bool:
    """Save a new rendering and apply it. Return False if nothing changed.

    The URLs of thumbnails change with it, and a job recomputes the embeddings. If it selects another part of the files,
    or changes whether truncated files are shown, the folder is read again first, because sizes and readable files may
    differ.
    """
    before = dataset.shown_as
    if not rewrite(dataset, rendering):
        return False
    if _chosen(before) != _chosen(rendering):
        enqueue("ingest", dataset_id=dataset.pk, params={"reread": True}, user=user)
    else:
        reshown.send(sender=Dataset, dataset_id=dataset.pk)
    return True


def _chosen(rendering: Rendering) -> tuple[object, ...]:
    """Return the options that determine which files can be shown and their sizes."""
    return rendering.hdu, rendering.plane, rendering.shows_cut


def compose_as(dataset: Dataset, composition: Composition) -> bool:
    """Save a new composition of frames and apply it. Return False if nothing changed.

    The URLs of pictures change with it, and a job recomputes the embeddings if the model's input changes.
    """
    before = dataset.composed_as
    if composition == before:
        return False
    dataset.composition = composition.as_params()
    dataset.save(update_fields=["composition"])
    if before.vector_key != composition.vector_key:
        reshown.send(sender=Dataset, dataset_id=dataset.pk)
    return True


# -- Black and white of all images ----------------------------------------------------------------------
def measured_limits(dataset: Dataset, rendering: Rendering) -> tuple[float, float]:
    """Return black and white points in the files' units for all images with the rendering's curve. Raises Refusal."""
    if rendering.stretch not in CURVES:
        curves = ", ".join(CURVES)
        raise Refusal(f"Choose one of {curves} first: the other stretches compute limits for each image.")
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
    """Return finite pixel values sampled from an image; None if it cannot be read."""
    try:
        values = np.frombuffer(decoders().values(inside(frame), rendering), np.dtype("<f4"))
    except ImageProblem:
        return None  # the Problems page has the reason; the other images suffice
    finite: NDArray[np.float32] = values[np.isfinite(values)]
    return finite[:: max(1, len(finite) // PIXELS)]
