"""Test parts of a class: proposed by clusters, joined, and refined by decisions, against slow and obvious versions."""

import numpy as np
import pytest

from sampling.algorithms import splitting
from sampling.algorithms.parts import Parts, borderline, merged, open_items, typical
from sampling.algorithms.splitting import propose, refine


def clouds(n: int = 120, k: int = 3, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of ``k`` clouds of different sizes in shuffled order, and the cloud of each, the largest first."""
    rng = np.random.default_rng(seed)
    shares = np.arange(k, 0, -1) / np.arange(1, k + 1).sum()
    y = rng.permutation(np.repeat(np.arange(k), np.round(shares * n).astype(int)))
    return (8 * np.eye(k, 6)[y] + spread * rng.normal(size=(len(y), 6))).astype(np.float32), y


def random_parts(n: int = 50, k: int = 3, seed: int = 1) -> Parts:
    rng = np.random.default_rng(seed)
    memberships = rng.dirichlet(np.ones(k), n).astype(np.float32)
    return Parts(memberships, rng.normal(size=n).astype(np.float32))


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_the_number_of_parts_is_found_and_the_largest_is_first(k: int) -> None:
    Z, y = clouds(k=k, n=150)
    parts = propose(Z, rng=np.random.default_rng(0))
    assert parts.n_parts == k
    assert parts.parts.tolist() == y.tolist()
    assert max(parts.silhouettes, key=lambda number: parts.silhouettes[number]) == k
    np.testing.assert_allclose(parts.memberships.sum(axis=1), 1, rtol=1e-5)


def test_memberships_are_the_inverse_distances_to_the_means() -> None:
    Z, _ = clouds(k=3)
    parts = propose(Z, n_parts=3, rng=np.random.default_rng(0))
    centers = np.stack([Z[parts.parts == part].mean(axis=0) for part in range(3)])
    inverse = 1 / np.linalg.norm(Z[:, None] - centers[None], axis=2)
    np.testing.assert_allclose(parts.memberships, inverse / inverse.sum(axis=1, keepdims=True), rtol=1e-3)
    np.testing.assert_allclose(parts.typicality, -np.linalg.norm(Z - centers[parts.parts], axis=1), rtol=1e-3)
    assert list(parts.silhouettes) == [3]


def test_large_classes_are_fitted_to_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, y = clouds(k=3, n=600)
    monkeypatch.setattr(splitting, "FIT_ROWS", 90)
    parts = propose(Z, rng=np.random.default_rng(0))
    assert parts.parts.tolist() == y.tolist()


def test_too_few_distinct_items_are_refused() -> None:
    Z = np.zeros((20, 4), np.float32)
    with pytest.raises(ValueError, match="1 distinct items"):
        propose(Z, rng=np.random.default_rng(0))
    Z[0] = 1
    assert propose(Z, rng=np.random.default_rng(0)).n_parts == 2
    with pytest.raises(ValueError, match="2 distinct items"):
        propose(Z, n_parts=3, rng=np.random.default_rng(0))


def test_confidence_and_others_are_the_slow_loop() -> None:
    parts = random_parts()
    for row, values in enumerate(parts.memberships.tolist()):
        best, second = sorted(range(3), key=lambda part: -values[part])[:2]
        assert (parts.parts[row], parts.others[row]) == (best, second)
        assert parts.confidence[row] == pytest.approx(values[best] - values[second], abs=1e-6)


def test_joined_parts_have_the_sums() -> None:
    parts = random_parts(k=4)
    joined = merged(parts, [0, 1, 0, 1])
    expected = [[row[0] + row[2], row[1] + row[3]] for row in parts.memberships.tolist()]
    np.testing.assert_allclose(joined.memberships, expected, rtol=1e-5)
    assert joined.typicality is parts.typicality
    assert merged(parts, [0, 0, 0, 0]).others.tolist() == [0] * 50


def test_typical_borderline_and_open_items_are_sorted() -> None:
    parts = random_parts()
    for part in range(3):
        members = [row for row in range(50) if parts.parts[row] == part]
        by_typicality = sorted(members, key=lambda row: -parts.typicality[row])
        by_confidence = sorted(members, key=lambda row: parts.confidence[row])
        assert typical(parts, 4)[part].tolist() == by_typicality[:4]
        assert borderline(parts, 4)[part].tolist() == by_confidence[:4]
    is_decided = np.arange(50) % 3 == 0
    left = sorted((row for row in range(50) if row % 3), key=lambda row: parts.confidence[row])
    assert open_items(parts.confidence, is_decided, 7).tolist() == left[:7]
    assert open_items(parts.confidence, is_decided, -1).tolist() == []
    assert open_items(parts.confidence, is_decided, 99).tolist() == left


def test_decisions_teach_what_clusters_do_not_show() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 8)).astype(np.float32)
    X[:, 0] *= 4  # the clusters lie along this column, the classes along another
    truth = (X[:, 1] > 0).astype(np.int64)
    named = propose(X, n_parts=2, rng=rng)
    assert abs((named.parts == truth).mean() - 0.5) < 0.15
    rows = np.arange(300)
    decided = rng.permutation(300)[:80]
    parts = refine(X, rows, named, decided, truth[decided])
    left = np.setdiff1d(rows, decided)
    assert (parts.parts[left] == truth[left]).mean() > 0.85
    assert parts.parts[decided].tolist() == truth[decided].tolist()
    assert parts.confidence[decided].tolist() == [1.0] * 80
    np.testing.assert_allclose(parts.memberships.sum(axis=1), 1, rtol=1e-4)


def test_rows_of_a_larger_array_are_meant() -> None:
    X, y = clouds(k=2, n=80)
    big = np.full((400, 6), np.nan, np.float32)
    rows = np.sort(np.random.default_rng(0).permutation(400)[: len(X)])
    big[rows] = X
    named = propose(X, n_parts=2, rng=np.random.default_rng(0))
    decided = np.arange(10)
    assert refine(big, rows, named, decided, y[decided]).parts.tolist() == y.tolist()


def test_one_part_only_teaches_nothing() -> None:
    X, _ = clouds(k=2, n=40)
    named = merged(propose(X, n_parts=2, rng=np.random.default_rng(0)), [0, 0])
    parts = refine(X, np.arange(len(X)), named, np.array([3]), np.array([0]))
    np.testing.assert_allclose(parts.memberships, named.memberships, rtol=1e-5)
