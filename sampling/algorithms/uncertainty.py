"""Compute uncertainty scores from class probabilities.

Burr Settles, *Active Learning Literature Survey*, University of Wisconsin-Madison TR 1648 (2009), section 3.1.
All functions take probabilities ``P`` (n, c) float32 and return (n,) float32 in [0, 1], larger for less certain rows. A
row with NaN gives NaN. A single class (c = 1) gives zeros.
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
    """Return one minus the difference of the two largest probabilities; O(n c)."""
    if P.shape[1] < 2:
        return _zeros(P)
    best, second = two_largest(P)
    return np.asarray(1 - (best - second), dtype=np.float32)


def entropy(P: Floats) -> Floats:
    """Return the Shannon entropy divided by its maximum, log c; O(n c)."""
    if P.shape[1] < 2:
        return _zeros(P)
    safe = np.maximum(P, np.finfo(np.float32).tiny)  # 0 log 0 = 0; NaN stays NaN
    nats = -np.einsum("ij,ij->i", P, np.log(safe))
    return np.asarray(nats / np.log(P.shape[1]), dtype=np.float32)


def least_confidence(P: Floats) -> Floats:
    """Return one minus the largest probability, divided by its maximum, 1 - 1/c; O(n c)."""
    if P.shape[1] < 2:
        return _zeros(P)
    return np.asarray((1 - largest(P)) / (1 - 1 / P.shape[1]), dtype=np.float32)


def largest(P: Floats) -> Floats:
    """Return the largest value of each row of ``P`` (n, c >= 1).

    O(n c), fastest in blocks that fit in the CPU cache.
    """
    return np.asarray(P.T.copy().max(axis=0), dtype=np.float32)


def two_largest(P: Floats) -> tuple[Floats, Floats]:
    """Return the two largest values of each row of ``P`` (n, c >= 2); O(n c).

    Works on transposed blocks that fit in the CPU cache: several times faster than columns of the whole array or a
    partition of each row.
    """
    best, second, smaller = (np.empty(len(P), P.dtype) for _ in range(3))
    for part in blocks(len(P), BLOCK):
        columns = P[part].T.copy()
        first, next_best, buffer = best[part], second[part], smaller[part]
        np.minimum(columns[0], columns[1], out=next_best)
        np.maximum(columns[0], columns[1], out=first)
        for value in columns[2:]:
            np.minimum(first, value, out=buffer)
            np.maximum(next_best, buffer, out=next_best)
            np.maximum(first, value, out=first)
    return best, second


def _zeros(P: Floats) -> Floats:
    return np.where(np.isnan(P).any(axis=1), np.float32(np.nan), np.float32(0))


MEASURES: dict[Measure, Callable[[Floats], Floats]] = {
    "margin": margin,
    "entropy": entropy,
    "least confidence": least_confidence,
}
