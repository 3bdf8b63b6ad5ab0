"""Test k-center against a simple loop in float64, and edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling.algorithms.coreset import k_center


def slow_k_center(X: np.ndarray, candidates: list[int], labeled: list[int], k: int) -> list[int]:
    """Select by all distances from all centers in float64; the first of equal rows."""
    Z = X.astype(np.float64)
    candidates = [row for row in candidates if np.isfinite(Z[row]).all()]
    centers = [row for row in labeled if np.isfinite(Z[row]).all()]
    picks: list[int] = []
    while len(picks) < min(k, len(candidates)):
        left = [row for row in candidates if row not in picks]
        if not centers and not picks:
            mean = Z[candidates].mean(axis=0)
            picks.append(min(left, key=lambda row: np.square(Z[row] - mean).sum()))
            continue
        near = [min(np.square(Z[row] - Z[c]).sum() for c in centers + picks) for row in left]
        picks.append(left[int(np.argmax(near))])
    return picks


def split(n: int, n_labeled: int, seed: int) -> tuple[list[int], list[int]]:
    """Return candidates and labeled rows, interleaved and unordered."""
    order = np.random.default_rng(seed).permutation(n).tolist()
    return order[n_labeled:], order[:n_labeled]


@pytest.mark.slow
@pytest.mark.parametrize("n_labeled", [0, 1, 7])
@pytest.mark.parametrize("refresh", [1, 4, 64])
def test_picks_are_those_of_the_plain_loop(n_labeled: int, refresh: int) -> None:
    X = np.random.default_rng(1).standard_normal((150, 12)).astype(np.float32)
    candidates, labeled = split(150, n_labeled, seed=2)
    got = k_center(X, candidates, labeled, 60, refresh=refresh)
    assert got.rows.tolist() == slow_k_center(X, candidates, labeled, 60)
    assert (np.diff(got.distances) <= 0).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_labeled=st.integers(0, 5), offset=st.sampled_from([0, 1000]))
def test_ties_and_copies_go_to_the_earlier_candidate(seed: int, n_labeled: int, offset: int) -> None:
    """Use points of a small grid far from the origin: they have many ties, which float32 products blur."""
    rng = np.random.default_rng(seed)
    X = (rng.integers(0, 3, size=(50, 3)) + offset).astype(np.float32)
    candidates, labeled = split(50, n_labeled, seed)
    got = k_center(X, candidates, labeled, 45, refresh=2)
    if n_labeled:
        assert got.rows.tolist() == slow_k_center(X, candidates, labeled, 45)
    assert len(set(got.rows.tolist())) == 45


def test_more_rows_than_are_looked_at_one_by_one() -> None:
    rng = np.random.default_rng(5)
    X = rng.integers(0, 40, size=(6000, 2)).astype(np.float32)
    got = k_center(X, np.arange(3, 6000), [0, 1, 2], 80)
    nearest = np.full(6000, np.inf)
    nearest[:3] = -1
    for center in [0, 1, 2, *got.rows]:
        if center > 2:
            assert center == nearest.argmax()
        nearest = np.minimum(nearest, np.square(X.astype(np.float64) - X[center]).sum(axis=1))
        nearest[center] = -1


def test_distances_are_euclidean_to_the_nearest_centre() -> None:
    X = np.array([[0, 0], [3, 4], [0, 1], [6, 8]], np.float32)
    got = k_center(X, [1, 2, 3], [0], 3)
    assert got.rows.tolist() == [3, 1, 2]
    np.testing.assert_allclose(got.distances, [10, 5, 1], rtol=1e-5)


def test_rows_that_are_not_numbers_are_neither_picked_nor_centres() -> None:
    X = np.array([[0, 0], [np.nan, 1], [5, 5], [np.inf, 0], [1, 1]], np.float32)
    assert k_center(X, [0, 1, 2, 3], [4, 1], 9).rows.tolist() == [2, 0]


def test_identical_vectors_come_in_the_order_given() -> None:
    X = np.full((500, 4), 0.3, np.float32)
    order = np.random.default_rng(0).permutation(500)
    assert k_center(X, order[1:], order[:1], 300).rows.tolist() == order[1:301].tolist()
    first = k_center(X, order, [], 300)
    assert first.rows.tolist() == order[:300].tolist()
    assert np.isinf(first.distances[0])
    assert (first.distances[1:] == 0).all()


def test_nothing_to_pick() -> None:
    X = np.zeros((3, 2), np.float32)
    for candidates, k in (([], 3), ([0, 1], 0)):
        got = k_center(X, candidates, [2], k)
        assert got.rows.shape == got.distances.shape == (0,)
