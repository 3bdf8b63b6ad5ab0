"""Calibrate and measure predictions that another program made, on the labels at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.calibration import (
    CalibrationResult,
    Integers,
    OutOfFold,
    calibrate,
    choose_folds,
    softmax,
)
from modeling.algorithms.features import Float32
from modeling.algorithms.scaling import Calibration
from modeling.algorithms.train import HELD_OUT_METRICS, held_out_metrics

# Files round probabilities, so that 0 stands for less than the last digit. Its logarithm must be finite.
SMALLEST = np.float32(1e-6)


@dataclass(frozen=True)
class Measured:
    """Hold the calibration of given predictions and their quality.

    ``held_out`` float32 (n, c) are the probabilities of the labeled rows, each corrected by a calibration that was
    fitted without its fold; ``metrics`` are those of `modeling.algorithms.train.train`, None without labels.
    """

    calibration: Calibration
    is_calibrated: bool
    note: str
    metrics: dict[str, Any]
    held_out: Float32


def logits_of(probabilities: NDArray[np.floating[Any]]) -> Float32:
    """Return the logarithms (n, c) float32 of probabilities, those below 1e-6 raised to it. NaN stays NaN."""
    logits: Float32 = np.log(np.maximum(probabilities, SMALLEST), dtype=np.float32)
    return logits


def measure(
    probabilities: NDArray[np.floating[Any]],
    y: Integers,
    *,
    is_audit: NDArray[np.bool_] | None = None,
    groups: Integers | None = None,
    seed: int = 0,
) -> Measured:
    """Fit a temperature to the logarithms of probabilities, and measure both with and without it.

    Parameters
    ----------
    probabilities
        (n, c) of the labeled rows, finite, each row summing to 1.
    y
        (n,) class positions in ``0..c-1``.
    is_audit, groups
        See `modeling.algorithms.train.train`.

    Notes
    -----
    Nothing is trained here: the metrics are held-out only if the program that made the predictions did not learn from
    these labels. With too few labels for folds there is no calibration, and the accuracy is that of the labels as is.
    """
    logits, n_classes = logits_of(probabilities), probabilities.shape[1]
    metrics: dict[str, Any] = dict.fromkeys(HELD_OUT_METRICS) | {
        "n_labels": int(y.size),
        "n_per_class": np.bincount(y, minlength=n_classes).tolist(),
        "calibration_method": "none",
    }
    if not y.size:
        return Measured(Calibration(), False, "uncalibrated, no labels yet", metrics, softmax(logits))
    folds = choose_folds(y, seed, groups)
    held = OutOfFold(logits, np.ones(y.size, np.bool_))
    if folds.fold is None:
        result = CalibrationResult(Calibration(), logits, folds.reason)
    else:
        result = calibrate(held, y, folds.fold, is_audit=is_audit, is_grouped=groups is not None)
        metrics["calibration_method"] = result.calibration.method
    metrics |= held_out_metrics(held, y, result, n_classes, groups)
    return Measured(result.calibration, folds.fold is not None, result.note, metrics, softmax(result.logits))
