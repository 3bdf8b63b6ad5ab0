"""Estimate the audited accuracy: a model's accuracy on the whole dataset, from the labels of randomly drawn images.

No model is judged by images that it was trained on: each label is compared with the version's held-out prediction.
Where there are too few labels for held-out predictions, the suggestion recorded with the label is used instead: it
came from an earlier model. The model's confidence on unlabeled images corrects the estimate, unless suggestions were
used or images have groups. A quick training is judged by the labels of its test set only: its training and validation
sets are left out, as if they were no part of the dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from labeling.decisions.random_draws import random_draws
from labeling.models import Dataset, Item, LabelClass, State
from modeling.models import ModelVersion
from modeling.predictions import Predictions, held_out_of, predictions_of
from modeling.versions.audited_accuracy import MIN_AUDIT, Audited
from sampling.algorithms.estimates import (
    Estimate,
    collection_accuracy,
    labels_to_halve,
    wilson_grouped,
)
from sampling.algorithms.learning_curves import Forecast, forecast
from sampling.algorithms.prediction_powered import powered_accuracy
from sampling.models import AccuracyEstimate
from sampling.queues.pool import pool_of

# With fewer audit labels of a class, its recall would be too uncertain to show.
MIN_OF_CLASS = 10
# Rows of probabilities that are read at once.
BLOCK = 100_000
# The forecast uses the newest VERSIONS versions. It needs MIN_SIZES different numbers of labels, and MIN_AUDIT
# audit labels for the last version.
VERSIONS = 50
MIN_SIZES = 3
# The forecast reaches to AHEAD times the labels, in POINTS points; a fixed seed makes it reproducible.
AHEAD, POINTS, SEED = 2.0, 9, 0


@dataclass(frozen=True)
class Judged:
    """Labeled images that have a held-out prediction, in the order in which they were first labeled.

    ``right`` bool (m,), ``confidence`` float64 (m,) the probability of the predicted class, NaN where a recorded
    suggestion was judged; ``is_audit`` bool (m,), ``label_ids`` int64 (m,), ``groups`` int64 (m,), equal for images
    that the version held out together.
    """

    right: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    is_audit: NDArray[np.bool_]
    label_ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    n_undecided: int


def audit_to_go(dataset: Dataset) -> int:
    """Return how many more images of a random sample have to be labeled before the accuracy is estimated from it."""
    return max(0, MIN_AUDIT - n_audited(dataset))


def n_audited(dataset: Dataset) -> int:
    """Return how many images of a random sample are labeled."""
    return len(random_draws(dataset.pk).labeled)


def estimate_version(sender: object, *, version: ModelVersion, **kwargs: Any) -> None:
    """Save the audited accuracy of a version that was just trained; does nothing while there are no audit labels."""
    judged = judge(version)
    if not judged.is_audit.any():
        return
    unlabeled = _unlabeled_confidence(version)
    n_items = len(judged.right) + len(unlabeled)
    estimate = _estimate(judged, unlabeled)
    AccuracyEstimate.objects.update_or_create(
        model_version=version,
        defaults={
            "dataset_id": version.dataset_id,
            "n_labels": version.n_labels,
            "n_items": n_items,
            "n_audit": int(judged.is_audit.sum()),
            "n_right": int(judged.right[judged.is_audit].sum()),
            "n_undecided": judged.n_undecided,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n_effective": estimate.n,
            "per_class": _per_class(judged),
        },
    )


def _estimate(judged: Judged, unlabeled: NDArray[np.float64]) -> Estimate:
    """Return the prediction-powered estimate, or the plain one where confidences are missing or images have groups."""
    if np.isnan(judged.confidence).any() or (judged.groups >= 0).any():
        n_items = len(judged.right) + len(unlabeled)
        return collection_accuracy(judged.right, judged.is_audit, n_items, judged.groups)
    return powered_accuracy(judged.right, judged.confidence, judged.is_audit, unlabeled)


def judge(version: ModelVersion) -> Judged:
    """Compare each label with the version's held-out prediction of it, as far as there is one."""
    labelled = Item.objects.filter(dataset=version.dataset_id, state=State.LABELLED, is_available=True)
    draws = random_draws(version.dataset_id)
    held_out, group_of = _held_out(version)
    # An earlier model's suggestion cannot replace a missing held-out prediction of a quick training or of another
    # program, nor where images have groups: that model may have been trained on others of the same group.
    may_speak_for = version.kind == ModelVersion.Kind.ASSISTIVE and not version.metrics.get("together")
    found: list[tuple[int, bool, bool, int, int, float]] = []
    for row, label_id, decision_id in labelled.values_list("row", "label_id", "decision_id"):
        draw = draws.labeled.get(row)
        suggested_id = draw.suggested_id if draw and may_speak_for else None
        predicted, confidence = held_out.get(row) or (suggested_id, np.nan)
        if predicted is not None:
            order = draw.annotation_id if draw else decision_id or 0
            group = group_of.get(row, -1 - row)
            found.append((order, predicted == label_id, draw is not None, label_id, group, confidence))
    found.sort()
    columns = list(zip(*found, strict=True)) or [()] * 6
    return Judged(
        right=np.array(columns[1], dtype=bool),
        confidence=np.array(columns[5], dtype=np.float64),
        is_audit=np.array(columns[2], dtype=bool),
        label_ids=np.array(columns[3], dtype=np.int64),
        groups=np.array(columns[4], dtype=np.int64),
        n_undecided=draws.n_undecided,
    )


def _held_out(version: ModelVersion) -> tuple[dict[int, tuple[int, float]], dict[int, int]]:
    """Return, by row, the class id of the held-out prediction with its probability, and the group, if there are any."""
    held = held_out_of(version)
    if held is None or not held.labels:
        return {}, {}
    rows = held.rows.tolist()
    groups = {} if held.groups is None else dict(zip(rows, held.groups.tolist(), strict=True))
    predicted = zip(held.predicted().tolist(), held.probabilities.max(axis=1).tolist(), strict=True)
    return dict(zip(rows, predicted, strict=True)), groups


def _unlabeled_confidence(version: ModelVersion) -> NDArray[np.float64]:
    """Return the probability of the predicted class of each unlabeled image with a prediction of the version."""
    predictions = predictions_of(version)
    if predictions is None:
        return np.empty(0)
    rows = pool_of(Dataset.objects.get(pk=version.dataset_id)).rows(State.UNLABELLED)
    rows = rows[rows < len(predictions.probabilities)]
    confidence = np.concatenate([np.empty(0), *(_confidence(predictions, block) for block in _blocks(rows))])
    return np.asarray(confidence[~np.isnan(confidence)])


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split rows, so that the probabilities of a large dataset are never in memory at once."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _confidence(predictions: Predictions, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the highest probability of a current class of each row (n,), those of merged classes summed."""
    columns = list(predictions.columns().values())
    if not columns:
        return np.full(len(rows), np.nan)
    starts = np.cumsum([0, *map(len, columns)])[:-1]
    by_class = np.add.reduceat(predictions.probabilities[rows][:, np.concatenate(columns)], starts, axis=1)
    return np.asarray(by_class.max(axis=1), dtype=np.float64)


def _per_class(judged: Judged) -> list[dict[str, Any]]:
    per_class = []
    for label_id in np.unique(judged.label_ids[judged.is_audit]).tolist():
        own = judged.is_audit & (judged.label_ids == label_id)
        right = judged.right[own]
        if len(right) >= MIN_OF_CLASS:
            recall = asdict(wilson_grouped(right, judged.groups[own]))
            per_class.append({"class_id": label_id, **recall, "n": len(right), "n_right": int(right.sum())})
    return per_class


# -- Reading ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Outlook:
    """The expected accuracy with more labels, or the reason why there is no forecast yet."""

    curve: Forecast | None
    why_not: str = ""

    @property
    def end(self) -> dict[str, Any] | None:
        """Return the last point of the forecast."""
        if self.curve is None:
            return None
        shares = {"value": self.curve.values, "low": self.curve.low, "high": self.curve.high}
        return {"labels": int(self.curve.sizes[-1]), **{name: float(values[-1]) for name, values in shares.items()}}


def estimates_of(dataset_id: int) -> QuerySet[AccuracyEstimate]:
    """Return the estimates with their versions, newest first."""
    return AccuracyEstimate.objects.filter(dataset=dataset_id).select_related("model_version")


def estimates_in_use(dataset_id: int) -> QuerySet[AccuracyEstimate]:
    """Return the estimates of the version in use and of earlier ones, newest first.

    A newer version that is not used says nothing about the predictions that people see. Without a version in use, all.
    """
    estimates = estimates_of(dataset_id)
    active = ModelVersion.objects.filter(dataset=dataset_id, is_active=True).values_list("pk", flat=True).first()
    return estimates if active is None else estimates.filter(model_version__lte=active)


def latest(dataset: Dataset) -> AccuracyEstimate | None:
    """Return the estimate of the version in use, or of the newest one before it that has one."""
    return estimates_in_use(dataset.pk).first()


def audited(dataset_id: int, version_ids: Collection[int]) -> dict[int, Audited]:
    """Return the audited accuracies of these versions, by version id."""
    estimates = estimates_of(dataset_id).filter(model_version__in=version_ids)
    return {estimate.model_version_id: _audited(estimate) for estimate in estimates}


def newest_audited(dataset_id: int) -> Audited | None:
    """Return the audited accuracy of the version in use, or of the newest one before it that has one."""
    newest = estimates_in_use(dataset_id).first()
    return _audited(newest) if newest else None


def _audited(estimate: AccuracyEstimate) -> Audited:
    return Audited(estimate.model_version.number, estimate.value, estimate.low, estimate.high, estimate.n_audit)


def history(dataset: Dataset) -> list[AccuracyEstimate]:
    """Return the newest estimates up to the version in use, oldest first."""
    return list(estimates_in_use(dataset.pk)[:VERSIONS])[::-1]


def outlook(estimates: list[AccuracyEstimate]) -> Outlook:
    """Fit a learning curve to the estimates and extend it to twice the labels of the last."""
    sizes = [estimate.n_labels for estimate in estimates]
    n_sizes = len(set(sizes))
    if n_sizes < MIN_SIZES:
        return Outlook(None, f"A forecast needs estimates at {MIN_SIZES} numbers of labels; there are {n_sizes}.")
    if estimates[-1].n_audit < MIN_AUDIT:
        return Outlook(None, f"A forecast needs {MIN_AUDIT} audit labels; there are {estimates[-1].n_audit}.")
    at = np.rint(np.linspace(sizes[-1], AHEAD * sizes[-1], POINTS))
    curve = forecast(*measured(estimates), at, rng=np.random.default_rng(SEED))
    return Outlook(curve)


def measured(estimates: list[AccuracyEstimate]) -> tuple[list[int], list[float], list[float]]:
    """Return the numbers of labels, the accuracies, and the numbers of audit labels that they are worth."""
    return (
        [estimate.n_labels for estimate in estimates],
        [estimate.value for estimate in estimates],
        [estimate.n_effective for estimate in estimates],
    )


def more_to_halve(newest: AccuracyEstimate) -> int:
    """Return how many more audit labels would halve the interval if the model's accuracy stays the same."""
    more = labels_to_halve(Estimate(newest.value, newest.low, newest.high, newest.n_effective))
    return ceil(more / max(1.0, newest.n_effective / newest.n_audit))


def recalls_by_name(estimate: AccuracyEstimate) -> list[dict[str, Any]]:
    """Return the recall of each class in the estimate, under its current name; deleted classes are left out."""
    names = dict(LabelClass.objects.active().filter(dataset=estimate.dataset_id).values_list("pk", "name"))
    return [
        {"class": names[pk], "n": recall["n"], "recall": recall["value"], "interval": [recall["low"], recall["high"]]}
        for recall in estimate.per_class
        if (pk := recall["class_id"]) in names
    ]
