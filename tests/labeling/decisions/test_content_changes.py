"""Test items whose files were overwritten after they were labeled."""

import shutil
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from labeling.decisions import classes
from labeling.decisions.content_changes import CONFIRMATION, count_content_changed, mark_content_changed
from labeling.decisions.save import Decision, record_import
from labeling.models import Annotation, Dataset, Frame, Item, LabelClass, State
from tests.factories import (
    MakeDataset,
    MakeFolder,
    archive_bytes,
    assert_contains,
    count_queries,
    decide,
    opened,
    table,
)
from tests.labeling.factories import counts_of, ingest_folder, ingested_folder, write_png
from tests.labeling.groups import FLAT, ingest_groups, write_triplets

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def changed() -> list[str]:
    items = list(Item.objects.changed_since_decision().order_by("row"))
    assert [item.path for item in Item.objects.order_by("row") if item.is_content_changed] == [
        item.path for item in items
    ]
    return [item.path for item in items]


@pytest.fixture
def folder(picture_folder: MakeFolder) -> Path:
    """Create five images, of which the first three are labeled cat, unsure and skipped."""
    folder = ingested_folder(picture_folder(5))
    dataset = Dataset.objects.get()
    for number, name in enumerate(("cat", "dog")):
        LabelClass.objects.create(dataset=dataset, name=name, colour="#0072B2", key=number + 1, order=number)
    decide(dataset, "assign", [0], "cat")
    decide(dataset, "unsure", [1])
    decide(dataset, "skip", [2])
    return folder


# -- What an ingest marks -------------------------------------------------------------------------------
def test_a_file_overwritten_after_the_decision_is_marked(folder: Path) -> None:
    for row in (0, 1, 2, 3):
        write_png(folder / f"image000{row}.png", seed=50 + row)
    assert changed() == []
    assert counts_of(ingest_folder(folder))["changed"] == 4
    assert changed() == ["image0000.png", "image0001.png", "image0002.png"]  # the fourth has no decision
    # Repeating it neither adds nor removes marks.
    assert counts_of(ingest_folder(folder)) == {"items": 5, "unchanged": 5}
    assert changed() == ["image0000.png", "image0001.png", "image0002.png"]


def test_a_decision_after_the_change_is_about_the_new_content(folder: Path) -> None:
    write_png(folder / "image0003.png", seed=60)
    ingest_folder(folder)
    decide(Dataset.objects.get(), "assign", [3], "cat")
    assert changed() == []


def test_what_is_moved_touched_or_missing_is_not_changed(folder: Path, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "image0000.png").rename(folder / "deep" / "renamed.png")
    (folder / "image0001.png").touch()
    (folder / "image0002.png").rename(tmp_path / "away.png")
    assert counts_of(ingest_folder(folder)) == {"items": 5, "moved": 1, "unchanged": 3, "missing": 1}
    shutil.move(tmp_path / "away.png", folder / "image0002.png")
    assert counts_of(ingest_folder(folder)) == {"items": 5, "unchanged": 5, "returned": 1}
    assert changed() == []


def test_two_files_that_change_places_take_their_labels_along(folder: Path) -> None:
    (folder / "image0000.png").rename(folder / "aside.png")
    (folder / "image0003.png").rename(folder / "image0000.png")
    (folder / "aside.png").rename(folder / "image0003.png")
    assert counts_of(ingest_folder(folder))["moved"] == 2
    assert changed() == []


def test_a_missing_file_that_returns_with_other_content_is_changed(folder: Path) -> None:
    (folder / "image0000.png").unlink()
    ingest_folder(folder)
    write_png(folder / "image0000.png", seed=70)
    ingest_folder(folder)
    assert changed() == ["image0000.png"]


def test_a_file_that_is_read_again_for_a_newer_version_is_not_changed(folder: Path) -> None:
    Frame.objects.update(revision=None)
    ingest_folder(folder)
    assert not Frame.objects.filter(revision=None).exists()
    assert changed() == []


def test_marking_takes_one_statement_for_hundreds_of_files(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(400)
    decide(dataset, "assign", range(0, 400, 2), "cat")
    pks = list(dataset.items.values_list("pk", flat=True))
    assert count_queries(mark_content_changed, pks) == 1
    assert count_content_changed(dataset) == 200


def test_the_query_goes_through_the_partial_index(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    plan = Item.objects.of(dataset).changed_since_decision().order_by("row").values("row").explain()
    assert connection.vendor != "sqlite" or "item_content_changed" in plan


# -- Items of several files -----------------------------------------------------------------------------
@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Create three labeled items of three files each."""
    write_triplets(tmp_path / "in", range(3))
    ingest_groups(tmp_path / "in", FLAT)
    dataset = Dataset.objects.get()
    LabelClass.objects.create(dataset=dataset, name="cat", colour="#0072B2", key=1)
    decide(dataset, "assign", [0, 1, 2], "cat")
    return tmp_path / "in"


def test_one_overwritten_file_of_a_group_is_enough(groups: Path) -> None:
    write_png(groups / "sn1_diff.png", seed=80)
    ingest_groups(groups)
    assert changed() == ["sn1"]
    ingest_groups(groups)
    decide(Dataset.objects.get(), "assign", [1], "cat")
    ingest_groups(groups)
    assert changed() == []


def test_a_moved_group_is_not_changed_and_one_edited_on_the_way_is(groups: Path) -> None:
    for role in ("target", "ref", "diff"):
        (groups / f"sn0_{role}.png").rename(groups / f"sn10_{role}.png")
        (groups / f"sn2_{role}.png").rename(groups / f"sn12_{role}.png")
    write_png(groups / "sn12_ref.png", seed=81)
    ingest_groups(groups)
    assert Item.objects.filter(path__in=["sn10", "sn12"], state=State.LABELLED).count() == 2
    assert changed() == ["sn12"]


def test_a_file_that_joins_a_labeled_item_changes_it(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(2), roles=("target", "ref"))
    ingest_groups(tmp_path / "in", FLAT)
    dataset = Dataset.objects.get()
    LabelClass.objects.create(dataset=dataset, name="cat", colour="#0072B2", key=1)
    decide(dataset, "assign", [0], "cat")
    write_triplets(tmp_path / "in", range(2), roles=("diff",))
    ingest_groups(tmp_path / "in")
    assert changed() == ["sn0"]


# -- What settles it ------------------------------------------------------------------------------------
@pytest.fixture
def overwritten(folder: Path) -> Dataset:
    """Overwrite the file of the cat."""
    write_png(folder / "image0000.png", seed=90)
    ingest_folder(folder)
    assert changed() == ["image0000.png"]
    return Dataset.objects.get()


def test_the_same_class_again_confirms_and_says_so(overwritten: Dataset, client: Client) -> None:
    decide(overwritten, "assign", [0], "cat", queue="random")
    assert changed() == []
    newest = Annotation.objects.latest("pk")
    assert (newest.queue, newest.label.name, newest.is_random_draw) == (CONFIRMATION, "cat", None)  # type: ignore[union-attr]
    (row,) = (row for row in table(opened(archive_bytes(overwritten)), "labels.csv") if row["label"])
    assert (row["queue"], row["content_changed"]) == ("confirmation", "0")
    page = client.get(f"/d/{overwritten.slug}/items/0/").content.decode()
    assert_contains(page, "cat (confirmed)", lacks=["The file changed after this decision."])


def test_another_class_or_none_settles_it_too(overwritten: Dataset) -> None:
    decide(overwritten, "assign", [0], "dog", queue="random")
    assert changed() == []
    assert Annotation.objects.latest("pk").queue == "random"
    decide(overwritten, "undo")
    assert changed() == ["image0000.png"]
    decide(overwritten, "clear", [0])
    assert changed() == []


def test_the_same_class_without_a_change_is_no_confirmation(overwritten: Dataset) -> None:
    decide(overwritten, "assign", [3], "cat", queue="random")
    decide(overwritten, "assign", [3], "cat", queue="all")
    assert Annotation.objects.latest("pk").queue == "all"


def test_an_undo_of_the_confirmation_brings_it_back(overwritten: Dataset) -> None:
    decide(overwritten, "assign", [0], "cat")
    decide(overwritten, "undo")
    assert changed() == ["image0000.png"]


def test_an_undo_to_a_decision_before_the_change_brings_it_back(folder: Path) -> None:
    dataset = Dataset.objects.get()
    decide(dataset, "clear", [0])
    write_png(folder / "image0000.png", seed=91)
    ingest_folder(folder)
    assert changed() == []  # it has no label
    decide(dataset, "undo")
    assert Item.objects.get(row=0).state == State.LABELLED
    assert changed() == ["image0000.png"]


def test_a_merge_of_classes_confirms_nothing(overwritten: Dataset) -> None:
    cat, dog = LabelClass.objects.order_by("name")
    decide(overwritten, "assign", [3, 4], "cat")
    classes.merge(cat, dog, user=None)
    assert changed() == ["image0000.png"]
    assert dict(Item.objects.values_list("row", "label__name")) == {0: "dog", 1: None, 2: None, 3: "dog", 4: "dog"}
    classes.delete(dog, user=None)
    assert changed() == []


def test_an_imported_label_that_says_something_new_settles_it(overwritten: Dataset) -> None:
    item = Item.objects.get(row=0)
    cat, dog = LabelClass.objects.order_by("name")
    record_import(overwritten, [Decision(item.pk, State.LABELLED, cat.pk)], None)
    assert changed() == ["image0000.png"]  # the file repeats the decision about the old content
    record_import(overwritten, [Decision(item.pk, State.LABELLED, dog.pk)], None)
    assert changed() == []


# -- Pages ----------------------------------------------------------------------------------------------
def test_the_detail_says_so_and_offers_both_answers(overwritten: Dataset, client: Client) -> None:
    for address in (f"/d/{overwritten.slug}/items/0/", f"/d/{overwritten.slug}/items/0/detail/"):
        page = client.get(address).content.decode()
        assert_contains(page, "The file changed after this decision.", 'id="confirm-changed" data-decide="assign"')
        assert 'id="clear-changed" data-decide="clear"' in page
    other = client.get(f"/d/{overwritten.slug}/items/1/").content.decode()
    assert "The file changed after this decision." not in other
