"""Suspects: labels that the model doubts, from probabilities of models that had not seen them.

Curtis Northcutt, Lu Jiang and Isaac Chuang, *Confident learning: estimating uncertainty in dataset labels*, Journal
of Artificial Intelligence Research 70 (2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sampling.algorithms.rows import Doubles, Floats

Doubt = Literal["margin", "self confidence"]


@dataclass(frozen=True)
class Suspects:
    """How far each label can be believed. All by position of the labelled item."""

    belief: Floats  # (n,) in [0, 1], small for a label in doubt; NaN where the probabilities are
    suggested: NDArray[np.int64]  # (n,) the likeliest class; the given one where the probabilities are NaN
    is_suspect: NDArray[np.bool_]  # (n,) as many as there are thought to be errors, the most doubted
    n_errors: int  # how many labels are thought to be wrong


def suspects(P: NDArray[np.floating[Any]], y: NDArray[np.integer[Any]], *, by: Doubt = "self confidence") -> Suspects:
    """Judge the labels ``y`` (n,) by out-of-fold probabilities ``P`` (n, c).

    A class's threshold is the mean probability that its own items give it. Items that reach the threshold of
    another class are counted as that class; from the counts follows how many of each class's labels belong to
    each other class, and so many with the widest lead of that class are the suspects (pruning by noise rate).

    ``by`` orders belief by the label's own probability, or by its lead over the best other class. Labels outside
    the columns are an IndexError. No rows give empty arrays; with a single class nothing is suspect. O(n c).
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
        belief[known] = _beliefs(some, given, by)
        wrong = _wrong(_confident_joint(some, given))
        is_suspect[known] = _pruned(some, given, wrong)
        n_errors = int(wrong.sum())
    return Suspects(belief.astype(np.float32), suggested, is_suspect, n_errors)


def _beliefs(P: Doubles, y: NDArray[np.int64], by: Doubt) -> Doubles:
    own = P[np.arange(len(y)), y]
    if by == "self confidence":
        return own
    others = P.copy()
    others[np.arange(len(y)), y] = -np.inf
    return np.asarray((own - others.max(axis=1) + 1) / 2)


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


def _wrong(joint: Doubles) -> NDArray[np.int64]:
    """(c, c) whole numbers of labels to doubt of each class for each other class."""
    wrong = np.rint(joint).astype(np.int64)
    np.fill_diagonal(wrong, 0)
    return wrong


def _pruned(P: Doubles, y: NDArray[np.int64], wrong: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) the labels that another class beats by the widest lead, so many of each pair of classes."""
    is_suspect = np.zeros(len(y), bool)
    for label, instead in zip(*np.nonzero(wrong), strict=True):
        members = np.flatnonzero(y == label)
        lead = P[members, instead] - P[members, label]
        is_suspect[members[np.argsort(-lead, kind="stable")[: wrong[label, instead]]]] = True
    is_suspect[P.argmax(axis=1) == y] = False
    return is_suspect
