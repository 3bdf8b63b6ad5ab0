"""Select the items that splits left open: those near the border between two classes, for the queue Review."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.models import Dataset
from sampling.algorithms.parts import open_items
from sampling.classes.split import classes_of, current_parts, learn, n_decisions_since, rows_of, standing_of
from sampling.models import ClassSplit


@dataclass(frozen=True)
class Review:
    """The open items of a split, the least certain first: rows and confidence (n,), and the ids of two classes each."""

    split_id: int
    label_name: str
    rows: NDArray[np.int64]
    confidence: NDArray[np.float32]
    pairs: list[tuple[int, int]]


@dataclass(frozen=True)
class Progress:
    """How far the review of a split is."""

    n: int
    n_decided: int

    @property
    def n_open(self) -> int:
        return max(0, self.n - self.n_decided)


def split_to_review(dataset: Dataset, split_id: int = 0) -> ClassSplit | None:
    """Return a split that was applied and is not closed: the one of that id, or the newest."""
    splits = ClassSplit.objects.filter(dataset=dataset, is_closed=False, n_review__gt=0).exclude(class_ids=[])
    splits = splits.select_related("dataset", "label")
    return splits.filter(pk=split_id).first() if split_id else splits.first()


def review_of(dataset: Dataset, split_id: int) -> Review:
    """Return what is open, after learning from the decisions so far; for workers. Raises Refusal without a split."""
    split = split_to_review(dataset, split_id)
    if split is None:
        raise Refusal("Nothing to review", "Images to review come from splitting a class, on the Classes page.")
    learn(split)
    parts, standing = current_parts(split), standing_of(split)
    positions = open_items(parts.confidence, standing.is_fixed, split.n_review - standing.n_decided)
    ids = [label.pk for label in classes_of(split)]
    pairs = zip(parts.parts[positions].tolist(), parts.others[positions].tolist(), strict=True)
    return Review(
        split_id=split.pk,
        label_name=split.label.name,
        rows=rows_of(split)[positions],
        confidence=parts.confidence[positions],
        pairs=[(ids[first], ids[second]) for first, second in pairs],
    )


def progress_of(split: ClassSplit, n_decided: int | None = None) -> Progress:
    """Return how many of the items to review were decided; ``n_decided`` if the caller has counted them."""
    n = standing_of(split).n_decided if n_decided is None else n_decided
    return Progress(split.n_review, min(split.n_review, n))


def basis_of_review(dataset: Dataset, split_id: int) -> str:
    """Return what the ranking depends on: a new decision teaches something about the others."""
    split = split_to_review(dataset, split_id)
    return "" if split is None else f"split {split.pk}, decisions {n_decisions_since(split)}"
