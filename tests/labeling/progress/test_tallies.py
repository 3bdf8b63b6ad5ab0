"""Decisions counted by day and person: whatever was undone, imported or merged, the sums agree with the items."""

from datetime import timedelta
from itertools import count

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.decisions.classes import merge
from labeling.decisions.save import Decision, record_import
from labeling.importing.undo import new_holder, undo_import
from labeling.models import Action, Dataset, State
from labeling.progress import tallies
from labeling.progress.tallies import forget, tallies_of
from tests.factories import AT, MakeDataset, count_queries, decide

pytestmark = pytest.mark.django_db


def totals(dataset: Dataset) -> tuple[int, int]:
    """Return the sums of labels and of decisions over all tallies, after a check against the dataset's counters."""
    rows = tallies_of(dataset)
    labels, decided = (sum(getattr(row.tally, name) for row in rows) for name in ("labels", "decided"))
    dataset.refresh_from_db()
    assert (labels, decided) == (dataset.n_labelled, dataset.n_decided)
    return labels, decided


def test_labels_are_counted_on_their_day_for_their_person(make_dataset: MakeDataset) -> None:
    dataset, other = make_dataset(9), make_dataset(3, name="other")
    ana, bo = (User.objects.create(username=name) for name in ("ana", "bo"))
    decide(dataset, "assign", [0, 1], "cat", user=ana, seconds=2.0)
    decide(dataset, "unsure", [2], user=ana, seconds=5.0)
    decide(dataset, "assign", [3], "dog", user=bo, at=AT + timedelta(days=2))
    decide(other, "assign", [0], "cat", user=ana)
    found = [
        (row.day.isoformat(), row.user_id, row.kind, row.tally.labels, row.tally.decided, row.tally.seconds)
        for row in tallies_of(dataset)
    ]
    assert sorted(found) == [
        ("2026-03-04", ana.pk, "assign", 2, 2, 4.0),
        ("2026-03-04", ana.pk, "unsure", 0, 1, 5.0),
        ("2026-03-06", bo.pk, "assign", 1, 1, 0.0),
    ]
    assert totals(dataset) == (3, 4)


def test_an_undone_correction_counts_for_whoever_undid_it(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    ana, bo = (User.objects.create(username=name) for name in ("ana", "bo"))
    decide(dataset, "assign", [0, 1], "cat", user=ana, holder="a")
    decide(dataset, "unsure", [0], user=bo, holder="b", at=AT + timedelta(days=1))
    assert totals(dataset) == (1, 2)
    decide(dataset, "undo", user=bo, holder="b")
    assert totals(dataset) == (2, 2)
    by_person = {
        user: sum(row.tally.labels for row in tallies_of(dataset) if row.user_id == user.pk) for user in (ana, bo)
    }
    assert by_person == {ana: 2, bo: 0}
    decide(dataset, "undo", user=ana, holder="a")
    assert totals(dataset) == (0, 0)


def test_imports_and_merges_belong_to_nobody(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    cat, dog = dataset.classes.all()
    decide(dataset, "assign", [0], "cat")
    ids = dict(dataset.items.values_list("row", "pk"))
    holder = new_holder()
    record_import(dataset, [Decision(ids[row], State.LABELLED, dog.pk) for row in (0, 1, 2)], None, holder)
    assert totals(dataset) == (3, 3)
    merge(dog, cat, user=None)
    assert totals(dataset) == (3, 3)
    assert [row.kind for row in tallies_of(dataset) if row.is_by_person] == [Action.Kind.ASSIGN]
    undo_import(dataset, "last", user=None)
    totals(dataset)
    assert [row.kind for row in tallies_of(dataset) if row.is_by_person] == [Action.Kind.ASSIGN]


steps = st.lists(
    st.tuples(st.sampled_from(["assign", "unsure", "skip", "clear", "undo"]), st.integers(0, 3)), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_whatever_people_do_the_sums_agree_with_the_items(
    make_dataset: MakeDataset, actions: list[tuple[str, int]]
) -> None:
    dataset = make_dataset(4, name=f"set {next(_numbers)}")
    for kind, row in actions:
        if kind == "undo" and not _can_undo(dataset):
            continue
        decide(dataset, kind, [] if kind == "undo" else [row], "cat" if kind == "assign" else "")
    totals(dataset)


_numbers = count()


def _can_undo(dataset: Dataset) -> bool:
    stack = Action.objects.filter(dataset=dataset, kind__in=Action.ON_UNDO_STACK, undone_by__isnull=True)
    return stack.exists()


def test_later_pages_read_only_what_is_new(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "OVERLAP", 2)
    forget()
    dataset = make_dataset(12)
    for row in range(8):
        decide(dataset, "assign", [row], "cat", at=AT + timedelta(days=row % 2))
    assert totals(dataset) == (8, 8)
    read_up_to = tallies._sums.newest
    assert read_up_to > 0
    assert totals(dataset) == (8, 8)
    decide(dataset, "assign", [8, 9, 10], "dog", at=AT + timedelta(days=3))
    decide(dataset, "clear", [0])
    assert totals(dataset) == (10, 10)
    assert tallies._sums.newest > read_up_to
    assert count_queries(tallies_of, dataset) == 2


def test_sums_of_another_database_are_discarded(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "OVERLAP", 0)
    forget()
    dataset = make_dataset(3)
    decide(dataset, "assign", [0], "cat")
    tallies_of(dataset)
    tallies._sums.newest += 1000
    assert totals(dataset) == (1, 1)
