"""Test groups of similar images against slow and simple implementations."""

import numpy as np
import pytest
from scipy.stats import beta

from sampling.algorithms import groups
from sampling.algorithms.groups import LabeledPairs, default_radius, densest_group, squared_distances, tighter_half


def clustered(seed: int, n: int = 120, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors in four clusters (the third the tightest), shuffled, with a few unusable rows, and a row order."""
    rng = np.random.default_rng(seed)
    heap = rng.permutation(np.arange(n) % 4)
    X = (heap[:, None] * 8 + np.where(heap == 2, 0.2, 1.5)[:, None] * rng.normal(size=(n, d))).astype(np.float32)
    X[rng.choice(n, 3, replace=False)] = np.nan
    return X, heap, rng.permutation(n)


def distance(X: np.ndarray, a: int, b: int) -> float:
    return float(np.linalg.norm(X[a].astype(np.float64) - X[b]))


@pytest.mark.parametrize("seed", range(4))
def test_densest_is_the_fullest_ball(seed: int) -> None:
    X, heap, order = clustered(seed)
    candidates = np.sort(order[:80])
    usable = [row for row in candidates.tolist() if np.isfinite(X[row]).all()]
    around = {row: sum(distance(X, row, other) <= 0.6 for other in usable) for row in usable}
    center = max(usable, key=lambda row: (around[row], -row))
    group = densest_group(X, candidates, 0.6, 240, rng=np.random.default_rng(0))
    assert group.rows[0] == center
    assert set(group.rows.tolist()) == {row for row in usable if distance(X, center, row) <= 0.6}
    assert group.distances == pytest.approx([distance(X, center, row) for row in group.rows.tolist()], abs=1e-4)
    assert (np.diff(group.distances) >= 0).all()
    assert set(heap[group.rows]) == {2}
    assert densest_group(X, candidates, 0.6, 5, rng=np.random.default_rng(0)).rows.tolist() == group.rows[:5].tolist()


def test_densest_counts_on_a_sample_and_collects_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "SAMPLE", 30)
    X, heap, _ = clustered(1)
    first, again = (densest_group(X, np.arange(len(X)), 1.0, 240, rng=np.random.default_rng(5)) for _ in range(2))
    assert first.rows.tolist() == again.rows.tolist()
    assert len(first.rows) > 20, "more rows of the cluster than the sample had"
    assert set(heap[first.rows]) == {2}


def test_nothing_alike_gives_no_group() -> None:
    X = np.arange(10, dtype=np.float32)[:, None] * 100
    for candidates in ([], [3], list(range(10))):
        assert len(densest_group(X, candidates, 1.0, 240, rng=np.random.default_rng(0)).rows) == 0
    copies = np.zeros((4, 2), np.float32)
    assert densest_group(copies, range(4), 0.0, 240, rng=np.random.default_rng(0)).rows.tolist() == [0, 1, 2, 3]


def slow_agreement(
    X: np.ndarray, labeled: np.ndarray, labels: np.ndarray, radius: float, pressed: dict[int, int] | None = None
) -> tuple[float, float, float, int]:
    """Return share, 95 % interval and number of pairs, by loops and union-find over the joined rows."""
    parent = {row: row for row in labeled.tolist()}

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    agreeing, n, n_joined = 0, 0, 0
    for i, a in enumerate(labeled.tolist()):
        for k, b in enumerate(labeled.tolist()[:i]):
            if not (np.isfinite(X[a]).all() and np.isfinite(X[b]).all()):
                continue
            if not 0.9 * radius <= distance(X, a, b) <= radius:
                continue
            if pressed is not None and pressed[a] == pressed[b]:
                continue
            n += 1
            agreeing += bool(labels[i] == labels[k])
            if root(a) != root(b):
                parent[root(a)] = root(b)
                n_joined += 1
    if not n:
        return float("nan"), 0.0, 1.0, 0
    share = agreeing / n
    low = beta.ppf(0.025, share * n_joined, n_joined - share * n_joined + 1) if agreeing else 0.0
    high = beta.ppf(0.975, share * n_joined + 1, n_joined - share * n_joined) if agreeing < n else 1.0
    return share, float(low), float(high), n


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("radius", [0.0, 0.4, 1.5, 6.0, 60.0])
@pytest.mark.parametrize("is_pressed", [False, True])
def test_agreement_is_that_of_the_pairs_at_the_edge_of_a_radius(seed: int, radius: float, is_pressed: bool) -> None:
    X, heap, order = clustered(seed)
    labeled = order[:50]
    labels = np.where(np.random.default_rng(seed).random(50) < 0.1, 9, heap[labeled] // 2)
    pressed = {row: row // 3 for row in range(len(X))} if is_pressed else None
    press_of_rows = (lambda rows: rows // 3) if is_pressed else None
    pairs = LabeledPairs(X, labeled, labels, rng=np.random.default_rng(0), pressed=press_of_rows)
    agreement = pairs.within(radius)
    share, low, high, n = slow_agreement(X, labeled, labels, radius, pressed)
    assert agreement.n_pairs == n
    assert (agreement.share, agreement.low, agreement.high) == pytest.approx((share, low, high), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(("n", "is_enough"), [(72, False), (73, True)])
def test_seventy_three_alike_are_enough_and_one_less_is_not(n: int, is_enough: bool) -> None:
    """Join 73 rows by 72 comparisons that all agree: 0.025 ** (1 / 72) is just above 95 %."""
    pairs = LabeledPairs(np.zeros((n, 2), np.float32), range(n), np.zeros(n), rng=np.random.default_rng(0))
    assert pairs.within(0).is_reliable is is_enough
    assert n * (n - 1) // 2 > 2000, "pairs are not independent trials"


@pytest.mark.parametrize("n", [0, 1])
def test_without_pairs_nothing_is_known(n: int) -> None:
    pairs = LabeledPairs(np.zeros((3, 2), np.float32), range(n), np.zeros(n), rng=np.random.default_rng(0))
    agreement = pairs.within(1.0)
    assert (agreement.low, agreement.high, agreement.n_pairs, agreement.is_reliable) == (0, 1, 0, False)


def test_the_usual_radius_comes_from_the_closest_candidates() -> None:
    X, _, _ = clustered(0)
    usable = [row for row in range(len(X)) if np.isfinite(X[row]).all()]
    eighth = [sorted(distance(X, row, other) for other in usable)[8] for row in usable]
    radius = default_radius(X, np.arange(len(X)), rng=np.random.default_rng(0))
    assert radius == pytest.approx(np.quantile(eighth, 0.05), rel=1e-4)
    assert default_radius(X, usable[:1], rng=np.random.default_rng(0)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_tighter_half_is_a_fixed_point_of_two_means(seed: int) -> None:
    X, heap, order = clustered(seed)
    rows = order[(heap[order] == 2) | (heap[order] == 1)][:40]
    usable = np.array([row for row in rows if np.isfinite(X[row]).all()])
    half = tighter_half(X, rows)
    sums = [sum(distance(X, row, other) for other in usable) for row in usable]
    assert half.rows[0] == usable[int(np.argmin(sums))], "the medoid comes first"
    assert len(set(heap[half.rows])) == 1, "two clusters give two halves"
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
