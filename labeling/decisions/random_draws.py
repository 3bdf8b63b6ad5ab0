"""Find random draws: labeled items that were drawn uniformly at random from all unlabeled items.

This is the only definition. Audited accuracy, retraining weights and the test set of quick training use it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hoshina.core.batches import batched
from labeling.decisions.save import surviving
from labeling.models import Annotation, LabelClass, State


@dataclass(frozen=True)
class Draw:
    """The first decision about a drawn item, and the ID of the class suggested with it, if any."""

    annotation_id: int
    suggested_id: int | None


@dataclass(frozen=True)
class Draws:
    """The draws of items that are currently labeled, by row, and the number of drawn items without a class."""

    labeled: dict[int, Draw]
    n_undecided: int


def random_draws(dataset_id: int) -> Draws:
    """Return the dataset's random draws.

    A draw counts if the first of the decisions that led to the current one was made on it. Correcting a label later, in
    any queue, does not change how the item was selected. Undone decisions do not count. Neither do pulls restricted by
    a filter, because their items do not represent the whole dataset.
    """
    firsts = Annotation.objects.filter(
        item__dataset=dataset_id, is_random_draw=True, previous=None, item__is_available=True
    ).exclude(state=State.UNLABELLED)
    values = list(
        firsts.values_list("pk", "suggested_label_id", "item_id", "item__row", "item__state", "item__decision_id")
    )
    suggested = _survivors(dataset_id)
    older = _previous([item_id for pk, _, item_id, _, _, decision_id in values if pk != decision_id])
    labeled: dict[int, Draw] = {}
    n_undecided = 0
    for pk, suggested_id, _, row, state, decision_id in values:
        if _first_of(decision_id, older) != pk:
            continue
        if state == State.LABELLED:
            labeled[row] = Draw(pk, suggested.get(suggested_id))
        else:
            n_undecided += 1
    return Draws(labeled, n_undecided)


def _previous(item_ids: list[int]) -> dict[int, int | None]:
    """Return the ID of the previous annotation of each annotation of these items."""
    previous: dict[int, int | None] = {}
    for batch in batched(item_ids, 500):
        previous |= dict(Annotation.objects.filter(item__in=batch).values_list("pk", "previous_id"))
    return previous


def _first_of(decision_id: int | None, older: dict[int, int | None]) -> int | None:
    while decision_id is not None and older.get(decision_id) is not None:
        decision_id = older[decision_id]
    return decision_id


def _survivors(dataset_id: int) -> dict[int | None, int]:
    """Return, by class ID, the ID of the class into which each was merged (or its own), without deleted classes."""
    classes = LabelClass.objects.filter(dataset=dataset_id).select_related("merged_into")
    return {label.pk: left.pk for label in classes if (left := surviving(label)) is not None}
