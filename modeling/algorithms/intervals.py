"""Compute confidence intervals of proportions, also where labels of the same group are correlated.

Variance from whole groups and the intervals derived from it: Leslie Kish, *Survey Sampling* (1965);
Edward L. Korn and Barry I. Graubard, *Confidence intervals for proportions with small expected number of positive
counts estimated from survey data*, Survey Methodology 24 (1998). With Wilson's interval: Carolina Franco and others,
*Comparative study of confidence intervals for proportions in complex sample surveys*, Journal of Survey Statistics and
Methodology 7 (2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit


def effective_labels(
    right: NDArray[Any], groups: NDArray[np.integer[Any]] | None, *, confidence: float = 0.95
) -> float:
    """Return the effective sample size: how many independent labels would give the mean with the same precision.

    Parameters
    ----------
    right
        (n,) whether each prediction is correct, or any numbers whose mean is estimated.
    groups
        (n,) group of each label; None: labels are independent.
    confidence
        Level of the interval that will use the result. With few groups the variance between them is itself
        uncertain, so the result accounts for Student's t with as many degrees of freedom in place of the normal
        quantile.

    Returns
    -------
    n if every group has one label, otherwise at most n. 0 for a single group, which gives no variance.

    Notes
    -----
    n divided by the design effect: the linearized variance of a ratio of group totals (G / (G - 1) times the sum over
    groups of squared residual totals) divided by the variance of n independent labels, at least 1. The result is
    multiplied by the squared ratio of t quantiles with n - 1 and G - 1 degrees of freedom. If all values are equal, no
    variance can be observed, and labels of a group count as perfectly correlated: Kish's n^2 / sum of squared sizes.
    O(n log n).
    """
    n = right.size
    if groups is None or not n:
        return float(n)
    _, position, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_groups = sizes.size
    if n_groups == n:
        return float(n)
    if n_groups < 2:
        return 0.0
    if (right == right[0]).all():
        return n * n / float(np.square(sizes).sum())
    residuals = np.bincount(position, weights=right - right.mean())
    variance = n_groups / (n_groups - 1) * float(np.square(residuals).sum()) / n**2
    effect = max(1.0, variance / (float(right.var()) / n))
    quantiles = stdtrit(np.array([n - 1, n_groups - 1]), 0.5 + confidence / 2)
    return float(n / effect * (quantiles[0] / quantiles[1]) ** 2)


def grouped_interval(
    right: NDArray[np.bool_], groups: NDArray[np.integer[Any]] | None, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return Wilson's interval of the share of correct labels at the effective sample size; (0, 1) without labels."""
    effective = effective_labels(right, groups, confidence=confidence)
    if not effective:
        return 0.0, 1.0
    n_right = int(np.count_nonzero(right))
    # If all are correct, use the sample size itself, so that rounding cannot move the upper bound below 1.
    successes = effective if n_right == right.size else n_right / right.size * effective
    return wilson_interval(successes, effective, confidence)


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (1927) for ``successes`` in ``n`` trials; (0, 1) for n = 0.

    Both may be fractions. Raises ValueError if ``successes`` is negative or more than ``n``, or if the confidence is
    outside (0, 1).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"There cannot be {successes} successes in {n} trials.")
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1.")
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    share = successes / n
    center = share + z * z / (2 * n)
    half_width = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    scale = 1 + z * z / n
    # At 0 or n successes the bound equals the share exactly; rounding must not push it further.
    lower = 0.0 if successes == 0 else (center - half_width) / scale
    upper = 1.0 if successes == n else (center + half_width) / scale
    return lower, upper


def exact_interval(
    successes: NDArray[np.float64], n: NDArray[np.float64], confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact interval of Clopper and Pearson (Biometrika 26, 1934), also for fractional counts.

    Its coverage is never below the nominal level, unlike Wilson's for shares near 1. (0, 1) where ``n`` is 0.
    """
    tail = (1 - confidence) / 2
    failures = n - successes
    with np.errstate(invalid="ignore"):
        low = np.where(successes > 0, betaincinv(np.maximum(successes, 1e-12), failures + 1, tail), 0.0)
        high = np.where(failures > 1e-9, betaincinv(successes + 1, np.maximum(failures, 1e-12), 1 - tail), 1.0)
    return low, high
