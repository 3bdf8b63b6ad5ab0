"""Calibrate a classifier: correct its logits so that probabilities match accuracy on out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.features import Float32, Rows, StandardizedRows, standardize
from modeling.algorithms.fit_scaling import fit_platt, fit_temperature, fit_vector, logit_log_loss
from modeling.algorithms.folds import grouped_folds, groups_per_class, stratified_folds
from modeling.algorithms.head import (
    ABSENT_LOGIT,
    DEFAULT_C,
    Head,
    Solution,
    solve,
    validate_rows,
    warm_start,
)
from modeling.algorithms.scaling import Calibration, Method

Integers = NDArray[np.integer[Any]]
Fit = Callable[[Float32, Integers, NDArray[np.bool_]], Calibration]

# With fewer labels, or fewer in classes of at least two labels, a temperature would be fitted to noise.
MIN_LABELS, MIN_SHARED = 20, 10
# Standard deviations of the priors on log temperature. The temperature of all labels is regularized toward 1, the
# temperature of randomly sampled labels toward that of all labels. See docs/calibration.md.
TEMPERATURE_PRIOR_SD, AUDIT_PRIOR_SD = 0.15, 0.1
# From this many randomly sampled labels on, they determine the temperature better than the many other labels.
MIN_AUDIT = 50
# Held-out logits converge sooner than weights: at this tolerance their log loss is within one percent.
FOLD_TOL = 1e-4


@dataclass(frozen=True)
class Folds:
    """Folds for cross-validation, or the reason why there are none."""

    fold: Integers | None  # (n,) the fold of each row
    n_folds: int  # 0 if there are none
    reason: str  # why there are none, otherwise empty


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold predictions: the logits of each row from a model that was not fitted on its fold."""

    logits: Float32  # (n, c)
    is_scored: NDArray[np.bool_]  # (n,) False where no other fold has the class of the row


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> Float32:
    """Return the probabilities (n, c) float32 of logits divided by a temperature above 0.

    A logit of minus infinity has probability 0. A row with only such logits, or with NaN, becomes NaN.
    """
    if not temperature > 0:
        raise ValueError("The temperature must be above 0.")
    with np.errstate(invalid="ignore"):
        scaled: Float32 = np.array(logits, np.float32)
        scaled -= scaled.max(axis=1, keepdims=True)
        scaled /= np.float32(temperature)
        np.exp(scaled, out=scaled)
        scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


@dataclass(frozen=True)
class CalibrationResult:
    """A fitted correction, the out-of-fold logits cross-fitted with it, and a note that describes it."""

    calibration: Calibration
    logits: Float32  # (n, c)
    note: str


def calibrate(
    held: OutOfFold,
    y: Integers,
    folds: Integers,
    *,
    method: Method = "temperature",
    is_audit: NDArray[np.bool_] | None = None,
    is_grouped: bool = False,
) -> CalibrationResult:
    """Fit a calibration method to out-of-fold logits, and use it only if it lowers the cross-fitted log loss.

    Parameters
    ----------
    held, y, folds
        Logits (n, c), classes (n,) and folds (n,). Rows that are not ``is_scored`` are left out.
    method
        The preferred method. If it does not lower the log loss, a temperature is tried, then no correction; the
        note says so.
    is_audit
        (n,) which labels are a random sample. Labels that a queue selected for uncertainty are harder than the
        rest, so a temperature fitted to them is too high. From `MIN_AUDIT` random labels on, these decide: the
        temperature of all labels is moved toward theirs, against a prior that a few labels do not overcome.
    """
    is_scored, n_folds = held.is_scored, np.unique(folds).size
    logits, labels, folds = held.logits[is_scored], y[is_scored], folds[is_scored]
    is_random = np.ones(labels.size, bool) if is_audit is None else is_audit[is_scored]
    by_audit = MIN_AUDIT <= int(is_random.sum()) < labels.size
    notes = [f"calibrated on {labels.size} held-out labels in {n_folds} folds"]
    calibration, corrected = Calibration(), logits
    for candidate in dict.fromkeys((method, "temperature") if method != "none" else ()):
        fit = _fitter(candidate, by_audit)
        cross_fitted_logits = cross_fit(logits, labels, folds, is_random, fit)
        # A few random labels may contain no mistake at all; then the log loss of all labels decides.
        if _helps(cross_fitted_logits, logits, labels) or (
            by_audit and _helps(cross_fitted_logits[is_random], logits[is_random], labels[is_random])
        ):
            calibration, corrected = fit(logits, labels, is_random), cross_fitted_logits
            break
        notes.append(f"{_NAMES[candidate]} would not lower the log loss")
    if by_audit and calibration.method == "temperature":
        notes.append(f"its temperature fitted to the {int(is_random.sum())} randomly sampled labels among them")
    if calibration.method == "none":
        notes[1:] = ["the probabilities needed no correction"] if method != "none" else []
    if labels.size < y.size:
        reason = "whose class no other group has" if is_grouped else "as the only label of their class"
        notes.append(f"{y.size - labels.size} left out {reason}")
    after = np.array(held.logits)
    after[is_scored] = corrected
    after[~is_scored] = calibration.logits(held.logits[~is_scored])
    return CalibrationResult(calibration, after, "; ".join(notes))


def _helps(corrected: Float32, logits: Float32, y: Integers) -> bool:
    return logit_log_loss(corrected, y) < logit_log_loss(logits, y)


_NAMES = {"temperature": "a temperature", "platt": "Platt scaling", "vector": "vector scaling"}


def _fitter(method: str, by_audit: bool) -> Fit:
    """Return a function that fits a method to logits (n, c), classes (n,) and a mask of random labels (n,)."""

    def temperature(logits: Float32, y: Integers, is_random: NDArray[np.bool_]) -> float:
        of_all = fit_temperature(logits, y, prior_sd=TEMPERATURE_PRIOR_SD)
        if not by_audit:
            return of_all
        return fit_temperature(logits[is_random], y[is_random], prior=of_all, prior_sd=AUDIT_PRIOR_SD)

    def fit(logits: Float32, y: Integers, is_random: NDArray[np.bool_]) -> Calibration:
        if method == "platt":
            return fit_platt(logits, y)
        if method == "vector":
            return fit_vector(logits, y, temperature(logits, y, is_random))
        return Calibration("temperature", temperature(logits, y, is_random))

    return fit


def choose_folds(y: Integers, seed: int = 0, groups: Integers | None = None) -> Folds:
    """Return stratified folds, of whole ``groups`` (n,) if given, or the reason why there are none.

    Twenty folds below 500 labels, ten below 2,000, otherwise five, and no more than there are groups. With few labels
    each held-out label is missed: fits with a fifth fewer would underestimate the accuracy by points. A class counts
    from its second label (or group) on, because the only one cannot be both trained on and held out; half of the labels
    needed must be in such classes.
    """
    counts = np.bincount(y)
    is_shared = (counts if groups is None else groups_per_class(y, groups)) >= 2
    usable = int(counts[is_shared].sum())
    if y.size < MIN_LABELS:
        return Folds(None, 0, f"uncalibrated, too few labels ({y.size} of the {MIN_LABELS} needed)")
    if usable < MIN_SHARED:
        where = "in classes with at least two" if groups is None else "in classes found in at least two groups"
        return Folds(None, 0, f"uncalibrated, too few labels {where} ({usable} of the {MIN_SHARED} needed)")
    if np.count_nonzero(is_shared) < 2:
        condition = "has at least two labels" if groups is None else "is in at least two groups"
        return Folds(None, 0, f"uncalibrated, only one class {condition}")
    n_folds = 20 if y.size < 500 else 10 if y.size < 2000 else 5
    if groups is None:
        return Folds(stratified_folds(y, n_folds, seed), n_folds, "")
    n_folds = min(n_folds, np.unique(groups).size)
    folds = grouped_folds(y, groups, n_folds, seed)
    if min(np.unique(y[folds != fold]).size for fold in range(n_folds)) < 2:
        return Folds(None, 0, "uncalibrated, without its largest group only one class is left to train on")
    return Folds(folds, n_folds, "")


def out_of_fold_logits(
    X: Rows,
    y: ArrayLike,
    *,
    n_classes: int,
    folds: Integers,
    start: Head | None = None,
    C: float = DEFAULT_C,
) -> OutOfFold:
    """Return logits (n, c) of each row from a head fitted on all other folds.

    ``folds`` (n,) are as in `stratified_folds`; ``start``, the head fitted on all rows, speeds up the fits. A row whose
    class no other fold has gets `ABSENT_LOGIT` for it and is not ``is_scored``. The mean and scale of the features come
    from all rows; no label of a held-out row is used.
    """
    X, labels = validate_rows(X, y, n_classes)
    rows = standardize(X)
    begin = None if start is None else warm_start(rows, start, n_classes)
    starts = dict.fromkeys(np.unique(folds).tolist(), begin)
    return predict_held_out(
        rows, labels, folds, fit_folds(rows, labels, folds, n_classes=n_classes, starts=starts, C=C)
    )


def fit_folds(
    rows: StandardizedRows,
    y: Integers,
    folds: Integers,
    *,
    n_classes: int,
    starts: Mapping[int, Solution | None],
    C: float,
    weight: Float32 | None = None,
    on_fold: Callable[[], None] | None = None,
) -> dict[int, Solution]:
    """Fit one classifier per fold in ``starts``, from that start, on the rows of all other folds."""
    solutions = {}
    for fold, start in starts.items():
        others = folds != fold
        solutions[fold] = solve(
            rows.Z[others],
            y[others],
            n_classes=n_classes,
            C=C,
            weight=None if weight is None else weight[others],
            start=start,
            tol=FOLD_TOL,
        )
        if on_fold is not None:
            on_fold()
    return solutions


def predict_held_out(
    rows: StandardizedRows, y: Integers, folds: Integers, solutions: Mapping[int, Solution]
) -> OutOfFold:
    """Predict the rows of each fold with the classifier fitted without it; NaN where there is none."""
    n_classes = next(iter(solutions.values())).bias.size
    logits = np.full((y.size, n_classes), np.nan, np.float32)
    for fold, solution in solutions.items():
        held = folds == fold
        logits[held] = solution.logits(rows.Z[held])
    is_scored = logits[np.arange(y.size), y] > ABSENT_LOGIT / 2
    return OutOfFold(logits, is_scored)


def cross_fit(logits: Float32, y: Integers, folds: Integers, is_random: NDArray[np.bool_], fit: Fit) -> Float32:
    """Return logits (n, c) corrected by calibrations fitted on all other folds, as for unseen rows."""
    corrected = np.array(logits, np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        if not held.all():
            corrected[held] = fit(logits[~held], y[~held], is_random[~held]).logits(logits[held])
    return corrected
