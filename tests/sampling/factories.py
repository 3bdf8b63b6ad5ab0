"""Models, decisions and estimates that tests of queues share."""

from typing import Any

import numpy as np
from django.utils import timezone

from labeling.models import Action, Annotation, Dataset
from modeling.models import ModelVersion
from modeling.versions import model_files
from sampling.accuracy import estimate as accuracy_estimate
from sampling.algorithms.estimates import wilson
from sampling.models import AccuracyEstimate
from tests.factories import decide
from tests.modeling.factories import make_version


def decide_shown(
    dataset: Dataset, rows: list[int], name: str | None, *, kind: Action.Kind = Action.Kind.ASSIGN, **shown: Any
) -> None:
    """Return one action on all these rows, shown as said (``queue``, ``round_id``, ``suggested_label_id`` …).

    The audit's queues draw at random, unless ``is_random_draw`` says otherwise, as for a pull with a filter.
    """
    if shown.get("queue") in Annotation.AUDIT_QUEUES:
        shown.setdefault("is_random_draw", True)
    decide(dataset, kind, rows, name or "", at=timezone.now(), holder="me", **{"queue": "", **shown})


def estimates_at(dataset: Dataset, points: list[tuple[int, float, int]]) -> list[AccuracyEstimate]:
    """Return estimates as versions would leave them: labels, accuracy, audit labels."""
    for number, (n_labels, value, n) in enumerate(points, start=1):
        version = make_version(dataset, number, class_ids=[], n_labels=n_labels, n_rows=0)
        interval = wilson(round(value * n), n)
        AccuracyEstimate.objects.create(
            dataset=dataset, model_version=version, n_labels=n_labels, n_items=9999, n_audit=n, value=value,
            n_right=round(value * n), low=interval.low, high=interval.high, n_effective=n,
        )  # fmt: skip
    return accuracy_estimate.history(dataset)


def undo(dataset: Dataset) -> None:
    """Undo the last action of ``decide_shown``."""
    decide(dataset, Action.Kind.UNDO, at=timezone.now(), holder="me")


POINTS = [(60, 0.6, 12), (120, 0.7, 20), (240, 0.8, 30), (480, 0.86, 50)]


def add_model(dataset: Dataset, probabilities: np.ndarray) -> ModelVersion:
    number = ModelVersion.objects.filter(dataset=dataset).count() + 1
    ModelVersion.objects.filter(dataset=dataset).update(is_active=False)
    facts = {"n_labels": 4, "n_rows": len(probabilities), "is_calibrated": True}
    version = make_version(dataset, number, is_active=True, **facts)
    with model_files.save_probabilities(version, *probabilities.shape) as written:
        written[:] = probabilities
    return version


def two_class(p: list[float]) -> np.ndarray:
    return np.array([[x, 1 - x] for x in p], dtype=np.float32)


def tile_rows(response: object) -> list[int]:
    return [tile.item.row for tile in response.context["page"].tiles]  # type: ignore[attr-defined]
