"""Tables written by the libraries that people have them from."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.table
import numpy as np
import openpyxl
import pandas as pd
import pytest
from django.core.management import CommandError

from hoshina.core.errors import Refusal
from labeling.fields import column_of
from labeling.fields.item_values import texts_of
from labeling.importing.columns import Choice
from labeling.importing.formats.registry import importers
from labeling.importing.save_table import Report, import_labels
from labeling.models import Dataset, Item, State
from tests.factories import MakeDataset, command_json

pytestmark = pytest.mark.django_db

COLUMNS = {
    "path": ["image0000.png", "image0001.png", "image0002.png"],
    "label": ["cat", "dog", "cat"],
    "mass": [1.5, 2, 3],
}


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset) -> Dataset:
    return make_dataset(4)


def load(dataset: Dataset, content: bytes, name: str = "", **choice: Any) -> Report:
    create = choice.pop("create_classes", False)
    return import_labels(
        dataset, io.BytesIO(content), user=None, create_classes=create, choice=Choice(file_name=name, **choice)
    )


def labels(dataset: Dataset) -> dict[int, str | None]:
    decided = Item.objects.filter(dataset=dataset).exclude(state=State.UNLABELLED)
    return dict(decided.values_list("row", "label__name"))


def written(write: Callable[[Any], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def workbook() -> bytes:
    book = openpyxl.Workbook()
    notes = book.active
    assert notes is not None
    notes.title = "empty"
    sheet = book.create_sheet("labels")
    sheet.append([])
    sheet.append(list(COLUMNS))
    for row in zip(*COLUMNS.values(), strict=True):
        sheet.append(row)
    return written(book.save)


def astropy_table(name: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "votable":
            return written(lambda stream: astropy.table.Table(COLUMNS).write(stream, format="votable"))
        text = io.StringIO()
        astropy.table.Table(COLUMNS).write(text, format=name)
        return text.getvalue().encode()


FILES: dict[str, Callable[[], bytes]] = {
    "CSV": lambda: pd.DataFrame(COLUMNS).to_csv(index=False).encode(),
    "TSV": lambda: pd.DataFrame(COLUMNS).to_csv(sep="\t").encode(),
    "Excel or OpenDocument spreadsheet": workbook,
    "Parquet": lambda: written(pd.DataFrame(COLUMNS).to_parquet),
    "JSON Lines": lambda: pd.DataFrame(COLUMNS).to_json(orient="records", lines=True).encode(),
    "JSON records": lambda: pd.DataFrame(COLUMNS).to_json(orient="records").encode(),
    "ECSV": lambda: astropy_table("ascii.ecsv"),
    "VOTable": lambda: astropy_table("votable"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_table_of_each_format_is_imported(dataset: Dataset, kind: str) -> None:
    content = FILES[kind]()
    report = load(dataset, content, roles={"mass": "field"})
    assert labels(dataset) == {0: "cat", 1: "dog", 2: "cat"}
    assert report.format in kind or kind in (*report.format.split(" or "), "TSV")
    assert report.fields == ["mass"]
    assert load(dataset, content).unchanged == 3


@pytest.mark.parametrize("kind", FILES)
def test_metadata_are_imported_from_each_format(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    (tmp_path / "table").write_bytes(FILES[kind]())
    command_json("import_fields", str(tmp_path / "table"), "--columns", "mass")
    column = column_of(dataset.fields.get(name="mass", kind="number"))
    assert texts_of(column, np.arange(4)) == ["1.5", "2", "3", ""]


def test_metadata_in_an_unknown_format_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(CommandError, match="an HDF5 file"):
        command_json("import_fields", str(tmp_path / "a.csv"))


def test_every_importer_has_a_name_and_a_sentence() -> None:
    assert list(importers())[-1] == "csv"
    for name, importer in importers().items():
        assert importer.name == name
        assert importer.title
        assert importer.sentence.endswith(".")


# -- Damaged files ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (workbook()[:2000], "not a text file but a ZIP archive"),
        (workbook().replace(b"worksheet", b"wrksheeet"), "looks like a workbook"),
        (FILES["Parquet"]()[:-20], "looks like a Parquet file, but it can't be read"),
        (astropy_table("ascii.ecsv").replace(b"datatype", b"dattype"), "looks like ECSV, but it can't be read"),
        (astropy_table("votable")[:-300], "looks like VOTable, but it can't be read"),
        (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><VOTABLE/>', "document type declaration"),
        (b'{"path": "image0000.png", "label": "cat"}\n{"path": \n', "Line 2 is not a JSON object"),
        (b'{"a": {"b": 1}}', "looks like a JSON document with 'a'"),
        (b'[{"zebra": 1}]', "looks like a JSON list with 'zebra'"),
        (b"[1, 2]", "looks like a JSON list"),
        (b"<html><body>", "looks like an XML or HTML file"),
        (b"\x89HDF\r\n\x1a\n", "not a text file but an HDF5 file"),
        (b"SIMPLE  =                    T", "not a text file but a FITS file"),
        (b"\x80\x04\x95", "a Python pickle, which is not opened"),
        (b"\x1f\x8b\x08", "a gzip file. Unpack it first"),
    ],
)
def test_a_bad_file_is_refused_with_the_name_of_its_format(dataset: Dataset, content: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        load(dataset, content)
    assert labels(dataset) == {}


# -- Columns ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Kaggle: one column of 0 and 1 for each class, and a name without extension.
        ("image,MEL,NV\nimage0000,1.0,0.0\nimage0001,0.0,1.0\n", {0: "MEL", 1: "NV"}),
        # Galaxy Zoo 1 of Kaggle: shares of the first question, which others follow.
        (
            "GalaxyID,Class1.1,Class1.2,Class1.3,Class2.1,Class2.2\n"
            "image0000,0.6,0.3,0.1,0.2,0.4\nimage0001,0.1,0.8,0.1,0.5,0.3\nimage0002,0.4,0.4,0.2,0,0\n",
            {0: "Class1.1", 1: "Class1.2", 2: None},
        ),
        # Galaxy Zoo 2 and DECaLS.
        (
            "image,t01_smooth_or_features_a01_smooth_debiased,t01_smooth_or_features_a02_disk_debiased,"
            "t02_edgeon_a04_yes_debiased\nimage0000,0.7,0.3,0.9\nimage0001,0.2,0.8,0.1\n",
            {0: "smooth", 1: "disk"},
        ),
        (
            "iauname,smooth-or-featured_smooth_fraction,smooth-or-featured_artifact_fraction,"
            "disk-edge-on_yes_fraction\nimage0000,0.7,0.3,0.9\n",
            {0: "smooth"},
        ),
    ],
)
def test_votes_give_the_class_with_most_of_them(dataset: Dataset, text: str, expected: dict[int, str]) -> None:
    load(dataset, text.encode(), create_classes=True)
    assert labels(dataset) == expected
    assert Item.objects.filter(dataset=dataset, state=State.UNSURE).count() == list(expected.values()).count(None)


def test_images_are_found_by_their_hash(dataset: Dataset) -> None:
    dataset.items.get(row=1).frames.update(sha256="ab" * 32)
    report = load(dataset, f"sha256,label\n{'AB' * 32},dog\n{'1' * 64},cat\n".encode())
    assert labels(dataset) == {1: "dog"}
    assert (report.key_column, report.unknown.lines + report.ambiguous.lines) == ("sha256", 1)


def test_absolute_paths_of_another_machine_are_found_by_their_ends(dataset: Dataset) -> None:
    for row, path in enumerate(["cat/1.png", "dog/1.png", "raw/cat/2.png", "3.png"]):
        Item.objects.filter(dataset=dataset, row=row).update(path=path)
    text = (
        "path,label\nD:\\data\\dog\\1.png,dog\nD:\\data\\cat\\1.png,cat\nE:\\old\\cat\\2.png,cat\n"
        "F:\\x\\1.png,cat\nG:\\bird\\9.png,cat\n"
    )
    report = load(dataset, text.encode())
    assert labels(dataset) == {0: "cat", 1: "dog", 2: "cat"}
    assert list(report.unknown.names) == ["F:\\x\\1.png", "G:\\bird\\9.png"]
    assert load(dataset, b"path,label\nimages/3.png,cat\n").applied == 1


def test_shares_of_votes_and_confidences_are_fields(dataset: Dataset) -> None:
    from labeling.fields import column_of

    load(dataset, b"image,smooth,disk\nimage0000,6,2\nimage0001,0,5\n", create_classes=True,
         roles={"smooth": "votes", "disk": "votes"})  # fmt: skip
    field = dataset.fields.get(name="confidence")
    assert column_of(field).values[:2].tolist() == [0.75, pytest.approx(np.nan, nan_ok=True)]
    load(dataset, b"path,label,confidence\nimage0001.png,disk,0.25\nimage0001.png,disk,0.5\n")
    field.refresh_from_db()
    assert column_of(field).values[:2].tolist() == [0.75, 0.5]
