"""Extrapolate the accuracy to more labels by a learning curve.

The power law of learning curves is that of Corinna Cortes and others, *Learning curves*, NIPS 1993.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modeling.algorithms.rows import Doubles

EXPONENTS = np.geomspace(0.05, 2.0, 40)
N_BOOTSTRAP = 400
# For the band of the gain. Successive estimates share most of their audit labels, so a fit does not average their
# errors out: each counts with this share of its trials. And accuracy fluctuates between versions like FLUCTUATION times
# the mean of as many trials as labels. With these the band covered 94 to 100 % in replays (benchmarks/audit.py).
SHARE_OF_TRIALS, FLUCTUATION = 0.5, 0.8


@dataclass(frozen=True)
class Forecast:
    """The expected accuracy at numbers of labels, or its gain, with intervals. Arrays (m,)."""

    sizes: Doubles
    values: Doubles
    low: Doubles
    high: Doubles


def forecast(
    sizes: ArrayLike,
    accuracies: ArrayLike,
    trials: ArrayLike,
    at: ArrayLike,
    *,
    rng: np.random.Generator,
    n_bootstrap: int = N_BOOTSTRAP,
) -> Forecast:
    """Extrapolate the accuracy from its current value along the power law a - b n^-c with 0 <= b and a <= 1.

    The curve is a weighted least-squares fit. Its growth is added to the accuracy at the largest size, which is
    measured best, so the forecast is never below it where ``at`` lies beyond.

    Parameters
    ----------
    sizes, accuracies, trials
        (m,) numbers of training labels, the accuracy measured with them, and on how many items it was measured.
    at
        (p,) numbers of labels to forecast for.
    rng
        For the bootstrap: each repetition draws every accuracy again from a binomial distribution, and fits again.

    Returns
    -------
    Forecast
        Values and 95 % intervals for ``at``. The interval covers the uncertainty of the curve if the power law
        holds and the task does not change.

    Raises
    ------
    ValueError
        If there are fewer than three different sizes, sizes or trials below 1, accuracies outside [0, 1], or NaN.
    """
    curve = _Curve(sizes, accuracies, trials, at)

    def extrapolate(measured: Doubles) -> Doubles:
        return np.clip(measured[:, curve.newest, None] + curve.growth(measured), 0, 1)

    return _with_band(
        curve, extrapolate(curve.accuracy[None])[0], extrapolate(curve.resampled(curve.count, rng, n_bootstrap))
    )


def forecast_gain(
    sizes: ArrayLike,
    accuracies: ArrayLike,
    trials: ArrayLike,
    at: ArrayLike,
    *,
    rng: np.random.Generator,
    n_bootstrap: int = N_BOOTSTRAP,
) -> Forecast:
    """Extrapolate how much more accurate the model will be at ``at`` labels than it is at the largest size.

    Parameters and errors are those of `forecast`; ``at`` lies beyond the largest size. ``values`` are the growth of
    the fitted curve, at least 0. The band leaves out the uncertainty of the current accuracy, which more labels do not
    change. It covers that of the curve, from `SHARE_OF_TRIALS` of the trials, and the fluctuation between two versions
    of n and n' labels with the accuracy p, of standard deviation `FLUCTUATION` times sqrt(p (1 - p) (1/n - 1/n')).
    """
    curve = _Curve(sizes, accuracies, trials, at)
    draws = curve.growth(curve.resampled(np.maximum(1, SHARE_OF_TRIALS * curve.count), rng, n_bootstrap))
    share, n = curve.smooth[curve.newest], curve.n[curve.newest]
    deviation = FLUCTUATION * np.sqrt(share * (1 - share) * np.maximum(0, 1 / n - 1 / curve.targets))
    fluctuation = rng.standard_normal((n_bootstrap, 1)) * deviation
    return _with_band(curve, curve.growth(curve.accuracy[None])[0], draws + fluctuation)


class _Curve:
    """Measured accuracies (m,) by number of labels, with the weights of a fit, and the sizes to extrapolate to."""

    def __init__(self, sizes: ArrayLike, accuracies: ArrayLike, trials: ArrayLike, at: ArrayLike) -> None:
        n, accuracy, count, targets = (np.asarray(a, np.float64) for a in (sizes, accuracies, trials, at))
        if len(np.unique(n)) < 3:
            raise ValueError("A forecast needs the accuracy at three or more numbers of labels.")
        if not ((n >= 1).all() and (count >= 1).all() and ((accuracy >= 0) & (accuracy <= 1)).all()):
            raise ValueError("Sizes and trials must be at least 1, and accuracies must lie between 0 and 1.")
        self.n, self.accuracy, self.count, self.targets = n, accuracy, count, targets
        # Add half a success and half a failure, so that 0 and 1 do not count as certain.
        self.smooth = (accuracy * count + 0.5) / (count + 1)
        self.weights = count / (self.smooth * (1 - self.smooth))
        self.newest = len(n) - 1 - int(n[::-1].argmax())

    def growth(self, measured: Doubles) -> Doubles:
        """Return the growth (draws, p) from the largest size of fits to ``measured`` (draws, m)."""
        fitted = _power_law(self.n, measured, self.weights, np.append(self.targets, self.n[self.newest]))
        return np.asarray(fitted[:, :-1] - fitted[:, -1:])

    def resampled(self, count: Doubles, rng: np.random.Generator, draws: int) -> Doubles:
        """Return the accuracies measured again on ``count`` (m,) items, (draws, m)."""
        trials = np.rint(count)
        return np.asarray(rng.binomial(trials.astype(np.int64), self.smooth, size=(draws, len(self.n))) / trials)


def _with_band(curve: _Curve, values: Doubles, draws: Doubles) -> Forecast:
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return Forecast(curve.targets, values, np.minimum(low, values), np.maximum(high, values))


def _power_law(n: Doubles, accuracy: Doubles, weights: Doubles, at: Doubles) -> Doubles:
    """Return the values (draws, p) at ``at`` of the best fit to each row of ``accuracy`` (draws, m).

    For a given exponent, the best a and b are a weighted linear fit, constrained to 0 <= b and a <= 1; the exponent is
    the best of a grid.
    """
    best_loss = np.full(len(accuracy), np.inf)
    best = np.empty((len(accuracy), len(at)))
    total = weights.sum()
    mean_y = accuracy @ weights / total
    for exponent in EXPONENTS:
        x = (n / n.min()) ** -exponent
        mean_x = x @ weights / total
        b = -(((accuracy - mean_y[:, None]) * weights) @ (x - mean_x)) / (weights @ np.square(x - mean_x))
        b = np.maximum(b, 0)
        a = mean_y + b * mean_x
        # If the line would end above 1, use the best line through 1.
        over = a > 1
        through_one = ((1 - accuracy) * weights) @ x / (weights @ np.square(x))
        a, b = np.where(over, 1, a), np.where(over, np.maximum(through_one, 0), b)
        loss = np.square(accuracy - a[:, None] + b[:, None] * x) @ weights
        better = loss < best_loss
        best_loss[better] = loss[better]
        values = a[:, None] - b[:, None] * (at / n.min()) ** -exponent
        best[better] = values[better]
    return np.clip(best, 0, 1)
