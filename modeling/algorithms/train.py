"""From labelled rows to a calibrated classifier and an honest account of its quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.calibration import (
    TEMPERATURE_PRIOR_SD,
    Calibrated,
    Folds,
    OutOfFold,
    calibrate,
    choose_folds,
    fit_folds,
    fit_temperature,
    judge,
    logit_log_loss,
    softmax,
)
from modeling.algorithms.features import Float32, Rows, Standardised, standardise
from modeling.algorithms.head import (
    DEFAULT_C,
    Head,
    Solution,
    checked_rows,
    plain_head,
    row_weights,
    solve,
    standard_start,
)
from modeling.algorithms.intervals import effective_labels, grouped_interval
from modeling.algorithms.metrics import brier, confusion, reliability, suitable_bins
from modeling.algorithms.scaling import Calibration, Method

Integers = NDArray[np.integer[Any]]
ClassWeights = Literal["equal", "balanced"]

# The penalty is weakened or strengthened by this factor for as long as that predicts held-out labels better, within
# these bounds: beyond them nothing was won on any collection, see docs/calibration.md.
CHANGE_OF_C = 3.0
WEAKEST_C, STRONGEST_C = DEFAULT_C * CHANGE_OF_C**3, DEFAULT_C / CHANGE_OF_C**3
# Above this temperature a stronger penalty is tried first, below it a weaker one: mostly the way that leads on.
TOO_WEAK = 0.8
# So many held-out labels show whether another penalty is better.
LABELS_FOR_TRIAL = 500


@dataclass(frozen=True)
class Trained:
    """A classifier ready to predict, and what is known about it."""

    head: Head
    calibration: Calibration
    is_calibrated: bool
    note: str  # how it was calibrated, or why not, in words
    metrics: dict[str, Any]  # JSON-able; see `train`
    # (n, c) what models that had not seen a row say about it, by calibrations fitted without it; None without folds
    held_out: Float32 | None = None

    @property
    def temperature(self) -> float:
        """By which the logits are divided; 1 where they are corrected otherwise, or not at all."""
        return self.calibration.temperature


def train(
    X: Rows,
    y: ArrayLike,
    *,
    n_classes: int,
    seed: int = 0,
    start: Head | None = None,
    class_weights: ClassWeights = "equal",
    method: Method = "temperature",
    is_audit: NDArray[np.bool_] | None = None,
    groups: Integers | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Fit the head, choose its penalty and calibration on held-out labels, and measure it.

    Parameters
    ----------
    X
        (n, d) labelled rows, finite.
    y
        (n,) class positions in ``0..n_classes-1``; at least two classes have a label.
    n_classes
        Number of columns of the probabilities.
    seed
        Decides the folds.
    start
        An earlier head of the same shape to begin from; classes that it does not know have `ABSENT_LOGIT`.
    class_weights
        ``balanced``: every class counts the same in the fits and in the choice of their penalty, however few labels it
        has. Everything is measured, and calibrated, with every label counting the same.
    method
        How probabilities are corrected, see `calibrate`.
    is_audit
        (n,) which labels were drawn by chance; None: as if all were.
    groups
        (n,) numbers, equal for labels that belong together; None: no two do. None of a group is ever predicted by a fit
        that has seen another of it, and intervals are as wide as so many groups allow.
    on_progress
        Called with (fits done, fits to do); may raise to stop.

    Returns
    -------
    Trained
        ``metrics`` holds ``n_labels n_per_class n_folds C accuracy accuracy_interval n_effective ece_before ece_after
        log_loss_before log_loss_after brier_before brier_after confusion reliability reliability_before precision
        recall f1 n_iter converged calibration_method class_weights``. Every number is out of fold: accuracy, confusion
        (rows are the truth), precision, recall and F1 over all labels; the others over labels whose class has another
        label to learn from. What is called *after* uses, for each label, a calibration fitted without its fold. All
        of them are None when there are too few labels to hold any out, and ``note`` says so. ``held_out`` gives the
        probability 0 to the class of a row that no other fold holds.

    Raises
    ------
    ValueError
        Rows that are not finite, labels that do not fit, or labels of one class only.

    Notes
    -----
    The penalty is the best of at most five by held-out log loss, which flatters the reported numbers by a hair.
    """
    X, labels = checked_rows(X, y, n_classes)
    folds = choose_folds(labels, seed, groups)
    steps = _Steps(1 + folds.n_folds, on_progress)
    rows = standardise(X)
    lesson = _Lesson(rows, labels, n_classes, row_weights(labels, n_classes, None, _weight(class_weights)), steps)
    begin = None if start is None else standard_start(rows, start, n_classes)
    if folds.fold is None:
        head = plain_head(rows, lesson.fit(DEFAULT_C, begin))
        metrics = _metrics(labels, folds, head, DEFAULT_C, n_classes) | {"class_weights": class_weights}
        return Trained(head, Calibration(), False, folds.reason, metrics)
    C, full, tried = _choose(lesson, folds.fold, begin)
    rest = dict.fromkeys(np.setdiff1d(folds.fold, list(tried)).tolist(), full)
    held = judge(rows, labels, folds.fold, tried | lesson.fit_without(folds.fold, rest, C))
    head = plain_head(rows, full)
    told = calibrate(held, labels, folds.fold, method=method, is_audit=is_audit, is_grouped=groups is not None)
    metrics = _metrics(labels, folds, head, C, n_classes) | _quality(held, labels, told, n_classes, groups)
    metrics |= {"calibration_method": told.calibration.method, "class_weights": class_weights}
    note = (
        told.note
        if method != "none"
        else f"not calibrated, as chosen; measured {told.note.removeprefix('calibrated ')}"
    )
    return Trained(head, told.calibration, method != "none", note, metrics, softmax(told.logits))


def _weight(class_weights: ClassWeights) -> Literal["balanced"] | None:
    return "balanced" if class_weights == "balanced" else None


class _Steps:
    """Counts the fits for whoever watches."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.count, self.total, self.on_progress = 0, total, on_progress

    def done(self) -> None:
        self.count += 1
        if self.on_progress is not None:
            self.on_progress(self.count, self.total)

    def more(self, n: int) -> None:
        self.total += n


@dataclass(frozen=True)
class _Lesson:
    """What all fits have in common."""

    rows: Standardised
    y: Integers
    n_classes: int
    weight: Float32  # (n,)
    steps: _Steps

    def fit(self, C: float, start: Solution | None) -> Solution:
        """The classifier of all labels."""
        solution = solve(self.rows.Z, self.y, n_classes=self.n_classes, C=C, weight=self.weight, start=start)
        self.steps.done()
        return solution

    def fit_without(self, folds: Integers, starts: Mapping[int, Solution | None], C: float) -> dict[int, Solution]:
        """For each fold in ``starts`` the classifier of all others."""
        return fit_folds(
            self.rows,
            self.y,
            folds,
            n_classes=self.n_classes,
            starts=starts,
            C=C,
            weight=self.weight,
            on_fold=self.steps.done,
        )


def _choose(lesson: _Lesson, folds: Integers, begin: Solution | None) -> tuple[float, Solution, dict[int, Solution]]:
    """The penalty with the lowest held-out log loss, by steps away from the default; all labels, and folds, fitted so.

    A step is judged on some folds, all of them while labels are few, with a temperature of its own each time. The first
    that is no better ends the way in its direction. With many labels all of them are fitted once, when the penalty is
    known.
    """
    every = np.unique(folds).tolist()
    trial = every[: min(len(every), -(-LABELS_FOR_TRIAL * len(every) // lesson.y.size))]

    def fit(starts: Mapping[int, Solution], C: float) -> tuple[dict[int, Solution], float, float]:
        solutions = lesson.fit_without(folds, starts, C)
        return solutions, *_held_out_loss(judge(lesson.rows, lesson.y, folds, solutions), lesson.y, lesson.weight)

    if len(trial) == len(every):
        first = lesson.fit(DEFAULT_C, begin)
    else:
        lesson.steps.more(1)
        first = lesson.fit_without(folds, {trial[0]: begin}, DEFAULT_C)[trial[0]]
    tried, temperature, least = fit(dict.fromkeys(trial, first), DEFAULT_C)
    best = DEFAULT_C
    for change in (1 / CHANGE_OF_C, CHANGE_OF_C) if temperature > TOO_WEAK else (CHANGE_OF_C, 1 / CHANGE_OF_C):
        others = tried
        while STRONGEST_C * 0.99 < best * change < WEAKEST_C * 1.01:
            lesson.steps.more(len(trial))
            others, _, loss = fit(others, best * change)
            if loss >= least:
                break
            best, least, tried = best * change, loss, others
        if best != DEFAULT_C:
            break
    if len(trial) < len(every):
        return best, lesson.fit(best, tried[trial[0]]), tried
    if best == DEFAULT_C:
        return best, first, tried
    lesson.steps.more(1)
    return best, lesson.fit(best, first), tried


def _held_out_loss(held: OutOfFold, y: Integers, weight: Float32) -> tuple[float, float]:
    """The temperature for held-out logits, and their log loss at it; infinite where nothing knew their classes."""
    if not held.known.any():
        return 1.0, float("inf")
    logits, labels, weight = held.logits[held.known], y[held.known], weight[held.known]
    temperature = fit_temperature(logits, labels, prior_sd=TEMPERATURE_PRIOR_SD, weight=weight)
    return temperature, logit_log_loss(logits, labels, temperature, weight)


def _metrics(y: Integers, folds: Folds, head: Head, C: float, n_classes: int) -> dict[str, Any]:
    """Every key of the account, with None for what takes held-out labels."""
    unknown = (
        "accuracy accuracy_interval n_effective ece_before ece_after log_loss_before log_loss_after brier_before "
        "brier_after confusion precision recall f1 reliability reliability_before"
    )
    return dict.fromkeys(unknown.split()) | {
        "n_labels": int(y.size),
        "n_per_class": np.bincount(y, minlength=n_classes).tolist(),
        "n_folds": folds.n_folds,
        "C": C,
        "n_iter": head.n_iter,
        "converged": head.converged,
        "calibration_method": "none",
    }


def _quality(held: OutOfFold, y: Integers, told: Calibrated, n_classes: int, groups: Integers | None) -> dict[str, Any]:
    """What the held-out logits say, as JSON-able numbers."""
    # As the probabilities that are kept say: only a temperature never changes which class is the likeliest.
    predicted = softmax(told.logits).argmax(axis=1)
    right = predicted == y
    table = confusion(y, predicted, n_classes)
    labels = y[held.known]
    logits, corrected = held.logits[held.known], told.logits[held.known]
    before, after = softmax(logits), softmax(corrected)
    known_groups = None if groups is None else groups[held.known]
    n_bins = suitable_bins(labels.size)
    bars_before = reliability(before, labels, n_bins=n_bins, groups=known_groups)
    bars_after = reliability(after, labels, n_bins=n_bins, groups=known_groups)
    return {
        "accuracy": int(np.count_nonzero(right)) / y.size,
        "accuracy_interval": list(grouped_interval(right, groups)),
        "n_effective": effective_labels(right, groups),
        "ece_before": bars_before.error,
        "ece_after": bars_after.error,
        "log_loss_before": logit_log_loss(logits, labels),
        "log_loss_after": logit_log_loss(corrected, labels),
        "brier_before": brier(before, labels),
        "brier_after": brier(after, labels),
        "confusion": table.counts.tolist(),
        "precision": _or_none(table.precision),
        "recall": _or_none(table.recall),
        "f1": _or_none(table.f1),
        "reliability": bars_after.as_rows(),
        "reliability_before": bars_before.as_rows(),
    }


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    """NaN is not JSON."""
    return [None if np.isnan(value) else float(value) for value in values]
