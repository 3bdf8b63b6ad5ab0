"""List the decisions about an item, and all decisions of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

from hoshina.api.common import Id, ItemId, JsonObject, Slug, StateName, dataset_of, item_of, state_name
from hoshina.core.http import HtmxHttpRequest
from labeling.models import Annotation, Dataset
from modeling.models import ModelVersion

router = Router(tags=["Annotations"])
LIMIT, MOST = 100, 1000
_RELATED = ("label", "annotator", "action__annotator", "action__undone_by")
# Decisions of all datasets that a request reads, and at once after the first look.
_MOST_READ, _STEP = 50_000, 5_000


class DecisionOut(BaseModel):
    """Represent a decision about an item, and how the item came to be shown."""

    id: int
    kind: str = Field(description="assign, unsure, skip, clear, undo, import, merge or split.")
    action: UUID
    decided_at: datetime
    state: StateName
    class_id: int | None
    class_name: str | None
    annotator: str | None
    seconds: float | None
    is_undone: bool
    queue: str
    round: int | None
    rank: int | None
    score: float | None
    selection_probability: float | None
    model_version: int | None
    suggested_class_id: int | None
    suggested_probability: float | None
    suggestion_shown: bool | None
    rendering: str


class History(BaseModel):
    """Hold decisions about an item, newest first."""

    decisions: list[DecisionOut]
    next_before: int | None = Field(description="Send it as `before` for older decisions; null if there are none.")


class DatasetDecisionOut(DecisionOut):
    """Represent a decision with its item."""

    item_id: int
    path: str


class Decisions(BaseModel):
    """Represent a page of decisions, oldest first."""

    decisions: list[DatasetDecisionOut]
    next_after: int | None = Field(description="Send it as `after` for the next page; null on the last page.")


@router.get(
    "/datasets/{slug:slug}/items/{number:item_id}/history", url_name="history", response=History,
    summary="Get an item's history",
)  # fmt: skip
def item_history(
    request: HtmxHttpRequest, slug: Slug, item_id: ItemId, before: Id | None = None,
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
) -> History:  # fmt: skip
    """Return the decisions about an item, newest first, each with the queue, round and rank at which it was shown."""
    decisions = item_of(slug, item_id).annotations.order_by("-id")
    if before is not None:
        decisions = decisions.filter(pk__lt=before)
    found = list(decisions.select_related(*_RELATED)[: limit + 1])
    numbers = _version_numbers(found)
    following = found[limit - 1].pk if len(found) > limit else None
    described = [DecisionOut(**_described(shown, numbers)) for shown in found[:limit]]
    return History(decisions=described, next_before=following)


@router.get(
    "/datasets/{slug:slug}/decisions", url_name="decisions", response=Decisions, summary="List decisions"
)  # fmt: skip
def decisions(
    request: HtmxHttpRequest, slug: Slug, after: Id = 0, limit: Annotated[int, Field(ge=1, le=MOST)] = LIMIT
) -> Decisions:
    """Return every decision about the items of a dataset in the order in which they were saved, after `after`.

    Undone ones are included. A page may have fewer decisions than `limit`, or none, and still be followed by another.
    """
    ids, following = _next_ids(dataset_of(slug), after, limit)
    related = Annotation.objects.filter(pk__in=ids).order_by("pk").select_related("item", *_RELATED)
    found = list(related)
    numbers = _version_numbers(found)
    described = [
        DatasetDecisionOut(item_id=shown.item_id, path=shown.item.path, **_described(shown, numbers)) for shown in found
    ]
    return Decisions(decisions=described, next_after=following)


def _next_ids(dataset: Dataset, after: int, limit: int) -> tuple[list[int], int | None]:
    """Return the IDs of the next decisions of the dataset, and the last ID read, or None at the end.

    The dataset is not a condition of the query, because databases may then sort all its decisions for each page. A
    request reads a limited number of decisions of other datasets.
    """
    ids, n_read, step = list[int](), 0, limit
    while n_read < _MOST_READ:
        newer = Annotation.objects.filter(pk__gt=after).order_by("pk")
        rows = list(newer.values_list("pk", "item__dataset_id")[:step])
        for pk, dataset_id in rows:
            after = pk
            if dataset_id == dataset.pk:
                ids.append(pk)
            if len(ids) == limit:
                return ids, after
        if len(rows) < step:
            return ids, None
        n_read, step = n_read + step, _STEP
    return ids, after


def _version_numbers(found: Sequence[Annotation]) -> dict[int, int]:
    versions = {version for decision in found if (version := decision.model_version_id) is not None}
    return dict(ModelVersion.objects.filter(pk__in=versions).values_list("pk", "number"))


def _described(decision: Annotation, numbers: dict[int, int]) -> JsonObject:
    action = decision.action
    annotator = decision.annotator or action.annotator
    names = ("decided_at", "seconds", "queue", "rank", "score", "selection_probability", "suggested_probability")
    same: JsonObject = {name: getattr(decision, name) for name in (*names, "suggestion_shown", "rendering")}
    return same | {
        "id": decision.pk,
        "kind": action.kind,
        "action": action.uuid,
        "state": state_name(decision.state),
        "class_id": decision.label_id,
        "class_name": decision.label.name if decision.label else None,
        "annotator": annotator.get_username() if annotator else None,
        "is_undone": hasattr(action, "undone_by"),
        "round": decision.round_id,
        "model_version": numbers.get(decision.model_version_id or 0),
        "suggested_class_id": decision.suggested_label_id,
    }
