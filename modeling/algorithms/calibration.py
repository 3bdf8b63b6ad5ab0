"""Probabilities that mean what they say: logits corrected by what the model says of rows it had not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar

from modeling.algorithms.features import Float32, Rows, Standardised, standardise
from modeling.algorithms.folds import grouped_folds, groups_per_class, stratified_folds
from modeling.algorithms.head import (
    ABSENT_LOGIT,
    DEFAULT_C,
    Head,
    Solution,
    checked_rows,
    solve,
    standard_start,
)
from modeling.algorithms.scaling import Calibration, Method, log_odds

Integers = NDArray[np.integer[Any]]
Fit = Callable[[Float32, Integers, NDArray[np.bool_]], Calibration]

COLDEST, HOTTEST = 0.05, 20.0
# With fewer labels, or fewer in classes that have two, a temperature would be fitted to noise.
MIN_LABELS, MIN_SHARED = 20, 10
# Standard deviations of the priors on the logarithm of a temperature: what any label says is held against 1, and what
# labels drawn by chance say against the temperature of all labels. See docs/calibration.md.
TEMPERATURE_PRIOR_SD, AUDIT_PRIOR_SD = 0.15, 0.1
# So many labels drawn by chance tell more of a temperature than the many that were not.
MIN_AUDIT = 50
# How far vector scaling lets a class differ from the others.
VECTOR_PRIOR_SD = 0.25
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


def logit_log_loss(
    logits: NDArray[np.floating[Any]], y: Integers, temperature: float = 1.0, weight: Float32 | None = None
) -> float:
    """Mean log loss (nats) of logits (n, c) at a temperature, rows weighing as said, without rounded probabilities."""
    gaps, own = _gaps(logits, y)
    return _loss(gaps, own, 1 / temperature, weight)


def fit_temperature(
    logits: NDArray[np.floating[Any]],
    y: ArrayLike,
    *,
    prior: float = 1.0,
    prior_sd: float | None = None,
    weight: Float32 | None = None,
) -> float:
    """The temperature in 0.05..20 that divides the logits to the lowest log loss (Guo et al., 2017).

    The prior's when no other is better, so without one a temperature never makes the log loss worse on its own data.

    Parameters
    ----------
    logits
        (n, c) logits of rows that the model was not fitted on; minus infinity is allowed, NaN is not.
    y
        (n,) true class positions. Rows whose class had no chance at any temperature are left out.
    prior, prior_sd
        Middle of a prior on log temperature, given as a temperature, and its deviation: keeps a few rows that all
        happen to be right from asking for certainty. It is normal near its middle and has longer tails, so that many
        rows which say otherwise are heard. No deviation: no prior.
    weight
        (n,) how much each row counts; None: all the same.
    """
    logits, labels = np.asarray(logits), np.asarray(y)
    if np.isnan(logits).any():
        raise ValueError("Some logits are not numbers: leave those rows out.")
    gaps, own = _gaps(logits, labels)
    possible = own > ABSENT_LOGIT / 2
    gaps, own = gaps[possible], own[possible]
    weight = None if weight is None else weight[possible]
    if not own.size:
        return prior
    middle = float(np.log(prior))

    def cost(log_temperature: float) -> float:
        penalty = 0.0 if prior_sd is None else 4 * (float(np.hypot(1, (log_temperature - middle) / prior_sd / 2)) - 1)
        return _loss(gaps, own, float(np.exp(-log_temperature)), weight) + penalty / own.size

    # The loss is convex in 1/T, so it has a single valley in log T as well.
    bounds = (float(np.log(COLDEST)), float(np.log(HOTTEST)))
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x)) if found.fun < cost(middle) else prior


def fit_platt(logits: Float32, y: Integers) -> Calibration:
    """Platt's sigmoid for each class against all others, on its log odds (c slopes and c offsets).

    Platt, "Probabilistic outputs for support vector machines" (1999), with his targets, which are never quite 0 or 1
    and so keep few rows from asking for certainty. A slope is never negative: classes don't change places. Classes
    without rows keep slope 1 and offset 0.
    """
    n, n_classes = logits.shape
    odds = log_odds(logits).astype(np.float64)
    counts = np.bincount(y, minlength=n_classes)
    present = np.flatnonzero(counts)
    odds = odds[:, present]
    target = np.where(
        y[:, None] == present, (counts[present] + 1) / (counts[present] + 2), 1 / (n - counts[present] + 2)
    )

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, offset = values.reshape(2, -1)
        with np.errstate(over="ignore"):
            sure = slope * odds + offset
            # The cross entropy of sigmoid(sure), and its derivative.
            loss = np.logaddexp(0, sure) - target * sure
            wrong = 1 / (1 + np.exp(-sure)) - target
        return float(loss.sum()), np.concatenate([(wrong * odds).sum(axis=0), wrong.sum(axis=0)])

    start = np.concatenate([np.ones(present.size), np.zeros(present.size)])
    bounds = [(1e-3, 20.0)] * present.size + [(None, None)] * present.size
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    scale, shift = np.ones(n_classes, np.float32), np.zeros(n_classes, np.float32)
    scale[present], shift[present] = found.x.reshape(2, -1)
    return Calibration("platt", scale=scale, shift=shift)


def fit_vector(logits: Float32, y: Integers, temperature: float) -> Calibration:
    """A scale and a shift of each class (Guo et al., 2017), held by a prior to the one temperature for all.

    With few labels of a class it stays near that; classes without any stay there.
    """
    n_classes = logits.shape[1]
    present = np.flatnonzero(np.bincount(y, minlength=n_classes))
    Z = logits[:, present].astype(np.float64) / temperature
    truth = np.searchsorted(present, y)
    every = np.arange(y.size)

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factor, shift = values.reshape(2, -1)
        chance = Z * factor + shift
        chance -= chance.max(axis=1, keepdims=True)
        own = chance[every, truth].copy()
        np.exp(chance, out=chance)
        total = chance.sum(axis=1)
        loss = float((np.log(total) - own).sum()) + (np.square(factor - 1) + np.square(shift)).sum() / tight
        chance /= total[:, None]
        chance[every, truth] -= 1
        gradient = np.stack([(chance * Z).sum(axis=0), chance.sum(axis=0)])
        gradient += 2 * np.stack([factor - 1, shift]) / tight
        return float(loss), gradient.ravel()

    tight = 2 * VECTOR_PRIOR_SD**2
    start = np.concatenate([np.ones(present.size), np.zeros(present.size)])
    bounds = [(0.05, 20.0)] * present.size + [(None, None)] * present.size
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    scale, shift = np.full(n_classes, 1 / temperature, np.float32), np.zeros(n_classes, np.float32)
    scale[present] = found.x[: present.size] / temperature
    shift[present] = found.x[present.size :]
    return Calibration("vector", scale=scale, shift=shift)


@dataclass(frozen=True)
class Calibrated:
    """The correction to use, what held-out logits become by one fitted without them, and words about it."""

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
) -> Calibrated:
    """Fit a method to held-out logits, and keep it where it lowers the log loss of labels that it wasn't fitted to.

    Parameters
    ----------
    held, y, folds
        Logits (n, c), classes (n,) and folds (n,); rows that are not ``known`` take no part.
    method
        The way wanted. Where it doesn't help a temperature is tried, and then nothing; the note says so.
    is_audit
        (n,) which labels were drawn by chance. Labels that a queue pulled because the model doubted them are harder
        than the rest, so a temperature fitted to them is too high. From `MIN_AUDIT` on those by chance decide: a
        temperature is moved from that of all labels to theirs, by a prior that few of them do not overcome.
    """
    known, n_folds = held.known, np.unique(folds).size
    logits, labels, folds = held.logits[known], y[known], folds[known]
    drawn = np.ones(labels.size, bool) if is_audit is None else is_audit[known]
    by_audit = MIN_AUDIT <= int(drawn.sum()) < labels.size
    words = [f"calibrated on {labels.size} held-out labels in {n_folds} folds"]
    found, corrected = Calibration(), logits
    for way in dict.fromkeys((method, "temperature") if method != "none" else ()):
        fit = _fits(way, by_audit)
        crossed = cross_fitted(logits, labels, folds, drawn, fit)
        # Few labels by chance may hold no mistake at all; then what all labels say of the correction counts.
        if _helps(crossed, logits, labels) or (by_audit and _helps(crossed[drawn], logits[drawn], labels[drawn])):
            found, corrected = fit(logits, labels, drawn), crossed
            break
        words.append(f"{_NAMES[way]} would not have helped")
    if by_audit and found.method == "temperature":
        words.append(f"its temperature told by the {int(drawn.sum())} of them that were drawn by chance")
    if found.method == "none":
        words[1:] = ["the probabilities needed no correction"] if method != "none" else []
    if labels.size < y.size:
        alone = "whose class no other group has" if is_grouped else "as the only label of their class"
        words.append(f"{y.size - labels.size} left out {alone}")
    after = np.array(held.logits)
    after[known] = corrected
    after[~known] = found.logits(held.logits[~known])
    return Calibrated(found, after, "; ".join(words))


def _helps(corrected: Float32, logits: Float32, y: Integers) -> bool:
    return logit_log_loss(corrected, y) < logit_log_loss(logits, y)


_NAMES = {"temperature": "a temperature", "platt": "Platt scaling", "vector": "vector scaling"}


def _fits(method: str, by_audit: bool) -> Fit:
    """The function that fits a method to logits (n, c), classes (n,) and which of them were drawn by chance (n,)."""

    def temperature(logits: Float32, y: Integers, drawn: NDArray[np.bool_]) -> float:
        of_all = fit_temperature(logits, y, prior_sd=TEMPERATURE_PRIOR_SD)
        if not by_audit:
            return of_all
        return fit_temperature(logits[drawn], y[drawn], prior=of_all, prior_sd=AUDIT_PRIOR_SD)

    def fit(logits: Float32, y: Integers, drawn: NDArray[np.bool_]) -> Calibration:
        if method == "platt":
            return fit_platt(logits, y)
        if method == "vector":
            return fit_vector(logits, y, temperature(logits, y, drawn))
        return Calibration("temperature", temperature(logits, y, drawn))

    return fit


def choose_folds(y: Integers, seed: int = 0, groups: Integers | None = None) -> Folds:
    """Stratified folds, of whole ``groups`` (n,) where some labels belong together, or the reason why not.

    Twenty below 500 labels, ten below 2,000 and five from there: with few labels each one that is held out is missed,
    and fits with a fifth less of them would make the model look points worse than it is. No more than there are groups.
    A class counts from its second label, or group with it: what is only on one side cannot be both learnt from and held
    out, and half of the labels needed must be such.
    """
    counts = np.bincount(y)
    is_shared = (counts if groups is None else groups_per_class(y, groups)) >= 2
    usable = int(counts[is_shared].sum())
    if y.size < MIN_LABELS:
        return Folds(None, 0, f"uncalibrated, too few labels ({y.size} of the {MIN_LABELS} needed)")
    if usable < MIN_SHARED:
        where = "in classes with two or more" if groups is None else "in classes that two or more groups have"
        return Folds(None, 0, f"uncalibrated, too few labels {where} ({usable} of the {MIN_SHARED} needed)")
    if np.count_nonzero(is_shared) < 2:
        of_what = "has two labels or more" if groups is None else "is in two groups or more"
        return Folds(None, 0, f"uncalibrated, only one class {of_what}")
    n_folds = 20 if y.size < 500 else 10 if y.size < 2000 else 5
    if groups is None:
        return Folds(stratified_folds(y, n_folds, seed), n_folds, "")
    n_folds = min(n_folds, np.unique(groups).size)
    folds = grouped_folds(y, groups, n_folds, seed)
    if min(np.unique(y[folds != fold]).size for fold in range(n_folds)) < 2:
        return Folds(None, 0, "uncalibrated, without its largest group only one class is left to learn from")
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
    weight: Float32 | None = None,
    on_fold: Callable[[], None] | None = None,
) -> dict[int, Solution]:
    """For each fold in ``starts`` the classifier fitted, from there, on the rows of all other folds."""
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


def judge(rows: Standardised, y: Integers, folds: Integers, solutions: Mapping[int, Solution]) -> OutOfFold:
    """What the classifier of each fold says about the rows of that fold; NaN where there is none."""
    n_classes = next(iter(solutions.values())).bias.size
    logits = np.full((y.size, n_classes), np.nan, np.float32)
    for fold, solution in solutions.items():
        held = folds == fold
        logits[held] = solution.logits(rows.Z[held])
    known = logits[np.arange(y.size), y] > ABSENT_LOGIT / 2
    return OutOfFold(logits, known)


def cross_fitted(logits: Float32, y: Integers, folds: Integers, drawn: NDArray[np.bool_], fit: Fit) -> Float32:
    """(n, c) logits of each row, corrected by what was fitted on all other folds: what it does to unseen rows."""
    corrected = np.array(logits, np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        if not held.all():
            corrected[held] = fit(logits[~held], y[~held], drawn[~held]).logits(logits[held])
    return corrected


def _gaps(logits: NDArray[np.floating[Any]], y: Integers) -> tuple[NDArray[Any], NDArray[Any]]:
    """How far each logit, and that of the true class, lies below the row's largest."""
    if logits.ndim != 2 or y.shape != logits.shape[:1]:
        raise ValueError("Logits must be (n, c) and come with n true classes.")
    gaps = logits - logits.max(axis=1, keepdims=True)
    return gaps, gaps[np.arange(y.size), y].astype(np.float64)


def _loss(gaps: NDArray[Any], own: NDArray[Any], inverse_temperature: float, weight: Float32 | None = None) -> float:
    total = np.exp(gaps * gaps.dtype.type(inverse_temperature)).sum(axis=1)
    return float(np.average(np.log(total) - own * inverse_temperature, weights=weight))
