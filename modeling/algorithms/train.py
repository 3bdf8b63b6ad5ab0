"""From labelled rows to a calibrated classifier and an honest account of its quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.calibration import (
    Folds,
    OutOfFold,
    choose_folds,
    cross_fitted_temperatures,
    fit_folds,
    fit_temperature,
    judge,
    logit_log_loss,
    softmax,
)
from modeling.algorithms.features import Float32, Rows, Standardised, standardise
from modeling.algorithms.head import DEFAULT_C, Head, Solution, checked_rows, plain_head, solve, standard_start
from modeling.algorithms.metrics import brier, confusion, reliability, wilson_interval

Integers = NDArray[np.integer[Any]]

# A temperature outside these says that the penalty was too strong (below) or too weak (above); it is then
# changed by this factor, if that predicts held-out labels better.
FITTING_TEMPERATURES = (0.9, 1.1)
CHANGE_OF_C = 3.0
# With fewer labels the better of two penalties is mostly luck.
MIN_LABELS_TO_CHOOSE = 50
# So many held-out labels show whether another penalty is worth trying on all.
LABELS_FOR_TRIAL = 200
TEMPERATURE_PRIOR_SD = 0.5
N_BINS = 15


@dataclass(frozen=True)
class Trained:
    """A classifier ready to predict, and what is known about it."""

    head: Head
    temperature: float
    is_calibrated: bool
    note: str  # how it was calibrated, or why not, in words
    metrics: dict[str, Any]  # JSON-able; see `train`
    # (n, c) what models that had not seen a row say about it, at temperatures fitted without it; None without folds
    held_out: Float32 | None = None


def train(
    X: Rows,
    y: ArrayLike,
    *,
    n_classes: int,
    seed: int = 0,
    start: Head | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Fit the head, choose its penalty and temperature on held-out labels, and measure it.

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
        An earlier head of the same shape to begin from.
    on_progress
        Called with (fits done, fits to do); may raise to stop.

    Returns
    -------
    Trained
        ``metrics`` holds ``n_labels n_folds C accuracy accuracy_interval ece_before ece_after
        log_loss_before log_loss_after brier_before brier_after confusion reliability precision recall
        n_iter converged``. Every number is out of fold: accuracy, confusion (rows are the truth), precision
        and recall over all labels; the others over labels whose class has another label to learn from. What
        is called *after* uses, for each label, a temperature fitted without its fold. All of them are None
        when there are too few labels to hold any out, and ``note`` says so. ``held_out`` gives the probability 0
        to the class of a row that no other fold holds.

    Raises
    ------
    ValueError
        Rows that are not finite, labels that do not fit, or labels of one class only.

    Notes
    -----
    The penalty is the better of at most two by held-out log loss, which flatters the reported numbers by a
    hair. A temperature other than 1 is kept only if it lowers the cross-fitted log loss.
    """
    X, labels = checked_rows(X, y, n_classes)
    folds = choose_folds(labels, seed)
    steps = _Steps(1 + folds.n_folds, on_progress)
    rows = standardise(X)
    begin = None if start is None else standard_start(rows, start, n_classes)
    full = solve(rows.Z, labels, n_classes=n_classes, start=begin)
    steps.done()
    if folds.fold is None:
        head = plain_head(rows, full)
        return Trained(head, 1.0, False, folds.reason, _metrics(labels, folds, head, DEFAULT_C))
    C, held = _choose(rows, labels, folds.fold, full, n_classes, steps)
    if C != DEFAULT_C:
        full = solve(rows.Z, labels, n_classes=n_classes, C=C, start=full)
    head = plain_head(rows, full)
    temperature, crossed = _calibrate(held, labels, folds.fold)
    metrics = _metrics(labels, folds, head, C) | _quality(held, labels, crossed[held.known], n_classes)
    after = softmax(held.logits / crossed[:, None])
    return Trained(head, temperature, True, _note(held, folds, temperature), metrics, after)


class _Steps:
    """Counts the fits for whoever watches."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.count, self.total, self.on_progress = 0, total, on_progress

    def done(self) -> None:
        self.count += 1
        if self.on_progress is not None:
            self.on_progress(self.count, self.total)


def _choose(
    rows: Standardised,
    y: Integers,
    folds: Integers,
    full: Solution,
    n_classes: int,
    steps: _Steps,
) -> tuple[float, OutOfFold]:
    """The penalty to use and its held-out logits: the default, or one that the temperature asks for."""

    def fit(starts: dict[int, Solution], C: float) -> dict[int, Solution]:
        return fit_folds(rows, y, folds, n_classes=n_classes, starts=starts, C=C, on_fold=steps.done)

    every = np.unique(folds).tolist()
    solutions = fit(dict.fromkeys(every, full), DEFAULT_C)
    held = judge(rows, y, folds, solutions)
    temperature, loss = _held_out_loss(held, y)
    coldest, hottest = FITTING_TEMPERATURES
    if y.size < MIN_LABELS_TO_CHOOSE or coldest <= temperature <= hottest:
        return DEFAULT_C, held
    C = DEFAULT_C * CHANGE_OF_C if temperature < coldest else DEFAULT_C / CHANGE_OF_C
    n_trial = min(len(every), -(-LABELS_FOR_TRIAL * len(every) // y.size))
    trial, rest = every[:n_trial], every[n_trial:]
    steps.total += n_trial
    others = fit({fold: solutions[fold] for fold in trial}, C)
    part = OutOfFold(held.logits, held.known & np.isin(folds, trial))
    if _held_out_loss(judge(rows, y, folds, others), y)[1] >= _held_out_loss(part, y)[1]:
        return DEFAULT_C, held
    steps.total += len(rest)
    others |= fit({fold: solutions[fold] for fold in rest}, C)
    other = judge(rows, y, folds, others)
    return (C, other) if _held_out_loss(other, y)[1] < loss else (DEFAULT_C, held)


def _held_out_loss(held: OutOfFold, y: Integers) -> tuple[float, float]:
    """The temperature for held-out logits, and their log loss at it."""
    logits, labels = held.logits[held.known], y[held.known]
    temperature = fit_temperature(logits, labels, prior_sd=TEMPERATURE_PRIOR_SD)
    return temperature, logit_log_loss(logits, labels, temperature)


def _calibrate(held: OutOfFold, y: Integers, folds: Integers) -> tuple[float, Float32]:
    """The temperature to use, and (n,) for each row the one fitted without its fold.

    Rows that are not known are not fitted to: theirs is the one to use.
    """
    logits, labels, folds = held.logits[held.known], y[held.known], folds[held.known]
    temperatures = cross_fitted_temperatures(logits, labels, folds, prior_sd=TEMPERATURE_PRIOR_SD)
    crossed = np.ones(y.size, np.float32)
    crossed[held.known] = temperatures
    if logit_log_loss(logits / crossed[held.known, None], labels) >= logit_log_loss(logits, labels):
        return 1.0, np.ones(y.size, np.float32)
    temperature = fit_temperature(logits, labels, prior_sd=TEMPERATURE_PRIOR_SD)
    crossed[~held.known] = temperature
    return temperature, crossed


def _note(held: OutOfFold, folds: Folds, temperature: float) -> str:
    n_known = int(held.known.sum())
    note = f"calibrated on {n_known} held-out labels in {folds.n_folds} folds"
    if temperature == 1.0:
        note += "; the probabilities needed no correction"
    if n_known < held.known.size:
        note += f"; {held.known.size - n_known} left out as the only label of their class"
    return note


def _metrics(y: Integers, folds: Folds, head: Head, C: float) -> dict[str, Any]:
    """Every key of the account, with None for what takes held-out labels."""
    unknown = (
        "accuracy accuracy_interval ece_before ece_after log_loss_before log_loss_after brier_before "
        "brier_after confusion precision recall reliability"
    )
    return dict.fromkeys(unknown.split()) | {
        "n_labels": int(y.size),
        "n_folds": folds.n_folds,
        "C": C,
        "n_iter": head.n_iter,
        "converged": head.converged,
    }


def _quality(held: OutOfFold, y: Integers, crossed: Float32, n_classes: int) -> dict[str, Any]:
    """What the held-out logits say, as JSON-able numbers."""
    predicted = held.logits.argmax(axis=1)
    n_right = int((predicted == y).sum())
    table = confusion(y, predicted, n_classes)
    labels = y[held.known]
    logits = held.logits[held.known]
    before, after = softmax(logits), softmax(logits / crossed[:, None])
    bars_before = reliability(before, labels, n_bins=N_BINS)
    bars_after = reliability(after, labels, n_bins=N_BINS)
    return {
        "accuracy": n_right / y.size,
        "accuracy_interval": list(wilson_interval(n_right, int(y.size))),
        "ece_before": bars_before.error,
        "ece_after": bars_after.error,
        "log_loss_before": logit_log_loss(logits, labels),
        "log_loss_after": logit_log_loss(logits / crossed[:, None], labels),
        "brier_before": brier(before, labels),
        "brier_after": brier(after, labels),
        "confusion": table.counts.tolist(),
        "precision": _or_none(table.precision),
        "recall": _or_none(table.recall),
        "reliability": bars_after.as_rows(),
    }


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    """NaN is not JSON."""
    return [None if np.isnan(value) else float(value) for value in values]
