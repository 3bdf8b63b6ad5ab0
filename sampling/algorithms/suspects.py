"""Find suspects: labels that out-of-fold predictions contradict, by confident learning.

Curtis Northcutt, Lu Jiang and Isaac Chuang, *Confident learning: estimating uncertainty in dataset labels*, Journal of
Artificial Intelligence Research 70 (2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import Doubles, Floats


@dataclass(frozen=True)
class Suspects:
    """How likely each label is to be correct. All arrays are by position of the labeled item."""

    self_confidence: Floats  # (n,) probability of the label itself, low for a doubtful one; NaN where probabilities are
    suggested: NDArray[np.int64]  # (n,) the predicted class; the label itself where probabilities are NaN
    is_suspect: NDArray[np.bool_]  # (n,) the least confident labels, at most the estimated number of errors
    n_errors: int  # estimated number of wrong labels


def suspects(P: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]]) -> Suspects:
    """Find likely errors among the labels ``y`` (n,) from out-of-fold probabilities ``P`` (n, c).

    The threshold of a class is the mean self-confidence of its items. Items that reach the threshold of another class
    count as that class, and these counts give an estimate of the number of wrong labels. That many labels with the
    lowest self-confidence are suspects, unless they are the predicted class. On planted errors this finds more of them
    than pruning each pair of classes by its count (benchmarks/algorithms.py).

    Labels outside the columns raise IndexError. No rows give empty arrays; with a single class nothing is suspect. O(n
    c + n log n).
    """
    P = np.asarray(P, np.float64)
    n, c = P.shape
    is_valid = ~np.isnan(P).any(axis=1)
    suggested: NDArray[np.int64] = y.astype(np.int64)
    is_suspect = np.zeros(n, bool)
    self_confidence = np.where(is_valid, 1.0, np.nan)
    n_errors = 0
    if is_valid.any() and c > 1:
        probabilities, labels = P[is_valid], suggested[is_valid]
        suggested[is_valid] = probabilities.argmax(axis=1)
        self_confidence[is_valid] = probabilities[np.arange(len(labels)), labels]
        n_errors = _n_wrong(_confident_joint(probabilities, labels))
        least = np.argsort(self_confidence, kind="stable")[:n_errors]  # NaN sorts last
        is_suspect[least] = suggested[least] != y[least]
    return Suspects(self_confidence.astype(np.float32), suggested, is_suspect, n_errors)


def _confident_joint(P: Doubles, y: NDArray[np.int64]) -> Doubles:
    """Return the confident joint (c, c): counts by label (rows) and confidently predicted class (columns).

    Rows are scaled to the counts of the labels in ``y``.
    """
    c = P.shape[1]
    counts = np.bincount(y, minlength=c)
    sums = np.zeros(c)
    np.add.at(sums, y, P[np.arange(len(y)), y])
    with np.errstate(invalid="ignore"):
        threshold = np.where(counts > 0, sums / counts, np.inf)
    needed = threshold - 1e-6
    is_confident = needed <= P
    n_confident = is_confident.sum(axis=1)
    guess = np.where(n_confident > 1, P.argmax(axis=1), is_confident.argmax(axis=1))
    joint = np.zeros((c, c))
    np.add.at(joint, (y[n_confident > 0], guess[n_confident > 0]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    share = joint / joint.sum(axis=1, keepdims=True)
    return np.asarray(share * counts[:, None])


def _n_wrong(joint: Doubles) -> int:
    """Return the estimated number of wrong labels: the off-diagonal counts, each rounded."""
    wrong = np.rint(joint).astype(np.int64)
    np.fill_diagonal(wrong, 0)
    return int(wrong.sum())
