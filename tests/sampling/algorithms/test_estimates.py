"""Test intervals and corrections against their definitions and their nominal coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, norm

from sampling.algorithms.estimates import (
    Z95,
    Estimate,
    collection_accuracy,
    labels_to_halve,
    lure_estimate,
    lure_weights,
    weighted_share,
    wilson,
    wilson_continuous,
)
from sampling.algorithms.mixing import Part, mix


@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7), (3, 11), (190, 200)])
def test_wilson_is_that_of_scipy(right: int, n: int) -> None:
    got = wilson(right, n)
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert (got.value, got.n) == (right / n, n)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing_and_of_nonsense() -> None:
    got = wilson(0, 0)
    assert np.isnan(got.value)
    assert (got.low, got.high, got.n) == (0, 1, 0)
    with pytest.raises(ValueError):
        wilson(3, 2)


@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7), (3, 11), (11, 12), (190, 200), (1, 1)])
def test_correction_for_continuity_is_that_of_scipy(right: int, n: int) -> None:
    got = wilson_continuous(right, n)
    expected = binomtest(right, n).proportion_ci(method="wilsoncc")
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    plain = wilson(right, n)
    assert got.low <= plain.low <= plain.high <= got.high


def test_z_is_the_quantile_of_the_normal_distribution() -> None:
    assert pytest.approx(norm.ppf(0.975), abs=1e-12) == Z95


def collection_by_hand(right: np.ndarray, is_audit: np.ndarray, n_items: int) -> float:
    """Return average over draws: labels before a draw are known, and the draw represents all unlabeled items."""
    estimates = []
    for rank in range(len(right)):
        if is_audit[rank]:
            n_right_before = sum(right[:rank])
            estimates.append((n_right_before + (n_items - rank) * right[rank]) / n_items)
    return float(np.mean(estimates))


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_of_a_collection_against_the_plain_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, is_audit = rng.random(60) < 0.8, rng.random(60) < 0.2
    got = collection_accuracy(right, is_audit, 100)
    assert got.value == pytest.approx(collection_by_hand(right, is_audit, 100))
    assert got.low < got.value < got.high
    assert 1 <= got.n <= is_audit.sum()


def test_accuracy_of_a_collection_of_draws_alone_is_their_share_when_there_are_few() -> None:
    right = np.array([True, True, False, True])
    got = collection_accuracy(right, np.ones(4, bool), 10**9)
    plain = wilson_continuous(3, 4)
    assert (got.value, got.low, got.high, got.n) == pytest.approx((plain.value, plain.low, plain.high, plain.n))


def test_accuracy_of_a_collection_does_not_mind_that_the_hard_ones_were_chosen() -> None:
    """Label half of the collection, hard items first; the audit alone would then only see easy items."""
    n, hard = 400, 80
    values, shares, covered = [], [], 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        is_right = np.ones(n, bool)
        is_right[:hard] = False
        left = list(range(n))
        rows, is_audit = [], []
        for _ in range(200):
            is_random = rng.random() < 0.2
            row = left[rng.integers(len(left))] if is_random else left[0]
            left.remove(row)
            rows.append(row)
            is_audit.append(is_random)
        got = collection_accuracy(is_right[rows], np.array(is_audit), n)
        values.append(got.value)
        shares.append(is_right[rows][np.array(is_audit)].mean())
        covered += got.low <= 1 - hard / n <= got.high
    assert np.mean(shares) > 0.87
    assert np.mean(values) == pytest.approx(0.8, abs=0.01)
    assert covered >= 285


def test_accuracy_of_a_collection_without_draws_and_of_nonsense() -> None:
    got = collection_accuracy(np.array([True]), np.array([False]), 5)
    assert np.isnan(got.value)
    assert (got.low, got.high, got.n) == (0, 1, 0)
    assert collection_accuracy(np.ones(5, bool), np.ones(5, bool), 5).value == 1
    with pytest.raises(ValueError):
        collection_accuracy(np.ones(3, bool), np.ones(3, bool), 2)


@pytest.mark.parametrize(("right", "n"), [(9, 10), (30, 30), (0, 4), (161, 200)])
def test_labels_to_halve_is_the_first_number_that_does(right: int, n: int) -> None:
    estimate = wilson_continuous(right, n)
    more = labels_to_halve(estimate)

    def width(extra: int) -> float:
        again = wilson_continuous(right / n * (n + extra), n + extra)
        return again.high - again.low

    assert width(more) <= (estimate.high - estimate.low) / 2 < width(more - 1)


def test_nothing_can_not_be_halved() -> None:
    with pytest.raises(ValueError):
        labels_to_halve(Estimate(float("nan"), 0, 1, 0))


def test_weights_of_uniform_draws_are_1() -> None:
    np.testing.assert_allclose(lure_weights(1 / np.arange(50, 30, -1), 50), 1)
    np.testing.assert_allclose(lure_weights(np.full(5, 0.3), 5), 1)
    assert lure_weights([], 9).shape == (0,)


def test_weights_follow_the_paper() -> None:
    q, n_pool = [0.2, 0.05, 0.4], 20
    expected = [1 + (n_pool - 3) / (n_pool - m) * (1 / ((n_pool - m + 1) * q[m - 1]) - 1) for m in (1, 2, 3)]
    np.testing.assert_allclose(lure_weights(q, n_pool), expected)


@pytest.mark.parametrize(("q", "n"), [([0.5, 0.5], 1), ([0.0], 3), ([1.2], 3), ([float("nan")], 3)])
def test_weights_refuse_what_cannot_be(q: list[float], n: int) -> None:
    with pytest.raises(ValueError):
        lure_weights(q, n)


def test_correction_undoes_a_choice_of_hard_items() -> None:
    """Select the items that the model gets wrong: the plain mean is far off, the corrected one is not."""
    n, share_right = 1000, 0.8
    right = np.zeros(n, bool)
    right[: int(n * share_right)] = True
    hard = Part("hard", np.arange(n - 1, -1, -1), 1.0)
    values, plain, covered = [], [], 0
    for seed in range(200):
        selection = mix([hard], np.arange(n), 150, rng=np.random.default_rng(seed), audit_share=0.3)
        got = lure_estimate(right[selection.rows], selection.probabilities, n)
        values.append(got.value)
        plain.append(right[selection.rows].mean())
        covered += got.low <= share_right <= got.high
        assert got.n < 150
    assert np.mean(plain) < 0.4
    assert np.mean(values) == pytest.approx(share_right, abs=0.02)
    assert covered >= 186


def test_correction_of_nothing() -> None:
    got = lure_estimate([], [], 10)
    assert np.isnan(got.value)
    assert (got.low, got.high) == (0, 1)


@pytest.mark.parametrize(("hits", "n"), [(0, 40), (1, 40), (7, 200)])
def test_equal_weights_give_the_exact_interval_of_counts(hits: int, n: int) -> None:
    got = weighted_share(np.full(n, 3.0), np.arange(n) < hits)
    low = chi2.ppf(0.025, 2 * hits) / 2 / n if hits else 0
    assert (got.value, got.n) == (pytest.approx(hits / n), n)
    assert (got.low, got.high) == pytest.approx((low, chi2.ppf(0.975, 2 * hits + 2) / 2 / n))


def test_few_heavy_hits_do_not_fool_the_weighted_interval() -> None:
    """Use strata checked rarely and strata checked often: the interval covers the true share in at least 95 %."""
    rng = np.random.default_rng(0)
    weights = np.concatenate([np.full(100, 25.0), np.full(60, 240.0)])
    wrong = np.concatenate([np.full(100, 0.001), np.full(60, 0.01)])
    true = float(weights @ wrong / weights.sum())
    is_covered = [
        estimate.low <= true <= estimate.high
        for estimate in (weighted_share(weights, rng.random(len(weights)) < wrong) for _ in range(1000))
    ]
    assert np.mean(is_covered) >= 0.95


def test_the_weighted_share_of_nothing_and_of_all() -> None:
    empty = weighted_share([], [])
    assert np.isnan(empty.value)
    assert (empty.low, empty.high, empty.n) == (0, 1, 0)
    all_hits = weighted_share([1, 5], [True, True])
    assert (all_hits.value, all_hits.high) == (1, 1)
    assert all_hits.low < 1
