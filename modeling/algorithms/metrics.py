"""Measure the quality of predicted probabilities: calibration error, log loss, Brier score, confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.intervals import grouped_interval

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

MAX_BINS, MIN_ROWS_PER_BIN = 15, 12
# Probabilities are clipped to this: a true class with probability 0 would cost infinity.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Reliability:
    """The bars of a reliability diagram: one per non-empty bin, by rising confidence."""

    confidence: NDArray[np.float64]  # (b,) mean probability of the predicted class
    accuracy: NDArray[np.float64]  # (b,) share of correct predictions
    lower: NDArray[np.float64]  # (b,) confidence interval of the accuracy, see `grouped_interval`
    upper: NDArray[np.float64]  # (b,)
    count: NDArray[np.int64]  # (b,) rows

    @property
    def error(self) -> float:
        """Return the expected calibration error: the mean of abs(accuracy - confidence), weighted by rows."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))

    def as_rows(self) -> list[dict[str, float | int]]:
        """Return one JSON-serializable dict per bin."""
        return [
            {
                "confidence": float(self.confidence[bin_]),
                "accuracy": float(self.accuracy[bin_]),
                "lower": float(self.lower[bin_]),
                "upper": float(self.upper[bin_]),
                "count": int(self.count[bin_]),
            }
            for bin_ in range(self.count.size)
        ]


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: how often each class was predicted for each true class."""

    counts: NDArray[np.int64]  # (c, c): rows are the truth, columns the prediction

    @property
    def precision(self) -> NDArray[np.float64]:
        """Return the precision of each class (c,), NaN for classes that were never predicted."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Return the recall of each class (c,), NaN for classes without rows."""
        return _share(np.diagonal(self.counts), self.counts.sum(axis=1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Return the F1 score of each class (c,), NaN for classes without rows."""
        total = self.counts.sum(axis=0) + self.counts.sum(axis=1)
        score = _share(2 * np.diagonal(self.counts), total)
        return np.where(self.counts.sum(axis=1) > 0, score, np.nan)


def suitable_bins(n: int) -> int:
    """Return a suitable number of bins for ``n`` rows: at most 15, each with at least 12 rows to limit noise."""
    return min(MAX_BINS, max(1, n // MIN_ROWS_PER_BIN))


def reliability(probabilities: Floats, y: Integers, *, n_bins: int = 15, groups: Integers | None = None) -> Reliability:
    """Bin predictions by confidence into bins of equal mass and compare confidence with accuracy.

    Rows of equal confidence always share a bin (the bin of the first of them), so the result does not depend on the
    order of the rows. Empty bins are left out.

    Parameters
    ----------
    probabilities
        (n, c), rows sum to 1.
    y
        (n,) true class positions in ``0..c-1``.
    n_bins
        Maximum number of bins.
    groups
        (n,) group of each row, for the intervals; None: rows are independent.

    Raises
    ------
    ValueError
        If there are no rows, shapes do not match, values are NaN, or a class has no column.

    Notes
    -----
    O(n log n). Equal-mass bins after Nixon et al., "Measuring calibration in deep learning" (2019).
    """
    probabilities, y = _validated(probabilities, y)
    if n_bins < 1:
        raise ValueError("n_bins must be at least 1.")
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == y).astype(np.float64)
    first_rank = np.searchsorted(np.sort(confidence), confidence, side="left")
    bins = first_rank * n_bins // confidence.size
    count = np.bincount(bins, minlength=n_bins)
    used = count > 0
    hits = np.bincount(bins, weights=correct, minlength=n_bins)[used]
    total = np.bincount(bins, weights=confidence, minlength=n_bins)[used]
    count = count[used]
    within = [bins == bin_ for bin_ in np.flatnonzero(used)]
    intervals = np.array(
        [grouped_interval(correct[here] > 0, None if groups is None else groups[here]) for here in within]
    )
    return Reliability(
        confidence=total / count,
        accuracy=hits / count,
        lower=intervals[:, 0],
        upper=intervals[:, 1],
        count=count.astype(np.int64),
    )


def expected_calibration_error(probabilities: Floats, y: Integers, *, n_bins: int = 15) -> float:
    """Return the mean distance between confidence and accuracy over bins of equal mass, in 0..1 (see `reliability`).

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning" (2015), top label only.
    """
    return reliability(probabilities, y, n_bins=n_bins).error


def log_loss(probabilities: Floats, y: Integers) -> float:
    """Return the mean negative log probability (nats) of the true class, with probabilities clipped at 1.2e-7."""
    probabilities, y = _validated(probabilities, y)
    own = probabilities[np.arange(y.size), y].astype(np.float64)
    return float(-np.log(np.clip(own, SMALLEST_PROBABILITY, 1.0)).mean())


def brier(probabilities: Floats, y: Integers) -> float:
    """Return the Brier score (Brier, 1950): the mean squared distance (0..2) of rows from the one-hot truth."""
    probabilities, y = _validated(probabilities, y)
    wide = probabilities.astype(np.float64)
    own = wide[np.arange(y.size), y]
    return float((np.square(wide).sum(axis=1) - 2.0 * own + 1.0).mean())


def confusion(y: Integers, predicted: Integers, n_classes: int) -> Confusion:
    """Count pairs of true and predicted class, both (n,) positions in ``0..n_classes-1``."""
    y, predicted = np.asarray(y), np.asarray(predicted)
    if y.shape != predicted.shape or y.ndim != 1:
        raise ValueError("True and predicted classes must be two lists of the same length.")
    for values in (y, predicted):
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < n_classes:
            raise ValueError(f"A class lies outside 0..{n_classes - 1}.")
    pairs = y.astype(np.int64) * n_classes + predicted
    counts = np.bincount(pairs, minlength=n_classes * n_classes).reshape(n_classes, n_classes)
    return Confusion(counts.astype(np.int64))


def _share(part: Integers, whole: Integers) -> NDArray[np.float64]:
    result = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _validated(probabilities: Floats, y: Integers) -> tuple[Floats, Integers]:
    probabilities, y = np.asarray(probabilities), np.asarray(y)
    if probabilities.ndim != 2 or y.shape != probabilities.shape[:1]:
        raise ValueError("Probabilities must be (n, c) and come with n true classes.")
    if y.size == 0:
        raise ValueError("There are no rows to measure.")
    if not np.isfinite(probabilities).all():
        raise ValueError("Some probabilities are NaN or infinite. Leave those rows out.")
    if not 0 <= int(y.min()) <= int(y.max()) < probabilities.shape[1]:
        raise ValueError(f"A true class lies outside 0..{probabilities.shape[1] - 1}.")
    return probabilities, y
