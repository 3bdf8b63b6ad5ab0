"""Suspects: labels that the model doubts, from probabilities of models that had not seen them.

Curtis Northcutt, Lu Jiang and Isaac Chuang, *Confident learning: estimating uncertainty in dataset labels*, Journal
of Artificial Intelligence Research 70 (2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import Doubles, Floats


@dataclass(frozen=True)
class Suspects:
    """How far each label can be believed. All by position of the labelled item."""

    belief: Floats  # (n,) the probability of the label itself, small for one in doubt; NaN where the probabilities are
    suggested: NDArray[np.int64]  # (n,) the likeliest class; the given one where the probabilities are NaN
    is_suspect: NDArray[np.bool_]  # (n,) as many as there are thought to be errors, the most doubted
    n_errors: int  # how many labels are thought to be wrong


def suspects(P: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]]) -> Suspects:
    """Judge the labels ``y`` (n,) by out-of-fold probabilities ``P`` (n, c).

    A class's threshold is the mean probability that its own items give it. Items that reach the threshold of
    another class are counted as that class; from the counts follows how many labels are wrong. So many with the
    least probability of their own label are the suspects, except where it is the likeliest class nevertheless: on
    planted errors they hold more of them than pruning each pair of classes by its count (benchmarks/algorithms.py).

    Labels outside the columns are an IndexError. No rows give empty arrays; with a single class nothing is suspect.
    O(n c + n log n).
    """
    P = np.asarray(P, np.float64)
    n, c = P.shape
    known = ~np.isnan(P).any(axis=1)
    suggested: NDArray[np.int64] = y.astype(np.int64)
    is_suspect = np.zeros(n, bool)
    belief = np.where(known, 1.0, np.nan)
    n_errors = 0
    if known.any() and c > 1:
        some, given = P[known], suggested[known]
        suggested[known] = some.argmax(axis=1)
        belief[known] = some[np.arange(len(given)), given]
        n_errors = _n_wrong(_confident_joint(some, given))
        least = np.argsort(belief, kind="stable")[:n_errors]  # NaN is sorted to the end
        is_suspect[least] = suggested[least] != y[least]
    return Suspects(belief.astype(np.float32), suggested, is_suspect, n_errors)


def _confident_joint(P: Doubles, y: NDArray[np.int64]) -> Doubles:
    """(c, c) how many items are labelled as the row's class and surely are of the column's, in items of y."""
    c = P.shape[1]
    counts = np.bincount(y, minlength=c)
    sums = np.zeros(c)
    np.add.at(sums, y, P[np.arange(len(y)), y])
    with np.errstate(invalid="ignore"):
        threshold = np.where(counts > 0, sums / counts, np.inf)
    needed = threshold - 1e-6
    sure = needed <= P
    n_sure = sure.sum(axis=1)
    guess = np.where(n_sure > 1, P.argmax(axis=1), sure.argmax(axis=1))
    joint = np.zeros((c, c))
    np.add.at(joint, (y[n_sure > 0], guess[n_sure > 0]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    share = joint / joint.sum(axis=1, keepdims=True)
    return np.asarray(share * counts[:, None])


def _n_wrong(joint: Doubles) -> int:
    """How many labels to doubt: the whole numbers of each class for each other class."""
    wrong = np.rint(joint).astype(np.int64)
    np.fill_diagonal(wrong, 0)
    return int(wrong.sum())
