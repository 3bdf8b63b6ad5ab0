"""Test intervals of shares against scipy, slow computations, a bootstrap of whole groups, and simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student

from modeling.algorithms.intervals import effective_labels, exact_interval, grouped_interval, wilson_interval


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.data())
def test_wilson_interval_is_that_of_scipy(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    confidence = data.draw(st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    low, high = wilson_interval(successes, n, confidence)
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= successes / n <= high <= 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.data())
def test_exact_interval_is_that_of_scipy(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    confidence = data.draw(st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    low, high = exact_interval(np.array([float(successes)]), np.array([float(n)]), confidence)
    expected = binomtest(successes, n).proportion_ci(confidence, method="exact")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_exact_interval_takes_many_at_once_and_none_know_nothing() -> None:
    low, high = exact_interval(np.array([0.0, 3.5, 7.0]), np.array([0.0, 7.0, 7.0]))
    assert (low[0], high[0]) == (0, 1)
    assert low[1] == pytest.approx(1 - high[1], abs=1e-9)
    assert (low[2], high[2]) == (pytest.approx(0.025 ** (1 / 7)), 1)


def test_wilson_interval_without_trials_knows_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_wilson_interval_refuses_nonsense(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError):
        wilson_interval(successes, n, confidence)


# -- Groups -----------------------------------------------------------------------------------------
def clustered(n_groups: int, size: int, share: float, alike: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return correct or not in groups of unequal size, with intra-group correlation ``alike``, shuffled."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(rng.permutation(n_groups) * 7, rng.integers(1, 2 * size, n_groups))
    strength = 1 / alike - 1
    own = dict(zip(np.unique(groups), rng.beta(share * strength, (1 - share) * strength, n_groups), strict=True))
    right = rng.random(groups.size) < np.array([own[group] for group in groups.tolist()])
    order = rng.permutation(groups.size)
    return right[order], groups[order]


def by_hand(right: list[bool], groups: list[int]) -> float:
    n, share = len(right), sum(right) / len(right)
    residuals: dict[int, float] = {}
    for is_right, group in zip(right, groups, strict=True):
        residuals[group] = residuals.get(group, 0.0) + is_right - share
    g = len(residuals)
    variance = g / (g - 1) * sum(residual**2 for residual in residuals.values()) / n**2
    effect = max(1.0, variance * n / (share * (1 - share)))
    return float(n / effect * (student.ppf(0.975, n - 1) / student.ppf(0.975, g - 1)) ** 2)


@pytest.mark.parametrize(("n_groups", "size", "alike"), [(4, 8, 0.5), (30, 5, 0.2), (80, 3, 0.9)])
def test_what_grouped_labels_are_worth_by_hand(n_groups: int, size: int, alike: float) -> None:
    right, groups = clustered(n_groups, size, 0.8, alike, seed=3)
    n_effective = effective_labels(right, groups)
    assert n_effective == pytest.approx(by_hand(right.tolist(), groups.tolist()))
    assert n_effective < right.size
    order = np.random.default_rng(0).permutation(right.size)
    assert effective_labels(right[order], -groups[order]) == pytest.approx(n_effective)


def test_the_design_effect_is_that_of_a_bootstrap_of_whole_groups() -> None:
    right, groups = clustered(300, 6, 0.8, 0.5, seed=1)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(2000):
        drawn = np.concatenate([members[group] for group in rng.integers(0, len(members), len(members))])
        shares.append(right[drawn].mean())
    share = right.mean()
    assert effective_labels(right, groups) == pytest.approx(share * (1 - share) / np.var(shares), rel=0.1)
    low, high = np.quantile(shares, [0.025, 0.975])
    assert grouped_interval(right, groups) == pytest.approx((low, high), abs=0.01)


def test_the_interval_holds_the_truth_where_the_plain_one_does_not() -> None:
    held = np.zeros(2)
    for seed in range(400):
        right, groups = clustered(25, 8, 0.8, 0.6, seed)
        for position, groups_or_none in enumerate((groups, None)):
            low, high = grouped_interval(right, groups_or_none)
            held[position] += low <= 0.8 <= high
    assert held[0] / 400 > 0.9
    assert held[1] / 400 < 0.7


def test_without_groups_it_is_wilsons() -> None:
    right = np.arange(40) % 5 > 0
    assert grouped_interval(right, None) == wilson_interval(32, 40)
    assert grouped_interval(right, np.arange(40)[::-1]) == wilson_interval(32, 40)


def test_where_all_are_right_each_group_counts_as_one_mind() -> None:
    groups = np.repeat(np.arange(10), 8)
    for right in (np.ones(80, bool), np.zeros(80, bool)):
        assert effective_labels(right, groups) == 10
        assert grouped_interval(right, groups) == wilson_interval(10 * right[0], 10)
    assert grouped_interval(np.ones(80, bool), groups)[1] == 1.0


def test_one_group_tells_nothing_and_no_label_does_neither() -> None:
    assert grouped_interval(np.arange(20) > 3, np.zeros(20, np.int64)) == (0.0, 1.0)
    assert grouped_interval(np.zeros(0, bool), np.zeros(0, np.int64)) == (0.0, 1.0)
