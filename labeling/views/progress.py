"""Show the progress of a dataset: labels over time, pace, the goal and its estimated date, and who did what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from hoshina.core.charts import Axis, Plot, Point, Series, plot
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.plural import counted
from hoshina.jobs import clock
from hoshina.jobs.views import span
from labeling.models import Dataset
from labeling.progress import goal as goals
from labeling.progress.pace import DAYS, Finish, Work, finish_of, session_of, work_by_person, work_of
from labeling.progress.tallies import DayTally, tallies_of


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the progress page."""
    return _page(request, get_object_or_404(Dataset, slug=slug))


@require_POST
def set_goal(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Set the goal of the dataset, or remove it with an empty value."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        goals.set_goal(dataset, request.POST.get("value", ""), request.POST.get("unit", ""))
    except Refusal as refusal:
        return _page(request, dataset, str(refusal))
    return redirect("labeling:progress", slug=slug)


def _page(request: HtmxHttpRequest, dataset: Dataset, error: str = "") -> HttpResponse:
    tallies, now = tallies_of(dataset), clock.now()
    goal = goals.goal_of(dataset)
    people = work_by_person(tallies)
    names = dict(User.objects.filter(pk__in=[user_id for user_id, _ in people]).values_list("pk", "username"))
    finish = finish_of(tallies, goal.left, now.date(), is_share=goal.is_share)
    recent = [row for row in tallies if row.day > now.date() - timedelta(days=DAYS)]
    context = {
        "dataset": dataset,
        "goal": goal,
        "finish": finish,
        "time_left": _time_left(finish),
        "a_day": span(finish.seconds_a_day) if finish.seconds_a_day else "",
        "recent": work_of(recent),
        "n_days": DAYS,
        "session": session_of(dataset, request.user.pk, now),
        "people": [_person(_name(user_id, names), work) for user_id, work in people],
        "plot": labels_plot(tallies, now.date(), dataset.goal_labels),
        "error": error,
        "typed": request.POST,
    }
    return render(request, "labeling/progress/page.html", context, status=422 if error else 200)


def _name(user_id: int | None, names: dict[int, str]) -> str:
    if user_id is None:
        return "without an account"
    return names.get(user_id, "deleted account")


def _person(name: str, work: Work) -> dict[str, Any]:
    return {"name": name, "work": work, "time": span(work.seconds) if work.seconds else ""}


def _time_left(finish: Finish) -> dict[str, str] | None:
    """Return the active time as texts."""
    if finish.seconds is None:
        return None
    low, high = finish.seconds.low, finish.seconds.high
    within = "" if low is None or high is None else f"{span(low)} to {span(high)}"
    return {"value": span(finish.seconds.value), "range": within}


def labels_plot(tallies: Sequence[DayTally], today: date, goal: int | None) -> Plot | None:
    """Plot the number of labels at the end of each day on which it changed; None without any."""
    by_day: dict[date, int] = {}
    for row in tallies:
        by_day[row.day] = by_day.get(row.day, 0) + row.tally.labels
    if not any(by_day.values()):
        return None
    first = min(by_day)
    days = [first - timedelta(days=1), *sorted(by_day)]
    totals = [0, *accumulate(by_day[day] for day in days[1:])]
    if days[-1] < today:
        days.append(today)
        totals.append(totals[-1])
    points = [
        Point(day.toordinal(), total, tooltip=f"{_day(day.toordinal())}: {counted(total, 'label')}")
        for day, total in zip(days, totals, strict=True)
    ]
    series = [Series("labels", points, interval="")]
    if goal is not None:
        ends = [Point(day.toordinal(), goal, tooltip=f"Goal: {counted(goal, 'label')}") for day in (days[0], days[-1])]
        series.append(Series("goal", ends, interval=""))
    x = Axis("day", is_whole=True, is_tight=True, text=_day)
    return plot("progress", "Labels over time", series, x=x, y=Axis("labels", low=0, is_whole=True))


def _day(ordinal: float) -> str:
    day = date.fromordinal(round(ordinal))
    return f"{day.day} {day:%b %Y}" if day.year != clock.now().year else f"{day.day} {day:%b}"
