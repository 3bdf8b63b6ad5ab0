"""Estimate accuracy from labels with confidence intervals, corrected for how items were selected.

Edwin B. Wilson, *Probable inference*, Journal of the American Statistical Association 22 (1927); Sebastian Farquhar,
Yarin Gal and Tom Rainforth, *On statistical bias in active learning*, ICLR 2021 (LURE).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.intervals import effective_labels
from modeling.algorithms.rows import Doubles

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Estimate:
    """A share with its interval; (NaN, 0, 1) without labels."""

    value: float
    low: float
    high: float
    n: float  # number of labels; for a corrected estimate, the effective sample size


def wilson(n_right: float, n: float, *, z: float = Z95) -> Estimate:
    """Return the share ``n_right`` / ``n`` with Wilson's score interval, 95 % unless ``z`` differs.

    Both may be fractions (an effective sample size). Without labels: (NaN, 0, 1). Raises ValueError if ``n_right`` is
    outside 0 … n.
    """
    if not 0 <= n_right <= n:
        raise ValueError("The number of correct labels must lie between 0 and the number of labels.")
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    share = n_right / n
    z2_n = z * z / n
    center = (share + z2_n / 2) / (1 + z2_n)
    half_width = z * np.sqrt(share * (1 - share) / n + z2_n / (4 * n)) / (1 + z2_n)
    low = 0.0 if n_right == 0 else max(0.0, float(center - half_width))
    high = 1.0 if n_right == n else min(1.0, float(center + half_width))
    return Estimate(share, low, high, float(n))


def wilson_continuous(n_right: float, n: float, *, z: float = Z95) -> Estimate:
    """Return the Wilson interval with Newcombe's continuity correction, which has nominal coverage for small ``n`` too.

    Robert G. Newcombe, *Two-sided confidence intervals for the single proportion*, Statistics in Medicine 17 (1998),
    method 4. Never narrower than `wilson`; same errors and same result without labels.
    """
    uncorrected = wilson(n_right, n, z=z)
    if n == 0:
        return uncorrected
    p, denominator = uncorrected.value, 2 * (n + z * z)

    def edge(sign: int) -> float:
        inside = z * z - 1 / n + 4 * n * p * (1 - p) - sign * (4 * p - 2)
        return float((2 * n * p + z * z + sign * (z * np.sqrt(max(0.0, inside)) + 1)) / denominator)

    low = 0.0 if n_right == 0 else max(0.0, min(uncorrected.low, edge(-1)))
    high = 1.0 if n_right == n else min(1.0, max(uncorrected.high, edge(1)))
    return Estimate(p, low, high, float(n))


def wilson_grouped(right: NDArray[np.bool_], groups: NDArray[np.int64] | None, *, z: float = Z95) -> Estimate:
    """Return the `wilson_continuous` interval of ``right`` (m,) at the effective sample size given ``groups`` (m,)."""
    share, n_effective = float(np.mean(right)), _effective_labels(right, groups)
    interval = wilson_continuous(share * n_effective, n_effective, z=z)
    return Estimate(share, interval.low, interval.high, n_effective)


def _effective_labels(right: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> float:
    """Return the effective sample size, at least 1: a single group still counts once."""
    return max(1.0, effective_labels(right, groups))


def labels_to_halve(estimate: Estimate, *, z: float = Z95) -> int:
    """Return how many more labels would halve the interval of a share, if the share stays the same. O(log n)."""
    if not estimate.n:
        raise ValueError("There is no interval to halve without labels.")
    goal = _width(estimate.value, estimate.n, z) / 2
    low, high = 0, 1
    while _width(estimate.value, estimate.n + high, z) > goal:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _width(estimate.value, estimate.n + middle, z) > goal else (low, middle)
    return high


def _width(share: float, n: float, z: float) -> float:
    interval = wilson_continuous(share * n, n, z=z)
    return interval.high - interval.low


def weighted_share(weights: ArrayLike, is_hit: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Return the weighted share of hits (m,) bool with positive ``weights`` (m,) and a conservative interval.

    Each sampled item represents as many items as its weight. The interval allows for few hits of large weight. ``n`` is
    the number of items. Without items: (NaN, 0, 1). See `share_of_sums`.
    """
    all_weights, hit = np.asarray(weights, np.float64), np.asarray(is_hit, bool)
    hits = all_weights[hit]
    largest = float(all_weights.max(initial=0))
    sums = float(all_weights.sum()), float(hits.sum()), float(np.square(hits).sum())
    return share_of_sums(len(all_weights), *sums, largest, confidence=confidence)


def share_of_sums(
    n: int, total: float, hits: float, squared_hits: float, largest: float, *, confidence: float = 0.95
) -> Estimate:
    """Return the result of `weighted_share` from sums that a database can compute.

    ``n`` is the number of weights, ``total`` their sum and ``largest`` their maximum; ``hits`` and ``squared_hits`` are
    the sums of the weights of the hits and of their squares.

    Notes
    -----
    The gamma interval for weighted sums of rare events, which is the exact Poisson interval for equal weights: Michael
    P. Fay and Eric J. Feuer, *Confidence intervals for directly standardized rates*, Statistics in Medicine 16 (1997).
    Conservative: it allows for one more hit of the largest weight.
    """
    from scipy.special import gammaincinv  # imported late: few pages need it, and SciPy is slow to import

    if not n:
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    value, variance, largest = hits / total, squared_hits / total**2, largest / total
    tail = (1 - confidence) / 2
    low = variance / value * gammaincinv(value**2 / variance, tail) if hits else 0.0
    above, spread = value + largest, variance + largest**2
    high = min(1.0, float(spread / above * gammaincinv(above**2 / spread, 1 - tail)))
    return Estimate(value, float(low), max(high, value), float(n))


def lure_weights(probabilities: ArrayLike, n_pool: int) -> Doubles:
    """Return weights (m,) that make the mean over selected items unbiased for the pool they were selected from.

    Parameters
    ----------
    probabilities
        (m,) probability with which each item was selected at its rank, given those before, in order of selection;
        in (0, 1].
    n_pool
        Items in the pool before the first selection, at least m.

    Returns
    -------
    Weights with expected mean 1; all 1 if every item was drawn uniformly from the rest, or the whole pool was selected.

    Raises
    ------
    ValueError
        If more items than the pool has were selected, or a probability is outside (0, 1].

    Notes
    -----
    Farquhar, Gal and Rainforth (2021), R_LURE. Unbiased only if every remaining item could have been selected at every
    rank, as is the case if the audit's share is positive.
    """
    q = np.asarray(probabilities, np.float64)
    m = len(q)
    if m > n_pool:
        raise ValueError("More items were selected than the pool has.")
    if m and not ((q > 0) & (q <= 1)).all():
        raise ValueError("Selection probabilities must lie above 0 and be at most 1.")
    rank = np.arange(1, m + 1)
    if m == n_pool:
        return np.ones(m)
    left = n_pool - rank
    return np.asarray(1 + (n_pool - m) / left * (1 / ((left + 1) * q) - 1))


def lure_estimate(right: ArrayLike, probabilities: ArrayLike, n_pool: int, *, z: float = Z95) -> Estimate:
    """Return the accuracy over the whole pool from items selected in any way, with a Wilson interval.

    ``right`` (m,) is whether a model not trained on the item predicted it correctly; for the others see `lure_weights`.
    Weights are normalized to mean 1, which adds a bias of order 1/m and keeps the value in [0, 1] if no weight is
    negative. The interval uses the effective sample size. Without items: (NaN, 0, 1).
    """
    hits = np.asarray(right, np.float64)
    weights = lure_weights(probabilities, n_pool)
    if not len(hits):
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    value = float(np.clip(weights @ hits / weights.sum(), 0, 1))
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    interval = wilson(value * effective, effective, z=z)
    return Estimate(value, interval.low, interval.high, effective)


def collection_accuracy(
    right: NDArray[np.bool_],
    is_audit: NDArray[np.bool_],
    n_items: int,
    groups: NDArray[np.int64] | None = None,
    *,
    z: float = Z95,
) -> Estimate:
    """Return the accuracy over a collection of which some items were sampled at random and others in any way.

    Parameters
    ----------
    right
        (m,) whether a model not trained on the item predicted it correctly, for each labeled item in order of labeling.
    is_audit
        (m,) whether the item was drawn uniformly from the unlabeled ones.
    n_items
        Items in the collection, labeled or not; at least m.
    groups
        (m,) group of each item, each predicted by a model not trained on any of its group; None: items are independent.

    Returns
    -------
    Estimate
        ``n`` is the effective sample size of the audit, at most its number of labels. Without audit labels (NaN, 0, 1).

    Raises
    ------
    ValueError
        If there are more labels than items.

    Notes
    -----
    Each random draw represents the items unlabeled at its time; those already labeled are known. So each draw alone
    gives an unbiased estimate of the whole, and the result is the mean over all draws. This is the estimator of
    Farquhar, Gal and Rainforth (2021) restricted to the audit, so that queues without randomness may come between.
    While few of many items are labeled, it equals the plain share of the audit. The interval is Wilson's with
    continuity correction, at the effective sample size of the audit given its weights: the uncorrected one had less
    than nominal coverage in replays with few labels (benchmarks/audit.py). Draws of the same group are correlated;
    their design effect reduces the effective sample size. O(m log m).
    """
    draws = audit_draws(right, is_audit, n_items)
    if not len(draws.right):
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    value = min(1.0, draws.mean_share(draws.right))
    effective = draws.n_effective
    if groups is not None:
        effective = max(1.0, effective * _effective_labels(draws.right, groups[is_audit]) / len(draws.right))
    interval = wilson_continuous(value * effective, effective, z=z)
    return Estimate(value, interval.low, interval.high, effective)


@dataclass(frozen=True)
class AuditDraws:
    """The random draws (a,) of a collection of ``n_items``, in order.

    ``right`` bool whether the item was predicted correctly, ``ranks`` int64 the number of items labeled before the
    draw, ``n_right_before`` int64 how many of those were predicted correctly.
    """

    right: NDArray[np.bool_]
    ranks: NDArray[np.int64]
    n_right_before: NDArray[np.int64]
    n_items: int

    @property
    def n_unlabeled(self) -> Doubles:
        """Return the number of items (a,) that each draw represents."""
        return (self.n_items - self.ranks).astype(np.float64)

    @property
    def n_effective(self) -> float:
        """Return the effective sample size given what the draws represent, at most their number."""
        return float(self.n_unlabeled.sum() ** 2 / np.square(self.n_unlabeled).sum())

    def mean_share(self, shares: NDArray[Any]) -> float:
        """Return the accuracy over the collection, given each draw's estimate (a,) for the items it represents."""
        return float(np.mean((self.n_right_before + self.n_unlabeled * shares) / self.n_items))


def audit_draws(right: NDArray[np.bool_], is_audit: NDArray[np.bool_], n_items: int) -> AuditDraws:
    """Return the random draws among labeled items (m,) in order of labeling; errors as in `collection_accuracy`."""
    if len(right) > n_items:
        raise ValueError("More items are labeled than the collection has.")
    ranks = np.arange(len(right))[is_audit]
    return AuditDraws(right[is_audit], ranks, np.concatenate([[0], np.cumsum(right)])[ranks], n_items)
