"""Turn a place in a round into a page of tiles, and lease its items to the person who gets them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from labeling.framing import Together, together
from labeling.models import Dataset, Frame, Item, LabelClass, Lease, State
from labeling.querysets import ItemQuerySet
from modeling.models import ModelVersion
from modeling.predictions import Suggestion, active_predictions, held_out_of
from sampling.checks import waiting_among
from sampling.models import Round
from sampling.queues import STRATEGIES
from sampling.selection import filters_from, ranked_rows

LEASE = timedelta(minutes=15)


@dataclass(frozen=True)
class Tile:
    """One image of the grid, with how it came to be shown."""

    item: Item
    frame: Frame
    # Of a dataset whose items have several frames.
    together: Together | None
    rank: int
    shown: dict[str, Any]
    reason: str
    suggestion: Suggestion | None
    label: LabelClass | None
    # A check: an accepted page leaves it out, and it comes back later.
    is_later: bool = False

    @property
    def shown_json(self) -> str:
        return json.dumps(self.shown, separators=(",", ":"))


@dataclass(frozen=True)
class Deal:
    """A page's worth of tiles, and the rank at which the next page begins."""

    tiles: list[Tile]
    next_offset: int


def deal(round_: Round, offset: int, n: int, *, holder: str, is_continued: bool) -> Deal:
    """Up to ``n`` tiles of the round from rank ``offset`` on, still as its filters want them and free to take.

    A page that continues another leaves out what the person was just dealt, in whatever round that was.
    """
    strategy = STRATEGIES[round_.queue]
    filters = filters_from(round_.params["filters"])
    is_leased = strategy.deals and filters.state == State.UNLABELLED and bool(holder)
    with transaction.atomic():
        if is_leased:
            # Whoever deals waits here for another who is dealing, so that no item goes to both.
            Dataset.objects.select_for_update().get(pk=round_.dataset_id)
        free = _free(round_, holder if is_leased else None, is_continued)
        items, next_offset = _collect(round_, offset, n, free, filters.state)
        if is_leased:
            _lease(round_.dataset, [item for _, item in items], holder)
    return Deal(_tiles(round_, items), next_offset)


def _free(round_: Round, holder: str | None, is_continued: bool) -> ItemQuerySet:
    """Available items that nobody else holds; without a holder, all available ones."""
    items = Item.objects.filter(dataset=round_.dataset_id).available()
    if holder is None:
        return items
    held = Q(lease__expires_at__gt=timezone.now())
    return items.exclude(held if is_continued else held & ~Q(lease__holder=holder))


def _collect(
    round_: Round, offset: int, n: int, free: ItemQuerySet, state: State | None
) -> tuple[list[tuple[int, Item]], int]:
    rows = ranked_rows(round_)
    chosen: list[tuple[int, Item]] = []
    while offset < len(rows) and len(chosen) < n:
        some = rows[offset : offset + max(n, 100)].tolist()
        items = free.filter(row__in=some)
        if state is not None:
            items = items.filter(state=state)
        by_row = {item.row: item for item in items}
        for row in some:
            if len(chosen) == n:
                break
            if row in by_row:
                chosen.append((offset, by_row[row]))
            offset += 1
    return chosen, offset


def _lease(dataset: Dataset, items: list[Item], holder: str) -> None:
    now = timezone.now()
    Lease.objects.filter(dataset=dataset, expires_at__lte=now).delete()
    Lease.objects.bulk_create(
        [Lease(item=item, dataset=dataset, holder=holder, expires_at=now + LEASE) for item in items],
        update_conflicts=True,
        unique_fields=["item"],
        update_fields=["holder", "expires_at"],
    )


def give_back(dataset: Dataset, holder: str) -> None:
    """Let go of what this browser was dealt and has not decided."""
    Lease.objects.filter(dataset=dataset, holder=holder).delete()


def _tiles(round_: Round, items: list[tuple[int, Item]]) -> list[Tile]:
    frames: dict[int, list[Frame]] = {}
    for frame in Frame.objects.filter(item__in=[item.pk for _, item in items]).order_by("pk"):
        frames.setdefault(frame.item_id, []).append(frame)
    labels = LabelClass.objects.in_bulk({item.label_id for _, item in items if item.label_id})
    rows = [item.row for _, item in items]
    voices = _voices(round_, rows)
    hidden = waiting_among(round_.dataset_id, rows)
    later = set(round_.params.get("facts", {}).get("checks", ()))
    scores = np.frombuffer(round_.scores, dtype="<f4")
    chances = np.frombuffer(round_.probabilities, dtype="<f4")
    sources = np.frombuffer(round_.sources, dtype=np.uint8)
    tiles = []
    for at, (rank, item) in enumerate(items):
        if item.pk not in frames:
            continue
        suggestion = None if item.row in hidden or not voices else voices[-1].suggestions[at]
        if item.row in hidden:  # a second look must not be led by the first
            item.state, item.label_id = State.UNLABELLED, None
        source, reason = round_.reasons[sources[rank] if len(sources) else 0]
        shown = {
            # "auto/audit": which part of a mixed queue dealt it.
            "queue": f"{round_.queue}/{source}" if source else round_.queue,
            "round_id": round_.pk,
            "rank": rank,
            "score": float(scores[rank]),
            "selection_probability": float(chances[rank]),
            "model_version_id": voices[-1].model.pk if voices else None,
            **_suggested(suggestion),
        }
        label = labels.get(item.label_id) if item.label_id else None
        if label and suggestion:
            thoughts = [one.thinks(at) for one in voices if one.words]
            reason = "; ".join([f"Labelled {label.name}", *thoughts]) if thoughts else reason
        told = f"{reason}; rank {rank + 1:,}"
        seen = together(round_.dataset, frames[item.pk])
        first = seen.first if seen else frames[item.pk][0]
        tiles.append(Tile(item, first, seen, rank, shown, told, suggestion, label, item.row in later))
    return tiles


@dataclass(frozen=True)
class _Voice:
    """What a version says of the items of a page; ``words`` name it where it had not seen them and that matters."""

    model: ModelVersion
    suggestions: list[Suggestion | None]
    words: str = ""

    def thinks(self, at: int) -> str:
        said = self.suggestions[at]
        return f"{self.words} {said.label.name} ({_told(said.probability)})" if said else f"{self.words} nothing"


def _voices(round_: Round, rows: list[int]) -> list[_Voice]:
    """Who speaks of the items of a page: the last one's suggestion is shown."""
    unseen = filters_from(round_.params["filters"]).unseen
    if unseen is not None:
        asked = ModelVersion.objects.filter(dataset=round_.dataset_id, number__in=unseen.numbers).order_by("number")
        return [_unseen_voice(model, rows, f"{model} thought") for model in asked]
    predictions = active_predictions(round_.dataset)
    if predictions is None:
        return []
    if STRATEGIES[round_.queue].needs_held_out:  # the model itself may have learnt the very label that is in doubt
        return [_unseen_voice(predictions.model, rows, "the model thinks")]
    return [_Voice(predictions.model, predictions.suggestions(rows))]


def _unseen_voice(model: ModelVersion, rows: list[int], words: str) -> _Voice:
    held = held_out_of(model)
    return _Voice(model, [None] * len(rows) if held is None else held.suggestions(rows), words)


def _told(probability: float) -> str:
    """Two digits, and no certainty that isn't there."""
    return "over 0.99" if probability >= 0.995 else f"{probability:.2f}"


def _suggested(suggestion: Suggestion | None) -> dict[str, Any]:
    return {
        "suggested_label_id": suggestion.label.pk if suggestion else None,
        "suggested_probability": round(suggestion.probability, 6) if suggestion else None,
    }
