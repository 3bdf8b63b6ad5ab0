"""Change how the images of a dataset are displayed, and measure black and white for all of them on a sample."""

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

# Images that are measured, from all over the folder, and pixels of each: every image counts the same.
IMAGES = 32
PIXELS = 20_000


def rewrite(dataset: Dataset, rendering: Rendering) -> bool:
    """Write down how images are shown from now on; whether that is another way than before."""
    if rendering == dataset.shown_as:
        return False
    dataset.rendering = rendering.as_params()
    dataset.save(update_fields=["rendering"])
    return True


def show_as(dataset: Dataset, rendering: Rendering, user: User | None = None) -> bool:
    """Show images in another way from now on; False when it is the same one.

    Thumbnails follow by their addresses, and vectors by a job. Another part of each file may have another size, or be
    none at all, and cut files come and go: then the folder is read again before.
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
    """Return what decides which files can be shown, and how large they are."""
    return rendering.hdu, rendering.plane, rendering.shows_cut


def compose_as(dataset: Dataset, composition: Composition) -> bool:
    """Show the frames of each item in another way from now on; False when it is the same one.

    Pictures follow by their addresses, and vectors by a job where the model sees something else than before.
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
