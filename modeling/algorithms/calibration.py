"""Probabilities that mean what they say: temperature scaling on logits of rows the model had not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from modeling.algorithms.features import Float32, Rows, Standardised, standardise
from modeling.algorithms.folds import stratified_folds
from modeling.algorithms.head import (
    ABSENT_LOGIT,
    DEFAULT_C,
    Head,
    Solution,
    checked_rows,
    solve,
    standard_start,
)

Integers = NDArray[np.integer[Any]]

COLDEST, HOTTEST = 0.05, 20.0
# With fewer usable labels a temperature would be fitted to noise.
MIN_LABELS = 20
# Held-out logits settle sooner than weights: at this tolerance their log loss is within one percent.
FOLD_TOL = 1e-4


@dataclass(frozen=True)
class Folds:
    """How to hold out labels in turn, or why that cannot be done."""

    fold: Integers | None  # (n,) the fold of each row
    n_folds: int  # 0 when there are none
    reason: str  # why there are none, else empty


@dataclass(frozen=True)
class OutOfFold:
    """What models that had not seen a row said about it."""

    logits: Float32  # (n, c)
    known: NDArray[np.bool_]  # (n,) False where nothing that judged the row knew its class


def softmax(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> Float32:
    """(n, c) float32 probabilities of logits divided by a temperature above 0.

    A logit of minus infinity has probability 0; a row of nothing else, like a row with NaN, becomes NaN.
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


def logit_log_loss(logits: NDArray[np.floating[Any]], y: Integers, temperature: float = 1.0) -> float:
    """Mean log loss (nats) of logits (n, c) at a temperature, without the rounding of probabilities."""
    gaps, own = _gaps(logits, y)
    return _loss(gaps, own, 1 / temperature)


def fit_temperature(logits: NDArray[np.floating[Any]], y: ArrayLike, *, prior_sd: float | None = None) -> float:
    """The temperature in 0.05..20 that divides the logits to the lowest log loss (Guo et al., 2017).

    1.0 when no other is better, so a temperature never makes the log loss worse on its own data.

    Parameters
    ----------
    logits
        (n, c) logits of rows that the model was not fitted on; minus infinity is allowed, NaN is not.
    y
        (n,) true class positions. Rows whose class had no chance at any temperature are left out.
    prior_sd
        Standard deviation of a normal prior on log temperature, worth one row in all: keeps a few rows that
        all happen to be right from asking for certainty. None: no prior.
    """
    logits, labels = np.asarray(logits), np.asarray(y)
    if np.isnan(logits).any():
        raise ValueError("Some logits are not numbers: leave those rows out.")
    gaps, own = _gaps(logits, labels)
    possible = own > ABSENT_LOGIT / 2
    gaps, own = gaps[possible], own[possible]
    if not own.size:
        return 1.0

    def cost(log_temperature: float) -> float:
        penalty = 0.0 if prior_sd is None else (log_temperature / prior_sd) ** 2 / (2 * own.size)
        return _loss(gaps, own, float(np.exp(-log_temperature))) + penalty

    # The loss is convex in 1/T, so it has a single valley in log T as well.
    bounds = (float(np.log(COLDEST)), float(np.log(HOTTEST)))
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x)) if found.fun < cost(0.0) else 1.0


def choose_folds(y: Integers, seed: int = 0) -> Folds:
    """Stratified folds, or the reason why there are too few labels.

    Twenty below 500 labels, ten below 2,000 and five from there: with few labels each one that is held out is missed,
    and fits with a fifth less of them would make the model look points worse than it is. A class counts from its
    second label: a single one cannot be both learnt from and held out.
    """
    counts = np.bincount(y)
    shared = counts[counts >= 2]
    usable = int(shared.sum())
    if y.size < MIN_LABELS:
        return Folds(None, 0, f"uncalibrated, too few labels ({y.size} of the {MIN_LABELS} needed)")
    if usable < MIN_LABELS:
        where = "in classes with two or more"
        return Folds(None, 0, f"uncalibrated, too few labels {where} ({usable} of the {MIN_LABELS} needed)")
    if shared.size < 2:
        return Folds(None, 0, "uncalibrated, only one class has two labels or more")
    n_folds = 20 if y.size < 500 else 10 if y.size < 2000 else 5
    return Folds(stratified_folds(y, n_folds, seed), n_folds, "")


def out_of_fold_logits(
    X: Rows,
    y: ArrayLike,
    *,
    n_classes: int,
    folds: Integers,
    start: Head | None = None,
    C: float = DEFAULT_C,
) -> OutOfFold:
    """Logits (n, c) of each row by a head fitted on all the other folds.

    ``folds`` (n,) as `stratified_folds` gives them; ``start``, the head fitted on all rows, makes it quick.
    A row whose class no other fold holds gets `ABSENT_LOGIT` for it and is not ``known``. The mean and scale
    of the features are those of all rows; no label of a held-out row is used.
    """
    X, labels = checked_rows(X, y, n_classes)
    rows = standardise(X)
    begin = None if start is None else standard_start(rows, start, n_classes)
    starts = dict.fromkeys(np.unique(folds).tolist(), begin)
    return judge(rows, labels, folds, fit_folds(rows, labels, folds, n_classes=n_classes, starts=starts, C=C))


def fit_folds(
    rows: Standardised,
    y: Integers,
    folds: Integers,
    *,
    n_classes: int,
    starts: Mapping[int, Solution | None],
    C: float,
    on_fold: Callable[[], None] | None = None,
) -> dict[int, Solution]:
    """For each fold in ``starts`` the classifier fitted, from there, on the rows of all other folds."""
    solutions = {}
    for fold, start in starts.items():
        others = folds != fold
        solutions[fold] = solve(rows.Z[others], y[others], n_classes=n_classes, C=C, start=start, tol=FOLD_TOL)
        if on_fold is not None:
            on_fold()
    return solutions


def judge(rows: Standardised, y: Integers, folds: Integers, solutions: Mapping[int, Solution]) -> OutOfFold:
    """What the classifier of each fold says about the rows of that fold; NaN where there is none."""
    n_classes = next(iter(solutions.values())).bias.size
    logits = np.full((y.size, n_classes), np.nan, np.float32)
    for fold, solution in solutions.items():
        held = folds == fold
        logits[held] = solution.logits(rows.Z[held])
    known = logits[np.arange(y.size), y] > ABSENT_LOGIT / 2
    return OutOfFold(logits, known)


def cross_fitted_temperatures(
    logits: Float32, y: Integers, folds: Integers, *, prior_sd: float | None = None
) -> NDArray[np.float64]:
    """(n,) for each row the temperature fitted on all other folds: what calibration does to unseen rows."""
    temperatures = np.ones(y.size)
    for fold in np.unique(folds):
        held = folds == fold
        if not held.all():
            temperatures[held] = fit_temperature(logits[~held], y[~held], prior_sd=prior_sd)
    return temperatures


def _gaps(logits: NDArray[np.floating[Any]], y: Integers) -> tuple[NDArray[Any], NDArray[Any]]:
    """How far each logit, and that of the true class, lies below the row's largest."""
    if logits.ndim != 2 or y.shape != logits.shape[:1]:
        raise ValueError("Logits must be (n, c) and come with n true classes.")
    gaps = logits - logits.max(axis=1, keepdims=True)
    return gaps, gaps[np.arange(y.size), y].astype(np.float64)


def _loss(gaps: NDArray[Any], own: NDArray[Any], inverse_temperature: float) -> float:
    total = np.exp(gaps * gaps.dtype.type(inverse_temperature)).sum(axis=1)
    return float((np.log(total) - own * inverse_temperature).mean())
