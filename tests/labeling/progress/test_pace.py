"""Pace, session, goal and the estimated finish."""

from datetime import UTC, date, datetime, timedelta

import pytest

from hoshina.core.errors import Refusal
from labeling.models import Dataset
from labeling.progress.goal import goal_of, set_goal
from labeling.progress.pace import finish_of, session_of, work_of
from labeling.progress.tallies import DayTally, Tally
from tests.factories import MakeDataset, decide

TODAY = date(2026, 5, 20)
NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def day(days_ago: int, labels: int, seconds: float = 0.0, kind: str = "assign", user: int | None = 1) -> DayTally:
    tally = Tally(annotations=labels, labels=labels, decided=labels, seconds=seconds, timed=labels if seconds else 0)
    return DayTally(TODAY - timedelta(days=days_ago), user, kind, tally)


def test_work_adds_up_and_unsure_is_a_share_of_decisions() -> None:
    unsure = DayTally(TODAY, 1, "unsure", Tally(annotations=2, decided=2, seconds=20.0, timed=2))
    work = work_of([day(1, 6, 40.0), unsure, day(0, 500, kind="import", user=None)])
    assert (work.labels, work.decisions, work.unsure, work.seconds) == (6, 8, 2, 60.0)
    assert (work.per_minute, work.unsure_share) == (8.0, 0.25)
    assert work_of([]).per_minute is None


def test_an_even_pace_gives_a_day_and_no_spread() -> None:
    finish = finish_of([day(ago, 100, 300.0) for ago in range(5)], 250, TODAY, is_share=False)
    assert finish.day == finish.earliest == finish.latest == TODAY + timedelta(days=3)
    assert finish.seconds is not None
    assert (finish.seconds.value, finish.seconds.low, finish.seconds.high) == pytest.approx((750, 750, 750))


def test_an_uneven_pace_gives_a_range_and_pauses_count() -> None:
    finish = finish_of([day(8, 300, 900.0), day(4, 100, 250.0), day(1, 200, 700.0)], 600, TODAY, is_share=False)
    assert finish.day == TODAY + timedelta(days=9), "600 in nine days"
    assert finish.earliest is not None
    assert finish.earliest < finish.day
    assert finish.latest is None or finish.latest > finish.day
    assert finish.seconds is not None
    assert finish.seconds.low is not None
    assert finish.seconds.high is not None
    assert finish.seconds.value == pytest.approx(600 * 1850 / 600)
    assert finish.seconds.low < finish.seconds.value < finish.seconds.high


def test_two_days_give_no_range_and_no_work_no_day() -> None:
    finish = finish_of([day(1, 50, 100.0), day(0, 50, 100.0)], 100, TODAY, is_share=False)
    assert (finish.day, finish.earliest, finish.latest) == (TODAY + timedelta(days=2), None, None)
    assert finish.seconds is not None
    assert finish.seconds.low is None
    for rows in ([], [day(60, 500, 100.0)], [day(0, 500, kind="import", user=None)]):
        nothing = finish_of(rows, 100, TODAY, is_share=False)
        assert (nothing.day, nothing.seconds) == (None, None), rows
    assert finish_of([day(3, 1)], 10_000_000, TODAY, is_share=False).day is None, "centuries"


@pytest.mark.django_db
def test_a_session_ends_with_a_long_pause(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(9)
    assert session_of(dataset, None, NOW) is None
    decide(dataset, "assign", [0], "cat", at=NOW - timedelta(minutes=90), seconds=3.0)
    assert session_of(dataset, None, NOW) is None
    decide(dataset, "assign", [1, 2], "cat", at=NOW - timedelta(minutes=40), seconds=3.0)
    decide(dataset, "unsure", [3], at=NOW - timedelta(minutes=15), seconds=6.0)
    session = session_of(dataset, None, NOW)
    assert session is not None
    assert (session.decisions, session.labels, session.unsure, session.seconds) == (3, 2, 1, 12.0)
    assert session.began == NOW - timedelta(minutes=40)


@pytest.mark.django_db
def test_goals(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(10)
    decide(dataset, "assign", [0, 1], "cat")
    decide(dataset, "skip", [2])
    dataset.refresh_from_db()

    def shown() -> tuple[int, int, int, str]:
        goal = goal_of(Dataset.objects.get())
        return goal.target, goal.reached, goal.left, goal.text

    assert shown() == (10, 3, 7, "every image")
    set_goal(dataset, "5", "labels")
    assert shown() == (5, 2, 3, "5 labels")
    set_goal(dataset, "25", "percent")
    assert shown() == (3, 3, 0, "25 % of the images")
    for value, unit in (("0", "labels"), ("-1", "labels"), ("many", "labels"), ("101", "percent"), ("5", "years")):
        with pytest.raises(Refusal):
            set_goal(dataset, value, unit)
    assert shown()[0] == 3, "a refused goal changes nothing"
    set_goal(dataset, "", "labels")
    assert shown()[3] == "every image"
