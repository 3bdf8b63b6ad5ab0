"""The flag, the tags and the notes in exports."""

import json

import pytest
from django.contrib.auth.models import User

from labeling.exporting import remarks
from labeling.models import Dataset, Item, ItemTag, Note
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from tests.factories import MakeDataset, archive_bytes, decide, opened, table

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(6)
    decide(dataset, "assign", [0, 1, 2], "cat")
    return dataset


def tag(dataset: Dataset, name: str, *rows: int) -> None:
    tag_items(dataset, list(Item.objects.filter(row__in=rows).values_list("pk", flat=True)), name, None, is_on=True)


def test_columns_of_labels_and_a_table_of_all_items(dataset: Dataset) -> None:
    ana = User.objects.create_user("ana")
    tag(dataset, "flagged", 1, 4)
    tag(dataset, "b", 1)
    tag(dataset, "A", 1)
    add_note(Item.objects.get(row=2), '=1+1, "quoted"\nsecond line', ana)
    add_note(Item.objects.get(row=5), "not labeled", None)
    archive = opened(archive_bytes(dataset))
    labels = {row["path"]: row for row in table(archive, "labels.csv")}
    found = [(row["flagged"], row["tags"]) for row in labels.values()]
    assert found == [("0", ""), ("1", "A;b"), ("0", "")]
    (note,) = json.loads(labels["image0002.png"]["notes"])
    assert (note["by"], note["text"]) == ("ana", '=1+1, "quoted"\nsecond line')
    assert note["at"].endswith("Z")
    others = table(archive, "notes.csv")
    assert [row["path"] for row in others] == [f"image000{row}.png" for row in (1, 2, 4, 5)]
    assert [row["flagged"] for row in others] == ["1", "0", "1", "0"]
    assert json.loads(others[-1]["notes"])[0]["text"] == "not labeled"
    assert "notes.csv" in json.loads(archive.read("manifest.json"))["files"]


def test_without_remarks_there_is_no_table(dataset: Dataset) -> None:
    assert "notes.csv" not in opened(archive_bytes(dataset)).namelist()


def test_the_table_goes_on_after_a_batch(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remarks, "_BATCH", 2)
    tag(dataset, "x", 0, 1, 2, 3, 5)
    tag(dataset, "y", 0, 1)
    add_note(Item.objects.get(row=4), "between", None)
    rows = table(opened(archive_bytes(dataset)), "notes.csv")
    assert [row["path"] for row in rows] == [f"image000{row}.png" for row in range(6)]


def test_imported_labels_keep_tags_and_notes(dataset: Dataset) -> None:
    import io

    from labeling.importing.save_table import import_labels

    tag(dataset, "flagged", 0)
    add_note(Item.objects.get(row=0), "keep", None)
    csv = opened(archive_bytes(dataset)).read("labels.csv").replace(b",cat,", b",dog,")
    report = import_labels(dataset, io.BytesIO(csv), user=None)
    assert report.applied == 3
    assert ItemTag.objects.count() == Note.objects.count() == 1
