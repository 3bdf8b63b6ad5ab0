"""The paired comparison against scipy's exact test and against counting every outcome that could have been."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from modeling.algorithms.paired import Paired, paired


def test_counts_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.8
    told = paired(first, second)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert told == Paired(200, pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)))
    assert told.neither == pairs.count((False, False))
    assert (told.first, told.second) == (first.mean(), second.mean())
    assert told.difference == pytest.approx(second.mean() - first.mean())


def test_no_rows_say_nothing_and_other_rows_are_refused() -> None:
    nothing = paired(np.zeros(0, bool), np.zeros(0, bool))
    assert (nothing.difference, nothing.interval(), nothing.chance) == (0.0, (-1.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="same rows"):
        paired(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="confidence"):
        paired(np.ones(3, bool), np.ones(3, bool)).interval(1.0)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 1), (3, 3), (2, 9), (40, 12), (0, 30)])
def test_the_chance_is_that_of_the_exact_test(only_first: int, only_second: int) -> None:
    told = Paired(200, 60, only_first, only_second)
    n = only_first + only_second
    assert told.chance == pytest.approx(binomtest(only_first, n).pvalue if n else 1.0)


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
