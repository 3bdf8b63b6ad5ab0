"""Read the predictions of model versions: arrays of probabilities, and suggestions for the items of a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoshina.core.storage import StoreError
from hoshina.jobs.lifecycle import enqueue
from labeling.decisions.save import surviving
from labeling.models import Dataset, LabelClass
from modeling.algorithms.folds import groups_per_class
from modeling.models import ModelVersion
from modeling.versions.model_files import open_held_out, open_probabilities

log = logging.getLogger(__name__)

# Versions with damaged files: each is logged and retrained only once.
_damaged: set[int] = set()


@dataclass(frozen=True)
class Suggestion:
    """A predicted class and its calibrated probability."""

    label: LabelClass
    probability: float


@dataclass(frozen=True)
class Predictions:
    """The probabilities (n_rows, n_classes) of a model version, and the current class of each column.

    A column's class is None if the class was deleted; after a merge several columns may share one.
    """

    model: ModelVersion
    probabilities: NDArray[np.float32]
    labels: tuple[LabelClass | None, ...]

    def of_rows(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the probabilities (len(rows), n_classes); NaN for rows newer than the predictions."""
        wanted = np.asarray(rows, dtype=np.int64)
        found = np.full((len(wanted), self.probabilities.shape[1]), np.nan, dtype=np.float32)
        has_prediction = wanted < len(self.probabilities)
        found[has_prediction] = self.probabilities[wanted[has_prediction]]
        return found

    def suggestions(self, rows: Sequence[int]) -> list[Suggestion | None]:
        """Return the predicted class of each row, or None without a prediction."""
        return [self._suggestion(values) for values in self.of_rows(rows)]

    def runners_up(self, rows: Sequence[int]) -> list[Suggestion | None]:
        """Return the second most likely class of each row, or None without a prediction or a second class."""
        return [self._suggestion(values, place=1) for values in self.of_rows(rows)]

    def _suggestion(self, values: NDArray[np.float32], place: int = 0) -> Suggestion | None:
        by_class = sorted(self.by_class(values), key=lambda suggestion: -suggestion.probability)
        return by_class[place] if len(by_class) > place else None

    def by_class(self, values: NDArray[np.float32]) -> list[Suggestion]:
        """Return one row's probabilities by current class, merged ones summed; empty for a row without a prediction."""
        if np.isnan(values).any():
            return []
        sums: dict[int, Suggestion] = {}
        for label, value in zip(self.labels, values, strict=True):
            if label is not None:
                so_far = sums[label.pk].probability if label.pk in sums else 0.0
                sums[label.pk] = Suggestion(label, so_far + float(value))
        return list(sums.values())

    def columns(self) -> dict[int, list[int]]:
        """Return the columns of each class by its id."""
        found: dict[int, list[int]] = {}
        for column, label in enumerate(self.labels):
            if label is not None:
                found.setdefault(label.pk, []).append(column)
        return found


@dataclass(frozen=True)
class HeldOutPredictions:
    """The held-out predictions of a version: for each of its training labels, by a fit trained without it.

    ``rows`` int64 (m,), ascending; ``given`` int64 (m,) the class id of the label at that time, the current class if
    it was merged, 0 if it was deleted; ``probabilities`` float32 (m, c) of the current ``labels`` (c of them), those
    of merged classes summed and those of deleted ones dropped. ``is_alone`` bool (m,): the class has no other label,
    or none in another group, so that it could not be predicted. ``groups`` int64 (m,), equal for images that were
    held out together, None if all were separate.
    """

    model: ModelVersion
    rows: NDArray[np.int64]
    given: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    labels: tuple[LabelClass, ...]
    is_alone: NDArray[np.bool_]
    groups: NDArray[np.int64] | None = None

    def predicted(self) -> NDArray[np.int64]:
        """Return the id of the predicted class of each row, (m,), the first of ties; 0 if all classes were deleted."""
        ids = np.array([label.pk for label in self.labels], dtype=np.int64)
        return ids[self.probabilities.argmax(axis=1)] if len(ids) else np.zeros(len(self.rows), np.int64)

    def suggestions(self, rows: Sequence[int]) -> list[Suggestion | None]:
        """Return the predicted class of each of ``rows``, or None if it was not held out."""
        place = {row: position for position, row in enumerate(self.rows.tolist())}
        return [self._suggestion(place.get(row)) for row in rows]

    def _suggestion(self, position: int | None) -> Suggestion | None:
        if position is None or not self.labels:
            return None
        best = int(self.probabilities[position].argmax())
        return Suggestion(self.labels[best], float(self.probabilities[position, best]))


def active_model(dataset: Dataset) -> ModelVersion | None:
    """Return the model version whose predictions the pages show."""
    return ModelVersion.objects.filter(dataset=dataset, is_active=True).first()


def active_predictions(dataset: Dataset) -> Predictions | None:
    """Return the predictions of the active model; None without one."""
    model = active_model(dataset)
    return None if model is None else predictions_of(model)


def predictions_of(model: ModelVersion) -> Predictions | None:
    try:
        probabilities = open_probabilities(model)
    except StoreError as error:
        _recompute(model, error)
        return None
    if probabilities is None:
        return None
    return Predictions(model, probabilities, _labels_of(model))


def held_out_of(model: ModelVersion) -> HeldOutPredictions | None:
    """Return the held-out predictions of a model; None if it had too few labels or the file is missing."""
    try:
        held_out = open_held_out(model)
    except StoreError as error:
        _recompute(model, error)
        return None
    if held_out is None:
        return None
    by_column = _labels_of(model)
    labels = tuple({label.pk: label for label in by_column if label is not None}.values())
    place = {label.pk: position for position, label in enumerate(labels)}
    P = np.zeros((len(held_out.rows), len(labels)), dtype=np.float32)
    for column, label in enumerate(by_column):
        if label is not None:
            P[:, place[label.pk]] += held_out.probabilities[:, column]
    today = np.array([0 if label is None else label.pk for label in by_column], dtype=np.int64)
    counts = (
        np.bincount(held_out.columns)
        if held_out.groups is None
        else groups_per_class(held_out.columns, held_out.groups)
    )
    # The test set of a quick training has others of its class in the training set; imported predictions need none.
    is_alone = (counts[held_out.columns] < 2) & (model.kind == ModelVersion.Kind.ASSISTIVE)
    return HeldOutPredictions(model, held_out.rows, today[held_out.columns], P, labels, is_alone, held_out.groups)


def _recompute(model: ModelVersion, error: StoreError) -> None:
    """Queue a retrain after damaged probabilities were found. Meanwhile pages show no suggestions.

    A quick training is not repeated, as that would take long and give another network.
    """
    if model.pk in _damaged:
        return
    _damaged.add(model.pk)
    log.error("The probabilities of %s cannot be read: %s", model, error)
    if model.is_active and model.kind == ModelVersion.Kind.ASSISTIVE:
        enqueue("retrain", dataset_id=model.dataset_id)


def _labels_of(model: ModelVersion) -> tuple[LabelClass | None, ...]:
    """Return the current class of each column."""
    classes = {label.pk: label for label in LabelClass.objects.filter(dataset=model.dataset_id)}
    for label in classes.values():  # so that following a merge takes no further query
        if label.merged_into_id in classes:
            label.merged_into = classes[label.merged_into_id]
    return tuple(surviving(classes.get(class_id)) for class_id in model.class_ids)
