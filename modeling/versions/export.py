"""Add the encoder, the model and predictions.csv to an export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from labeling.exporting import Contribution, Member, Section, register
from labeling.exporting.canonical_text import csv_line, number
from labeling.models import Dataset, Item, LabelClass, State
from modeling.models import EmbeddingSet, EncoderChoice, ModelVersion
from modeling.predictions import Predictions, active_model, active_predictions, held_out_of

_BATCH = 2000
# Upper bounds that decide whether 64-bit sizes are needed: this for a row's path, plus 13 bytes per number.
ROW_BYTES = 5000
# Last, so that every earlier column keeps its position.
_HELD_OUT_COLUMNS = ("is_labeled", "held_out")
_MEASURES = (
    "accuracy", "accuracy_interval", "n_effective", "together", "ece_before", "ece_after", "log_loss_before",
    "log_loss_after",
)  # fmt: skip


def why_not(dataset: Dataset) -> str:
    """Return why there are no predictions to export and what to do about it; "" if there are."""
    if active_model(dataset) is None:
        return "There are no predictions yet: label a few items of two classes and retrain first."
    if active_predictions(dataset) is None:
        return "The newest model's predictions can't be read from the store. Retrain first."
    return ""


def contribute(dataset: Dataset, is_wanted: bool) -> Contribution:
    """Return the manifest's sections ``encoder`` and ``model``, and predictions.csv if ``is_wanted``."""
    model = active_model(dataset)
    encoder = model.embedding_set if model is not None else None
    if encoder is None:
        encoder = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    manifest: dict[str, Any] = {
        "encoder": _encoder(encoder),
        "model": _model(model),
        "embedding_backend": {
            "setting": settings.EMBEDDING_BACKEND,
            "chosen": EncoderChoice.objects.filter(dataset=dataset).values_list("backend", flat=True).first(),
            "used": (encoder.backend or None) if encoder is not None else None,
        },
    }
    predictions = active_predictions(dataset) if is_wanted else None
    if predictions is None:
        return Contribution(manifest=manifest)
    n_rows, n_columns = predictions.probabilities.shape
    is_huge = n_rows * (ROW_BYTES + 13 * n_columns) >= 2**31
    member = Member("predictions.csv", prediction_lines(dataset, predictions), is_huge=is_huge)
    return Contribution(manifest=manifest, members=[member])


def _encoder(encoder: EmbeddingSet | None) -> dict[str, Any] | None:
    if encoder is None:
        return None
    return {
        "name": encoder.encoder,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "reason": encoder.reason,
        "vectors": encoder.n_vectors,
        **({"imported": encoder.origin} if encoder.is_imported else {}),
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
        **({"imported": model.options} if model.kind == ModelVersion.Kind.EXTERNAL else {}),
    }


def prediction_lines(dataset: Dataset, predictions: Predictions) -> Iterator[bytes]:
    """Yield predictions.csv: every item with a prediction, by row, with a column per current class.

    The columns of merged classes are summed. A deleted class has no column, so a row may sum to less than 1.
    ``predicted`` is the class of the largest column, the first of ties.

    A labeled item has ``is_labeled`` 1, and ``held_out`` 1 if its probabilities are out-of-fold: from a fit that was
    trained without it. For other labeled items they are those of the model itself, which has been trained on the only
    label of a class (or of its group) and on the training and validation sets of a quick training, but not on later
    labels.
    """
    classes, columns = _columns(predictions)
    names = [label.name for label in classes]
    header = ("item_id", "path", "predicted", "probability", *(f"p:{name}" for name in names), *_HELD_OUT_COLUMNS)
    yield csv_line(header).encode()
    if not classes:
        return
    held_rows, held_values = _held_out(predictions.model, [label.pk for label in classes])
    for batch in items_by_row(dataset, len(predictions.probabilities)):
        rows = np.fromiter((row for row, _, _ in batch), np.int64, count=len(batch))
        values = summed(predictions.of_rows(rows.tolist()), columns, len(classes))
        is_labeled = _are_labeled(dataset, rows)
        is_held_out = is_labeled & np.isin(rows, held_rows)
        values[is_held_out] = held_values[np.searchsorted(held_rows, rows[is_held_out])]
        lines = []
        for at, (_, item_id, path) in enumerate(batch):
            if np.isnan(values[at]).any():
                continue
            best = int(np.argmax(values[at]))
            numbers = [number(value) for value in values[at].tolist()]
            flags = (int(is_labeled[at]), int(is_held_out[at]))
            lines.append(csv_line((item_id, path, names[best], numbers[best], *numbers, *flags)))
        yield "".join(lines).encode()


def _held_out(model: ModelVersion, class_ids: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ascending rows (m,) and out-of-fold probabilities (m, n_classes) of a model.

    Items whose class was missing in the fit that predicted them are left out.
    """
    held_out = held_out_of(model)
    if held_out is None:
        return np.empty(0, np.int64), np.empty((0, len(class_ids)))
    columns = [label.pk for label in held_out.labels]
    usable, order = ~held_out.is_alone, [columns.index(class_id) for class_id in class_ids]
    return held_out.rows[usable], held_out.probabilities[usable][:, order].astype(np.float64)


def _are_labeled(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of ascending rows are labeled now."""
    labeled = Item.objects.of(dataset).filter(state=State.LABELLED, row__gte=int(rows[0]), row__lte=int(rows[-1]))
    return np.isin(rows, np.fromiter(labeled.values_list("row", flat=True), np.int64))


def items_by_row(dataset: Dataset, n_rows: int) -> Iterator[list[tuple[int, int, str]]]:
    """Yield row, id and path of the items with rows below ``n_rows``, in batches."""
    last, items = -1, Item.objects.of(dataset).filter(row__lt=n_rows).order_by("row").values_list("row", "id", "path")
    while batch := list(items.filter(row__gt=last)[:_BATCH]):
        yield batch
        last = batch[-1][0]


def _columns(predictions: Predictions) -> tuple[list[LabelClass], NDArray[np.int64]]:
    """Return the classes in the order of the class list, and each array column's position among them, or -1."""
    classes = {label.pk: label for label in predictions.labels if label is not None}
    ordered = sorted(classes.values(), key=lambda label: (label.order, label.pk))
    place = {label.pk: position for position, label in enumerate(ordered)}
    return ordered, np.array([-1 if label is None else place[label.pk] for label in predictions.labels], dtype=np.int64)


def summed(probabilities: NDArray[np.float32], columns: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return probabilities (n, n_classes) from array columns (n, len(columns)); columns at -1 are dropped."""
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
            "umap-learn": ("umap-learn",),
            "numba": ("numba",),
        },
    )
)
