"""Train a calibrated classifier on labeled rows, and measure its quality on held-out labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.calibration import (
    TEMPERATURE_PRIOR_SD,
    CalibrationResult,
    Folds,
    OutOfFold,
    calibrate,
    choose_folds,
    fit_folds,
    predict_held_out,
    softmax,
)
from modeling.algorithms.features import Float32, Rows, StandardizedRows, standardize
from modeling.algorithms.fit_scaling import fit_temperature, logit_log_loss, logit_losses
from modeling.algorithms.head import (
    DEFAULT_C,
    Head,
    Solution,
    row_weights,
    solve,
    unstandardized_head,
    validate_rows,
    warm_start,
)
from modeling.algorithms.intervals import effective_labels, grouped_interval
from modeling.algorithms.metrics import brier, confusion, reliability, suitable_bins
from modeling.algorithms.scaling import Calibration, Method
from modeling.algorithms.smoothing import DEFAULT_STEPS, STEPS, SmoothedRows

Integers = NDArray[np.integer[Any]]
ClassWeights = Literal["equal", "balanced"]

# The penalty is changed by this factor for as long as the held-out log loss falls, within these bounds. Beyond them
# nothing improved on any collection, see docs/calibration.md.
CHANGE_OF_C = 3.0
WEAKEST_C, STRONGEST_C = DEFAULT_C * CHANGE_OF_C**3, DEFAULT_C / CHANGE_OF_C**3
# Above this temperature a stronger penalty is tried first, otherwise a weaker one: usually the better direction.
TOO_WEAK = 0.8
# This many held-out labels are enough to compare penalties.
LABELS_FOR_TRIAL = 500
# At most this many folds are formed to compare numbers of smoothing steps.
TRIAL_FOLDS = 5
# With more labels, this many of them decide on the number of steps.
LABELS_FOR_STEPS = 2000

# The names of metrics that need held-out labels.
HELD_OUT_METRICS = (
    "accuracy", "accuracy_interval", "n_effective", "ece_before", "ece_after", "log_loss_before", "log_loss_after",
    "brier_before", "brier_after", "confusion", "precision", "recall", "f1", "reliability", "reliability_before",
)  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained classifier and its measured quality."""

    head: Head
    calibration: Calibration
    is_calibrated: bool
    note: str  # how it was calibrated, or why it was not
    metrics: dict[str, Any]  # JSON-serializable; see `train`
    # (n, c) out-of-fold probabilities, with cross-fitted calibration; None without folds
    held_out: Float32 | None = None
    steps: int = 0  # steps of smoothing before the head

    @property
    def temperature(self) -> float:
        """Return the temperature that divides the logits; 1 for other corrections or none."""
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
    smoothed: SmoothedRows | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Fit the head, choose its penalty and calibration on held-out labels, and measure its quality.

    Parameters
    ----------
    X
        (n, d) labeled rows, finite.
    y
        (n,) class positions in ``0..n_classes-1``; at least two classes have a label.
    n_classes
        Number of columns of the probabilities.
    seed
        Seed of the folds.
    start
        Warm start, a previous head of the same shape; classes new to it have `ABSENT_LOGIT`.
    class_weights
        ``balanced``: every class has the same total weight in the fits and in the choice of their penalty, however
        few labels it has. Metrics and calibration always weight labels equally.
    method
        Calibration method, see `calibrate`.
    is_audit
        (n,) which labels are a random sample; None: treat all as such.
    groups
        (n,) group of each label; None: labels are independent. All labels of a group are in one fold, and intervals
        account for correlation within groups.
    smoothed
        Returns the labeled rows (n, d) after a number of steps of `Smoothing`; None: train on ``X`` as it is. The
        number of steps is chosen on held-out labels, and the head is for rows smoothed by ``steps``.
    on_progress
        Called with (fits done, fits in total); may raise to stop.

    Returns
    -------
    Trained
        ``metrics`` holds ``n_labels n_per_class n_folds C accuracy accuracy_interval n_effective ece_before
        ece_after log_loss_before log_loss_after brier_before brier_after confusion reliability reliability_before
        precision recall f1 n_iter converged calibration_method class_weights steps``. All metrics are out-of-fold:
        accuracy, confusion (rows are the truth), precision, recall and F1 over all labels, the others over labels
        whose class another fold has. The *after* metrics use, for each label, a calibration fitted without its
        fold. All are None if there are too few labels for folds; ``note`` says so. ``held_out`` gives probability 0
        to the class of a row that no other fold has.

    Raises
    ------
    ValueError
        If rows are not finite, labels do not match them, or all labels are of one class.

    Notes
    -----
    The penalty is the best of at most five by held-out log loss, so the reported metrics are very slightly optimistic.
    """
    X, labels = validate_rows(X, y, n_classes)
    folds = choose_folds(labels, seed, groups)
    weight = row_weights(labels, n_classes, None, _row_weighting(class_weights))
    steps = 0
    if smoothed is not None:
        steps = choose_steps(smoothed, labels, folds.fold, weight)
        X = smoothed(steps)
    progress = _Progress(1 + folds.n_folds, on_progress)
    rows = standardize(X)
    training = _TrainingSet(rows, labels, n_classes, weight, progress)
    begin = None if start is None else warm_start(rows, start, n_classes)
    if folds.fold is None:
        head = unstandardized_head(rows, training.fit(DEFAULT_C, begin))
        metrics = _base_metrics(labels, folds, head, DEFAULT_C, n_classes) | {
            "class_weights": class_weights,
            "steps": steps,
        }
        return Trained(head, Calibration(), False, folds.reason, metrics, steps=steps)
    C, full, penalty_solutions = _choose_penalty(training, folds.fold, begin)
    warm_starts = dict.fromkeys(np.setdiff1d(folds.fold, list(penalty_solutions)).tolist(), full)
    held = predict_held_out(
        rows, labels, folds.fold, penalty_solutions | training.fit_without(folds.fold, warm_starts, C)
    )
    head = unstandardized_head(rows, full)
    result = calibrate(held, labels, folds.fold, method=method, is_audit=is_audit, is_grouped=groups is not None)
    metrics = _base_metrics(labels, folds, head, C, n_classes) | held_out_metrics(
        held, labels, result, n_classes, groups
    )
    metrics |= {"calibration_method": result.calibration.method, "class_weights": class_weights, "steps": steps}
    note = (
        result.note
        if method != "none"
        else f"not calibrated, as chosen; measured {result.note.removeprefix('calibrated ')}"
    )
    return Trained(head, result.calibration, method != "none", note, metrics, softmax(result.logits), steps)


def choose_steps(smoothed: SmoothedRows, y: Integers, folds: Integers | None, weight: Float32 | None = None) -> int:
    """Choose the number of smoothing steps by held-out log loss: another than one only if it is clearly better.

    ``folds`` (n,) are those of the labeled rows, of which at most five are formed. Of more than 2,000 labels a random
    sample decides. Clearly: by more than one standard error of the difference (the rule of Breiman et al.,
    *Classification and regression trees*, 1984). The lowest loss of a few labels is often that of too many steps.
    """
    if folds is None:
        return DEFAULT_STEPS
    sample: NDArray[np.int64] | None = None
    if y.size > LABELS_FOR_STEPS:
        sample = np.sort(np.random.default_rng(0).permutation(y.size)[:LABELS_FOR_STEPS])
        y, folds, weight = y[sample], folds[sample], None if weight is None else weight[sample]
    coarse = folds % TRIAL_FOLDS
    every = np.unique(coarse).tolist()
    trial = every[: -(-LABELS_FOR_TRIAL * len(every) // y.size)]
    trial = [fold for fold in trial if np.unique(y[coarse != fold]).size >= 2]
    if not trial:
        return DEFAULT_STEPS
    is_held = np.isin(coarse, trial)
    default = _row_losses(smoothed(DEFAULT_STEPS, sample), y, coarse, trial)
    best, least = DEFAULT_STEPS, 0.0
    for steps in STEPS:
        difference = (_row_losses(smoothed(steps, sample), y, coarse, trial) - default)[is_held]
        if weight is not None:
            difference = difference * weight[is_held]
        error = float(difference.std()) / np.sqrt(difference.size)
        if float(difference.mean()) < min(least, -error):
            best, least = steps, float(difference.mean())
    return best


def _row_losses(X: Rows, y: Integers, folds: Integers, trial: list[int]) -> NDArray[np.float64]:
    """Return the log loss (n,) of each row in the ``trial`` folds by fits without its fold, otherwise 0."""
    rows, n_classes = standardize(X), int(y.max()) + 1
    solutions = fit_folds(rows, y, folds, n_classes=n_classes, starts=dict.fromkeys(trial), C=DEFAULT_C)
    held = predict_held_out(rows, y, folds, solutions)
    losses = np.zeros(y.size)
    if held.is_scored.any():
        logits, labels = held.logits[held.is_scored], y[held.is_scored]
        temperature = fit_temperature(logits, labels, prior_sd=TEMPERATURE_PRIOR_SD)
        losses[held.is_scored] = logit_losses(logits, labels, temperature)
    return losses


def _row_weighting(class_weights: ClassWeights) -> Literal["balanced"] | None:
    return "balanced" if class_weights == "balanced" else None


class _Progress:
    """A counter of fits that reports progress."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.count, self.total, self.on_progress = 0, total, on_progress

    def done(self) -> None:
        self.count += 1
        if self.on_progress is not None:
            self.on_progress(self.count, self.total)

    def more(self, n: int) -> None:
        self.total += n


@dataclass(frozen=True)
class _TrainingSet:
    """The data and settings that all fits share."""

    rows: StandardizedRows
    y: Integers
    n_classes: int
    weight: Float32  # (n,)
    progress: _Progress

    def fit(self, C: float, start: Solution | None) -> Solution:
        """Fit a classifier on all labels."""
        solution = solve(self.rows.Z, self.y, n_classes=self.n_classes, C=C, weight=self.weight, start=start)
        self.progress.done()
        return solution

    def fit_without(self, folds: Integers, starts: Mapping[int, Solution | None], C: float) -> dict[int, Solution]:
        """Fit one classifier per fold in ``starts`` on all other folds."""
        return fit_folds(
            self.rows,
            self.y,
            folds,
            n_classes=self.n_classes,
            starts=starts,
            C=C,
            weight=self.weight,
            on_fold=self.progress.done,
        )


def _choose_penalty(
    training: _TrainingSet, folds: Integers, begin: Solution | None
) -> tuple[float, Solution, dict[int, Solution]]:
    """Choose the penalty with the lowest held-out log loss. Return it with the fits on all labels and per fold.

    The search steps away from the default. A step is evaluated on some folds (on all of them while there are few
    labels), each time with its own temperature. The first step without improvement ends the search in its direction. If
    there are many labels, the fit on all of them follows once the penalty is chosen.
    """
    every = np.unique(folds).tolist()
    trial = every[: min(len(every), -(-LABELS_FOR_TRIAL * len(every) // training.y.size))]

    def fit(starts: Mapping[int, Solution], C: float) -> tuple[dict[int, Solution], float, float]:
        solutions = training.fit_without(folds, starts, C)
        return solutions, *_held_out_loss(
            predict_held_out(training.rows, training.y, folds, solutions), training.y, training.weight
        )

    if len(trial) == len(every):
        first = training.fit(DEFAULT_C, begin)
    else:
        training.progress.more(1)
        first = training.fit_without(folds, {trial[0]: begin}, DEFAULT_C)[trial[0]]
    tried, temperature, least = fit(dict.fromkeys(trial, first), DEFAULT_C)
    best = DEFAULT_C
    for change in (1 / CHANGE_OF_C, CHANGE_OF_C) if temperature > TOO_WEAK else (CHANGE_OF_C, 1 / CHANGE_OF_C):
        others = tried
        while STRONGEST_C * 0.99 < best * change < WEAKEST_C * 1.01:
            training.progress.more(len(trial))
            others, _, loss = fit(others, best * change)
            if loss >= least:
                break
            best, least, tried = best * change, loss, others
        if best != DEFAULT_C:
            break
    if len(trial) < len(every):
        return best, training.fit(best, tried[trial[0]]), tried
    if best == DEFAULT_C:
        return best, first, tried
    training.progress.more(1)
    return best, training.fit(best, first), tried


def _held_out_loss(held: OutOfFold, y: Integers, weight: Float32) -> tuple[float, float]:
    """Return the temperature fitted to held-out logits and their log loss at it; infinite if no row is scored."""
    if not held.is_scored.any():
        return 1.0, float("inf")
    logits, labels, weight = held.logits[held.is_scored], y[held.is_scored], weight[held.is_scored]
    temperature = fit_temperature(logits, labels, prior_sd=TEMPERATURE_PRIOR_SD, weight=weight)
    return temperature, logit_log_loss(logits, labels, temperature, weight)


def _base_metrics(y: Integers, folds: Folds, head: Head, C: float, n_classes: int) -> dict[str, Any]:
    """Return every key of the metrics, with None for those that need held-out labels."""
    return dict.fromkeys(HELD_OUT_METRICS) | {
        "n_labels": int(y.size),
        "n_per_class": np.bincount(y, minlength=n_classes).tolist(),
        "n_folds": folds.n_folds,
        "C": C,
        "n_iter": head.n_iter,
        "converged": head.converged,
        "calibration_method": "none",
    }


def held_out_metrics(
    held: OutOfFold, y: Integers, result: CalibrationResult, n_classes: int, groups: Integers | None
) -> dict[str, Any]:
    """Return the metrics of the held-out predictions as JSON-serializable numbers."""
    # Predict from the corrected logits: only a temperature never changes the most likely class.
    predicted = softmax(result.logits).argmax(axis=1)
    right = predicted == y
    table = confusion(y, predicted, n_classes)
    labels = y[held.is_scored]
    logits, corrected = held.logits[held.is_scored], result.logits[held.is_scored]
    before, after = softmax(logits), softmax(corrected)
    scored_groups = None if groups is None else groups[held.is_scored]
    n_bins = suitable_bins(labels.size)
    reliability_before = reliability(before, labels, n_bins=n_bins, groups=scored_groups)
    reliability_after = reliability(after, labels, n_bins=n_bins, groups=scored_groups)
    return {
        "accuracy": int(np.count_nonzero(right)) / y.size,
        "accuracy_interval": list(grouped_interval(right, groups)),
        "n_effective": effective_labels(right, groups),
        "ece_before": reliability_before.error,
        "ece_after": reliability_after.error,
        "log_loss_before": logit_log_loss(logits, labels),
        "log_loss_after": logit_log_loss(corrected, labels),
        "brier_before": brier(before, labels),
        "brier_after": brier(after, labels),
        "confusion": table.counts.tolist(),
        "precision": _or_none(table.precision),
        "recall": _or_none(table.recall),
        "f1": _or_none(table.f1),
        "reliability": reliability_after.as_rows(),
        "reliability_before": reliability_before.as_rows(),
    }


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    """Replace NaN, which JSON does not have, with None."""
    return [None if np.isnan(value) else float(value) for value in values]
