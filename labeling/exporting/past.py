"""Find out which decisions held at an earlier time, from the append-only annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

import numpy as np
from django.db.models import Max
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.exporting.canonical_text import moment
from labeling.models import Action, Annotation, Dataset, Item, State

# IDs per IN (…), as for the labels.
_BATCH = 900
EXPECTED = "Give a time such as 2026-05-31 or 2026-05-31T18:00:00+02:00, or the number of a round."
NOT_REBUILT = (
    "Colors, keys, order and descriptions of classes are those of today.",
    "Classes that were renamed, added or retired before the store recorded this have the names of today.",
    "The dataset has the images of today. Files that changed since have their new content and SHA-256.",
    "Tags and notes that were removed since are missing.",
    "Metadata fields, by which splits may be grouped, have the values of today.",
    "Predictions, encoder, model, audited accuracy and checks are left out, because they describe today.",
)


@dataclass(frozen=True)
class Past:
    """Hold the decisions of a dataset up to an action. ``until``: the time that was asked for."""

    action_id: int
    until: datetime

    def as_manifest(self) -> dict[str, Any]:
        """Return the time, and what an export can't rebuild."""
        return {"until": moment(self.until), "not_rebuilt": list(NOT_REBUILT)}


def past_of(dataset: Dataset, text: str) -> Past | None:
    """Return the decisions up to a time, or up to the last one of a round; None for "": all decisions.

    Raises Refusal if the text is neither, or nothing was decided until then.
    """
    text = text.strip()
    if not text:
        return None
    actions = Action.objects.filter(dataset=dataset)
    if text.isdecimal():
        # Undo and merges copy the round of the decision that they restore or move.
        made = actions.filter(annotations__round_id=int(text[:18]), kind__in=Action.ON_UNDO_STACK)
        last = made.aggregate(last=Max("pk"))["last"]
        if last is None:
            hint = "rounds.csv of an export (--with-rounds) lists the rounds."
            raise Refusal(f"No decision was made in round {text[:18]}.", hint, field="as_of")
        action = actions.get(pk=last)
        return Past(action.pk, action.created_at)
    until = _time_of(text)
    newest = actions.filter(created_at__lte=until).order_by("-pk").first()
    if newest is None:
        first = actions.order_by("pk").first()
        hint = f"The first decision was saved at {moment(first.created_at)}." if first else "Nothing is decided yet."
        raise Refusal(f"No decision was saved until {text[:40]}.", hint, field="as_of")
    return Past(newest.pk, until)


def _time_of(text: str) -> datetime:
    """Parse a time, or a day up to its end; without a time zone in that of the server."""
    try:
        found = parse_datetime(text) if len(text) > 10 else None
        day = None if found else parse_date(text)
    except ValueError as error:
        raise Refusal(f"{text[:40]!r} is no valid time.", EXPECTED, field="as_of") from error
    if found is None and day is not None:
        found = datetime.combine(day, time.max)
    if found is None:
        raise Refusal(f"{text[:40]!r} is neither a time nor a round.", EXPECTED, field="as_of")
    return found if timezone.is_aware(found) else timezone.make_aware(found)


# row, id, path, state, label_id, newest_annotation_id, decision_id, content_changed_after
_ItemTuple = tuple[int, int, str, int, int | None, int, int | None, int | None]


def items_at(dataset: Dataset, past: Past) -> Iterator[_ItemTuple]:
    """Yield the items that had a decision then by row, with their state, label and decision at that time."""
    columns, last = ("row", "id", "path", "content_changed_after"), -1
    decided = Item.objects.of(dataset).filter(newest_annotation_id__gt=0).order_by("row")
    while batch := list(decided.filter(row__gt=last).values_list(*columns)[:_BATCH]):
        yield from _states(batch, past)
        last = batch[-1][0]


def labeled_rows_at(dataset: Dataset, past: Past) -> NDArray[np.int64]:
    """Return the rows of the items that were labeled then, ascending, (n,)."""
    rows = (row for row, _, _, state, *_ in items_at(dataset, past) if state == State.LABELLED)
    return np.fromiter(rows, np.int64)


def _states(batch: Sequence[tuple[int, int, str, int | None]], past: Past) -> Iterator[_ItemTuple]:
    until = Annotation.objects.filter(item__in=[pk for _, pk, _, _ in batch], action__lte=past.action_id)
    newest = dict(until.order_by().values_list("item").annotate(newest=Max("pk")))
    columns = ("pk", "state", "label_id", "previous_id", "action__kind")
    found = {pk: rest for pk, *rest in Annotation.objects.filter(pk__in=newest.values()).values_list(*columns)}
    for row, item_id, path, changed_after in batch:
        if item_id not in newest:
            continue
        pk = newest[item_id]
        state, label_id, previous_id, kind = found[pk]
        if state == State.UNLABELLED:
            continue
        decision_id = previous_id if kind == Action.Kind.UNDO else pk
        was_changed = changed_after is not None and changed_after <= pk
        yield row, item_id, path, state, label_id, pk, decision_id, changed_after if was_changed else None
