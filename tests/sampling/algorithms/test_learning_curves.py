"""Test forecasts against curves that are known and against their nominal coverage."""

from __future__ import annotations

import numpy as np
import pytest

from sampling.algorithms.learning_curves import forecast, forecast_gain


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
        measured = rng.binomial(200, curve(n)) / 200
        got = forecast(n, measured, np.full(len(n), 200), [1000], rng=rng, n_bootstrap=100)
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
    assert falling.values[0] == pytest.approx(0.6)


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


def test_gain_is_the_growth_of_the_fitted_curve() -> None:
    n = np.array([40, 80, 160, 320, 640])
    at = np.array([700, 1280])
    got = forecast_gain(n, curve(n), np.full(5, 10**7), at, rng=np.random.default_rng(0))
    np.testing.assert_allclose(got.values, curve(at) - curve(np.array([640])), atol=0.004)
    both = forecast(n, curve(n), np.full(5, 10**7), at, rng=np.random.default_rng(0))
    np.testing.assert_allclose(got.values, both.values - curve(n)[-1])
    assert ((got.low < got.values) & (got.values < got.high)).all()


def test_band_of_the_gain_is_that_of_the_fluctuation_where_the_curve_is_certain() -> None:
    n = np.array([40, 80, 160, 320, 640])
    at = np.array([660, 960, 1280])
    certain = np.full(5, 10**9)
    got = forecast_gain(n, curve(n), certain, at, rng=np.random.default_rng(0), n_bootstrap=10_000)
    share = curve(n)[-1]
    expected = 0.8 * np.sqrt(share * (1 - share) * (1 / 640 - 1 / at))
    np.testing.assert_allclose((got.high - got.low) / (2 * 1.96), expected, rtol=0.05)


def test_gain_of_estimates_that_share_their_audit_labels_is_covered() -> None:
    """Judge each version by the audit labels so far: later estimates contain the draws of earlier ones."""
    n = np.array([50, 100, 150, 200, 300, 400, 600])
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        draws = rng.random(n[-1] // 2)
        measured = [(draws[: size // 2] < curve(size)).mean() for size in n]
        got = forecast_gain(n, measured, n // 2, [1200], rng=rng, n_bootstrap=100)
        hits += bool(got.low[0] <= curve(np.array([1200]))[0] - curve(n)[-1] <= got.high[0])
    assert hits >= 90
