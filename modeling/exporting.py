"""What the machine adds to an export: the encoder and the model in the manifest, and predictions.csv."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.exporting import Contribution, Member, Section, register
from labeling.exporting.text import csv_line, number
from labeling.models import Dataset, Item, LabelClass
from modeling.models import EmbeddingSet, ModelVersion
from modeling.predictions import Predictions, active_model, active_predictions

_BATCH = 2000
# What a row may take at most, for the choice of 64-bit sizes: this for the path, and 13 bytes a number.
_ROW_BYTES = 5000
_MEASURES = (
    "accuracy", "accuracy_interval", "n_effective", "together", "ece_before", "ece_after", "log_loss_before",
    "log_loss_after",
)  # fmt: skip


def why_not(dataset: Dataset) -> str:
    """Why there are no predictions to export, and what to do about it; empty where there are."""
    if active_model(dataset) is None:
        return "There are no predictions yet: label a few items of two classes and retrain first."
    if active_predictions(dataset) is None:
        return "The newest model's predictions can't be read from the store. Retrain first."
    return ""


def contribute(dataset: Dataset, is_wanted: bool) -> Contribution:
    """The sections ``encoder`` and ``model`` of the manifest, and predictions.csv if wanted."""
    model = active_model(dataset)
    encoder = model.embedding_set if model is not None else None
    if encoder is None:
        encoder = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    manifest: dict[str, Any] = {"encoder": _encoder(encoder), "model": _model(model)}
    predictions = active_predictions(dataset) if is_wanted else None
    members = [] if predictions is None else [_member(dataset, predictions)]
    return Contribution(manifest=manifest, members=members)


def _encoder(encoder: EmbeddingSet | None) -> dict[str, Any] | None:
    if encoder is None:
        return None
    return {
        "name": encoder.encoder,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "reason": encoder.reason,
        "vectors": encoder.n_vectors,
    }


def _model(model: ModelVersion | None) -> dict[str, Any] | None:
    if model is None:
        return None
    names = dict(LabelClass.objects.filter(pk__in=model.class_ids).values_list("pk", "name"))
    return {
        "version": model.number,
        "labels": model.n_labels,
        "classes": [names.get(class_id, "") for class_id in model.class_ids],
        "calibration": {
            "method": model.calibration_method,
            "params": model.calibration_params,
            "temperature": model.temperature,
            "is_calibrated": model.is_calibrated,
            "note": model.calibration_note,
        },
        "measured": {name: model.metrics[name] for name in _MEASURES if name in model.metrics},
    }


def _member(dataset: Dataset, predictions: Predictions) -> Member:
    n_rows, n_columns = predictions.probabilities.shape
    return Member(
        "predictions.csv",
        prediction_lines(dataset, predictions),
        is_huge=n_rows * (_ROW_BYTES + 13 * n_columns) >= 2**31,
    )


def prediction_lines(dataset: Dataset, predictions: Predictions) -> Iterator[bytes]:
    """predictions.csv: every item with a prediction, by row; a column per class of today.

    The columns of merged classes are summed. A deleted class has no column, so that a row may then sum to
    less than 1. ``predicted`` is the likeliest column's class, the first of equals.
    """
    classes, columns = _columns(predictions)
    names = [label.name for label in classes]
    header = ("item_id", "path", "predicted", "probability", *(f"p:{name}" for name in names))
    yield csv_line(header).encode()
    if not classes:
        return
    for batch in items_by_row(dataset, len(predictions.probabilities)):
        rows = np.fromiter((row for row, _, _ in batch), np.int64, count=len(batch))
        values = summed(predictions.of_rows(rows.tolist()), columns, len(classes))
        lines = []
        for (_, item_id, path), row_values in zip(batch, values, strict=True):
            if np.isnan(row_values).any():
                continue
            best = int(np.argmax(row_values))
            numbers = [number(value) for value in row_values.tolist()]
            lines.append(csv_line((item_id, path, names[best], numbers[best], *numbers)))
        yield "".join(lines).encode()


def items_by_row(dataset: Dataset, n_rows: int) -> Iterator[list[tuple[int, int, str]]]:
    """Row, id and path of the items that an array of so many rows knows, in batches."""
    last = -1
    while True:
        batch = list(
            Item.objects.of(dataset)
            .filter(row__gt=last, row__lt=n_rows)
            .order_by("row")
            .values_list("row", "id", "path")[:_BATCH]
        )
        if not batch:
            return
        yield batch
        last = batch[-1][0]


def _columns(predictions: Predictions) -> tuple[list[LabelClass], NDArray[np.int64]]:
    """The classes in the order of the person's list, and each array column's place among them, or -1."""
    classes = {label.pk: label for label in predictions.labels if label is not None}
    ordered = sorted(classes.values(), key=lambda label: (label.order, label.pk))
    place = {label.pk: position for position, label in enumerate(ordered)}
    return ordered, np.array([-1 if label is None else place[label.pk] for label in predictions.labels], dtype=np.int64)


def summed(probabilities: NDArray[np.float32], columns: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Probabilities (n, n_classes) from array columns (n, len(columns)); those at -1 are dropped."""
    values = np.zeros((len(probabilities), n_classes), dtype=np.float64)
    for source, target in enumerate(columns.tolist()):
        if target >= 0:
            values[:, target] += probabilities[:, source]
    return values


register(
    Section(
        name="predictions",
        title="Predictions of the model for every item (predictions.csv)",
        contribute=contribute,
        why_not=why_not,
        libraries={
            "scipy": ("scipy",),
            "scikit-learn": ("scikit-learn",),
            "scikit-image": ("scikit-image",),
            "tensorflow": ("tensorflow-cpu", "tensorflow"),
            "litert": ("ai-edge-litert",),
            "torch": ("torch",),
            "onnxruntime": ("onnxruntime",),
        },
    )
)
