"""Test that an export of an earlier time has the bytes that it had then."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.exporting import Export, Options, refusal
from labeling.exporting.canonical_text import moment
from labeling.models import Action, Dataset, ItemTag, LabelClass, Note
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from tests.factories import AT, MakeDataset, archive_bytes, decide, manifest, opened, table

pytestmark = pytest.mark.django_db
FILES = ("labels.csv", "splits.csv", "classes.json", "annotations.csv", "notes.csv")
EVERYTHING = frozenset({"annotations"})


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide a dataset with decisions of all kinds."""
    dataset = make_dataset(12)
    ana = User.objects.create_user("ana")
    decide(dataset, "assign", [0, 1, 2, 3, 4], "cat", user=ana, round_id=1, rank=0, seconds=1.5)
    decide(dataset, "assign", [5, 6, 7], "dog", user=ana, round_id=2, rank=0)
    decide(dataset, "unsure", [8])
    decide(dataset, "skip", [9])
    decide(dataset, "assign", [0], "dog")
    decide(dataset, "undo")
    decide(dataset, "clear", [1])
    item = dataset.items.get(row=2)
    add_note(item, "blurred", ana)
    tag_items(dataset, [item.pk], "ring", ana, is_on=True)
    return dataset


def files_of(dataset: Dataset, **options: object) -> dict[str, bytes]:
    archive = opened(archive_bytes(dataset, extras=EVERYTHING, **options))
    return {name: archive.read(name) for name in FILES}


def newest(dataset: Dataset) -> str:
    return moment(Action.objects.filter(dataset=dataset).latest("pk").created_at)


def go_on(dataset: Dataset) -> None:
    """Change, undo, clear, merge and remark."""
    decide(dataset, "unsure", [8, 10])
    decide(dataset, "undo")
    decide(dataset, "undo")  # of an action before
    decide(dataset, "assign", [8, 9], "cat")
    decide(dataset, "clear", [5])
    add_note(dataset.items.get(row=3), "later", None)
    tag_items(dataset, [dataset.items.get(row=3).pk], "later", None, is_on=True)
    cat, dog = LabelClass.objects.filter(dataset=dataset).order_by("name")
    classes.merge(cat, dog, user=None)


def test_an_earlier_export_is_rebuilt_after_changes_undo_and_a_merge(dataset: Dataset) -> None:
    until, before = timezone.now(), files_of(dataset)
    go_on(dataset)
    assert files_of(dataset)["labels.csv"] != before["labels.csv"]
    rebuilt = files_of(dataset, as_of=moment(until))
    classes_then, classes_now = before.pop("classes.json"), rebuilt.pop("classes.json")
    assert rebuilt == before
    # The class that was merged is listed with its labels of that time; its key and name are known.
    assert classes_now == classes_then


def test_the_manifest_names_the_time_and_what_is_of_today(dataset: Dataset) -> None:
    until = newest(dataset)
    go_on(dataset)
    found = manifest(opened(archive_bytes(dataset, as_of=until)))
    assert found["as_of"]["until"] == until
    assert any("names" in sentence.lower() for sentence in found["as_of"]["not_rebuilt"])
    assert found["counts"]["labelled"] == 7
    assert "audited_accuracy" not in found
    assert "as_of" not in manifest(opened(archive_bytes(dataset)))


def test_a_round_stands_for_its_last_decision(dataset: Dataset) -> None:
    rows = table(opened(archive_bytes(dataset, as_of="1")), "labels.csv")
    assert [row["path"] for row in rows] == [f"image{row:04d}.png" for row in range(5)]
    assert len(table(opened(archive_bytes(dataset, as_of="2")), "labels.csv")) == 8


def test_a_day_lasts_until_its_end(dataset: Dataset) -> None:
    Action.objects.filter(dataset=dataset).update(created_at=AT)
    Note.objects.update(created_at=AT)
    ItemTag.objects.update(tagged_at=AT)
    assert files_of(dataset, as_of=AT.date().isoformat()) == files_of(dataset)
    assert "No decision was saved until" in refusal(dataset, Options(as_of=(AT - timedelta(days=1)).date().isoformat()))


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        ("yesterday", "neither a time nor a round"),
        ("2026-13-45", "no valid time"),
        ("2026-13-45T10:00:00", "no valid time"),
        ("99", "No decision was made in round 99"),
        ("1" * 40, "No decision was made in round"),
        ("2001-01-01", "The first decision was saved at"),
    ],
)
def test_other_times_are_refused(dataset: Dataset, as_of: str, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        Export(dataset, Options(as_of=as_of))


def test_what_describes_today_is_refused(dataset: Dataset) -> None:
    assert "can't be rebuilt" in refusal(dataset, Options(as_of=newest(dataset), extras=frozenset({"rounds"})))
