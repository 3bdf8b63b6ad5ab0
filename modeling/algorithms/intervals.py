"""Intervals of shares, and how little labels tell that belong together: neighbours are right or wrong together.

The variance of a share from whole groups and what it makes of an interval: Leslie Kish, *Survey Sampling* (1965);
Edward L. Korn and Barry I. Graubard, *Confidence intervals for proportions with small expected number of positive
counts estimated from survey data*, Survey Methodology 24 (1998); with Wilson's interval: Carolina Franco and others,
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
    """How many independent labels would tell the share of the right ones, or another mean, as surely as these.

    Parameters
    ----------
    right
        (n,) whether each was told rightly, or any numbers whose mean is asked for.
    groups
        (n,) numbers, equal for labels that belong together; None: no two do.
    confidence
        Of the interval that is to be made of it: with few groups their spread is itself uncertain, and the normal
        quantile stands for that of Student's t with as many degrees of freedom.

    Returns
    -------
    n where all groups are of one label; otherwise no more than n. 0 for a single group, of which nothing can be told.

    Notes
    -----
    n divided by the design effect: the variance of a ratio of group totals (linearised, G / (G - 1) times the sum over
    groups of squared surpluses) over that of n independent labels, never below 1; then times the squared ratio of t
    quantiles with n - 1 and G - 1 degrees of freedom. Where all are the same no spread can be seen, and each group
    counts as if it were of one mind: Kish's n^2 / sum of squared sizes. O(n log n).
    """
    n = right.size
    if groups is None or not n:
        return float(n)
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_groups = sizes.size
    if n_groups == n:
        return float(n)
    if n_groups < 2:
        return 0.0
    if (right == right[0]).all():
        return n * n / float(np.square(sizes).sum())
    surplus = np.bincount(place, weights=right - right.mean())
    variance = n_groups / (n_groups - 1) * float(np.square(surplus).sum()) / n**2
    effect = max(1.0, variance / (float(right.var()) / n))
    quantiles = stdtrit(np.array([n - 1, n_groups - 1]), 0.5 + confidence / 2)
    return float(n / effect * (quantiles[0] / quantiles[1]) ** 2)


def grouped_interval(
    right: NDArray[np.bool_], groups: NDArray[np.integer[Any]] | None, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's interval of the share of the right ones among as many labels as these are worth; (0, 1) for none."""
    effective = effective_labels(right, groups, confidence=confidence)
    if not effective:
        return 0.0, 1.0
    n_right = int(np.count_nonzero(right))
    # Exactly all of them where all are right: no rounding may take the upper end from 1.
    share = effective if n_right == right.size else n_right / right.size * effective
    return wilson_interval(share, effective, confidence)


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for a share of ``successes`` in ``n`` trials, also in fractions; (0, 1) for none.

    Raises ValueError for fewer than 0 or more than ``n`` successes, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"There cannot be {successes} successes in {n} trials.")
    if not 0 < confidence < 1:
        raise ValueError("confidence must lie between 0 and 1.")
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + confidence / 2))
    share = successes / n
    middle = share + z * z / (2 * n)
    reach = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    scale = 1 + z * z / n
    # At the ends the bound is exactly the share; rounding must not push it past.
    lower = 0.0 if successes == 0 else (middle - reach) / scale
    upper = 1.0 if successes == n else (middle + reach) / scale
    return lower, upper


def exact_interval(
    successes: NDArray[np.float64], n: NDArray[np.float64], confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact interval of Clopper and Pearson (Biometrika 26, 1934) of shares, also in fractions.

    It never covers less often than it says, which Wilson's does for shares near 1. (0, 1) where ``n`` is 0.
    """
    tail = (1 - confidence) / 2
    failures = n - successes
    with np.errstate(invalid="ignore"):
        low = np.where(successes > 0, betaincinv(np.maximum(successes, 1e-12), failures + 1, tail), 0.0)
        high = np.where(failures > 1e-9, betaincinv(successes + 1, np.maximum(failures, 1e-12), 1 - tail), 1.0)
    return low, high
