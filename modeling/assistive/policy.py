"""Decide when the assistive model is retrained automatically."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Annotation, Dataset, Item, LabelClass, State
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.predictions import active_model

# The first model comes early, so that the person soon benefits from it.
FIRST_MODEL_AT = 10
# At most MOST_READ decisions are read to count new labels, AT_ONCE with one query.
MOST_READ, AT_ONCE = 10_000, 500
# By dataset, the number of decisions at which to check again: labels saved before that cost no query.
_look_again_at: dict[int, int] = {}


def policy_of(dataset: Dataset) -> RetrainPolicy:
    return RetrainPolicy.objects.get_or_create(dataset=dataset)[0]


def new_labels(dataset: Dataset, model: ModelVersion | None, enough: int = MOST_READ) -> int:
    """Return how many labels hold that were given or changed since ``model`` was trained; all labels without a model.

    Labels that were undone do not count, nor do skipped and unsure items. Reads the decisions since then, newest first
    and by primary key, up to 10,000; beyond that, every decision counts as a label. Stops at about ``enough`` labels.
    """
    if model is None:
        return dataset.n_labelled
    n_since = max(0, dataset.n_decisions - model.n_decisions)
    if n_since > MOST_READ:
        return n_since
    found, before = 0, None
    for _ in range(MOST_READ // AT_ONCE):
        if n_since <= 0 or found >= enough:
            break
        newest = Annotation.objects.all() if before is None else Annotation.objects.filter(pk__lt=before)
        batch = list(newest.order_by("-pk").values_list("pk", "item_id", "state")[:AT_ONCE])
        if not batch:
            break
        items = Item.objects.filter(pk__in={item_id for _, item_id, _ in batch}, dataset=dataset)
        current = dict(items.values_list("pk", "decision_id"))
        own = [decision for decision in batch if decision[1] in current][:n_since]
        found += sum(state == State.LABELLED and current[item_id] == pk for pk, item_id, state in own)
        n_since -= len(own)
        before = batch[-1][0]
    return found


def labels_to_go(dataset: Dataset, policy: RetrainPolicy, model: ModelVersion | None) -> int:
    """Return how many more labels the next model takes; 0 if it is due."""
    wanted = FIRST_MODEL_AT if model is None else max(policy.min_new, round(policy.share_new * model.n_labels))
    return max(0, wanted - new_labels(dataset, model, wanted))


def retrain_if_due(dataset: Dataset) -> None:
    """Request a retrain if there are enough new labels and two labeled classes; embeddings are computed first.

    Archived datasets are not retrained.
    """
    if dataset.archived_at is not None:
        return
    policy = policy_of(dataset)
    model = active_model(dataset)
    is_waiting = not policy.is_automatic or (model is not None and model.is_chosen)
    to_go = 0 if is_waiting else labels_to_go(dataset, policy, model)
    if is_waiting or to_go:
        # Each decision adds at most one new label.
        _look_again_at[dataset.pk] = dataset.n_decisions + (max(1, policy.min_new) if is_waiting else to_go)
        return
    # Whatever the result, these queries must not run after every label.
    _look_again_at[dataset.pk] = dataset.n_decisions + max(1, policy.min_new)
    if count_labeled_classes(dataset) >= 2 and (has_embeddings(dataset) or not _was_embedding_stopped(dataset)):
        request_retrain(dataset)


def request_retrain(dataset: Dataset, user: User | None = None) -> Job:
    """Queue a retrain. Without embeddings, queue their job first, with the retrain to follow, and return that job.

    With labels of fewer than two classes the retrain is queued anyway; it fails with a message about the labels.
    """
    if has_embeddings(dataset) or count_labeled_classes(dataset) < 2:
        return enqueue("retrain", dataset_id=dataset.pk, user=user)
    return embed_and_retrain(dataset, user)


def embed_and_retrain(dataset: Dataset, user: User | None = None) -> Job:
    """Queue the embedding job (or join the one that runs) and have a retrain follow it. Return the next of the two."""
    had_embeddings = has_embeddings(dataset)
    policy_of(dataset)
    RetrainPolicy.objects.filter(dataset=dataset).update(is_requested=True)
    # An embedding job that ended in between has not seen the request.
    if not had_embeddings and has_embeddings(dataset) and _take_request(dataset.pk):
        return enqueue("retrain", dataset_id=dataset.pk, user=user)
    return enqueue("embed", dataset_id=dataset.pk, user=user)


def has_embeddings(dataset: Dataset) -> bool:
    """Return whether the dataset has active embeddings, at least for some of its images."""
    return EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).exists()


def count_labeled_classes(dataset: Dataset) -> int:
    return LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).count()


def _take_request(dataset_id: int) -> bool:
    return bool(RetrainPolicy.objects.filter(dataset=dataset_id, is_requested=True).update(is_requested=False))


def _was_embedding_stopped(dataset: Dataset) -> bool:
    """Return whether the last embedding job failed or was cancelled: it is not restarted without a request."""
    newest = Job.objects.filter(kind="embed", dataset_id=dataset.pk).order_by("-created_at").first()
    return newest is not None and not newest.is_active and newest.state != Job.State.SUCCEEDED


def retrain_after_embedding(dataset_id: int) -> None:
    """Retrain after new embeddings, or predict again with a chosen model, as requested and as the policy says."""
    dataset = Dataset.objects.get(pk=dataset_id)
    model = active_model(dataset)
    if _take_request(dataset_id):
        enqueue("retrain", dataset_id=dataset_id, params={"is_after_embedding": True})
    elif model is None:
        retrain_if_due(dataset)
    elif model.is_chosen:
        if model.kind == ModelVersion.Kind.ASSISTIVE:  # it stays active, and also has to predict the new images
            enqueue("predict", dataset_id=dataset_id, params={"version": model.number, "is_refresh": True})
    elif policy_of(dataset).is_automatic:
        enqueue("retrain", dataset_id=dataset_id)


def on_decided(sender: Any, dataset_id: int, n_decisions: int, **kwargs: Any) -> None:
    """Check after a batch of labels whether to retrain; most of the time this only compares two numbers."""
    if n_decisions >= _look_again_at.get(dataset_id, 0):
        retrain_if_due(Dataset.objects.get(pk=dataset_id))


def forget(dataset: Dataset) -> None:
    """Check again at the next label, because the policy or the model changed."""
    _look_again_at.pop(dataset.pk, None)
