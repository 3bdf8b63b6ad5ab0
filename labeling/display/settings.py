"""Change how the images of a dataset are displayed."""

from __future__ import annotations

from django.contrib.auth.models import User

from hoshina.jobs.lifecycle import enqueue
from labeling.images.composite import Composition
from labeling.images.rendering import Rendering
from labeling.models import Dataset
from labeling.signals import reshown


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
