"""Compare an item with its nearest labeled neighbors of the most likely class and of the second, or of a chosen one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from hoshina.core.errors import Refusal
from hoshina.core.storage import StoreError
from labeling.guide.guides import first_frames
from labeling.models import Dataset, Frame, Item, LabelClass, State
from modeling.algorithms.rows import Rows
from modeling.predictions import active_predictions
from modeling.store import MissingEmbeddings, Vectors, active_vectors
from sampling.algorithms.class_neighbors import ClassNeighbors, neighbors_by_class
from sampling.queues.pool import pool_of

N_CLASSES = 2
N_NEIGHBORS = 3
# Labels of a class that are searched, a random sample of more: a page that opens at once, for any number of labels.
MAX_LABELS = 10_000


@dataclass(frozen=True)
class Neighbor:
    """Describe a labeled item: the frame that stands for it, and the cosine similarity of the embeddings."""

    frame: Frame
    similarity: float


@dataclass(frozen=True)
class Candidate:
    """Describe a class the item may belong to, with its probability (None without a model) and nearest neighbors."""

    label: LabelClass
    probability: float | None
    neighbors: list[Neighbor]


@dataclass(frozen=True)
class Comparison:
    """Hold the classes of a comparison, most likely first; ``is_sampled`` if not all labels were searched."""

    candidates: list[Candidate]
    is_sampled: bool


def compare(item: Item, chosen: int | None = None) -> Comparison:
    """Return the most likely classes of an item with its nearest labeled neighbors.

    Likely by the model; without a prediction, by the similarity of the nearest neighbor. ``chosen`` is the id of the
    class to show in place of the second one. Raises Refusal without embeddings, without one of the item, or without
    labels.
    """
    dataset = item.dataset
    vectors = _vectors_of(item)
    probabilities = _most_likely(item, chosen)
    labeled, label_ids, is_sampled = _labeled(dataset, vectors, item.row, list(probabilities))
    if not len(labeled) and not probabilities:
        raise Refusal("No other labeled images yet", "Label some images of each class first.")
    neighbors = partial(neighbors_by_class, vectors.X, item.row, labeled, label_ids, k=N_NEIGHBORS)
    found = neighbors(classes=list(probabilities), n_classes=N_CLASSES)
    if chosen is not None and chosen not in [neighbor.label_id for neighbor in found]:
        found = neighbors(classes=[found[0].label_id, chosen])
    return Comparison(_candidates(dataset, found, probabilities), is_sampled)


def _vectors_of(item: Item) -> Vectors:
    try:
        _, vectors = active_vectors(item.dataset_id)
    except MissingEmbeddings as error:
        hint = "Neighbors are found by their embeddings. See Jobs, or run hoshina embed."
        raise Refusal("No embeddings yet", hint) from error
    except StoreError as error:
        raise Refusal("The embeddings cannot be read", "Run hoshina embed to compute them again.") from error
    if item.row >= len(vectors) or not vectors.has[item.row]:
        raise Refusal("This image has no embedding yet", "Wait for the embedding job (see Jobs), or run hoshina embed.")
    return vectors


def _most_likely(item: Item, chosen: int | None) -> dict[int, float]:
    """Return the probabilities by class id, the most likely class first; empty without a prediction.

    The second is the class ``chosen``, if it is given, has a probability, and is not the most likely one.
    """
    predictions = active_predictions(item.dataset)
    if predictions is None:
        return {}
    by_class = predictions.by_class(predictions.of_rows([item.row])[0])
    by_class.sort(key=lambda suggestion: (-suggestion.probability, suggestion.label.order))
    wanted = by_class[:N_CLASSES]
    if chosen not in [suggestion.label.pk for suggestion in wanted]:
        wanted[1:] = [suggestion for suggestion in by_class if suggestion.label.pk == chosen] or wanted[1:]
    return {suggestion.label.pk: suggestion.probability for suggestion in wanted}


def _labeled(dataset: Dataset, vectors: Vectors, row: int, classes: list[int]) -> tuple[Rows, Rows, bool]:
    """Return the labeled rows with an embedding, ascending, and the class of each; a sample of many per class."""
    pool = pool_of(dataset)
    rows = pool.rows(State.LABELLED)
    rows = rows[rows < len(vectors)]
    rows = rows[vectors.has[rows] & (rows != row)]
    label_ids = pool.labels[rows]
    rng, parts = np.random.default_rng(row), []
    for label_id in classes or np.unique(label_ids).tolist():
        of_class = np.flatnonzero(label_ids == label_id)
        parts.append(rng.choice(of_class, MAX_LABELS, replace=False) if len(of_class) > MAX_LABELS else of_class)
    chosen = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)
    n_wanted = int(np.isin(label_ids, classes).sum()) if classes else len(rows)
    return rows[chosen], label_ids[chosen], len(chosen) < n_wanted


def _candidates(dataset: Dataset, found: list[ClassNeighbors], probabilities: dict[int, float]) -> list[Candidate]:
    labels = LabelClass.objects.active().filter(dataset=dataset).in_bulk()
    similarity = {
        row: float(value)
        for neighbors in found
        for row, value in zip(neighbors.rows.tolist(), neighbors.similarities, strict=True)
    }
    # The database decides: the arrays of labels may be a moment old.
    items = Item.objects.filter(dataset=dataset, row__in=similarity, state=State.LABELLED).values_list(
        "pk", "row", "label"
    )
    current = {row: (pk, label_id) for pk, row, label_id in items}
    frames = {frame.item.row: frame for frame in first_frames(dataset, [pk for pk, _ in current.values()])}
    return [
        Candidate(
            labels[neighbors.label_id],
            probabilities.get(neighbors.label_id),
            [
                Neighbor(frames[row], similarity[row])
                for row in neighbors.rows.tolist()
                if row in frames and current[row][1] == neighbors.label_id
            ],
        )
        for neighbors in found
        if neighbors.label_id in labels
    ]
