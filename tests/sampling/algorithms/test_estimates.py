"""Intervals, corrections and forecasts against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from sampling.algorithms.estimates import corrected, forecast, lure_weights, wilson
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
    """The parts deal the items that the model gets wrong; the plain mean is far off, the corrected one not."""
    n, share_right = 1000, 0.8
    right = np.zeros(n, bool)
    right[: int(n * share_right)] = True
    hard = Part("hard", np.arange(n - 1, -1, -1), 1.0)
    values, plain, covered = [], [], 0
    for seed in range(200):
        dealt = mix([hard], np.arange(n), 150, rng=np.random.default_rng(seed), audit_share=0.3)
        got = corrected(right[dealt.rows], dealt.probabilities, n)
        values.append(got.value)
        plain.append(right[dealt.rows].mean())
        covered += got.low <= share_right <= got.high
        assert got.n < 150
    assert np.mean(plain) < 0.4
    assert np.mean(values) == pytest.approx(share_right, abs=0.02)
    assert covered >= 186


def test_correction_of_nothing() -> None:
    got = corrected([], [], 10)
    assert np.isnan(got.value)
    assert (got.low, got.high) == (0, 1)


def curve(n: np.ndarray) -> np.ndarray:
    return 0.93 - 1.4 * n**-0.5


def test_forecast_finds_a_power_law() -> None:
    n = np.array([40, 80, 160, 320, 640])
    got = forecast(n, curve(n), np.full(5, 10**7), [1280, 5000], rng=np.random.default_rng(0))
    np.testing.assert_allclose(got.values, curve(np.array([1280, 5000])), atol=0.004)
    assert (got.low <= got.values).all()
    assert (got.values <= got.high).all()


def test_forecast_interval_holds_the_truth_about_as_often_as_promised() -> None:
    n = np.array([50, 100, 150, 200, 300, 400, 600])
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        seen = rng.binomial(200, curve(n)) / 200
        got = forecast(n, seen, np.full(len(n), 200), [1000], rng=rng, draws=100)
        hits += bool(got.low[0] <= curve(np.array([1000]))[0] <= got.high[0])
    assert hits >= 51


def test_forecast_never_rises_above_1_and_a_flat_curve_stays_flat() -> None:
    n = [10, 20, 40, 80]
    got = forecast(n, [0.5, 0.7, 0.9, 1.0], [20] * 4, [100, 10**6], rng=np.random.default_rng(0))
    assert (got.values <= 1).all()
    assert (got.high <= 1).all()
    flat = forecast(n, [0.6] * 4, [500] * 4, [1000], rng=np.random.default_rng(0))
    assert flat.values[0] == pytest.approx(0.6, abs=1e-6)
    falling = forecast(n, [0.9, 0.8, 0.7, 0.6], [500] * 4, [1000], rng=np.random.default_rng(0))
    assert 0.6 < falling.values[0] < 0.9


@pytest.mark.parametrize(
    ("n", "accuracy", "trials"),
    [
        ([10, 20], [0.5, 0.6], [9, 9]),
        ([10, 10, 20], [0.5, 0.6, 0.7], [9, 9, 9]),
        ([10, 20, 30], [0.5, 0.6, 1.7], [9, 9, 9]),
        ([10, 20, 30], [0.5, 0.6, float("nan")], [9, 9, 9]),
        ([10, 20, 30], [0.5, 0.6, 0.7], [9, 9, 0]),
    ],
)
def test_forecast_refuses_what_says_nothing(n: list[int], accuracy: list[float], trials: list[int]) -> None:
    with pytest.raises(ValueError):
        forecast(n, accuracy, trials, [100], rng=np.random.default_rng(0))
