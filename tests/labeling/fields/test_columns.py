"""Columns by row: whole or not there at all, older readers served, words found."""

import bisect
import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from hoshina.core.storage import StoreError
from labeling.fields import column_of
from labeling.fields.columns import Draft, Vocabulary, packed, save_column
from labeling.models import Dataset, Field
from tests.factories import MakeDataset
from tests.processes import run_python

Kind = Field.Kind


def make_field(dataset: Dataset, name: str = "mass", kind: Field.Kind = Kind.NUMBER) -> Field:
    return Field.objects.create(dataset=dataset, name=name, kind=kind, source="csv")


def numbers(*values: float) -> Draft:
    return Draft(Kind.NUMBER, np.array(values), [])


@given(words=st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=6)), asked=st.text(max_size=3))
def test_every_word_is_found_and_no_other(words: set[str], asked: str) -> None:
    ordered = sorted(words)
    vocabulary = Vocabulary(*packed(ordered))
    assert list(vocabulary) == ordered
    assert [vocabulary.code_of(word) for word in ordered] == list(range(len(ordered)))
    place = bisect.bisect_left(ordered, asked)
    is_there = place < len(ordered) and ordered[place] == asked
    assert vocabulary.code_of(asked) == (place if is_there else -1)


@pytest.mark.django_db(transaction=True)
def test_values_come_back_and_older_files_go(store: Path, make_dataset: MakeDataset) -> None:
    field = make_field(make_dataset(4))
    assert len(column_of(field).values) == 0
    save_column(field, numbers(1.5, np.nan, -3.0))
    before = Field.objects.get(pk=field.pk)
    column = column_of(before)
    assert column.known().tolist() == [True, False, True]
    assert (before.n_known, before.generation) == (2, 1)
    asked = column.of_rows(np.array([3, 0, 1]))
    np.testing.assert_array_equal(asked, [np.nan, 1.5, np.nan])

    words = Draft(Kind.TEXT, np.array([1, -1, 0, 1], np.int32), ["alt", "né"])
    save_column(field, words)
    assert sorted(file.name for file in (store / "fields" / str(field.pk)).iterdir()) == [
        "starts-2.npy", "values-2.npy", "words-2.npy",
    ]  # fmt: skip
    # Whoever read the row before gets what holds now.
    column = column_of(before)
    assert column.is_text
    assert [column.vocabulary[code] for code in column.values[[0, 2, 3]]] == ["né", "alt", "né"]


@pytest.mark.django_db(transaction=True)
def test_a_deleted_field_leaves_no_file(store: Path, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    for name in ("one", "two"):
        save_column(make_field(dataset, name), numbers(1, 2))
    Field.objects.get(name="one").delete()
    assert [folder.name for folder in (store / "fields").iterdir()] == [str(Field.objects.get().pk)]
    dataset.delete()
    assert list((store / "fields").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_damaged_and_missing_files_are_told_in_words(store: Path, make_dataset: MakeDataset) -> None:
    field = make_field(make_dataset(2))
    save_column(field, numbers(1, 2))
    (file,) = (store / "fields" / str(field.pk)).iterdir()
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(StoreError, match=r"damaged.*import it again"):
        column_of(field)
    file.unlink()
    with pytest.raises(StoreError, match="missing"):
        column_of(field)


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_taken_back_leaves_the_older_values(store: Path, make_dataset: MakeDataset) -> None:
    field = make_field(make_dataset(2))
    save_column(field, numbers(1, 2))
    with transaction.atomic():
        save_column(field, numbers(3, 4))
        transaction.set_rollback(True)
    assert column_of(Field.objects.get()).values.tolist() == [1, 2]
    save_column(Field.objects.get(), numbers(5, 6))  # over the files that were left
    assert column_of(Field.objects.get()).values.tolist() == [5, 6]


KILLED = """
import os, signal, django
django.setup()
import numpy as np
from django.db import connection
from hoshina.core import storage
from labeling.fields import columns
from labeling.models import Dataset, Field
with connection.schema_editor() as editor:
    editor.create_model(Dataset)
    editor.create_model(Field)
dataset = Dataset.objects.create(name="some", slug="some", root="/nowhere", n_items=3)
field = Field.objects.create(dataset=dataset, name="mass", kind="text", source="csv")
columns.save_column(field, columns.Draft(Field.Kind.TEXT, np.array([0, 1, 0], np.int32), ["a", "b"]))
write, left = storage.write_array, [2]
def write_some(*args):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    write(*args)
storage.write_array = write_some
columns.save_column(field, columns.Draft(Field.Kind.TEXT, np.array([1, 1, 1], np.int32), ["x", "y"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_process_killed_while_it_writes_leaves_the_older_values(store: Path) -> None:
    run_python("-c", KILLED, store=store, code=-signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(store / "app.db")) as database:
        (facts,) = database.execute("SELECT id, generation, kind FROM labeling_field")
    assert (store / "fields" / str(facts[0]) / "words-2.npy").exists()  # it had begun
    column = column_of(Field(pk=facts[0], generation=facts[1], kind=facts[2]))
    assert [column.vocabulary[code] for code in column.values] == ["a", "b", "a"]
