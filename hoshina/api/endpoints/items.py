"""List items by filters, and show one with its probabilities, its history and similar items."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import Http404
from ninja import Query, Router
from pydantic import BaseModel, Field

from hoshina.api.common import STATES, Guess, Id, ItemId, Slug, StateName, Text, class_id_of, dataset_of, state_name
from hoshina.api.item_json import Include, ItemOut, item_list
from hoshina.api.serving import Ranking, Served, pull
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from labeling.models import Annotation, Dataset, Item
from modeling.models import ModelVersion
from modeling.predictions import active_predictions
from sampling.queues.field_filter import check, conditions_of
from sampling.queues.item_list import ListFilters, list_items

router = Router(tags=["Items"])
LIMIT, MOST = 100, 1000
MOST_PATHS = 200


class ItemQuery(BaseModel):
    """Hold the filters of a list of items; all that are given have to match."""

    state: StateName | None = None
    class_id: Id | None = None
    class_name: Text | None = None
    predicted_id: Id | None = Field(None, description="The class that the active model predicts, by id.")
    predicted_name: Text | None = Field(None, description="The class that the active model predicts, by name.")
    min_probability: float | None = Field(None, ge=0, le=1, description="Least probability of the predicted class.")
    filter: list[Text] = Field(
        [], max_length=50,
        description="A condition on metadata: `mass=2..5`, `band=g`, or `mass=unknown`. May be repeated.",
    )  # fmt: skip
    path: list[Text] = Field([], max_length=MOST_PATHS, description="Only items with this path. May be repeated.")
    include: list[Include] = Field([], description="What to add to each item. May be repeated.")
    limit: int = Field(LIMIT, ge=1, le=MOST)
    cursor: Annotated[str, Field(max_length=20)] = Field("", description="`next_cursor` of the page before.")


class Items(BaseModel):
    """Represent a page of items in the order of the folder."""

    items: list[ItemOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last page.")


class ItemDetail(ItemOut):
    """Represent an item with everything that is known about it."""

    probabilities: list[Guess] = Field(description="Of the active model, the most likely class first.")


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
    """Decisions about an item, newest first."""

    decisions: list[DecisionOut]
    next_before: int | None = Field(description="Send it as `before` for older decisions; null if there are none.")


class SimilarQuery(BaseModel):
    """Define how many similar items to list, and which."""

    k: int = Field(20, ge=1, le=200)
    at_least: float = Field(-1, ge=-1, le=1, description="The least cosine similarity.")
    unlabelled: bool = Field(False, description="Only items without a decision.")


@router.get("/datasets/{slug:slug}/items", url_name="items", response=Items, summary="List items")
def items(request: HtmxHttpRequest, slug: Slug, query: Query[ItemQuery]) -> Items:
    """Return a page of items in the order of the folder, after `cursor`."""
    dataset = dataset_of(slug)
    after = whole_number(query.cursor) if query.cursor else -1
    if after is None:
        raise Refusal("The cursor is not one of this list.", "Send next_cursor of the page before.", field="cursor")
    page = list_items(dataset, _filters(dataset, query), after, query.limit)
    following = None if page.next_after is None else str(page.next_after)
    return Items(items=item_list(dataset, page.items, query.include), next_cursor=following)


def _filters(dataset: Dataset, query: ItemQuery) -> ListFilters:
    fields = conditions_of(query.filter)
    check(dataset, fields)
    return ListFilters(
        state=None if query.state is None else STATES[query.state],
        label_id=class_id_of(dataset, query.class_id, query.class_name),
        predicted_id=class_id_of(dataset, query.predicted_id, query.predicted_name, "predicted_name"),
        at_least=query.min_probability,
        fields=fields,
        paths=tuple(query.path),
    )


@router.get("/datasets/{slug:slug}/items/{number:item_id}", url_name="item", response=ItemDetail, summary="Get an item")
def item(request: HtmxHttpRequest, slug: Slug, item_id: ItemId) -> ItemDetail:
    """Return one item with its files, fields, tags and probabilities."""
    found = _item(slug, item_id)
    (described,) = item_list(found.dataset, [found], ("prediction", "fields", "files", "tags"))
    predictions = active_predictions(found.dataset)
    by_class = predictions.by_class(predictions.of_rows([found.row])[0]) if predictions else []
    guesses = [Guess(class_id=at.label.pk, class_name=at.label.name, probability=at.probability) for at in by_class]
    guesses.sort(key=lambda shown: -shown.probability)
    return ItemDetail(**described.model_dump(), probabilities=guesses)


@router.get(
    "/datasets/{slug:slug}/items/{number:item_id}/history", url_name="history", response=History,
    summary="Get an item's history",
)  # fmt: skip
def item_history(
    request: HtmxHttpRequest, slug: Slug, item_id: ItemId, before: Id | None = None,
    limit: Annotated[int, Field(ge=1, le=200)] = 50,
) -> History:  # fmt: skip
    """Return the decisions about an item, newest first, each with the queue, round and rank at which it was shown."""
    decisions = _item(slug, item_id).annotations.order_by("-id")
    if before is not None:
        decisions = decisions.filter(pk__lt=before)
    related = decisions.select_related("label", "annotator", "action__annotator", "action__undone_by")
    found = list(related[: limit + 1])
    versions = {version for decision in found if (version := decision.model_version_id) is not None}
    numbers = dict(ModelVersion.objects.filter(pk__in=versions).values_list("pk", "number"))
    following = found[limit - 1].pk if len(found) > limit else None
    return History(decisions=[_decision(shown, numbers) for shown in found[:limit]], next_before=following)


def _decision(decision: Annotation, numbers: dict[int, int]) -> DecisionOut:
    action = decision.action
    annotator = decision.annotator or action.annotator
    names = ("decided_at", "seconds", "queue", "rank", "score", "selection_probability", "suggested_probability")
    same: dict[str, Any] = {name: getattr(decision, name) for name in (*names, "suggestion_shown", "rendering")}
    return DecisionOut(
        **same,
        id=decision.pk,
        kind=action.kind,
        action=action.uuid,
        state=state_name(decision.state),
        class_id=decision.label_id,
        class_name=decision.label.name if decision.label else None,
        annotator=annotator.get_username() if annotator else None,
        is_undone=hasattr(action, "undone_by"),
        round=decision.round_id,
        model_version=numbers.get(decision.model_version_id or 0),
        suggested_class_id=decision.suggested_label_id,
    )


@router.get(
    "/datasets/{slug:slug}/items/{number:item_id}/similar", url_name="similar", response={200: Served, 202: Ranking},
    summary="List similar items",
)  # fmt: skip
def similar_items(request: HtmxHttpRequest, slug: Slug, item_id: ItemId, query: Query[SimilarQuery]) -> Any:
    """Return the items most similar to one, by the cosine of their embeddings (`score`), most similar first."""
    found = _item(slug, item_id)
    texts = {
        "to": str(found.row),
        "at_least": str(query.at_least),
        "state": "unlabelled" if query.unlabelled else "any",
    }
    return pull(request, found.dataset, "similar", texts, n=query.k, window=None)


def _item(slug: str, item_id: int) -> Item:
    dataset = dataset_of(slug)
    found = Item.objects.of(dataset).filter(pk=item_id).first()
    if found is None:
        raise Http404(f"There is no item {item_id} in this dataset.")
    found.dataset = dataset
    return found
