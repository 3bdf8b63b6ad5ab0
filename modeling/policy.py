"""When the assistive model retrains by itself."""

from __future__ import annotations

from typing import Any

from hoshina.jobs.life import enqueue
from labeling.models import Dataset, LabelClass
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from modeling.predictions import active_model

# The first model comes early: a person wants to see it get useful.
FIRST_MODEL_AT = 10
# By dataset, the number of decisions at which to look again: a label saved before that costs no query here.
_look_again_at: dict[int, int] = {}


def policy_of(dataset: Dataset) -> RetrainPolicy:
    return RetrainPolicy.objects.get_or_create(dataset=dataset)[0]


def due_at(dataset: Dataset, policy: RetrainPolicy, model: ModelVersion | None) -> int:
    """The number of decisions at which the next model is due."""
    if model is None:
        return FIRST_MODEL_AT
    return model.n_decisions + max(policy.min_new, round(policy.share_new * model.n_labels))


def retrain_if_due(dataset: Dataset) -> None:
    """Ask for a retrain when enough new labels came, vectors exist and two classes have labels."""
    policy = policy_of(dataset)
    model = active_model(dataset)
    due = due_at(dataset, policy, model)
    is_waiting = not policy.is_automatic or (model is not None and model.is_chosen)
    if is_waiting or dataset.n_decisions < due:
        _look_again_at[dataset.pk] = dataset.n_decisions + policy.min_new if is_waiting else due
        return
    # Whatever comes of it, nobody waits for these look-ups at every key.
    _look_again_at[dataset.pk] = dataset.n_decisions + max(1, policy.min_new)
    has_vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).exists()
    n_classes = LabelClass.objects.active().filter(dataset=dataset, n_items__gt=0).count()
    if has_vectors and n_classes >= 2:
        enqueue("retrain", dataset_id=dataset.pk)


def retrain_after_embedding(dataset_id: int) -> None:
    """New vectors: a model that exists has nothing to say about them yet, and one may be due."""
    dataset = Dataset.objects.get(pk=dataset_id)
    model = active_model(dataset)
    if model is None:
        retrain_if_due(dataset)
    elif model.is_chosen:
        if model.kind == ModelVersion.Kind.ASSISTIVE:  # it stays, and tells of the new images, too
            enqueue("predict", dataset_id=dataset_id, params={"version": model.number, "is_refresh": True})
    elif policy_of(dataset).is_automatic:
        enqueue("retrain", dataset_id=dataset_id)


def on_decided(sender: Any, dataset_id: int, n_decisions: int, **kwargs: Any) -> None:
    """After a batch of labels: most of the time a comparison of two numbers."""
    if n_decisions >= _look_again_at.get(dataset_id, 0):
        retrain_if_due(Dataset.objects.get(pk=dataset_id))


def forget(dataset: Dataset) -> None:
    """Look again at the next label: the policy or the model changed."""
    _look_again_at.pop(dataset.pk, None)
