"""Color the points of a map: one byte per row, an index into a legend.

0 means no value (no label, no prediction, unknown), 255 that the image is no longer available. Classes are 1, 2, 3, …
in the order of the class list; a color scale goes from 1 (lowest) to 250 (highest).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from threading import Lock

import numpy as np
from cachetools import LRUCache, cached
from cachetools.keys import hashkey
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import enqueue
from labeling.decisions.classes import PALETTE
from labeling.fields import Column, column_of
from labeling.models import Annotation, Dataset, Field, Item, LabelClass, State
from modeling.algorithms.rows import blocks
from modeling.models import EmbeddingSet
from modeling.predictions import Predictions, active_model, active_predictions
from modeling.store import open_vectors
from modeling.versions.model_files import probabilities_written
from sampling.algorithms.uncertainty import margin
from sampling.queues.dispatch import latest
from sampling.queues.outlier_cache import Oddity, has_oddness, oddness_of
from sampling.queues.pool import UNAVAILABLE, Pool
from sampling.queues.strategy import BadParameter, Rows

Indexes = NDArray[np.uint8]
NONE, GONE, HIGHEST = 0, UNAVAILABLE, 250
# From dark blue over gray to yellow, increasingly light: readable without red and green, on dark and light background.
RAMP = ("#3b4cb8", "#56619f", "#717690", "#8d8b84", "#aca174", "#cdb75c", "#f0cf33")
OTHERS = "#8a8a8a"
BANDS = 5
_ODDITY: Oddity = "local outlier factor"
_BLOCK = 8192


class NotYet(Refusal):
    """Raised when there is nothing to color by yet, and it is being computed."""


@dataclass(frozen=True)
class Entry:
    """One line of a legend, for the indexes ``first`` to ``last``."""

    name: str
    color: str
    first: int
    last: int


@dataclass(frozen=True)
class Colouring:
    """Bytes by row (n_rows,) and their legend. ``ramp`` are the colors from low to high if they form a scale."""

    indexes: Indexes
    entries: tuple[Entry, ...]
    title: str
    ramp: tuple[str, ...] = ()
    none: str = "No label"


@dataclass(frozen=True)
class Choice:
    """One property to color the points by."""

    by: str
    title: str
    # Identifies what the colors depend on besides the labels: when it changes, so do the legend and the bytes.
    version: str
    colour: Callable[[Pool], Colouring]
    # Whether a decision may change the bytes.
    follows_labels: bool = False
    # Whether a color reveals the label or the prediction of an image.
    is_telling: bool = False


def choices_of(dataset: Dataset) -> list[Choice]:
    """Return what the points can be colored by, with a fixed number of queries."""
    classes = list(LabelClass.objects.active().filter(dataset=dataset))
    listed = hashlib.sha256(repr([(label.pk, label.name, label.colour) for label in classes]).encode()).hexdigest()[:10]
    model = active_model(dataset)
    vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    predicted = f"{model.pk}.{probabilities_written(model)}" if model else "0"
    embedded = f"{vectors.pk}.{vectors.generation}" if vectors else "0"
    by_class = partial(by_prediction, dataset, classes)
    return [
        Choice("label", "Label", listed, partial(by_label, classes), follows_labels=True, is_telling=True),
        Choice("predicted", "Predicted class", f"{listed}.{predicted}", by_class, is_telling=True),
        Choice("uncertainty", "Uncertainty", predicted, partial(by_uncertainty, dataset), is_telling=True),
        Choice("oddity", "Oddity", embedded, partial(by_oddity, dataset)),
        Choice("time", "Time of labeling", "", partial(by_time, dataset), follows_labels=True, is_telling=True),
        *(
            Choice(f"field:{field.pk}", field.name, f"{field.generation}.{field.name}", partial(by_field, field))
            for field in Field.objects.filter(dataset=dataset)
        ),
    ]


def choice_of(dataset: Dataset, by: str) -> Choice:
    """Return the choice called ``by``. Raises BadParameter if there is none."""
    if by == "state":
        return Choice("state", "State", "", by_state, follows_labels=True, is_telling=True)
    for choice in choices_of(dataset):
        if choice.by == by:
            return choice
    raise BadParameter(
        f"There is no color {by[:40]!r}. Color by label, predicted, uncertainty, oddity, time or a field."
    )


def coloured(choice: Choice, pool: Pool, hidden: Rows) -> Colouring:
    """Return the coloring by ``choice``, with a byte for each row of the pool, and 255 for those not available.

    The rows ``hidden`` have no value if it would reveal their class.
    """
    coloring = choice.colour(pool)
    indexes = for_pool(coloring.indexes, pool)
    hidden = hidden[hidden < len(indexes)]
    if choice.is_telling:
        indexes[hidden[indexes[hidden] != GONE]] = NONE
    return replace(coloring, indexes=indexes)


def for_pool(indexes: Indexes, pool: Pool) -> Indexes:
    """Extend the bytes to the length of the pool: 255 for items not available, 0 for rows without a byte."""
    n = min(len(pool.states), len(indexes))
    whole = np.zeros(len(pool.states), np.uint8)
    whole[:n] = indexes[:n]
    whole[pool.states == UNAVAILABLE] = GONE
    return whole


def label_indexes(classes: Sequence[LabelClass], labels: NDArray[np.int64]) -> Indexes:
    """Return the index of each class id in the legend, 0 for none; (n,)."""
    index_of = _indexes_of(classes)
    table = np.zeros(max(int(labels.max(initial=0)), 0, *index_of) + 1, np.uint8)
    table[list(index_of)] = list(index_of.values())
    indexes: Indexes = table[labels]
    return indexes


# -- Colorings: the indexes may be shorter than the pool --------------------------------------------
def by_state(pool: Pool) -> Colouring:
    entries = tuple(Entry(state.display_name.capitalize(), "", state, state) for state in State)
    return Colouring(pool.states, entries, "State")


def by_label(classes: Sequence[LabelClass], pool: Pool) -> Colouring:
    return Colouring(label_indexes(classes, pool.labels), _class_entries(classes), "Label")


def by_prediction(dataset: Dataset, classes: Sequence[LabelClass], pool: Pool) -> Colouring:
    predictions = _predictions(dataset)
    index_of = _indexes_of(classes)
    to = tuple(index_of.get(label.pk, NONE) if label else NONE for label in predictions.labels)
    return Colouring(_likeliest(predictions, to), _class_entries(classes), "Predicted class", none="Not predicted")


def by_uncertainty(dataset: Dataset, pool: Pool) -> Colouring:
    names = ("very low", "low", "medium", "high", "very high")
    return _on_scale(_unsure(_predictions(dataset)), names, "Uncertainty", "Not predicted")


def by_oddity(dataset: Dataset, pool: Pool) -> Colouring:
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    vectors = open_vectors(embedding_set) if embedding_set else None
    if embedding_set is None or vectors is None:
        raise NotYet("There are no embeddings yet. A job computes them (see Jobs).")
    if not has_oddness(embedding_set, _ODDITY):
        params = {"method": _ODDITY}
        job = latest(dataset, params) or enqueue("oddness", dataset_id=dataset.pk, params=params)
        if not job.is_active:
            raise Refusal(f"{job.error or 'The computation of oddities stopped.'} Retry it on the Jobs page.")
        raise NotYet("Oddities are being computed. Colors appear when they are ready.")
    indexes, _, _ = scaled(np.asarray(oddness_of(embedding_set, vectors, _ODDITY), np.float64))
    names = ("like its neighbors", "slightly odd", "somewhat odd", "odd", "very odd")
    return _on_scale(indexes, names, "Oddity", "No embedding")


def by_time(dataset: Dataset, pool: Pool) -> Colouring:
    """Color by the rank of the decision in time: labels come in bursts, which a linear scale would not resolve."""
    indexes = np.zeros(len(pool.states), np.uint8)
    decided = _decided(dataset, pool)
    decided = decided[decided["row"] < len(indexes)]
    if not len(decided):
        raise Refusal("Nothing is labeled yet. Label some images first.")
    indexes[decided["row"]] = 1 + np.arange(len(decided)) * (HIGHEST - 1) // max(1, len(decided) - 1)
    firsts = [int(decided["id"][len(decided) * band // BANDS]) for band in range(BANDS)]
    when = dict(Annotation.objects.filter(pk__in=firsts).values_list("pk", "decided_at"))
    names = [f"from {_moment(when[first])}" if first in when else "" for first in firsts]
    return _on_scale(indexes, names, "Time of labeling")


@cached(LRUCache(4), key=lambda dataset, pool: hashkey(dataset.pk, pool.newest_annotation_id), lock=Lock())
def _decided(dataset: Dataset, pool: Pool) -> NDArray[np.void]:
    """Return row and id of the current decision of every decided item, in the order of the decisions. O(n)."""
    items = Item.objects.filter(dataset=dataset, decision_id__isnull=False).exclude(state=State.UNLABELLED)
    pairs = items.values_list("row", "decision_id").iterator(chunk_size=10_000)
    decided: NDArray[np.void] = np.fromiter(pairs, dtype=[("row", "<i8"), ("id", "<i8")])
    return np.sort(decided, order="id")


def by_field(field: Field, pool: Pool) -> Colouring:
    column = column_of(field)
    if column.is_text:
        return _by_text(column, field.name)
    indexes, low, high = scaled(np.asarray(column.values, np.float64))
    edges = [_edge(value, field.kind) for value in np.linspace(low, high, BANDS + 1).tolist()]
    names = (f"up to {edges[1]}", *(f"{a} to {b}" for a, b in pairwise(edges[1:-1])), f"over {edges[-2]}")
    return _on_scale(indexes, names, field.name, "Not known")


def scaled(values: NDArray[np.float64]) -> tuple[Indexes, float, float]:
    """Scale values to bytes 1 … 250 between their 1st and 99th percentile, 0 for what is not finite.

    Returns the bytes and the two percentiles. Without these, a few extremes would leave one color for the rest.
    """
    is_finite = np.isfinite(values)
    if not is_finite.any():
        raise Refusal("No image has a value for this. Choose another color.")
    # Percentiles that are actual values: interpolated between few values, an extreme would still have an influence.
    low = float(np.percentile(values[is_finite], 1, method="higher"))
    high = float(np.percentile(values[is_finite], 99, method="lower"))
    if high <= low:
        low, high = float(values[is_finite].min()), float(values[is_finite].max())
    share = np.clip((np.where(is_finite, values, low) - low) / ((high - low) or 1), 0, 1)
    return _bytes_of(share, is_finite), low, high


# -- Details ------------------------------------------------------------------------------------
def _indexes_of(classes: Sequence[LabelClass]) -> dict[int, int]:
    """Return the index of each class by its id; classes beyond the last index share it."""
    return {label.pk: min(index, HIGHEST) for index, label in enumerate(classes, start=1)}


def _class_entries(classes: Sequence[LabelClass]) -> tuple[Entry, ...]:
    named = [(label.name, label.colour) for label in classes[: HIGHEST - 1]]
    return _entries(named, "All other classes" if len(classes) >= HIGHEST else "")


def _entries(named: Iterable[tuple[str, str]], others: str) -> tuple[Entry, ...]:
    """Return an entry for each name and color; ``others`` (if not empty) names the last index."""
    entries = [Entry(name, color, index, index) for index, (name, color) in enumerate(named, start=1)]
    return (*entries, *([Entry(others, OTHERS, HIGHEST, HIGHEST)] if others else ()))


def _on_scale(indexes: Indexes, names: Sequence[str], title: str, none: str = Colouring.none) -> Colouring:
    """Return a coloring by the color scale, divided into one band for each of the ``names`` (BANDS) to click on."""
    edges = np.linspace(1, HIGHEST + 1, BANDS + 1).astype(int).tolist()
    colors = [RAMP[round(at * (len(RAMP) - 1) / (BANDS - 1))] for at in range(BANDS)]
    bands = zip(names, colors, pairwise(edges), strict=True)
    entries = tuple(Entry(name, color, first, after - 1) for name, color, (first, after) in bands)
    return Colouring(indexes, entries, title, RAMP, none)


def _bytes_of(share: NDArray[np.floating], is_finite: NDArray[np.bool_]) -> Indexes:
    """Return shares 0 … 1 as bytes of the color scale, 0 where not ``is_finite``; (n,)."""
    return np.where(is_finite, 1 + np.rint(np.where(is_finite, share, 0) * (HIGHEST - 1)), NONE).astype(np.uint8)


def _predictions(dataset: Dataset) -> Predictions:
    predictions = active_predictions(dataset)
    if predictions is None:
        raise Refusal("There is no model yet. Label images of two classes, then press R.")
    return predictions


def _predictions_key(predictions: Predictions, to: tuple[int, ...] = ()) -> tuple[object, ...]:
    return hashkey(predictions.model.pk, probabilities_written(predictions.model), to)


@cached(LRUCache(4), key=_predictions_key, lock=Lock())
def _likeliest(predictions: Predictions, to: tuple[int, ...]) -> Indexes:
    """Return the index of each row's predicted class, (n,). Columns of one index are summed, those of 0 left out."""
    P = predictions.probabilities
    wanted = sorted({index for index in to if index})
    indexes = np.zeros(len(P), np.uint8)
    if not wanted:
        return indexes
    gather = np.array([[index == target for target in wanted] for index in to], np.float32)
    is_plain = sorted(to) == wanted
    targets = np.array(list(to) if is_plain else wanted, np.uint8)
    for part in blocks(len(P), _BLOCK):
        block = np.asarray(P[part])
        sums = block if is_plain else np.nan_to_num(block) @ gather
        indexes[part] = np.where(np.isnan(block[:, 0]), NONE, targets[np.argmax(sums, axis=1)])
    return indexes


@cached(LRUCache(4), key=_predictions_key, lock=Lock())
def _unsure(predictions: Predictions) -> Indexes:
    P = predictions.probabilities
    indexes = np.zeros(len(P), np.uint8)
    for part in blocks(len(P), _BLOCK):
        scores = margin(np.asarray(P[part]))
        indexes[part] = _bytes_of(scores, np.isfinite(scores))
    return indexes


def _by_text(column: Column, title: str) -> Colouring:
    """Give a color to each of the most frequent values of a text field; the others share one."""
    codes = np.asarray(column.values, np.int32)
    counts = np.bincount(codes[codes >= 0], minlength=1)
    frequent = np.argsort(-counts, kind="stable")[: len(PALETTE)]
    frequent = frequent[counts[frequent] > 0]
    table = np.full(len(counts) + 1, HIGHEST, np.uint8)
    table[-1] = NONE  # code -1 means unknown
    table[frequent] = np.arange(1, len(frequent) + 1)
    named = zip([column.vocabulary[code] for code in frequent.tolist()], PALETTE, strict=False)
    entries = _entries(named, "All other values" if np.count_nonzero(counts) > len(frequent) else "")
    return Colouring(table[codes], entries, title, none="Not known")


def _edge(value: float, kind: str) -> str:
    return _moment(datetime.fromtimestamp(value, UTC)) if kind == Field.Kind.TIME else f"{value:.4g}"


def _moment(when: datetime) -> str:
    return f"{when:%d %b %Y %H:%M}"
