"""Evaluate a trained network on labels that it was not trained on: calibration and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.models import Dataset
from modeling.algorithms.calibration import MIN_LABELS, softmax
from modeling.algorithms.fit_scaling import fit_temperature, logit_log_loss
from modeling.algorithms.intervals import effective_labels, grouped_interval
from modeling.algorithms.metrics import brier, confusion, reliability, suitable_bins
from modeling.backends.quick.keras_loop import TEMPERATURE_PRIOR_SD
from modeling.models import ModelVersion
from modeling.predictions import held_out_of
from modeling.versions import active as active_version

FloatArray = NDArray[np.float32]
Positions = NDArray[np.int64]


def calibrated(logits: FloatArray, y: Positions) -> tuple[float, bool, str]:
    """Fit the temperature to logits (n, c) of the validation set. Return it, whether it was fitted, and a note."""
    if len(y) < MIN_LABELS:
        return 1.0, False, f"uncalibrated, too few validation labels ({len(y)} of the {MIN_LABELS} needed)"
    temperature = fit_temperature(logits, y, prior_sd=TEMPERATURE_PRIOR_SD)
    return temperature, True, f"calibrated on the {len(y)} validation labels, measured on the test set"


def account(
    logits: FloatArray, y: Positions, temperature: float, n_classes: int, groups: Positions | None = None
) -> dict[str, Any]:
    """Return the metrics for logits (n, c) of the test set, as JSON, under the names that the assistive model uses.

    ``groups`` (n,) are equal for images of a group, or None if all are separate; intervals take them into account.
    """
    predicted = logits.argmax(axis=1)
    right = predicted == y
    table = confusion(y, predicted, n_classes)
    before, after = softmax(logits), softmax(logits, temperature)
    n_bins = suitable_bins(len(y))
    bars_before, bars_after = (reliability(P, y, n_bins=n_bins, groups=groups) for P in (before, after))
    both = table.counts.sum(axis=0) + table.counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        f1 = np.where(both > 0, 2 * np.diagonal(table.counts) / np.maximum(both, 1), np.nan)
    return {
        "accuracy": int(np.count_nonzero(right)) / len(y),
        "accuracy_interval": list(grouped_interval(right, groups)),
        "n_effective": effective_labels(right, groups),
        "ece_before": bars_before.error,
        "ece_after": bars_after.error,
        "log_loss_before": logit_log_loss(logits, y),
        "log_loss_after": logit_log_loss(logits, y, temperature),
        "brier_before": brier(before, y),
        "brier_after": brier(after, y),
        "confusion": table.counts.tolist(),
        "precision": _or_none(table.precision),
        "recall": _or_none(table.recall),
        "f1": _or_none(f1),
        "reliability": bars_after.as_rows(),
        "reliability_before": bars_before.as_rows(),
    }


def beside_assistive(dataset: Dataset, rows: Positions, truth: Positions, predicted: Positions) -> dict[str, Any]:
    """Return the held-out accuracy of the newest assistive model on the same test images.

    ``rows``, ``truth`` and ``predicted`` int64 (n,) are the test set and class ids. ``assistive_accuracy`` is None if
    no assistive model held out any of them; ``assistive`` holds its number, the number of shared images, and both
    accuracies.
    """
    versions = ModelVersion.objects.filter(dataset=dataset, kind=ModelVersion.Kind.ASSISTIVE)
    for version in versions[: active_version.ARRAYS_KEPT]:
        held = held_out_of(version)
        if held is None or not (shared := np.isin(rows, held.rows)).any():
            continue
        assistive = held.predicted()[np.searchsorted(held.rows, rows[shared])]
        accuracy, quick = (float((said == truth[shared]).mean()) for said in (assistive, predicted[shared]))
        about = {"version": version.number, "n": int(shared.sum()), "accuracy": accuracy, "quick_accuracy": quick}
        return {"assistive_accuracy": accuracy, "assistive": about}
    return {"assistive_accuracy": None, "assistive": None}


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    """Replace NaN, which is not valid JSON, by None."""
    return [None if np.isnan(value) else float(value) for value in values]
