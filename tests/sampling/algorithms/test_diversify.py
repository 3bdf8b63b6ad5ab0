"""Test pages of uncertain rows without near-duplicates."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from sampling.algorithms.diversify import diversify, random_projection, weighted_kmeans


def copies(n_groups: int = 20, each: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(n_groups), each))
    X = rng.standard_normal((n_groups, 6))[group] * 10 + 0.01 * rng.standard_normal((len(group), 6))
    return X.astype(np.float32), group


def test_a_page_takes_the_central_row_of_each_group() -> None:
    X, group = copies()
    scores = np.random.default_rng(1).random(len(X)).astype(np.float32)
    rows = np.random.default_rng(2).permutation(len(X))
    got = diversify(X, rows, scores[rows], 20, rng=np.random.default_rng(0), batch=20, per_pick=30)
    center = {g: np.average(X[group == g], axis=0, weights=scores[group == g]) for g in range(20)}
    expected = {
        min(np.flatnonzero(group == g), key=lambda row: np.linalg.norm(X[row] - center[group[row]])) for g in range(20)
    }
    assert len(set(group[got].tolist())) >= 18  # k-means may merge two groups
    assert len(set(got.tolist()) & expected) >= 18
    assert (np.diff(scores[got]) <= 0).all()


def test_every_page_is_spread_and_taken_from_the_least_sure_of_the_rest() -> None:
    X, group = copies()
    scores = np.random.default_rng(1).random(len(X)).astype(np.float32)
    got = diversify(X, np.arange(len(X)), scores, 100, rng=np.random.default_rng(0), batch=10)
    assert len(set(got.tolist())) == 100
    left = np.argsort(-scores, kind="stable").tolist()
    for page in range(10):
        rows = got[10 * page : 10 * page + 10].tolist()
        assert len(set(group[rows].tolist())) >= 8
        assert set(rows) <= set(left[:100])
        left = [row for row in left if row not in rows]


def test_of_a_cluster_of_exact_copies_the_least_sure_is_taken() -> None:
    X, group = copies()
    X = X[[np.flatnonzero(group == g)[0] for g in range(20)]][group]
    scores = np.random.default_rng(1).random(len(X)).astype(np.float32)
    got = diversify(X, np.arange(len(X)), scores, 20, rng=np.random.default_rng(0), batch=20, per_pick=30)
    expected = {max(np.flatnonzero(group == g), key=lambda row: scores[row]) for g in range(20)}
    assert len(set(got.tolist()) & expected) >= 18


def test_rest_follows_by_score() -> None:
    X, _ = copies()
    scores = np.random.default_rng(1).random(len(X)).astype(np.float32)
    got = diversify(X, np.arange(len(X)), scores, 600, rng=np.random.default_rng(0), batch=10, diverse=20)
    assert sorted(got.tolist()) == list(range(600))
    assert (np.diff(scores[got[20:]]) <= 0).all()


def test_random_projection_preserves_distances() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 900)).astype(np.float32)
    Z = random_projection(X, rng)
    assert Z.shape == (200, 64)
    first, second = rng.permutation(200)[:100], rng.permutation(200)[:100]
    distances = np.linalg.norm(X[first] - X[second], axis=1)
    ratios = np.linalg.norm(Z[first] - Z[second], axis=1)[distances > 0] / distances[distances > 0]
    assert 0.95 < ratios.mean() < 1.05
    assert ratios.std() < 0.12
    np.testing.assert_array_equal(random_projection(X[:, :9], rng), X[:, :9])


def test_same_seed_same_ranking() -> None:
    X = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)
    scores = np.random.default_rng(1).random(300).astype(np.float32)
    run = [diversify(X, np.arange(300), scores, 40, rng=np.random.default_rng(s)).tolist() for s in (3, 3, 4)]
    assert run[0] == run[1] != run[2]


def test_edges() -> None:
    rng = np.random.default_rng(0)
    X = np.full((50, 3), 2.0, np.float32)
    scores = np.linspace(1, 0, 50, dtype=np.float32)
    same = diversify(X, np.arange(50)[::-1], scores[::-1], 12, rng=rng, batch=4)
    assert same.tolist() == list(range(12))
    scores[0] = np.nan
    X[1] = np.inf
    assert diversify(X, [0, 1, 2, 3], scores[:4], 9, rng=rng).tolist() == [2, 3]
    assert diversify(X, [], scores[:0], 9, rng=rng).shape == (0,)
    assert diversify(X, [0, 1], scores[:2], 9, rng=rng).shape == (0,)
    assert diversify(X, [2, 3], scores[2:4], 0, rng=rng).shape == (0,)
    assert diversify(X, np.arange(50), np.zeros(50, np.float32), 5, rng=rng).tolist() == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(4))
def test_means_are_about_as_good_as_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((300, 8)).astype(np.float32)
    weight = rng.random(300).astype(np.float32)

    def inertia(cluster: np.ndarray) -> float:
        total = 0.0
        for number in np.unique(cluster):
            inside = cluster == number
            mean = np.average(X[inside], axis=0, weights=weight[inside])
            total += float(weight[inside] @ np.square(X[inside] - mean).sum(axis=1))
        return total

    ours = inertia(weighted_kmeans(X, weight, 20, rng))
    theirs = inertia(KMeans(20, n_init=1, random_state=seed).fit_predict(X, sample_weight=weight))
    assert ours < 1.05 * theirs
