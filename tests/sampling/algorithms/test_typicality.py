"""Test TypiClust against a slow implementation, and edge cases."""

import numpy as np
import pytest

from sampling.algorithms import typicality
from sampling.algorithms.typicality import typical


def separated_clusters(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return well separated clusters, their rows shuffled, and the cluster of each row."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = 40 * which[:, None] * np.array([1, 0.5, -1]) + rng.standard_normal((len(which), 3))
    return X.astype(np.float32), which


def slow_density(X: np.ndarray, members: np.ndarray, row: int, n_neighbors: int) -> float:
    distances = sorted(float(np.linalg.norm(X[row].astype(float) - X[m])) for m in members if m != row)
    return 1 / float(np.mean(distances[: min(n_neighbors, max(1, len(members) // 2))]))


def test_largest_clump_without_labels_first_and_its_densest_row() -> None:
    X, which = separated_clusters([60, 30, 45, 20])
    labeled = np.flatnonzero(which == 0)[:1]
    candidates = np.setdiff1d(np.arange(len(X)), labeled)
    got = typical(X, candidates[::-1], labeled, 3, rng=np.random.default_rng(0))
    assert which[got.rows].tolist() == [2, 1, 3]
    for row, value in zip(got.rows, got.typicality, strict=True):
        members = np.flatnonzero(which == which[row])
        densities = [slow_density(X, members, m, 20) for m in members]
        assert row == members[int(np.argmax(densities))]
        assert value == pytest.approx(max(densities), rel=1e-4)


def test_small_clusters_wait_until_the_others_are_empty() -> None:
    X, which = separated_clusters([30, 3, 25])
    assert which[typical(X, np.arange(len(X)), [], 3, rng=np.random.default_rng(1)).rows[:2]].tolist() == [0, 2]
    whole = typical(X, np.arange(len(X)), [], 100, rng=np.random.default_rng(1))
    assert sorted(whole.rows.tolist()) == list(range(len(X)))


def test_many_rows_use_a_sample_of_all_and_of_each_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typicality, "SAMPLE", 300)
    monkeypatch.setattr(typicality, "MAX_MEMBERS", 100)
    X, which = separated_clusters([400, 250])
    got = typical(X, np.arange(len(X)), [], 2, rng=np.random.default_rng(0))
    assert which[got.rows].tolist() == [0, 1]
    for row in got.rows:
        members = np.flatnonzero(which == which[row])
        densities = sorted(slow_density(X, members, m, 20) for m in members)
        assert slow_density(X, members, row, 20) > densities[int(0.8 * len(densities))]


def test_a_sample_keeps_the_labels_and_enough_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typicality, "SAMPLE", 60)
    X, which = separated_clusters([500, 100])
    for seed in range(10):  # the smaller cluster has no label
        got = typical(X, np.arange(len(X)), np.flatnonzero(which == 0)[:1], 1, rng=np.random.default_rng(seed))
        assert which[got.rows].tolist() == [1]
    many = typical(X, np.arange(len(X)), np.arange(50), 100, rng=np.random.default_rng(0))
    assert len(set(many.rows.tolist())) == 100
    assert not set(many.rows.tolist()) & set(range(50))


def test_same_seed_same_picks() -> None:
    X = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    picks = [typical(X, np.arange(200), [3, 9], 10, rng=np.random.default_rng(s)).rows.tolist() for s in (1, 1, 2)]
    assert picks[0] == picks[1] != picks[2]
    assert not {3, 9} & set(picks[0])


def test_edges() -> None:
    X = np.full((30, 3), 0.5, np.float32)
    X[4] = np.nan
    rng = np.random.default_rng(0)
    same = typical(X, [9, 4, 2, 7], [1], 10, rng=rng)
    assert same.rows.tolist() == [2, 7, 9]
    assert np.isinf(same.typicality).all()
    assert typical(X, [], [1], 5, rng=rng).rows.shape == (0,)
    assert typical(X, [4], [], 5, rng=rng).rows.shape == (0,)
    assert typical(X, [2], [], 5, rng=rng).rows.tolist() == [2]
    assert typical(X, [2, 3], [2], 5, rng=rng).rows.tolist() == [3]
    assert typical(X, [2, 3], [], 0, rng=rng).rows.shape == (0,)
