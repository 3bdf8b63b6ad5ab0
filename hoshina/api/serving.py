"""Serve pages of queues to programs: the same pull that a window of the workbench makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import QueryDict
from ninja import Status
from pydantic import BaseModel, Field

from hoshina.api.common import Guess
from hoshina.api.item_json import ItemOut, bases, guess
from hoshina.core.http import HtmxHttpRequest, holder
from labeling.models import Dataset
from sampling.models import Round
from sampling.queues.deal import Tile
from sampling.queues.dispatch import StillRanking
from sampling.queues.empty_state import nothing_left
from sampling.queues.leases import Window
from sampling.queues.serve import order_of, serve, strategy_named


class ServedItem(ItemOut):
    """Represent an item at a rank of a round.

    Send `round` and `rank` with a decision, so that it keeps how it was selected.
    """

    round: int
    rank: int
    score: float | None
    selection_probability: float | None = Field(description="With which it was drawn; 1 for queues without chance.")
    reason: str


class Served(BaseModel):
    """Represent a page of a queue."""

    queue: str
    round: int
    seed: int
    model_version: int | None = Field(description="The number of the active model, which made the predictions.")
    items: list[ServedItem]
    next_offset: int | None = Field(description="Send it as `offset` with `round` for the next page; null: no more.")
    note: str = Field(description="Why there are no items, or other items than the queue promises.")


class Ranking(BaseModel):
    """Tell that the ranking is being computed. Send the same request again after the seconds in `Retry-After`."""

    detail: str


def pull(
    request: HtmxHttpRequest,
    dataset: Dataset,
    queue: str,
    texts: Mapping[str, str | Sequence[str]],
    *,
    n: int,
    window: str | None = "",
    before: Round | None = None,
    offset: int = 0,
) -> Status[Any] | Served:
    """Return a page, or status 202 while its ranking is computed. ``texts`` are parameters and filters as in URLs.

    The items are leased to the ``window`` of the client; None: to nobody.
    """
    query = QueryDict(mutable=True)
    for name, value in texts.items():
        query.setlist(name, [value] if isinstance(value, str) else list(value))
    me = Window("" if window is None else f"{holder(request)[:20]}{window}", request.user.pk)
    strategy = strategy_named(queue)
    try:
        served = serve(
            dataset, me, n, before=before, offset=offset, new_order=lambda: order_of(query, dataset, strategy, me, n)
        )
    except StillRanking as waiting:
        return Status(202, Ranking(detail=str(waiting)))
    round_, tiles = served.round_, served.deal.tiles
    note = served.note
    if not tiles:
        empty = nothing_left(dataset, round_, me)
        note = f"{empty.title}. {empty.text}"
    return Served(
        queue=round_.queue,
        round=round_.pk,
        seed=round_.seed,
        model_version=served.deal.model.number if served.deal.model else None,
        items=_items(tiles),
        next_offset=served.deal.next_offset if tiles and served.has_next else None,
        note=note,
    )


def _items(tiles: Sequence[Tile]) -> list[ServedItem]:
    described = []
    for tile, base in zip(tiles, bases([tile.item for tile in tiles]), strict=True):
        prediction: Guess | None = guess(tile.suggestion)
        shown = tile.shown
        described.append(
            ServedItem(
                **base,
                prediction=prediction,
                tags=list(tile.tags),
                round=shown.round_id or 0,
                rank=tile.rank,
                score=shown.score,
                selection_probability=shown.selection_probability,
                reason=tile.reason,
            )
        )
    return described
