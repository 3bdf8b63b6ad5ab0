"""Test that an export of an earlier time has the bytes that it had then."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.exporting import Export, Options, refusal
from labeling.exporting.canonical_text import moment
from labeling.guide import guides
from labeling.models import Action, ClassChange, Dataset, ItemTag, LabelClass, Note
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from tests.factories import AT, MakeDataset, archive_bytes, decide, fresh, manifest, opened, table

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
    # The class that was merged is listed with its labels of that time.
    assert classes_now == classes_then


def rename(dataset: Dataset, old: str, new: str) -> None:
    label = LabelClass.objects.active().get(dataset=dataset, name=old)
    classes.edit(label, name=new, colour=label.colour, key=label.key, letter=label.letter)


def contents_of(dataset: Dataset, **options: object) -> dict[str, bytes]:
    """Return the files of an export, without those that name the time and the keys of classes, which are of today."""
    archive = opened(archive_bytes(dataset, **options))
    names = [name for name in archive.namelist() if name not in ("manifest.json", "data_card.md")]
    return {name: re.sub(rb'"key": \w+', b"", archive.read(name)) for name in names}


Change = Callable[[Dataset], object]
RENAMES: dict[str, list[Change]] = {
    "twice": [lambda dataset: rename(dataset, "cat", "lynx"), lambda dataset: rename(dataset, "lynx", "puma")],
    "swapped": [
        lambda dataset: rename(dataset, "cat", "x"),
        lambda dataset: rename(dataset, "dog", "cat"),
        lambda dataset: rename(dataset, "x", "dog"),
    ],
    "name given to a new class": [
        lambda dataset: rename(dataset, "cat", "lynx"),
        lambda dataset: classes.add(dataset, "cat"),
    ],
    "merged, and named like the merged one": [
        lambda dataset: classes.merge(*LabelClass.objects.filter(dataset=dataset).order_by("name"), user=None),
        lambda dataset: rename(dataset, "dog", "cat"),
    ],
    "deleted, and its key given to another": [
        lambda dataset: classes.delete(LabelClass.objects.get(dataset=dataset, name="cat"), user=None),
        lambda dataset: rename(dataset, "dog", "cat"),
        lambda dataset: classes.add(dataset, "dog"),
    ],
}


@pytest.mark.parametrize("changes", RENAMES.values(), ids=RENAMES)
def test_each_list_of_classes_is_rebuilt(dataset: Dataset, changes: list[Change]) -> None:
    layouts: tuple[dict[str, object], ...] = ({"extras": EVERYTHING}, {"layout": "imagefolder"})
    exported = []
    for change in changes:
        exported.append((moment(timezone.now()), [contents_of(dataset, **options) for options in layouts]))
        change(dataset)
    for until, before in exported:
        for options, wanted in zip(layouts, before, strict=True):
            found = contents_of(dataset, as_of=until, **options)
            assert found == wanted


def test_facts_and_card_have_the_names_of_the_time(dataset: Dataset) -> None:
    cat = LabelClass.objects.get(dataset=dataset, name="cat")
    guides.save(cat, "It purrs.", {})
    until = moment(timezone.now())
    before = manifest(opened(archive_bytes(dataset)))
    rename(dataset, "cat", "lynx")
    classes.add(dataset, "fox")
    rebuilt = opened(archive_bytes(dataset, as_of=until))
    found = manifest(rebuilt)
    assert {name: found[name] for name in ("splits", "class_guide")} == {
        name: before[name] for name in ("splits", "class_guide")
    }
    card = rebuilt.read("data_card.md").decode()
    assert "### cat" in card
    assert "lynx" not in card


def test_only_names_of_the_time_are_in_the_way_of_unsure_images(dataset: Dataset) -> None:
    until = moment(timezone.now())
    rename(dataset, "cat", "unsure")
    today = Options(layout="imagefolder", with_unsure=True)
    assert "“unsure” is one already" in refusal(fresh(dataset), today)
    assert not refusal(fresh(dataset), replace(today, as_of=until))


def test_a_name_from_before_all_decisions_holds_at_all_times(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3, name="other", classes=("cat",))
    rename(dataset, "cat", "lynx")
    decide(dataset, "assign", [0], "lynx")
    assert [row["label"] for row in table(opened(archive_bytes(dataset, as_of=newest(dataset))), "labels.csv")] == [
        "lynx"
    ]


def test_a_change_is_recorded_with_its_person_and_place(dataset: Dataset) -> None:
    ana = User.objects.get(username="ana")
    cat = LabelClass.objects.get(dataset=dataset, name="cat")
    classes.edit(cat, name="lynx", colour="#123456", key=cat.key, user=ana)
    classes.edit(cat, name="lynx", colour="#654321", key=cat.key, user=ana)
    change = ClassChange.objects.get()
    newest_id = Action.objects.filter(dataset=dataset).latest("pk").pk
    assert (change.kind, change.old_name, change.changed_by, change.after_id) == ("renamed", "cat", ana, newest_id)


def test_the_manifest_names_the_time_and_what_is_of_today(dataset: Dataset) -> None:
    until = newest(dataset)
    go_on(dataset)
    found = manifest(opened(archive_bytes(dataset, as_of=until)))
    assert found["as_of"]["until"] == until
    assert any("colors" in sentence.lower() for sentence in found["as_of"]["not_rebuilt"])
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
