"""List items by filters, and show one with its probabilities and similar items."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Query, Router
from pydantic import BaseModel, Field

from hoshina.api.common import STATES, Guess, Id, ItemId, Slug, StateName, Text, class_id_of, dataset_of, item_of
from hoshina.api.item_json import Include, ItemOut, item_list
from hoshina.api.serving import Ranking, Served, pull
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from labeling.models import Dataset
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
    found = item_of(slug, item_id)
    (described,) = item_list(found.dataset, [found], ("prediction", "fields", "files", "tags"))
    predictions = active_predictions(found.dataset)
    by_class = predictions.by_class(predictions.of_rows([found.row])[0]) if predictions else []
    guesses = [Guess(class_id=at.label.pk, class_name=at.label.name, probability=at.probability) for at in by_class]
    guesses.sort(key=lambda shown: -shown.probability)
    return ItemDetail(**described.model_dump(), probabilities=guesses)


@router.get(
    "/datasets/{slug:slug}/items/{number:item_id}/similar", url_name="similar", response={200: Served, 202: Ranking},
    summary="List similar items",
)  # fmt: skip
def similar_items(request: HtmxHttpRequest, slug: Slug, item_id: ItemId, query: Query[SimilarQuery]) -> Any:
    """Return the items most similar to one, by the cosine of their embeddings (`score`), most similar first."""
    found = item_of(slug, item_id)
    texts = {
        "to": str(found.row),
        "at_least": str(query.at_least),
        "state": "unlabelled" if query.unlabelled else "any",
    }
    return pull(request, found.dataset, "similar", texts, n=query.k, window=None)
