"""Which model version is in use: the newest one, or one that a person chose."""

from __future__ import annotations

from django.db import transaction

from labeling.models import Dataset
from modeling import model_files
from modeling.models import ModelVersion

# Older versions keep their row, their measures and their classifier; their large arrays are given back to the disk.
ARRAYS_KEPT = 5


def activate(version: ModelVersion, *, seconds: float | None = None, is_chosen: bool = False) -> None:
    """Make this the version whose predictions pages and queues use, ready for everybody at once.

    With ``is_chosen`` a person wants this very one: automatic retraining waits until :func:`release`.
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


def release(dataset: Dataset) -> None:
    """Automatic retraining goes on; the version in use stays until there is a newer one."""
    ModelVersion.objects.filter(dataset=dataset, is_chosen=True).update(is_chosen=False)


def _give_back_space(dataset_id: int) -> None:
    """Quick trainings keep everything: they cannot be made again in seconds."""
    old = ModelVersion.objects.filter(dataset=dataset_id, is_active=False, kind=ModelVersion.Kind.ASSISTIVE)
    for spent in old.order_by("-number")[ARRAYS_KEPT:]:
        model_files.delete_arrays(spent)
