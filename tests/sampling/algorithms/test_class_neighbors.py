"""The nearest labeled rows of each class, against an obvious search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling.algorithms.class_neighbors import nearest_to_center, neighbors_by_class


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@given(seed=st.integers(0, 50), n=st.integers(2, 60), k=st.integers(1, 5))
def test_neighbors_are_those_of_an_obvious_search(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    labeled = np.flatnonzero(rng.random(n) < 0.7)
    labels = rng.integers(1, 4, len(labeled))
    found = neighbors_by_class(X, 0, labeled, labels, classes=(2, 1), k=k)
    assert [neighbors.label_id for neighbors in found] == [2, 1]
    for neighbors in found:
        rows = [row for row in labeled[labels == neighbors.label_id].tolist() if row != 0]
        expected = sorted((cosine(X[0], X[row]) for row in rows), reverse=True)[:k]
        assert neighbors.similarities.tolist() == pytest.approx(expected, abs=1e-5)
        assert set(neighbors.rows.tolist()) <= set(rows)


def test_without_classes_those_of_the_nearest_rows_come_first() -> None:
    angles = np.array([0.0, 1.0, 0.4, 0.2, 2.0, 0.1])
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = neighbors_by_class(X, 0, np.arange(1, 6), np.array([7, 8, 9, 8, 8]), n_classes=2, k=2)
    assert [(each.label_id, each.rows.tolist()) for each in found] == [(8, [5, 2]), (9, [3])]


def test_no_labels_give_no_classes_and_a_class_without_labels_has_no_neighbors() -> None:
    X, none = np.eye(3, dtype=np.float32), np.empty(0, np.int64)
    assert neighbors_by_class(X, 0, none, none) == []
    (empty,) = neighbors_by_class(X, 0, np.array([1]), np.array([5]), classes=[6])
    assert (empty.label_id, len(empty.rows)) == (6, 0)


def test_the_nearest_to_the_center() -> None:
    X = np.array([[1, 0], [0.9, 0.1], [0, 0], [0, 5], [10, 1], [np.nan, 1]], np.float32)
    rows = np.array([0, 1, 2, 3, 4, 5])
    assert nearest_to_center(X, rows, 6).tolist()[:3] == [1, 4, 0]
    assert nearest_to_center(X, rows[:0], 3).tolist() == []
    assert set(nearest_to_center(X, rows, 6).tolist()) == set(rows.tolist())
