"""Read the training set of a model: the labels of a dataset and the embeddings of their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.decisions.random_draws import random_draws
from labeling.models import Dataset, Frame, Item, LabelClass, State
from modeling import store
from modeling.assistive.holdout_groups import HoldoutGroups, holdout_groups_of


@dataclass(frozen=True)
class TrainingSet:
    """A training set: rows (n,), ascending, with their classes (n,) as positions in ``class_ids``.

    ``is_audit`` (n,) marks labels of randomly drawn items; ``holdout`` are the group keys (n,) of images to hold out
    together.
    """

    rows: NDArray[np.int64]
    y: NDArray[np.int64]
    is_audit: NDArray[np.bool_]
    class_ids: list[int]
    n_decisions: int
    n_without_vector: int
    holdout: HoldoutGroups


def read_training_set(dataset: Dataset, vectors: store.Vectors) -> TrainingSet:
    """Read the labeled items that have an embedding; their classes are in the order of the class list."""
    n_decisions = count_decisions(dataset)
    labelled = Item.objects.filter(dataset=dataset, state=State.LABELLED).order_by("row")
    pairs = np.array(list(labelled.values_list("row", "label_id")), dtype=np.int64).reshape(-1, 2)
    class_ids, label_ids = list(_in_use(dataset, pairs[:, 1])), pairs[:, 1]
    # Labels of a class that was deleted while they were read.
    pairs = pairs[np.isin(label_ids, class_ids)]
    usable = pairs[:, 0] < len(vectors.has)
    usable[usable] = vectors.has[pairs[usable, 0]]
    rows, label_ids = pairs[usable].T
    class_ids = [class_id for class_id in class_ids if class_id in set(label_ids.tolist())]
    position = {label_id: column for column, label_id in enumerate(class_ids)}
    y = np.array([position[label_id] for label_id in label_ids.tolist()], dtype=np.int64)
    holdout = holdout_groups_of(dataset, rows, _hashes(dataset, rows))
    return TrainingSet(rows, y, _is_random_draw(dataset, rows), class_ids, n_decisions, int((~usable).sum()), holdout)


def count_decisions(dataset: Dataset) -> int:
    """Return the number of decisions so far."""
    return Dataset.objects.values_list("n_decisions", flat=True).get(pk=dataset.pk)


def still_in_use(dataset: Dataset, class_ids: list[int]) -> bool:
    """Return whether none of the classes was deleted or merged into another."""
    return LabelClass.objects.active().filter(dataset=dataset, pk__in=class_ids).count() == len(class_ids)


def gathered(vectors: store.Vectors, training_set: TrainingSet) -> tuple[NDArray[np.float32], TrainingSet]:
    """Return the embeddings (n, d) of the training set, and the set itself, both without non-finite embeddings."""
    X = np.ascontiguousarray(vectors.X[training_set.rows])
    sound = np.asarray(np.isfinite(X).all(axis=1))
    if sound.all():
        return X, training_set
    used, y = np.unique(training_set.y[sound], return_inverse=True)
    return X[sound], TrainingSet(
        training_set.rows[sound],
        y.astype(np.int64),
        training_set.is_audit[sound],
        [training_set.class_ids[position] for position in used.tolist()],
        training_set.n_decisions,
        training_set.n_without_vector + int((~sound).sum()),
        training_set.holdout.only(sound),
    )


def _in_use(dataset: Dataset, label_ids: NDArray[np.int64]) -> list[int]:
    wanted = set(label_ids.tolist())
    return list(LabelClass.objects.active().filter(dataset=dataset, pk__in=wanted).values_list("pk", flat=True))


def _hashes(dataset: Dataset, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
    """Return the file hashes of each labeled row; a unique text for rows without files."""
    labelled = Frame.objects.filter(item__dataset=dataset, item__state=State.LABELLED)
    found: dict[int, tuple[str, ...]] = {}
    for row, sha256 in labelled.values_list("item__row", "sha256"):
        found[row] = (*found.get(row, ()), sha256)
    return [found.get(row) or (f"row:{row}",) for row in rows.tolist()]


def _is_random_draw(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.isin(rows, np.array(list(random_draws(dataset.pk).labeled), np.int64))
