"""Decide when near-duplicates are looked for without a request."""

from __future__ import annotations

from django.conf import settings

from hoshina.core.storage import StoreError
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.leakage.files import found_by
from modeling.models import EmbeddingSet, LeakageCheck

# Increase this when the same images give other pairs than before.
VERSION = 1
# Exports without two labeled images have nothing to keep together.
FEWEST_LABELS = 2
# More images than this are compared again when the number of images has grown by this share.
AT_ONCE, GROWTH = 20_000, 0.01


def source_of(embedding_set: EmbeddingSet | None) -> str:
    """Return what the neighbors of a check come from: the version of the method and the embeddings."""
    return f"{VERSION}" if embedding_set is None else f"{VERSION}:{embedding_set.pk}:{embedding_set.generation}"


def is_compared(dataset: Dataset, check: LeakageCheck, embedding_set: EmbeddingSet | None) -> bool:
    """Return whether the check has compared the present signatures and embeddings, and its files are there."""
    if (check.source, check.compared_generation) != (source_of(embedding_set), check.generation):
        return False
    try:
        return check.pairs_generation > 0 and found_by(dataset, check) is not None
    except StoreError:
        return False


def check_if_due(dataset_id: int, *, is_embedded: bool = False) -> None:
    """Start a check if exports need one: images are labeled, and embeddings are complete and new.

    ``is_embedded``: the embedding job has just completed them. A check that failed or was cancelled is not started
    again without a request. Costs some queries, whatever the size of the dataset.
    """
    dataset = Dataset.objects.get(pk=dataset_id)
    if not settings.AUTOMATIC_LEAKAGE_CHECKS or dataset.archived_at is not None or dataset.n_labelled < FEWEST_LABELS:
        return
    jobs = Job.objects.filter(dataset_id=dataset_id)
    if not is_embedded and jobs.filter(kind="embed", state__in=Job.ACTIVE).exists():
        return
    newest = jobs.filter(kind="check_leakage").order_by("-created_at").first()
    if newest is not None and newest.state in (Job.State.FAILED, Job.State.CANCELLED):
        return
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset_id, is_active=True, generation__gt=0).first()
    check = LeakageCheck.objects.filter(dataset=dataset_id, pairs_generation__gt=0).first()
    if embedding_set is not None and (check is None or _has_changed(check, embedding_set)):
        enqueue("check_leakage", dataset_id=dataset_id)


def _has_changed(check: LeakageCheck, embedding_set: EmbeddingSet) -> bool:
    if check.source == source_of(embedding_set):
        return False
    is_large = embedding_set.n_vectors > AT_ONCE
    return not is_large or embedding_set.n_vectors >= (1 + GROWTH) * check.n_images
