"""Turn a part of a round into a page of tiles, and lease its items to the window that shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef

from labeling.decisions.provenance import Shown
from labeling.display.item_frames import ItemFrames, item_frames
from labeling.models import Dataset, Frame, Item, ItemQuerySet, ItemTag, LabelClass, Note, State
from labeling.notes.tags import tags_of
from modeling.models import ModelVersion
from modeling.predictions import Suggestion, active_model, held_out_of, predictions_of
from sampling.models import Round
from sampling.queues.leases import Window, blocking, take
from sampling.queues.pull import filters_from, leases, ranked_rows
from sampling.queues.registry import STRATEGIES
from sampling.sweeps.checks import has_open_check


@dataclass(frozen=True)
class Tile:
    """One image of the grid, with how it came to be shown."""

    item: Item
    frame: Frame
    # All frames of the item; None in a dataset whose items have one frame each.
    item_frames: ItemFrames | None
    rank: int
    shown: Shown
    reason: str
    suggestion: Suggestion | None
    label: LabelClass | None
    # The two classes between which a split left the item open.
    pair: tuple[LabelClass, LabelClass] | None = None
    # The item is also a check: accepting the page leaves it out, and it is shown again later.
    is_later: bool = False
    # In a class sweep, the class to offer once the tile is marked as wrong.
    runner_up: Suggestion | None = None
    # The names of the item's tags, and whether people wrote notes about it.
    tags: tuple[str, ...] = ()
    is_noted: bool = False

    @property
    def question(self) -> str:
        """Return the question of a review, or ""."""
        return f"{self.pair[0].name} or {self.pair[1].name}?" if self.pair else ""

    @property
    def shown_json(self) -> str:
        """Return what the page sends back with a label, as JSON; the page also filters by the score."""
        shown = {name: getattr(self.shown, name) for name in ("round_id", "rank", "score")}
        return json.dumps(shown, separators=(",", ":"))


@dataclass(frozen=True)
class Deal:
    """A page of tiles, and the rank at which the next page begins."""

    tiles: list[Tile]
    next_offset: int
    # The active model.
    model: ModelVersion | None


def deal(round_: Round, offset: int, n: int, *, holder: str, is_continued: bool, user_id: int | None = None) -> Deal:
    """Return up to ``n`` tiles of the round, from rank ``offset`` on, that match its filters and may be shown.

    With ``is_continued`` the page continues an earlier one: items that the window (``holder``) shows are left out,
    whichever round they came from.
    """
    model = active_model(round_.dataset)
    window = Window(holder, user_id)
    strategy = STRATEGIES[round_.queue]
    filters = filters_from(round_.params["filters"])
    items = Item.objects.filter(dataset=round_.dataset_id).available()
    if filters.is_changed:
        items = items.changed_since_decision()
    if not (holder and leases(strategy, filters)):
        found, next_offset = _collect(round_, offset, n, items, filters.state)
        return Deal(_tiles(round_, found, model), next_offset, model)
    with transaction.atomic():
        # A concurrent request waits here for this one, so that no item goes to both.
        Dataset.objects.select_for_update().get(pk=round_.dataset_id)
        for avoids_own in (True, False):  # items of own other windows only if no others are left
            blocked = blocking(window, is_continued=is_continued, avoids_own=avoids_own)
            found, next_offset = _collect(round_, offset, n, items.exclude(blocked), filters.state)
            if found:
                break
        take(round_.dataset, [place.item for place in found], window)
    return Deal(_tiles(round_, found, model), next_offset, model)


# Rows in one query; SQLite accepts 32,766 parameters.
_MOST_ROWS = 4_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Place an item at its rank, with its frames; ``is_hidden`` if label and suggestion would influence a check."""

    rank: int
    frames: list[Frame]
    is_hidden: bool
    is_tagged: bool
    is_noted: bool

    @classmethod
    def of(cls, rank: int, frames: list[Frame]) -> _Place:
        """Return the place of an item from the frames that :func:`_frames_by_row` found."""
        return cls(rank, frames, *(getattr(frames[0], name) for name in ("is_hidden", "is_tagged", "is_noted")))

    @property
    def item(self) -> Item:
        return self.frames[0].item


def _collect(round_: Round, offset: int, n: int, free: ItemQuerySet, state: State | None) -> tuple[list[_Place], int]:
    """Return up to ``n`` items, and the rank after the last of them."""
    rows, items = ranked_rows(round_), free if state is None else free.filter(state=state)
    chosen: list[_Place] = []
    size = n
    while offset < len(rows) and len(chosen) < n:
        block = rows[offset : offset + size].tolist()
        size = min(2 * size, _MOST_ROWS)  # many of these ranks may be decided
        frames = _frames_by_row(items.filter(row__in=block))
        for row in block:
            if len(chosen) == n:
                break
            if row in frames:
                chosen.append(_Place.of(offset, frames[row]))
            offset += 1
    return chosen, offset


def _frames_by_row(items: ItemQuerySet) -> dict[int, list[Frame]]:
    """Return the frames of each item with their items and what a place needs, by one query."""
    by_row: dict[int, list[Frame]] = {}
    frames = (
        Frame.objects.filter(item__in=items)
        .select_related("item")
        .annotate(
            is_hidden=has_open_check("item"),
            is_tagged=Exists(ItemTag.objects.filter(item=OuterRef("item"))),
            is_noted=Exists(Note.objects.filter(item=OuterRef("item"))),
        )
    )
    for frame in frames.order_by("pk"):
        by_row.setdefault(frame.item.row, []).append(frame)
    return by_row


def _tiles(round_: Round, places: list[_Place], model: ModelVersion | None) -> list[Tile]:
    labels = LabelClass.objects.in_bulk({place.item.label_id for place in places if place.item.label_id})
    voices = _voices(round_, [place.item.row for place in places], model)
    later = set(round_.params.get("facts", {}).get("checks", ()))
    pairs = _pairs(round_, [place.rank for place in places])
    runners_up = _runners_up(round_, places, model)
    tagged = [place.item.pk for place in places if place.is_tagged]
    tags = tags_of(tagged) if tagged else {}
    sources = np.frombuffer(round_.sources, dtype=np.uint8)
    tiles = []
    for at, place in enumerate(places):
        rank, item = place.rank, place.item
        suggestion = None if place.is_hidden or not voices else voices[-1].suggestions[at]
        if place.is_hidden:
            item.state, item.label_id = State.UNLABELLED, None
        _, reason = round_.reasons[sources[rank] if len(sources) else 0]
        shown = replace(
            round_.shown_at(rank),
            model_version_id=voices[-1].model.pk if voices else None,
            suggested_label_id=suggestion.label.pk if suggestion else None,
            suggested_probability=suggestion.probability if suggestion else None,
        )
        label = labels.get(item.label_id) if item.label_id else None
        opinions = [voice.opinion(at) for voice in voices if voice.introduction]
        if label and suggestion and opinions:
            reason = "; ".join([f"Labeled {label.name}", *opinions])
        reason = f"{reason}; rank {rank + 1:,}"
        all_frames = item_frames(round_.dataset, place.frames)
        first = all_frames.first if all_frames else place.frames[0]
        is_later = item.row in later
        tiles.append(
            Tile(
                item, first, all_frames, rank, shown, reason, suggestion, label, pairs.get(rank), is_later,
                runners_up[at], tags=tuple(tags.get(item.pk, ())), is_noted=place.is_noted,
            )
        )  # fmt: skip
    return tiles


def _runners_up(round_: Round, places: list[_Place], model: ModelVersion | None) -> list[Suggestion | None]:
    predictions = predictions_of(model) if model and round_.queue == "sweep" else None
    if predictions is None:
        return [None] * len(places)
    found = predictions.runners_up([place.item.row for place in places])
    return [None if place.is_hidden else guess for place, guess in zip(places, found, strict=True)]


def _pairs(round_: Round, ranks: list[int]) -> dict[int, tuple[LabelClass, LabelClass]]:
    """Return the two classes in question at each rank of a review."""
    pairs = round_.params.get("facts", {}).get("pairs", [])
    wanted = {rank: pairs[rank] for rank in ranks if rank < len(pairs)}
    labels = LabelClass.objects.active().in_bulk({pk for pair in wanted.values() for pk in pair})
    return {
        rank: (labels[first], labels[second])
        for rank, (first, second) in wanted.items()
        if first in labels and second in labels
    }


@dataclass(frozen=True)
class _Voice:
    """A version's suggestions for the items of a page.

    ``introduction`` precedes them in the tile's reason; "" if the version may have been trained on the items.
    """

    model: ModelVersion
    suggestions: list[Suggestion | None]
    introduction: str = ""

    def opinion(self, at: int) -> str:
        """Return what it predicts for an item, with a probability of two digits that is not rounded up to 1."""
        suggestion = self.suggestions[at]
        if suggestion is None:
            return f"{self.introduction} nothing"
        probability = "over 0.99" if suggestion.probability >= 0.995 else f"{suggestion.probability:.2f}"
        return f"{self.introduction} {suggestion.label.name} ({probability})"


def _voices(round_: Round, rows: list[int], model: ModelVersion | None) -> list[_Voice]:
    """Return the versions whose suggestions the page uses; that of the last one is shown."""
    unseen = filters_from(round_.params["filters"]).unseen
    if unseen is not None:
        models = ModelVersion.objects.filter(dataset=round_.dataset_id, number__in=unseen.numbers).order_by("number")
        return [_unseen_voice(model, rows, f"{model} predicted") for model in models]
    predictions = predictions_of(model) if model else None
    if predictions is None:
        return []
    if STRATEGIES[round_.queue].needs_held_out:  # the model itself may have been trained on the label in doubt
        return [_unseen_voice(predictions.model, rows, "the model predicts")]
    return [_Voice(predictions.model, predictions.suggestions(rows))]


def _unseen_voice(model: ModelVersion, rows: list[int], introduction: str) -> _Voice:
    held = held_out_of(model)
    return _Voice(model, [None] * len(rows) if held is None else held.suggestions(rows), introduction)
