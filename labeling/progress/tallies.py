"""Count decisions by day and person, with one pass over the annotations per process.

Annotations are append-only. Each process keeps the sums of those that it has read, and adds the newer ones: the first
page reads all of them, the following pages only what was added since.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db.models import Case, CharField, Count, F, Func, Max, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.functions import Coalesce

from labeling.models import Action, Annotation, Dataset, State

# Transactions may commit in another order than their ids were assigned: this many ids are read again.
OVERLAP = 500
# Decisions of people, one by one; imports, merges and splits are not.
DECISIONS = (Action.Kind.ASSIGN, Action.Kind.UNSURE, Action.Kind.SKIP)
BY_PEOPLE = (*DECISIONS, Action.Kind.CLEAR, Action.Kind.UNDO)
_NOT_BY_PEOPLE = tuple(kind for kind in Action.Kind if kind not in BY_PEOPLE)
_DECIDED = (State.LABELLED, State.UNSURE, State.SKIPPED)

# Dataset id, day as text, user id, kind of action.
_Key = tuple[int, str, int | None, str]


@dataclass
class Tally:
    """Count the decisions of one person on one day by one kind of action.

    ``labels`` and ``decided``: by how many the number of labeled items, and of items with a decision, changed.
    ``seconds``: the active time of the ``timed`` annotations.
    """

    annotations: int = 0
    labels: int = 0
    decided: int = 0
    seconds: float = 0.0
    timed: int = 0

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class DayTally:
    """Hold a tally with its day, person and kind of action."""

    day: date
    user_id: int | None
    kind: str
    tally: Tally

    @property
    def is_decision(self) -> bool:
        return self.kind in DECISIONS

    @property
    def is_by_person(self) -> bool:
        return self.kind in BY_PEOPLE


@dataclass
class _Sums:
    """Hold the sums of all annotations up to ``newest``."""

    newest: int = 0
    by_key: dict[_Key, Tally] = field(default_factory=dict)

    def add(self, tallies: Iterable[tuple[_Key, Tally]]) -> None:
        for key, tally in tallies:
            self.by_key.setdefault(key, Tally()).add(tally)


_sums = _Sums()
_lock = threading.Lock()


def tallies_of(dataset: Dataset) -> list[DayTally]:
    """Return the tallies of a dataset, in the order of days."""
    with _lock:
        _read_newer()
        latest = _Sums(
            by_key={key: Tally(**vars(tally)) for key, tally in _sums.by_key.items() if key[0] == dataset.pk}
        )
        latest.add(_summed(Annotation.objects.filter(pk__gt=_sums.newest)))
    return [
        DayTally(date.fromisoformat(day), user_id, kind, tally)
        for (dataset_id, day, user_id, kind), tally in sorted(latest.by_key.items(), key=lambda pair: pair[0][1])
        if dataset_id == dataset.pk
    ]


def forget() -> None:
    """Discard all sums, for tests."""
    with _lock:
        _sums.newest, _sums.by_key = 0, {}


def _read_newer() -> None:
    """Add the annotations whose transactions have certainly ended."""
    newest = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    if newest < _sums.newest:  # another database, or the newest annotations were deleted
        _sums.newest, _sums.by_key = 0, {}
    settled = newest - OVERLAP
    if settled > _sums.newest:
        _sums.add(_summed(Annotation.objects.filter(pk__gt=_sums.newest, pk__lte=settled)))
        _sums.newest = settled


class _Day(Func):
    """Compute the day of a time in UTC, as text: Django's own function runs Python for each row of SQLite."""

    output_field = CharField()

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="substr(%(expressions)s, 1, 10)", **extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
        return self.as_sql(compiler, connection, template=template, **extra)


def _summed(annotations: QuerySet[Annotation]) -> list[tuple[_Key, Tally]]:
    """Sum annotations of all datasets. Undo restores time, person and duration of an earlier decision: not counted."""
    earlier = Annotation.objects.filter(item=OuterRef("item"), pk__lt=OuterRef("pk")).order_by("-pk").values("state")
    is_undo = Q(action__kind=Action.Kind.UNDO)
    # The previous decision is the one before, except that of an undo, which is the one that it restored.
    before = Case(When(is_undo, then=Subquery(earlier[:1])), default=F("previous__state"))
    rows = (
        annotations.annotate(
            day=_Day(Case(When(is_undo, then=F("action__created_at")), default=F("decided_at"))),
            before=Coalesce(before, int(State.UNLABELLED)),
            # What undoes an import belongs to imports too, so that the counts of the person don't fall.
            kind=Case(
                When(is_undo & Q(action__undoes__kind__in=_NOT_BY_PEOPLE), then=F("action__undoes__kind")),
                default=F("action__kind"),
            ),
        )
        .values("action__dataset", "day", "action__annotator", "kind")
        .order_by()
        .annotate(
            n=Count("pk"),
            labels=Count("pk", filter=Q(state=State.LABELLED)) - Count("pk", filter=Q(before=State.LABELLED)),
            decided=Count("pk", filter=Q(state__in=_DECIDED)) - Count("pk", filter=Q(before__in=_DECIDED)),
            time=Coalesce(Sum("seconds", filter=Q(action__kind__in=DECISIONS)), 0.0),
            timed=Count("seconds", filter=Q(action__kind__in=DECISIONS)),
        )
    )
    return [
        (
            (row["action__dataset"], row["day"], row["action__annotator"], row["kind"]),
            Tally(row["n"], row["labels"], row["decided"], row["time"], row["timed"]),
        )
        for row in rows
    ]
