"""Honest numbers from labels: accuracy with its interval, corrected for how items were chosen, and a forecast.

Edwin B. Wilson, *Probable inference*, Journal of the American Statistical Association 22 (1927); Sebastian Farquhar,
Yarin Gal and Tom Rainforth, *On statistical bias in active learning*, ICLR 2021 (LURE); the power law of learning
curves after Corinna Cortes and others, *Learning curves*, NIPS 1993.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.intervals import effective_labels
from modeling.algorithms.rows import Doubles

Z95 = NormalDist().inv_cdf(0.975)
EXPONENTS = np.geomspace(0.05, 2.0, 40)
DRAWS = 400


@dataclass(frozen=True)
class Estimate:
    """A share with its interval; (NaN, 0, 1) when nothing is known."""

    value: float
    low: float
    high: float
    n: float  # labels it rests on; for a corrected estimate, how many plain ones tell as much


@dataclass(frozen=True)
class Forecast:
    """The accuracy to expect at numbers of labels, with intervals. Arrays (m,)."""

    sizes: Doubles
    values: Doubles
    low: Doubles
    high: Doubles


def wilson(n_right: float, n: float, *, z: float = Z95) -> Estimate:
    """Share ``n_right`` of ``n`` with Wilson's score interval, 95 % unless ``z`` says otherwise.

    Fractions are allowed (an effective number of labels). No labels: (NaN, 0, 1). ValueError when
    ``n_right`` lies outside 0 … n.
    """
    if not 0 <= n_right <= n:
        raise ValueError("The number right must lie between 0 and the number of labels.")
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    share = n_right / n
    spread = z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    low = 0.0 if n_right == 0 else max(0.0, float(middle - half))
    high = 1.0 if n_right == n else min(1.0, float(middle + half))
    return Estimate(share, low, high, float(n))


def wilson_continuous(n_right: float, n: float, *, z: float = Z95) -> Estimate:
    """The same with Newcombe's correction for continuity, which keeps the promise for small ``n`` too.

    Robert G. Newcombe, *Two-sided confidence intervals for the single proportion*, Statistics in Medicine 17 (1998),
    method 4. Never narrower than `wilson`. Refuses and answers nothing as `wilson` does.
    """
    plain = wilson(n_right, n, z=z)
    if n == 0:
        return plain
    p, spread = plain.value, 2 * (n + z * z)

    def edge(sign: int) -> float:
        inside = z * z - 1 / n + 4 * n * p * (1 - p) - sign * (4 * p - 2)
        return float((2 * n * p + z * z + sign * (z * np.sqrt(max(0.0, inside)) + 1)) / spread)

    low = 0.0 if n_right == 0 else max(0.0, min(plain.low, edge(-1)))
    high = 1.0 if n_right == n else min(1.0, max(plain.high, edge(1)))
    return Estimate(p, low, high, float(n))


def wilson_grouped(right: NDArray[np.bool_], groups: NDArray[np.int64] | None, *, z: float = Z95) -> Estimate:
    """The same of as many labels as ``right`` (m,) are worth, those of equal ``groups`` (m,) belonging together."""
    share, worth = float(np.mean(right)), _worth(right, groups)
    told = wilson_continuous(share * worth, worth, z=z)
    return Estimate(share, told.low, told.high, worth)


def _worth(right: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> float:
    """One label at least: a single group tells of itself."""
    return max(1.0, effective_labels(right, groups))


def labels_to_halve(told: Estimate, *, z: float = Z95) -> int:
    """How many more labels would halve the interval of a share, if the share stays as it is. O(log n)."""
    if not told.n:
        raise ValueError("Nothing is known yet that could be halved.")
    goal = _width(told.value, told.n, z) / 2
    low, high = 0, 1
    while _width(told.value, told.n + high, z) > goal:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _width(told.value, told.n + middle, z) > goal else (low, middle)
    return high


def _width(share: float, n: float, z: float) -> float:
    told = wilson_continuous(share * n, n, z=z)
    return told.high - told.low


def weighted_share(weights: ArrayLike, is_hit: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """The weight of the hits (m,) bool among ``weights`` (m,) above 0, with an interval that few heavy hits don't fool.

    Each of the drawn stands for as many others as its weight says. ``n`` is their number. Nothing drawn: (NaN, 0, 1).
    See `share_of_sums`.
    """
    given, hit = np.asarray(weights, np.float64), np.asarray(is_hit, bool)
    hits = given[hit]
    largest = float(given.max(initial=0))
    sums = float(given.sum()), float(hits.sum()), float(np.square(hits).sum())
    return share_of_sums(len(given), *sums, largest, confidence=confidence)


def share_of_sums(
    n: int, total: float, hits: float, squared_hits: float, largest: float, *, confidence: float = 0.95
) -> Estimate:
    """What `weighted_share` says, from sums that a database can make.

    ``n`` weights in all, their ``total`` and the ``largest``; ``hits`` and ``squared_hits`` are the sums of the
    weights of the hits and of their squares.

    Notes
    -----
    The gamma interval for weighted sums of rare events, which for equal weights is the exact one of Poisson counts:
    Michael P. Fay and Eric J. Feuer, *Confidence intervals for directly standardized rates*, Statistics in
    Medicine 16 (1997). Conservative: it allows for one more hit of the largest weight.
    """
    from scipy.special import gammaincinv  # few pages show such a number, and SciPy takes a moment to load

    if not n:
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    value, variance, largest = hits / total, squared_hits / total**2, largest / total
    tail = (1 - confidence) / 2
    low = variance / value * gammaincinv(value**2 / variance, tail) if hits else 0.0
    above, spread = value + largest, variance + largest**2
    high = min(1.0, float(spread / above * gammaincinv(above**2 / spread, 1 - tail)))
    return Estimate(value, float(low), max(high, value), float(n))


def lure_weights(probabilities: ArrayLike, n_pool: int) -> Doubles:
    """(m,) weights that make the mean over chosen items unbiased for the pool they were chosen from.

    Parameters
    ----------
    probabilities
        (m,) with which each item took its place, given those before it, in order of choice; in (0, 1].
    n_pool
        Items in the pool before the first choice, at least m.

    Returns
    -------
    Weights whose mean is 1 in expectation; all 1 when every item was drawn uniformly from what was left, and
    all 1 when the whole pool was chosen.

    Raises
    ------
    ValueError
        More choices than items, or a probability outside (0, 1].

    Notes
    -----
    Farquhar, Gal and Rainforth (2021), R_LURE. Unbiased only if every item left could have been chosen at every
    place, as it can where the audit's share is above 0.
    """
    q = np.asarray(probabilities, np.float64)
    m = len(q)
    if m > n_pool:
        raise ValueError("More items were chosen than the pool holds.")
    if m and not ((q > 0) & (q <= 1)).all():
        raise ValueError("Selection probabilities must lie above 0 and be at most 1.")
    place = np.arange(1, m + 1)
    if m == n_pool:
        return np.ones(m)
    left = n_pool - place
    return np.asarray(1 + (n_pool - m) / left * (1 / ((left + 1) * q) - 1))


def corrected(right: ArrayLike, probabilities: ArrayLike, n_pool: int, *, z: float = Z95) -> Estimate:
    """Accuracy over the whole pool from items however chosen, with a Wilson interval of as many plain labels.

    ``right`` (m,) whether a model that had not learnt from the item was right about it; the others as in
    `lure_weights`. The weights are normalised to mean 1, which costs a bias of order 1/m and keeps the value in
    [0, 1] where weights are not negative; no items give (NaN, 0, 1).
    """
    hits = np.asarray(right, np.float64)
    weights = lure_weights(probabilities, n_pool)
    if not len(hits):
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    value = float(np.clip(weights @ hits / weights.sum(), 0, 1))
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    interval = wilson(value * effective, effective, z=z)
    return Estimate(value, interval.low, interval.high, effective)


def of_collection(
    right: NDArray[np.bool_],
    is_audit: NDArray[np.bool_],
    n_items: int,
    groups: NDArray[np.int64] | None = None,
    *,
    z: float = Z95,
) -> Estimate:
    """Accuracy over a whole collection of which some items were drawn by chance and others chosen in any way.

    Parameters
    ----------
    right
        (m,) for each labelled item, in the order of the labels, whether a model that had not learnt from it was
        right about it.
    is_audit
        (m,) whether the item was drawn uniformly from what had no label yet.
    n_items
        Items in the collection, labelled or not; at least m.
    groups
        (m,) numbers, equal for items that belong together, each judged by a fit that saw none of its group; None: no
        two do.

    Returns
    -------
    Estimate
        ``n`` is how many plain labels the audit is worth, at most as many as it has. Without audit labels
        (NaN, 0, 1).

    Raises
    ------
    ValueError
        More labels than items.

    Notes
    -----
    A draw stands for what had no label at its time, and what had one is known: each draw alone makes an unbiased
    estimate of the whole, and the mean is taken over all. This is the estimator of Farquhar, Gal and Rainforth
    (2021) with the audit's draws alone, so that queues without chance may come between. While few items of many
    are labelled it is the plain share of the audit. The interval is Wilson's with the
    correction for continuity, of as many labels as those of the audit are worth with their weights: the plain one
    held the truth in fewer replays than it promises where there were few (benchmarks/audit.py). Draws of one group are
    right or wrong together, as the next group will be: by their design effect they are worth fewer. O(m log m).
    """
    m = len(right)
    if m > n_items:
        raise ValueError("More items are labelled than the collection has.")
    if not is_audit.any():
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    before = np.arange(m)[is_audit]
    known = np.concatenate([[0], np.cumsum(right)])[before]
    left = (n_items - before).astype(np.float64)
    value = min(1.0, float(np.mean((known + left * right[is_audit]) / n_items)))
    effective = float(left.sum() ** 2 / np.square(left).sum())
    if groups is not None:
        effective = max(1.0, effective * _worth(right[is_audit], groups[is_audit]) / len(left))
    interval = wilson_continuous(value * effective, effective, z=z)
    return Estimate(value, interval.low, interval.high, effective)


def forecast(
    sizes: ArrayLike,
    accuracies: ArrayLike,
    trials: ArrayLike,
    at: ArrayLike,
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Forecast:
    """How accuracy may go on from where it is: by the growth of a - b n^-c with 0 <= b and a <= 1.

    The curve is a weighted least squares fit; its growth is added to the accuracy at the largest size, which is
    best known, and so the forecast never falls below it where ``at`` lies beyond.

    Parameters
    ----------
    sizes, accuracies, trials
        (m,) labels learnt from, the accuracy measured then, and on how many items it was measured.
    at
        (p,) numbers of labels to forecast for.
    rng
        For the bootstrap: each draw measures every accuracy again, binomially, and fits again.

    Returns
    -------
    Forecast
        Values and 95 % intervals for ``at``. The interval says how sure the curve is if the power law holds
        and what is measured stays as it is; it doesn't know about a change of the task.

    Raises
    ------
    ValueError
        Fewer than three different sizes, sizes or trials below 1, accuracies outside [0, 1], or NaN.
    """
    n, accuracy, count, ahead = (np.asarray(a, np.float64) for a in (sizes, accuracies, trials, at))
    if len(np.unique(n)) < 3:
        raise ValueError("A forecast needs the accuracy at three numbers of labels or more.")
    if not ((n >= 1).all() and (count >= 1).all() and ((accuracy >= 0) & (accuracy <= 1)).all()):
        raise ValueError("Sizes and trials start at 1, and accuracies lie between 0 and 1.")
    # Half a success more and less, so that 0 and 1 are not taken for certain.
    smooth = (accuracy * count + 0.5) / (count + 1)
    weights = count / (smooth * (1 - smooth))
    newest = len(n) - 1 - int(n[::-1].argmax())

    def onward(seen: Doubles) -> Doubles:
        fitted = _power_law(n, seen, weights, np.append(ahead, n[newest]))
        return np.clip(seen[:, newest, None] + fitted[:, :-1] - fitted[:, -1:], 0, 1)

    value = onward(accuracy[None])[0]
    again = rng.binomial(np.rint(count).astype(np.int64), smooth, size=(draws, len(n))) / np.rint(count)
    low, high = np.quantile(onward(again), [0.025, 0.975], axis=0)
    return Forecast(ahead, value, np.minimum(low, value), np.maximum(high, value))


def _power_law(n: Doubles, accuracy: Doubles, weights: Doubles, at: Doubles) -> Doubles:
    """(draws, p) the best fit's values at ``at`` for each row of ``accuracy`` (draws, m).

    For a given exponent the best a and b are a weighted line, held to 0 <= b and a <= 1; the exponent is the
    best of a grid.
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
        # Where the line would end above 1, the best one through 1 takes its place.
        over = a > 1
        through_one = ((1 - accuracy) * weights) @ x / (weights @ np.square(x))
        a, b = np.where(over, 1, a), np.where(over, np.maximum(through_one, 0), b)
        loss = np.square(accuracy - a[:, None] + b[:, None] * x) @ weights
        better = loss < best_loss
        best_loss[better] = loss[better]
        ahead = a[:, None] - b[:, None] * (at / n.min()) ** -exponent
        best[better] = ahead[better]
    return np.clip(best, 0, 1)
