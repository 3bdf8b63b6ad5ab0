"""Return what merging a class into another one would change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labeling.models import LabelClass
from modeling.algorithms.rows import blocks
from modeling.predictions import HeldOutPredictions, Predictions, active_predictions, held_out_of


@dataclass(frozen=True)
class HeldOutChange:
    """The accuracy on ``n`` held-out labels before and after a merge.

    ``n_mixed`` counts labels of one of the classes that the model took for the other.
    """

    n: int
    n_mixed: int
    before: float
    after: float


@dataclass(frozen=True)
class MergePreview:
    """Describe what a merge changes: labels moved, and, with a model, predictions and the held-out accuracy.

    ``n_predicted`` and ``n_target`` are images predicted as either class now; ``n_joined`` those predicted as the
    merged class, whose probability is the sum of both.
    """

    n_labels: int
    n_predicted: int | None = None
    n_target: int | None = None
    n_joined: int | None = None
    held_out: HeldOutChange | None = None

    @property
    def n_gained(self) -> int:
        """Return how many images are predicted as the merged class that are now predicted as a third one."""
        return (self.n_joined or 0) - (self.n_predicted or 0) - (self.n_target or 0)


def count_predicted(label: LabelClass) -> int | None:
    """Return how many images are predicted as a class, or None without a model that knows it."""
    predictions = active_predictions(label.dataset)
    if predictions is None or label.pk not in predictions.columns():
        return None
    return _predicted(predictions, label.pk, 0)[0]


def preview_merge(source: LabelClass, target: LabelClass) -> MergePreview:
    """Return what merging ``source`` into ``target`` changes."""
    predictions = active_predictions(source.dataset)
    if predictions is None:
        return MergePreview(source.n_items)
    held_out = held_out_of(predictions.model)
    counts = _predicted(predictions, source.pk, target.pk)
    change = _held_out(held_out, source.pk, target.pk) if held_out is not None else None
    return MergePreview(source.n_items, *counts, change)


def _predicted(predictions: Predictions, source: int, target: int) -> tuple[int, int, int]:
    """Return the numbers of images predicted as either class, and as both together; in blocks of rows."""
    columns = predictions.columns()
    own, theirs = columns.get(source, []), columns.get(target, [])
    others = [own for pk, own in columns.items() if pk not in (source, target)]
    counts = np.zeros(3, np.int64)
    for part in blocks(len(predictions.probabilities), 65_536):
        P = np.asarray(predictions.probabilities[part])
        P = P[~np.isnan(P[:, 0])]
        first, second = P[:, own].sum(axis=1), P[:, theirs].sum(axis=1)
        rest = np.max([P[:, own].sum(axis=1) for own in others], axis=0) if others else np.zeros(len(P), np.float32)
        counts += [
            np.count_nonzero((first > second) & (first > rest)),
            np.count_nonzero((second >= first) & (second > rest)),
            np.count_nonzero(first + second > rest),
        ]
    return int(counts[0]), int(counts[1]), int(counts[2])


def _held_out(held_out: HeldOutPredictions, source: int, target: int) -> HeldOutChange | None:
    """Return the accuracy on held-out labels before and after, or None without usable labels."""
    ids = [label.pk for label in held_out.labels]
    usable = (held_out.given > 0) & ~held_out.is_alone
    labels, P = held_out.given[usable], held_out.probabilities[usable].copy()
    if not len(labels):
        return None
    predicted = np.array(ids, np.int64)[P.argmax(axis=1)]
    pair = {source, target}
    is_mixed = np.isin(labels, [*pair]) & np.isin(predicted, [*pair]) & (labels != predicted)
    if source in ids and target in ids:
        P[:, ids.index(target)] += P[:, ids.index(source)]
        P[:, ids.index(source)] = 0
    joined = np.array([target if pk == source else pk for pk in ids], np.int64)[P.argmax(axis=1)]
    now = np.where(labels == source, target, labels)
    return HeldOutChange(
        n=len(labels),
        n_mixed=int(np.count_nonzero(is_mixed)),
        before=float((predicted == labels).mean()),
        after=float((joined == now).mean()),
    )
