"""Estimate accuracy from a random sample of labels and the model's confidence on all unlabeled items.

Anastasios N. Angelopoulos and others, *Prediction-powered inference*, Science 382 (2023); Anastasios N. Angelopoulos,
John C. Duchi and Tijana Zrnic, *PPI++: efficient prediction-powered inference* (2023), whose power tuning is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import Doubles
from sampling.algorithms.estimates import Z95, AuditDraws, Estimate, audit_draws, wilson_continuous

# What calibrated confidences imply about the size of the correction and its gain counts as much as this many labels.
PRIOR_LABELS = 20
# The interval is never narrower than with 1 / 0.3 times the labels.
MIN_VARIANCE_RATIO = 0.3
# With fewer labels, held-out predictions vary more than independent ones would (docs/explanation/audited-accuracy.md):
# the corrected estimate then gets the interval of the plain one.
MIN_LABELS = 200


@dataclass(frozen=True)
class _Pools:
    """The items without a label at each draw (a,): their mean confidence, and its mean and variance over all draws."""

    means: Doubles
    mean: float
    variance: float


def powered_accuracy(
    right: NDArray[np.bool_],
    confidence: Doubles,
    is_audit: NDArray[np.bool_],
    unlabeled: Doubles,
    *,
    z: float = Z95,
) -> Estimate:
    """Return the accuracy over a whole collection, corrected by the confidence on its unlabeled items.

    Parameters
    ----------
    right, is_audit
        (m,) as in `collection_accuracy`, for each labeled item in order of labeling.
    confidence
        (m,) probability of the predicted class, from the same held-out prediction as ``right``.
    unlabeled
        (u,) the same for every item without a label, from the model that is judged.

    Returns
    -------
    Estimate
        ``n`` is the number of randomly drawn labels that would give the same interval without the correction.
        Without audit labels (NaN, 0, 1).

    Notes
    -----
    A draw that happens to be easier than the items it represents has a confidence above their mean. Each draw's
    estimate for these items is therefore ``right - λ (confidence - their mean confidence)``: unbiased for any λ and
    any model, and λ = 0 is the plain estimate. The best λ is cov(right, confidence) / var(confidence) / (1 + a / u);
    1 if confidences are calibrated. The interval is Wilson's with continuity correction at the plain effective sample
    size divided by the ratio ρ of the corrected to the plain variance. λ and ρ combine what calibrated confidences
    imply (a label is Bernoulli with its confidence) and the sample, the former with the weight of `PRIOR_LABELS`.
    ρ = 1 with fewer than `MIN_LABELS` labels. Items must be independent: with groups, confidences on groups that have
    labels say nothing about the accuracy on others.
    O(m log m + u).
    """
    draws = audit_draws(right, is_audit, len(right) + len(unlabeled))
    if not len(draws.right):
        return Estimate(float("nan"), 0.0, 1.0, 0.0)
    hits, sure = draws.right.astype(np.float64), confidence[is_audit].astype(np.float64)
    pools = _pools(draws, confidence, unlabeled)
    power = _power(hits, sure, len(draws.right) / max(1, len(unlabeled)))
    value = float(np.clip(draws.mean_share(hits - power * (sure - pools.means)), 0, 1))
    effective = draws.n_effective
    if len(right) >= MIN_LABELS:
        effective /= _variance_ratio(hits, sure, pools, power)
    interval = wilson_continuous(value * effective, effective, z=z)
    return Estimate(value, interval.low, interval.high, effective)


def _pools(draws: AuditDraws, confidence: Doubles, unlabeled: Doubles) -> _Pools:
    """Describe the items that each draw represents: those still unlabeled, and those labeled by it or after it."""

    def totals(values: Doubles, others: Doubles) -> Doubles:
        return np.asarray(np.cumsum(values[::-1], dtype=np.float64)[::-1][draws.ranks] + others.sum(dtype=np.float64))

    sums, squares = totals(confidence, unlabeled), totals(np.square(confidence), np.square(unlabeled))
    n_all = draws.n_unlabeled.sum()
    mean = float(sums.sum() / n_all)
    return _Pools(sums / draws.n_unlabeled, mean, max(0.0, float(squares.sum() / n_all) - mean**2))


def _power(hits: Doubles, sure: Doubles, share: float) -> float:
    """Return the sample's power-tuned λ, shrunk toward 1, in [0, 1]; ``share`` is labels per unlabeled item."""
    tuned = 1.0
    if sure.var() > 0:
        tuned = float(np.mean((hits - hits.mean()) * (sure - sure.mean())) / sure.var()) / (1 + share)
    return float(np.clip(_with_prior(1.0, tuned, len(hits)), 0, 1))


def _variance_ratio(hits: Doubles, sure: Doubles, pools: _Pools, power: float) -> float:
    """Return ρ in [`MIN_VARIANCE_RATIO`, 1]: the variance of the corrected draws relative to the plain ones."""
    of_labels = pools.mean * (
        1 - pools.mean
    )  # variance of a label; its covariance with the confidence is pools.variance
    expected = 1 - (2 * power - power**2) * pools.variance / of_labels if of_labels > 0 else 1.0
    observed = float((hits - power * sure).var() / hits.var()) if hits.var() > 0 else 1.0
    return float(np.clip(_with_prior(expected, observed, len(hits)), MIN_VARIANCE_RATIO, 1))


def _with_prior(prior: float, observed: float, n: int) -> float:
    return (PRIOR_LABELS * prior + n * observed) / (PRIOR_LABELS + n)
