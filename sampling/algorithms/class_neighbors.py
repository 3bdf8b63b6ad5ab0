"""Find the labeled rows nearest to one row, for each of a few classes, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modeling.algorithms.rows import Floats, Rows, blocks
from sampling.algorithms.similar import similar


@dataclass(frozen=True)
class ClassNeighbors:
    """Hold labeled rows of a class nearest to a row, most similar first, with their cosine similarity in [-1, 1]."""

    label_id: int
    rows: Rows
    similarities: Floats


def neighbors_by_class(
    X: Floats, row: int, labeled: Rows, label_ids: Rows, *, classes: Sequence[int] = (), n_classes: int = 2, k: int = 3
) -> list[ClassNeighbors]:
    """Return the ``k`` labeled rows most similar to ``row``, for each class; O(m d) for m labeled rows.

    Parameters
    ----------
    X
        (n, d) vectors, may be memory-mapped; only ``row`` and the labeled rows are read.
    labeled, label_ids
        Rows (m,), ascending, and the id of the class of each. The row itself is left out.
    classes
        The ids of the classes, in the order of the result (a class without labels has no neighbors). Without any, the
        ``n_classes`` classes whose nearest labeled row is most similar, the most similar first.
    """
    if classes:
        is_wanted = np.isin(label_ids, classes)
        labeled, label_ids = labeled[is_wanted], label_ids[is_wanted]
    found = similar(X, [row], len(labeled), among=labeled)
    of_found = label_ids[np.searchsorted(labeled, found.rows)]
    if not classes:
        ids, first = np.unique(of_found, return_index=True)
        classes = ids[np.argsort(first)][:n_classes].tolist()
    chosen = [(label_id, np.flatnonzero(of_found == label_id)[:k]) for label_id in classes]
    return [ClassNeighbors(label_id, found.rows[at], found.similarities[at]) for label_id, at in chosen]


def nearest_to_center(X: Floats, rows: Rows, k: int) -> Rows:
    """Return the ``k`` of ``rows`` nearest to the center of all of them by direction; rows without one come last."""
    total, directions = np.zeros(X.shape[1]), np.zeros((len(rows), X.shape[1]), np.float32)
    for part in blocks(len(rows)):
        vectors = np.asarray(X[rows[part]], np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        has_direction = np.isfinite(lengths) & (lengths > 0)
        np.divide(vectors, lengths, out=directions[part], where=has_direction)
    total = directions.sum(axis=0, dtype=np.float64)
    order = np.argsort(-(directions @ total.astype(np.float32)), kind="stable")
    nearest: Rows = rows[order[:k]]
    return nearest
