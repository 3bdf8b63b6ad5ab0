"""Color the points of a map: one byte per row, an index into a legend.

0 means no value (no label, no prediction, unknown), 255 that the image is no longer available. Classes are 1, 2, 3, …
in the order of the class list; a color scale goes from 1 (lowest) to 250 (highest).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
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
    colour: Callable[[Dataset, Pool], Colouring] = field(repr=False)
    # Whether a decision may change the bytes.
    follows_labels: bool = False
    # Whether a color reveals the label or the prediction of an image.
    is_telling: bool = False


def choices_of(dataset: Dataset) -> list[Choice]:
    """Return what the points can be colored by, with a fixed number of queries."""
    classes = list(LabelClass.objects.active().filter(dataset=dataset))
    listed = _digest([(one.pk, one.name, one.colour) for one in classes])
    model = active_model(dataset)
    vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    told = f"{model.pk}.{probabilities_written(model)}" if model else "0"
    odd = f"{vectors.pk}.{vectors.generation}" if vectors else "0"
    return [
        Choice("label", "Label", listed, lambda dataset, pool: by_label(classes, pool), True, is_telling=True),
        Choice(
            "predicted",
            "Predicted class",
            f"{listed}.{told}",
            lambda dataset, pool: by_prediction(dataset, classes, pool),
            is_telling=True,
        ),
        Choice("uncertainty", "Uncertainty", told, by_uncertainty, is_telling=True),
        Choice("oddity", "Oddity", odd, by_oddity),
        Choice("time", "Time of labeling", "", by_time, follows_labels=True, is_telling=True),
        *(_field_choice(one) for one in Field.objects.filter(dataset=dataset)),
    ]


def choice_of(dataset: Dataset, by: str) -> Choice:
    """Return the choice called ``by``. Raises BadParameter if there is none."""
    if by == "state":
        return Choice("state", "State", "", lambda dataset, pool: by_state(pool), True, is_telling=True)
    for choice in choices_of(dataset):
        if choice.by == by:
            return choice
    raise BadParameter(
        f"There is no color {by[:40]!r}. Color by label, predicted, uncertainty, oddity, time or a field."
    )


def coloured(choice: Choice, dataset: Dataset, pool: Pool, hidden: Rows) -> Colouring:
    """Return the coloring by ``choice``, without values for the rows ``hidden`` if these would reveal their class."""
    told = choice.colour(dataset, pool)
    hidden = hidden[hidden < len(told.indexes)]
    if not choice.is_telling or not len(hidden):
        return told
    indexes = told.indexes.copy()
    indexes[hidden[indexes[hidden] != GONE]] = NONE
    return replace(told, indexes=indexes)


def state_indexes(pool: Pool) -> Indexes:
    """Return the state of each row as in the pool: 0 unlabeled, 1 labeled, 2 unsure, 3 skipped, 255 not available."""
    return pool.states


def label_indexes(classes: Sequence[LabelClass], labels: NDArray[np.int64]) -> Indexes:
    """Return the index of each class id in the legend, 0 for none; (n,)."""
    table = np.zeros(max([int(labels.max(initial=0)), *(one.pk for one in classes)], default=0) + 1, np.uint8)
    for position, one in enumerate(classes):
        table[one.pk] = _class_index(position)
    found: Indexes = table[labels]
    return found


def by_state(pool: Pool) -> Colouring:
    entries = tuple(Entry(state.display_name.capitalize(), "", state, state) for state in State)
    return Colouring(state_indexes(pool), entries, "State")


def by_label(classes: Sequence[LabelClass], pool: Pool) -> Colouring:
    return Colouring(_without_gone(label_indexes(classes, pool.labels), pool), _class_entries(classes), "Label")


def by_prediction(dataset: Dataset, classes: Sequence[LabelClass], pool: Pool) -> Colouring:
    predictions = _predictions(dataset)
    place = {one.pk: _class_index(position) for position, one in enumerate(classes)}
    to = tuple(0 if label is None else place.get(label.pk, 0) for label in predictions.labels)
    return Colouring(
        _without_gone(_likeliest(predictions, to), pool),
        _class_entries(classes),
        "Predicted class",
        none="Not predicted",
    )


def by_uncertainty(dataset: Dataset, pool: Pool) -> Colouring:
    predictions = _predictions(dataset)
    names = ("very low", "low", "medium", "high", "very high")
    return Colouring(_without_gone(_unsure(predictions), pool), _bands(names), "Uncertainty", RAMP, "Not predicted")


def by_oddity(dataset: Dataset, pool: Pool) -> Colouring:
    embedding_set = EmbeddingSet.objects.filter(dataset=dataset, is_active=True).first()
    vectors = open_vectors(embedding_set) if embedding_set else None
    if embedding_set is None or vectors is None:
        raise NotYet("There are no embeddings yet. A job computes them (see Jobs).")
    if not has_oddness(embedding_set, _ODDITY):
        job = latest(dataset, {"method": _ODDITY}) or enqueue(
            "oddness", dataset_id=dataset.pk, params={"method": _ODDITY}
        )
        if not job.is_active:
            raise Refusal(f"{job.error or 'The computation of oddities stopped.'} Retry it on the Jobs page.")
        raise NotYet("Oddities are being computed. Colors appear when they are ready.")
    oddness = oddness_of(embedding_set, vectors, _ODDITY)
    told, _, _ = scaled(np.asarray(oddness, np.float64))
    return Colouring(
        _without_gone(told, pool),
        _bands(("like its neighbors", "slightly odd", "somewhat odd", "odd", "very odd")),
        "Oddity",
        RAMP,
        "No embedding",
    )


def by_time(dataset: Dataset, pool: Pool) -> Colouring:
    """Color by the rank of the decision in time: labels come in bursts, which a linear scale would not resolve."""
    told = np.zeros(len(pool.states), np.uint8)
    decided = _decided(dataset, pool)
    decided = decided[decided["row"] < len(told)]
    if not len(decided):
        raise Refusal("Nothing is labeled yet. Label some images first.")
    told[decided["row"]] = 1 + np.arange(len(decided)) * (HIGHEST - 1) // max(1, len(decided) - 1)
    firsts = [int(decided["id"][len(decided) * band // BANDS]) for band in range(BANDS)]
    when = dict(Annotation.objects.filter(pk__in=firsts).values_list("pk", "decided_at"))
    names = tuple(f"from {_moment(when[one])}" if one in when else "" for one in firsts)
    return Colouring(_without_gone(told, pool), _bands(names), "Time of labeling", RAMP)


@cached(LRUCache(4), key=lambda dataset, pool: hashkey(dataset.pk, pool.newest_annotation_id), lock=Lock())
def _decided(dataset: Dataset, pool: Pool) -> NDArray[np.void]:
    """Return row and id of the current decision of every decided item, in the order of the decisions. O(n)."""
    found = Item.objects.filter(dataset=dataset, decision_id__isnull=False).exclude(state=State.UNLABELLED)
    pairs = found.values_list("row", "decision_id").iterator(chunk_size=10_000)
    decided: NDArray[np.void] = np.fromiter(pairs, dtype=[("row", "<i8"), ("id", "<i8")])
    return np.sort(decided, order="id")


def by_field(one: Field, pool: Pool) -> Colouring:
    column = column_of(one)
    if column.is_text:
        told, entries = _words(column)
        return Colouring(_without_gone(told, pool), entries, one.name, none="Not known")
    told, low, high = scaled(np.asarray(column.values, np.float64))
    edges = [_told(value, one.kind) for value in np.linspace(low, high, BANDS + 1).tolist()]
    names = (f"up to {edges[1]}", *(f"{a} to {b}" for a, b in pairwise(edges[1:-1])), f"over {edges[-2]}")
    return Colouring(_without_gone(told, pool), _bands(names), one.name, RAMP, "Not known")


def scaled(values: NDArray[np.float64]) -> tuple[Indexes, float, float]:
    """Scale values to bytes 1 … 250 between their 1st and 99th percentile, 0 for what is not finite.

    Returns the bytes and the two percentiles. Without these, a few extremes would leave one color for the rest.
    """
    known = np.isfinite(values)
    if not known.any():
        raise Refusal("No image has a value for this. Choose another color.")
    # Percentiles that are actual values: interpolated between few values, an extreme would still have an influence.
    low = float(np.percentile(values[known], 1, method="higher"))
    high = float(np.percentile(values[known], 99, method="lower"))
    if high <= low:
        low, high = float(values[known].min()), float(values[known].max())
    share = np.clip((np.where(known, values, low) - low) / ((high - low) or 1), 0, 1)
    told = np.where(known, 1 + np.rint(share * (HIGHEST - 1)), 0).astype(np.uint8)
    return told, low, high


# -- Details ------------------------------------------------------------------------------------
def _field_choice(one: Field) -> Choice:
    return Choice(
        f"field:{one.pk}", one.name, f"{one.generation}.{one.name}", lambda dataset, pool: by_field(one, pool)
    )


def _class_index(position: int) -> int:
    """Return the index of a class; classes beyond the last index share it."""
    return min(position + 1, HIGHEST)


def _class_entries(classes: Sequence[LabelClass]) -> tuple[Entry, ...]:
    entries = [Entry(one.name, one.colour, at + 1, at + 1) for at, one in enumerate(classes[: HIGHEST - 1])]
    if len(classes) >= HIGHEST:
        entries.append(Entry("All other classes", OTHERS, HIGHEST, HIGHEST))
    return tuple(entries)


def _bands(names: Sequence[str]) -> tuple[Entry, ...]:
    """Divide the color scale into one band for each of the ``names`` (BANDS), as entries that can be clicked."""
    edges = np.linspace(1, HIGHEST + 1, BANDS + 1).astype(int).tolist()
    colors = [RAMP[round(at * (len(RAMP) - 1) / (BANDS - 1))] for at in range(BANDS)]
    return tuple(
        Entry(name, color, first, after - 1)
        for name, color, (first, after) in zip(names, colors, pairwise(edges), strict=True)
    )


def _without_gone(told: Indexes, pool: Pool) -> Indexes:
    """Extend the bytes to the length of the pool: 255 for items not available, 0 for rows without a byte."""
    whole = np.zeros(len(pool.states), np.uint8)
    n = min(len(whole), len(told))
    whole[:n] = told[:n]
    whole[pool.states == UNAVAILABLE] = GONE
    return whole


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
    told = np.zeros(len(P), np.uint8)
    if not wanted:
        return told
    gather = np.array([[index == one for one in wanted] for index in to], np.float32)
    is_plain = sorted(to) == wanted
    names = np.array(list(to) if is_plain else wanted, np.uint8)
    for part in blocks(len(P), _BLOCK):
        some = np.asarray(P[part])
        sums = some if is_plain else np.nan_to_num(some) @ gather
        told[part] = np.where(np.isnan(some[:, 0]), 0, names[np.argmax(sums, axis=1)])
    return told


@cached(LRUCache(4), key=_predictions_key, lock=Lock())
def _unsure(predictions: Predictions) -> Indexes:
    P = predictions.probabilities
    told = np.zeros(len(P), np.uint8)
    for part in blocks(len(P), _BLOCK):
        scores = margin(np.asarray(P[part]))
        known = np.isfinite(scores)
        told[part] = np.where(known, 1 + np.rint(np.where(known, scores, 0) * (HIGHEST - 1)), 0)
    return told


def _words(column: Column) -> tuple[Indexes, tuple[Entry, ...]]:
    """Give a color to each of the most frequent values of a text field; the others share one."""
    codes = np.asarray(column.values, np.int32)
    counts = np.bincount(codes[codes >= 0], minlength=1)
    frequent = np.argsort(-counts, kind="stable")[: len(PALETTE)]
    frequent = frequent[counts[frequent] > 0]
    table = np.full(len(counts) + 1, HIGHEST, np.uint8)
    table[-1] = 0  # code -1 means unknown
    table[frequent] = np.arange(1, len(frequent) + 1)
    words = column.vocabulary
    entries = [Entry(words[int(code)], PALETTE[at], at + 1, at + 1) for at, code in enumerate(frequent)]
    if np.count_nonzero(counts) > len(frequent):
        entries.append(Entry("All other values", OTHERS, HIGHEST, HIGHEST))
    found: Indexes = table[codes]
    return found, tuple(entries)


def _told(value: float, kind: str) -> str:
    if kind == Field.Kind.TIME:
        return _moment(datetime.fromtimestamp(value, UTC))
    return f"{value:.4g}"


def _moment(when: datetime) -> str:
    return f"{when:%d %b %Y %H:%M}"


def _digest(parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]
