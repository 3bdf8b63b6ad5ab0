"""Compute the pace of labeling, by person and for everyone, and when the goal is reached at this pace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import ceil, sqrt

from labeling.decisions.pace import newest_annotations
from labeling.models import Dataset, State
from labeling.progress.tallies import DECISIONS, DayTally, Tally

# The current pace is that of the last DAYS days. A range needs MIN_DAYS of them.
DAYS, MIN_DAYS = 14, 3
# A pause this long ends a session.
PAUSE = timedelta(minutes=30)
# No date is given further ahead than this.
FURTHEST = timedelta(days=3650)
# An interval of 95 % reaches this many standard errors.
ERRORS = 1.96


@dataclass(frozen=True)
class Work:
    """Decisions with their active time; ``labels`` is by how many the labeled items became more."""

    labels: int = 0
    decisions: int = 0
    unsure: int = 0
    seconds: float = 0.0
    timed: int = 0

    @property
    def per_minute(self) -> float | None:
        """Return the timed decisions per minute of active time; None if no time was recorded."""
        return 60 * self.timed / self.seconds if self.seconds > 0 else None

    @property
    def unsure_share(self) -> float:
        return self.unsure / self.decisions if self.decisions else 0.0


@dataclass(frozen=True)
class Session(Work):
    """Describe the work of one person since the last long pause."""

    began: datetime | None = None


@dataclass(frozen=True)
class Range:
    """Hold an estimate with a 95 % range; the ends are None if it is not known, or if there is no upper end."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Finish:
    """Estimate what the goal still takes: seconds of active time, and the days from today on. None: not known yet.

    The days assume ``seconds_a_day`` of active time, 0 if it is not known.
    """

    seconds: Range | None
    day: date | None
    earliest: date | None
    latest: date | None
    seconds_a_day: float


def work_of(tallies: Iterable[DayTally]) -> Work:
    """Add up the work of people in these tallies."""
    total, unsure = Tally(), 0
    decisions = 0
    for row in tallies:
        if row.is_by_person:
            total.add(row.tally)
        if row.is_decision:
            decisions += row.tally.annotations
            unsure += row.tally.annotations if row.kind == "unsure" else 0
    return Work(total.labels, decisions, unsure, total.seconds, total.timed)


def work_by_person(tallies: Sequence[DayTally]) -> list[tuple[int | None, Work]]:
    """Return the work of each person, those with most labels first."""
    people: dict[int | None, list[DayTally]] = {}
    for row in tallies:
        if row.is_by_person:
            people.setdefault(row.user_id, []).append(row)
    return sorted(((user_id, work_of(rows)) for user_id, rows in people.items()), key=lambda pair: -pair[1].labels)


def session_of(dataset: Dataset, user_id: int | None, now: datetime) -> Session | None:
    """Return the person's decisions since the last pause of half an hour; None if that was their last decision."""
    own = newest_annotations(dataset).filter(action__kind__in=DECISIONS, annotator=user_id)
    began, rows = now, []
    for at, seconds, state in own.order_by("-pk").values_list("decided_at", "seconds", "state").iterator():
        if began - at > PAUSE:
            break
        began = min(began, at)
        rows.append((seconds, state))
    if not rows:
        return None
    times = [seconds for seconds, _ in rows if seconds is not None]
    states = [state for _, state in rows]
    return Session(
        states.count(State.LABELLED), len(rows), states.count(State.UNSURE), sum(times), len(times), began=began
    )


def finish_of(tallies: Sequence[DayTally], left: int, today: date, *, is_share: bool) -> Finish:
    """Estimate when ``left`` more labels (or decisions, if the goal ``is_share``) are reached at the current pace."""
    days = _recent_days(tallies, today, is_share=is_share)
    earliest = latest = None
    rate = _mean([n for n, _ in days])
    day = _after(today, left, rate.value) if rate and rate.value > 0 else None
    if rate and day and rate.high and rate.low is not None:
        earliest = _after(today, left, rate.high)
        latest = _after(today, left, rate.low) if rate.low > 0 else None
    seconds_a_day = sum(seconds for _, seconds in days) / len(days) if days else 0.0
    return Finish(_seconds(days, left), day, earliest, latest, seconds_a_day)


def _recent_days(tallies: Sequence[DayTally], today: date, *, is_share: bool) -> list[tuple[int, float]]:
    """Return what people added on each of the last days since the first label, with the active time in seconds."""
    by_day: dict[date, list[DayTally]] = {}
    for row in tallies:
        if row.is_by_person:
            by_day.setdefault(row.day, []).append(row)
    if not by_day:
        return []
    first = max(min(by_day), today - timedelta(days=DAYS - 1))
    found = []
    for offset in range((today - first).days + 1):
        rows = [row.tally for row in by_day.get(first + timedelta(days=offset), [])]
        added = sum(tally.decided if is_share else tally.labels for tally in rows)
        found.append((added, sum(tally.seconds for tally in rows)))
    return found


def _mean(values: Sequence[float]) -> Range | None:
    """Return the mean with its interval, which takes MIN_DAYS days."""
    if not values:
        return None
    mean = sum(values) / len(values)
    if len(values) < MIN_DAYS:
        return Range(mean)
    error = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return Range(mean, max(0.0, mean - ERRORS * error), mean + ERRORS * error)


def _seconds(days: Sequence[tuple[int, float]], left: int) -> Range | None:
    """Return the active time that ``left`` labels take: a ratio of sums, with a jackknife interval over active days."""
    active = [(n, seconds) for n, seconds in days if n > 0 and seconds > 0]
    if not active:
        return None

    def ratio(rows: Sequence[tuple[int, float]]) -> float:
        return sum(s for _, s in rows) / sum(n for n, _ in rows)

    value, k = ratio(active), len(active)
    if k < MIN_DAYS:
        return Range(left * value)
    without = [ratio([*active[:at], *active[at + 1 :]]) for at in range(k)]
    center = sum(without) / k
    error = sqrt((k - 1) / k * sum((each - center) ** 2 for each in without))
    return Range(left * value, left * max(0.0, value - ERRORS * error), left * (value + ERRORS * error))


def _after(today: date, left: int, rate: float) -> date | None:
    """Return the day on which ``left`` are done at ``rate`` a day; None if that is too far ahead to say."""
    ahead = ceil(left / rate)
    return today + timedelta(days=ahead) if ahead <= FURTHEST.days else None
