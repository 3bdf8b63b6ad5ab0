"""Activate model versions: the newest one, or one that a person chose."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from hoshina.jobs.lifecycle import cancel, enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.assistive import policy
from modeling.models import EmbeddingSet, ModelVersion
from modeling.store import StoreError, open_vectors
from modeling.versions import model_files

# The newest versions keep the predictions of all images, which grow with the dataset.
ARRAYS_KEPT = 5
# More of them keep the classifier, with which they can predict again, and the held-out predictions, with which two
# versions can be compared image by image. Older ones keep their row with its metrics, but no files.
FILES_KEPT = 50


def activate(version: ModelVersion, *, seconds: float | None = None, is_chosen: bool = False) -> None:
    """Make this the version whose predictions pages and queues use, at once for everybody.

    With ``is_chosen`` a person chose this version: automatic retraining pauses until :func:`release`.
    """
    changes: dict[str, object] = {"is_active": True, "is_chosen": is_chosen}
    if seconds is not None:
        changes["seconds"] = seconds
    with transaction.atomic():
        others = ModelVersion.objects.filter(dataset=version.dataset_id).exclude(pk=version.pk)
        others.filter(is_active=True).update(is_active=False, is_chosen=False)
        ModelVersion.objects.filter(pk=version.pk).update(**changes)
    for name, value in changes.items():
        setattr(version, name, value)
    _give_back_space(version.dataset_id)


def chosen_external(dataset: Dataset) -> ModelVersion | None:
    """Return the imported predictions in use that a person chose: a retrain does not replace them."""
    in_use = ModelVersion.objects.filter(dataset=dataset, is_active=True, is_chosen=True)
    return in_use.filter(kind=ModelVersion.Kind.EXTERNAL).first()


def keep_beside(version: ModelVersion, *, seconds: float) -> None:
    """Keep a trained version in the list without using it."""
    version.seconds = seconds
    version.save(update_fields=["seconds"])
    _give_back_space(version.dataset_id)


def choose(version: ModelVersion, *, user: User | None = None) -> Job | None:
    """Activate the version that a person chose: at once, or by a job that computes its predictions first.

    Jobs that retrain the model or prepare another version are cancelled: they would replace this one.
    """
    others = Job.objects.filter(kind__in=("retrain", "predict"), dataset_id=version.dataset_id, state__in=Job.ACTIVE)
    for job in others:
        if job.params.get("version") != version.number:
            cancel(job)
    if has_all_predictions(version):
        activate(version, is_chosen=True)
        return None
    params = {"version": version.number, "is_refresh": False}
    return enqueue("predict", dataset_id=version.dataset_id, params=params, user=user)


def release(dataset: Dataset) -> None:
    """Resume automatic retraining; the active version stays until there is a newer one."""
    ModelVersion.objects.filter(dataset=dataset, is_chosen=True).update(is_chosen=False)
    policy.forget(dataset)
    policy.retrain_if_due(dataset)


def has_all_predictions(version: ModelVersion) -> bool:
    """Return whether the version has predictions of all images that it can predict, new ones included."""
    try:
        probabilities = model_files.open_probabilities(version)
    except StoreError:
        return False
    if probabilities is None:
        return False
    embedding_set = version.embedding_set
    if version.kind == ModelVersion.Kind.QUICK or embedding_set is None or not model_files.has_head(version):
        return True  # it cannot predict again, so these are all predictions it can have
    return len(probabilities) >= _n_rows(embedding_set)


def _n_rows(embedding_set: EmbeddingSet) -> int:
    try:
        vectors = open_vectors(embedding_set)
    except StoreError:
        return 0
    return 0 if vectors is None else len(vectors)


def _give_back_space(dataset_id: int) -> None:
    """Delete files of old versions, except quick trainings, which take long to repeat."""
    old = ModelVersion.objects.filter(dataset=dataset_id, is_active=False, kind=ModelVersion.Kind.ASSISTIVE)
    # Only versions that have files, so that the cost of a retrain does not grow with the number of those before.
    has_files = model_files.ids_with_files()
    with_files = [version for version in old.order_by("-number").only("pk") if version.pk in has_files]
    for age, spent in enumerate(with_files[ARRAYS_KEPT:], ARRAYS_KEPT):
        if age < FILES_KEPT:
            model_files.delete_probabilities(spent)
        else:
            model_files.delete_files(spent)
