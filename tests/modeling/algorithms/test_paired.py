"""Test the paired comparison against scipy's exact test and against enumerating all outcomes."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from modeling.algorithms.paired import Paired, paired


def test_counts_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.8
    comparison = paired(first, second)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert comparison == Paired(200, pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)))
    assert comparison.neither == pairs.count((False, False))
    assert (comparison.first, comparison.second) == (first.mean(), second.mean())
    assert comparison.difference == pytest.approx(second.mean() - first.mean())


def test_no_rows_say_nothing_and_other_rows_are_refused() -> None:
    empty = paired(np.zeros(0, bool), np.zeros(0, bool))
    assert (empty.difference, empty.interval(), empty.chance) == (0.0, (-1.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="same rows"):
        paired(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="confidence"):
        paired(np.ones(3, bool), np.ones(3, bool)).interval(1.0)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 1), (3, 3), (2, 9), (40, 12), (0, 30)])
def test_the_chance_is_that_of_the_exact_test(only_first: int, only_second: int) -> None:
    comparison = Paired(200, 60, only_first, only_second)
    n = only_first + only_second
    assert comparison.chance == pytest.approx(binomtest(only_first, n).pvalue if n else 1.0)


def test_the_interval_turns_with_the_sides_and_narrows_with_rows() -> None:
    low, high = Paired(100, 70, 5, 15).interval()
    assert low < 0.1 < high
    assert Paired(100, 70, 15, 5).interval() == pytest.approx((-high, -low))
    wide = Paired(100, 70, 5, 15).interval(0.99)
    assert wide[0] < low < high < wide[1]
    narrow = Paired(10_000, 7000, 500, 1500).interval()
    assert narrow[1] - narrow[0] == pytest.approx((high - low) / 10, rel=0.05)


@pytest.mark.parametrize(("gain", "loss"), [(0.02, 0.02), (0.1, 0.05), (0.3, 0.1), (0.25, 0.0)])
@pytest.mark.parametrize("n", [12, 40])
def test_the_interval_holds_the_truth_in_95_of_100_cases(gain: float, loss: float, n: int) -> None:
    covered = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            weight = comb(n, b) * comb(n - b, c) * gain**b * loss**c * (1 - gain - loss) ** (n - b - c)
            low, high = Paired(n, 0, c, b).interval()
            covered += weight * (low <= gain - loss <= high)
    assert covered > 0.935


# -- Rows that belong together ----------------------------------------------------------------------
def alike(n_groups: int, size: int, gain: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two classifiers that differ only on whole groups, of which the second is correct on ``gain`` more."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n_groups).repeat(size)
    draw = rng.random(n_groups)
    return (draw < 0.2)[groups], (draw > 0.8 - gain)[groups], groups


def test_groups_of_copies_are_worth_what_their_originals_are() -> None:
    first, second, groups = alike(60, 8, 0.1, seed=1)
    plain, grouped, originals = paired(first, second), paired(first, second, groups), paired(first[::8], second[::8])
    assert (grouped.difference, grouped.n) == (plain.difference, 480)
    assert grouped.worth == pytest.approx(1 / 8, rel=0.08)
    assert grouped.interval() == pytest.approx(originals.interval(), abs=0.02)
    assert plain.chance < originals.chance
    assert grouped.chance == pytest.approx(originals.chance, abs=0.15)


def test_equals_are_seldom_told_apart_by_groups() -> None:
    wrong = np.zeros(2)
    for seed in range(300):
        first, second, groups = alike(40, 6, 0.0, seed)
        for position, groups_or_none in enumerate((None, groups)):
            low, high = paired(first, second, groups_or_none).interval()
            wrong[position] += not low <= 0 <= high
    assert wrong[0] / 300 > 0.25
    assert wrong[1] / 300 < 0.07


def test_no_disagreement_and_one_group_say_nothing() -> None:
    right = np.ones(20, bool)
    assert paired(right, right, np.zeros(20, np.int64)).interval() == pytest.approx((-0.98, 0.98), abs=0.05)
    assert paired(right, right, np.zeros(20, np.int64)).chance == 1.0
    assert paired(right[:0], right[:0], np.zeros(0, np.int64)).interval() == (-1.0, 1.0)
