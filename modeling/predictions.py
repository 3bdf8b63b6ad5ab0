"""What the active model says: the array of its probabilities, and suggestions for the items of a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.actions import surviving
from labeling.models import Dataset, LabelClass
from modeling.models import ModelVersion
from modeling.store import StoreError, open_probabilities

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggestion:
    """A predicted class and its calibrated probability; ``is_calibrated`` is false when it couldn't be."""

    label: LabelClass
    probability: float


@dataclass(frozen=True)
class Predictions:
    """The probabilities (n_rows, n_classes) of a model version, and the class of each column today.

    A column's class is None when that class was deleted; after a merge several columns may share one.
    """

    model: ModelVersion
    probabilities: NDArray[np.float32]
    labels: tuple[LabelClass | None, ...]

    def of_rows(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities (len(rows), n_classes); NaN for rows newer than the model."""
        wanted = np.asarray(rows, dtype=np.int64)
        found = np.full((len(wanted), self.probabilities.shape[1]), np.nan, dtype=np.float32)
        known = wanted < len(self.probabilities)
        found[known] = self.probabilities[wanted[known]]
        return found

    def suggestions(self, rows: Sequence[int]) -> list[Suggestion | None]:
        """The likeliest class of each row, or None where the model says nothing."""
        return [self._suggestion(values) for values in self.of_rows(rows)]

    def _suggestion(self, values: NDArray[np.float32]) -> Suggestion | None:
        by_class = self.by_class(values)
        if not by_class:
            return None
        return max(by_class, key=lambda suggestion: suggestion.probability)

    def by_class(self, values: NDArray[np.float32]) -> list[Suggestion]:
        """One row's probabilities by today's classes, merged ones summed; empty for a row without any."""
        if np.isnan(values).any():
            return []
        sums: dict[int, Suggestion] = {}
        for label, value in zip(self.labels, values, strict=True):
            if label is not None:
                so_far = sums[label.pk].probability if label.pk in sums else 0.0
                sums[label.pk] = Suggestion(label, so_far + float(value))
        return list(sums.values())

    def columns(self) -> dict[int, list[int]]:
        """The columns of each class by its id."""
        found: dict[int, list[int]] = {}
        for column, label in enumerate(self.labels):
            if label is not None:
                found.setdefault(label.pk, []).append(column)
        return found


def active_model(dataset: Dataset) -> ModelVersion | None:
    """The model version whose predictions the pages show."""
    return ModelVersion.objects.filter(dataset=dataset, is_active=True).first()


def active_predictions(dataset: Dataset) -> Predictions | None:
    """What the active model says about the dataset; None without a model."""
    model = active_model(dataset)
    return None if model is None else predictions_of(model)


def predictions_of(model: ModelVersion) -> Predictions | None:
    try:
        probabilities = open_probabilities(model)
    except StoreError:
        # Pages go on without suggestions, as they do without a model; a retrain writes the file anew.
        log.exception("The probabilities of %s can't be read.", model)
        return None
    if probabilities is None:
        return None
    classes = {label.pk: label for label in LabelClass.objects.filter(dataset=model.dataset_id)}
    for label in classes.values():  # so that following a merge asks the database nothing more
        if label.merged_into_id in classes:
            label.merged_into = classes[label.merged_into_id]
    labels = tuple(surviving(classes.get(class_id)) for class_id in model.class_ids)
    return Predictions(model, probabilities, labels)
