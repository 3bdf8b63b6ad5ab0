"""Groups of like images against slow and obvious oracles."""

from __future__ import annotations

import numpy as np
import pytest

from sampling.algorithms import groups
from sampling.algorithms.groups import densest, radius_of, squared_distances, tighter_half


def heaps(seed: int, n: int = 120, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors in four heaps (the third the tightest), rows shuffled, with a few unusable ones, and labelled rows."""
    rng = np.random.default_rng(seed)
    heap = rng.permutation(np.arange(n) % 4)
    X = (heap[:, None] * 8 + np.where(heap == 2, 0.2, 1.5)[:, None] * rng.normal(size=(n, d))).astype(np.float32)
    X[rng.choice(n, 3, replace=False)] = np.nan
    return X, heap, rng.permutation(n)


def distance(X: np.ndarray, a: int, b: int) -> float:
    return float(np.linalg.norm(X[a].astype(np.float64) - X[b]))


@pytest.mark.parametrize("seed", range(4))
def test_densest_is_the_fullest_ball(seed: int) -> None:
    X, heap, order = heaps(seed)
    candidates = np.sort(order[:80])
    usable = [row for row in candidates.tolist() if np.isfinite(X[row]).all()]
    around = {row: sum(distance(X, row, other) <= 0.6 for other in usable) for row in usable}
    middle = max(usable, key=lambda row: (around[row], -row))
    found = densest(X, candidates, 0.6, 240, rng=np.random.default_rng(0))
    assert found.rows[0] == middle
    assert set(found.rows.tolist()) == {row for row in usable if distance(X, middle, row) <= 0.6}
    assert found.distances == pytest.approx([distance(X, middle, row) for row in found.rows.tolist()], abs=1e-4)
    assert (np.diff(found.distances) >= 0).all()
    assert set(heap[found.rows]) == {2}
    assert densest(X, candidates, 0.6, 5, rng=np.random.default_rng(0)).rows.tolist() == found.rows[:5].tolist()


def test_densest_counts_on_a_sample_and_collects_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "SAMPLE", 30)
    X, heap, _ = heaps(1)
    first, again = (densest(X, np.arange(len(X)), 1.0, 240, rng=np.random.default_rng(5)) for _ in range(2))
    assert first.rows.tolist() == again.rows.tolist()
    assert len(first.rows) > 20, "more than the sample held of the heap"
    assert set(heap[first.rows]) == {2}


def test_nothing_alike_gives_no_group() -> None:
    X = np.arange(10, dtype=np.float32)[:, None] * 100
    for candidates in ([], [3], list(range(10))):
        assert len(densest(X, candidates, 1.0, 240, rng=np.random.default_rng(0)).rows) == 0
    copies = np.zeros((4, 2), np.float32)
    assert densest(copies, range(4), 0.0, 240, rng=np.random.default_rng(0)).rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_radius_is_the_largest_at_which_labelled_pairs_agree(seed: int) -> None:
    X, heap, order = heaps(seed)
    labelled, candidates = order[:50], np.sort(order[50:])
    labels = heap[labelled] // 2 + 1  # two classes of two heaps each
    usable = [i for i, row in enumerate(labelled) if np.isfinite(X[row]).all()]
    pairs = sorted(
        (distance(X, labelled[i], labelled[j]), bool(labels[i] == labels[j])) for i in usable for j in usable if i < j
    )
    agreed, last = 0, 0
    for count, (_, agrees) in enumerate(pairs, 1):
        agreed += agrees
        if agreed >= 0.98 * count:
            last = count
    found = radius_of(X, candidates, labelled, labels, rng=np.random.default_rng(0))
    assert found.n_pairs == last
    assert found.value == pytest.approx(pairs[last - 1][0], rel=1e-4)
    assert found.agreement >= 0.98


def test_radius_without_labels_comes_from_the_closest_candidates() -> None:
    X, _, _ = heaps(0)
    usable = [row for row in range(len(X)) if np.isfinite(X[row]).all()]
    eighth = [sorted(distance(X, row, other) for other in usable)[8] for row in usable]
    found = radius_of(X, np.arange(len(X)), [], [], rng=np.random.default_rng(0))
    assert found.value == pytest.approx(np.quantile(eighth, 0.05), rel=1e-4)
    assert np.isnan(found.agreement)
    assert found.n_pairs == 0
    assert radius_of(X, usable[:1], [], [], rng=np.random.default_rng(0)).value == 0


def test_radius_that_few_pairs_speak_for_tells_how_they_agree() -> None:
    X = np.array([[0.0], [0.1], [0.2], [5.0], [5.1]], np.float32)
    found = radius_of(X, [0, 1, 2], [0, 1, 3], [1, 2, 1], rng=np.random.default_rng(0))
    assert found.n_pairs == 1
    assert found.agreement == 0


@pytest.mark.parametrize("seed", range(5))
def test_tighter_half_is_a_fixed_point_of_two_means(seed: int) -> None:
    X, heap, order = heaps(seed)
    rows = order[(heap[order] == 2) | (heap[order] == 1)][:40]
    usable = np.array([row for row in rows if np.isfinite(X[row]).all()])
    half = tighter_half(X, rows)
    sums = [sum(distance(X, row, other) for other in usable) for row in usable]
    assert half.rows[0] == usable[int(np.argmin(sums))], "the middle row comes first"
    assert len(set(heap[half.rows])) == 1, "two heaps are two halves"
    rest = np.setdiff1d(usable, half.rows)
    near, far = X[half.rows].mean(axis=0), X[rest].mean(axis=0)
    assert all(np.linalg.norm(X[row] - near) <= np.linalg.norm(X[row] - far) for row in half.rows)
    assert all(np.linalg.norm(X[row] - far) <= np.linalg.norm(X[row] - near) for row in rest)


def test_tighter_half_of_what_can_not_be_told_apart() -> None:
    X = np.ones((4, 3), np.float32)
    assert tighter_half(X, [2, 0, 1]).rows.tolist() == [2, 0, 1]
    assert tighter_half(X, [3]).rows.tolist() == [3]
    assert tighter_half(X, []).rows.tolist() == []


def test_distances_keep_their_digits_far_from_the_origin() -> None:
    A = np.random.default_rng(0).normal(size=(20, 3)) + 1e6
    slow = np.square(A[:, None] - A[None]).sum(axis=2)
    assert squared_distances(A, A) == pytest.approx(slow, abs=1e-8)
