"""Test the benchmark of decision times: estimated times, replays against the clock, and the comparison."""

import numpy as np
import pytest

from benchmarks.decision_times import ESTIMATED, MIN_TIMED, PLAIN, TRUE, Clock, Curve, Pool, replay, report
from benchmarks.label_efficiency.data import Split


def overlapping(n: int, seed: int) -> Split:
    """Return two pairs of classes: those of the first pair overlap, those of the second are far apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=n)
    X = rng.normal(0, 1, (n, 8))
    X[:, 0] += np.array([0, 1.5, 30, 60])[y]
    return Split(X.astype(np.float32), y, X[: n // 4].astype(np.float32), y[: n // 4])


def test_images_on_a_boundary_are_the_difficult_ones() -> None:
    split = overlapping(400, 0)
    difficulty = Pool.of(split).difficulty
    assert difficulty[split.y < 2].mean() > 10 * difficulty[split.y >= 2].mean()


def test_the_clock_learns_where_decisions_are_slow() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(0, 1, (600, 4)).astype(np.float32)
    expected = np.where(Z[:, 0] > 0, 4.0, 1.0)
    clock = Clock(Z, expected, expected * np.exp(rng.normal(0, 0.5, 600)))
    P = np.full((600, 2), 0.5, np.float32)
    clock.record(np.arange(MIN_TIMED - 1), P)
    assert (clock.estimate(np.arange(500, 600), P) == 1).all()
    clock.record(np.arange(100, 400), P)
    found = clock.estimate(np.arange(500, 600), P)
    assert np.corrcoef(np.log(found), np.log(expected[500:]))[0, 1] > 0.7


def test_known_times_make_labels_cheaper() -> None:
    pool = Pool.of(overlapping(400, 1))
    plain, known = (replay(pool, Curve("blobs", strategy, 4, 0), 4) for strategy in (PLAIN, TRUE))
    assert plain.minutes[-1] >= 4
    assert known.labels[-1] / known.minutes[-1] > plain.labels[-1] / plain.minutes[-1]


def test_a_strategy_twice_as_fast_needs_half_of_the_time() -> None:
    curves = [
        Curve("blobs", strategy, 3, seed, minutes, [10, 200], [0.0, 0.5 * speed], [0.0, 0.5 * speed])
        for seed in range(3)
        for strategy, speed in ((PLAIN, 1), (ESTIMATED, 1), (TRUE, 2))
        for minutes in [[0.01, 10.0]]
    ]
    plain, same, fast = report(curves).splitlines()[2:]
    assert "| +0.00 [+0.00, +0.00] | +0.00 [+0.00, +0.00] | 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] | 3 |" in plain
    assert plain.split("|")[5:] == same.split("|")[5:]
    assert float(fast.split("|")[5].split()[0]) == pytest.approx(25, abs=0.1)
    assert float(fast.split("|")[7].split()[0]) == pytest.approx(0.5, abs=0.01)
