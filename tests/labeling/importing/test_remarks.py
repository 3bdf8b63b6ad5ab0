"""Flags, tags, notes and annotators of a file, and of the project's own export."""

import io
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from hoshina.core.errors import Refusal
from labeling.importing.save_table import Report, import_labels
from labeling.models import Annotation, Dataset, Item, ItemTag, Note, State
from labeling.notes.entries import add_note
from labeling.notes.tags import tag_items
from tests.factories import MakeDataset, archive_bytes, decide, opened

pytestmark = pytest.mark.django_db


def load(dataset: Dataset, content: bytes | str, user: User | None = None) -> Report:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return import_labels(dataset, stream, user=user, create_classes=True)


def test_the_remarks_of_an_export_come_back(store: Path, make_dataset: MakeDataset) -> None:
    first, second = make_dataset(6, name="one"), make_dataset(6, name="two")
    ana = User.objects.create_user("ana")
    decide(first, "assign", range(4), "cat", user=ana)
    items = list(first.items.order_by("row"))
    tag_items(first, [items[0].pk], "flagged", ana, is_on=True)
    tag_items(first, [items[0].pk, items[5].pk], "night", ana, is_on=True)
    add_note(items[1], "=1+1, and [so on]", ana)
    add_note(items[1], "a second one", None)
    for name in ("labels.csv", "notes.csv"):
        content = opened(archive_bytes(first, escapes_formulas=True)).read(name)
        load(second, content, User.objects.get_or_create(username="ben")[0])
        load(second, content)
    tags = ItemTag.objects.filter(item__dataset=second).values_list("row", "tag__name")
    assert sorted(tags) == [(0, "flagged"), (0, "night"), (5, "night")]
    notes = Note.objects.filter(dataset=second).order_by("pk").values_list("row", "text", "author__username")
    assert list(notes) == [(1, "=1+1, and [so on]", "ana"), (1, "a second one", None)]
    before = Note.objects.filter(dataset=first).order_by("pk").values_list("created_at", flat=True)
    assert list(Note.objects.filter(dataset=second).order_by("pk").values_list("created_at", flat=True)) == list(before)
    times = Annotation.objects.filter(item__dataset=second).values_list("decided_at", "annotator")
    assert set(times) == set(Annotation.objects.filter(item__dataset=first).values_list("decided_at", "annotator"))


def test_a_plain_text_is_a_note_of_the_person_who_imports(store: Path, make_dataset: MakeDataset) -> None:
    dataset, ana = make_dataset(2), User.objects.create_user("ana")
    report = load(dataset, "path,label,notes,tags,flagged\nimage0000.png,cat,[blurred,b;c,yes\n", ana)
    note = Note.objects.get()
    assert (note.text, note.author, report.n_remarks) == ("[blurred", ana, 1)
    assert set(ItemTag.objects.values_list("tag__name", flat=True)) == {"b", "c", "flagged"}


@pytest.mark.parametrize(
    ("cells", "message"), [(f"{'x' * 41},", "can't be a tag"), (f",{'x' * 4001}", "A note has 4,001 characters")]
)
def test_what_cannot_be_a_tag_or_note_imports_nothing(
    store: Path, make_dataset: MakeDataset, cells: str, message: str
) -> None:
    dataset = make_dataset(2)
    with pytest.raises(Refusal, match=message):
        load(dataset, f"path,label,tags,notes\nimage0000.png,emu,{cells}\n")
    assert not Item.objects.exclude(state=State.UNLABELLED).exists()
    assert not dataset.classes.filter(name="emu").exists()


def test_fields_that_cannot_be_saved_import_nothing(store: Path, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    load(dataset, "path,label,confidence\nimage0000.png,cat,0.5\n")
    with pytest.raises(Refusal, match="confidence is 'high', but the column must contain numbers"):
        load(dataset, "path,label,confidence\nimage0001.png,emu,high\n")
    assert Annotation.objects.count() == 1
    assert not dataset.classes.filter(name="emu").exists()
