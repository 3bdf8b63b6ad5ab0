"""Uncertainty scores of class probabilities: how unsure a model is about each item.

Burr Settles, *Active Learning Literature Survey*, University of Wisconsin-Madison TR 1648 (2009), section 3.1.
All take ``P`` (n, c) float32 of probabilities by row and give (n,) float32 in [0, 1], larger meaning less sure;
a row with NaN gives NaN. One class (c = 1) leaves nothing to be unsure about: zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import blocks

Floats = NDArray[np.float32]
BLOCK = 8192
Measure = Literal["margin", "entropy", "least confidence"]


def margin(P: Floats) -> Floats:
    """One minus the lead of the likeliest class over the second; O(n c)."""
    if P.shape[1] < 2:
        return _nothing_unsure(P)
    best, second = two_largest(P)
    return np.asarray(1 - (best - second), dtype=np.float32)


def entropy(P: Floats) -> Floats:
    """Shannon entropy in units of its largest possible value, log c; O(n c)."""
    if P.shape[1] < 2:
        return _nothing_unsure(P)
    safe = np.maximum(P, np.finfo(np.float32).tiny)  # 0 log 0 = 0; NaN stays NaN
    nats = -np.einsum("ij,ij->i", P, np.log(safe))
    return np.asarray(nats / np.log(P.shape[1]), dtype=np.float32)


def least_confidence(P: Floats) -> Floats:
    """One minus the likeliest class's probability, in units of its largest possible value, 1 - 1/c; O(n c)."""
    if P.shape[1] < 2:
        return _nothing_unsure(P)
    return np.asarray((1 - largest(P)) / (1 - 1 / P.shape[1]), dtype=np.float32)


def largest(P: Floats) -> Floats:
    """The largest value of each row of ``P`` (n, c >= 1); O(n c), best in blocks that stay in the cache."""
    return np.asarray(P.T.copy().max(axis=0), dtype=np.float32)


def two_largest(P: Floats) -> tuple[Floats, Floats]:
    """The two largest values of each row of ``P`` (n, c >= 2); O(n c).

    In blocks of rows turned into columns, which stay in the cache: several times faster than going through the
    whole array column by column, and than a partition of each row.
    """
    best, second, smaller = (np.empty(len(P), P.dtype) for _ in range(3))
    for part in blocks(len(P), BLOCK):
        columns = P[part].T.copy()
        first, next_best, tried = best[part], second[part], smaller[part]
        np.minimum(columns[0], columns[1], out=next_best)
        np.maximum(columns[0], columns[1], out=first)
        for value in columns[2:]:
            np.minimum(first, value, out=tried)
            np.maximum(next_best, tried, out=next_best)
            np.maximum(first, value, out=first)
    return best, second


def _nothing_unsure(P: Floats) -> Floats:
    return np.where(np.isnan(P).any(axis=1), np.float32(np.nan), np.float32(0))


MEASURES: dict[Measure, Callable[[Floats], Floats]] = {
    "margin": margin,
    "entropy": entropy,
    "least confidence": least_confidence,
}
