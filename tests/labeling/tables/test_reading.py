"""Test reading tables: encodings, separators, and the item keys of other programs."""

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from hoshina.core.errors import Refusal
from labeling.fields import column_of
from labeling.fields.item_values import texts_of
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.importing.columns import Choice
from labeling.importing.save_table import Report, import_labels
from labeling.models import Dataset, Field, Item, LabelClass
from labeling.tables.encoding import encoding_of, guessed_note
from tests.factories import MakeDataset


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset, transactional_db: None) -> Dataset:
    dataset = make_dataset(4)
    Item.objects.filter(row=1).update(path="été — 1.png")
    return dataset


def labels(dataset: Dataset, content: bytes | str, create_classes: bool = False, **choice: str) -> Report:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return import_labels(dataset, stream, user=None, choice=Choice(**choice), create_classes=create_classes)


def labelled(dataset: Dataset) -> dict[int, str]:
    values = Item.objects.filter(dataset=dataset, label__isnull=False).values_list("row", "label__name")
    return {row: str(name) for row, name in values}


def called(dataset: Dataset, *paths: str) -> None:
    for row, path in enumerate(paths):
        Item.objects.filter(dataset=dataset, row=row).update(path=path)


# -- Encodings and separators -------------------------------------------------------------------------
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("is_declared", [False, True])
def test_labels_and_fields_in_every_encoding_and_separator(
    dataset: Dataset, encoding: str, delimiter: str, is_declared: bool
) -> None:
    lines = [["path", "label", "note"], ["image0000.png", "cat", "a, b; c | d\te"], ["été — 1.png", "dog", "naïve"]]
    quoted = [delimiter.join(f'"{cell}"' if len(cell) > 6 else cell for cell in line) for line in lines]
    text = "\r\n".join(([f"sep={delimiter}"] if is_declared else []) + quoted)
    content = text.encode(encoding)
    report = labels(dataset, content)
    assert labelled(dataset) == {0: "cat", 1: "dog"}
    assert bool(report.encoding_note) == (encoding == "cp1252")
    filled = import_fields(dataset, io.BytesIO(content), Wish())
    assert filled.matched == 2
    note = list(texts_of(column_of(Field.objects.get(name="note")), np.arange(2)))
    assert note == ["a, b; c | d\te", "naïve"]


def test_windows_1252_is_a_note_and_may_be_overruled(dataset: Dataset) -> None:
    called(dataset, "кот.png")
    content = "path,label\nкот.png,cat\n".encode("cp1251")
    assert labels(dataset, content).unknown.lines == 1
    report = labels(dataset, content, encoding="windows-1251")
    assert (labelled(dataset), report.encoding_note) == ({0: "cat"}, "")
    with pytest.raises(Refusal, match="no encoding 'klingon'"):
        labels(dataset, content, encoding="klingon")
    with pytest.raises(Refusal, match="no encoding 'base64'"):
        labels(dataset, content, encoding="base64")
    with pytest.raises(Refusal, match="not text in UTF-8"):
        labels(dataset, content, encoding="utf8")
    assert "Windows-1252" in guessed_note("cp1252")


def test_a_letter_at_the_end_of_a_large_file_decides(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    file.write_bytes(b"path,label\n" * 400_000 + "é".encode())
    with file.open("rb") as stream:
        assert encoding_of(stream) == "utf-8-sig"
    file.write_bytes(b"path,label\n" * 400_000 + "é".encode("latin-1"))
    with file.open("rb") as stream:
        assert encoding_of(stream) == "cp1252"


def test_half_a_character_at_the_end_is_refused(dataset: Dataset) -> None:
    with pytest.raises(Refusal, match="not text in UTF-16"):
        labels(dataset, "path,label\nimage0000.png,cat\n".encode("utf-16")[:-1])
    assert labelled(dataset) == {}


@pytest.mark.parametrize(
    "text",
    [
        # Other separators within names, values and quotes.
        'path;"label";"a,b,c,d"\nimage0000.png;cat;"x,y,z"\n',
        "path,label,a|b|c|d\nimage0000.png,cat,x|y|z|w\n",
        "my note; and more|label|path\nx,y,z;1,2|cat|image0000.png\n",
        "sep=|\r\npath|label\r\nimage0000.png|cat\r\n",
        '"sep=;"\n\npath;label;"two\nlines"\nimage0000.png;cat;x\n',
        'path,label,"two\nlines, and a comma"\n\nimage0000.png,cat,"x\n,y"\n',
        "path\tlabel\t\nimage0000.png\tcat\t\n",
        ",path,label\n0,image0000.png,cat\n",
        "path,label,label\nimage0000.png,cat,dog\n",
        f"path,label,json\nimage0000.png,cat,{'x' * 3_000_000}\n",
        f"path,{'h' * 500_000},label\nimage0000.png,x,cat\n",
    ],
    ids=range(11),
)
def test_separators_and_long_cells(dataset: Dataset, text: str) -> None:
    labels(dataset, text)
    assert labelled(dataset) == {0: "cat"}


def test_the_quotes_of_an_endless_cell_are_refused_with_their_line(dataset: Dataset) -> None:
    with pytest.raises(Refusal, match="The quotes after line 3 are unbalanced"):
        labels(dataset, 'sep=,\npath,label\nimage0000.png,cat\n"' + "x\n" * 9_000_000)


def test_a_long_column_is_left_out_of_the_fields(dataset: Dataset) -> None:
    text = f"path,mass,json,{'n' * 90}\nimage0000.png,2,{'x' * 200_000},1\n"
    report = import_fields(dataset, io.BytesIO(text.encode()), Wish())
    assert [field.name for field in report.fields] == ["mass"]
    assert report.too_long == ["n" * 90, "json"]
    with pytest.raises(Refusal, match=r"Line 2: the value of json is longer than 1,000 characters. Choose"):
        import_fields(dataset, io.BytesIO(text.encode()), Wish(columns=("json", "mass")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_table_may_come_through_a_pipe(dataset: Dataset, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("path,mass\nimage0000.png,2\n",))
    writer.start()
    call_command("import_fields", str(pipe), "--json")
    writer.join()
    assert Field.objects.get().n_known == 1


# -- Columns of other programs ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("IMG_6.JPG", "file_name,label\nIMG_6.JPG,cat\n"),  # Hugging Face
        ("train/IMG_6.JPG", "file_name,label\nIMG_6.JPG,cat\n"),  # its metadata.csv is in the folder
        ("sub/IMG_6.JPG", "file_name,text,label\ntrain/sub/IMG_6.JPG,x,cat\n"),
        ("IMG_6.JPG", "image,id,choice,annotator,annotation_id\n/data/upload/3/1b2c3d4e-IMG_6.JPG,7,cat,1,9\n"),
        ("a b/IMG_6.JPG", "image,id,choice\n/data/local-files/?d=raw/a%20b/IMG_6.JPG,7,cat\n"),  # Label Studio
        ("IMG_6.JPG", "image,id,choice\nhttps://example.org/x/IMG_6.JPG?size=2,7,cat\n"),
        ("sub/IMG_6.JPG", "filepath,tags,ground_truth.label\n/home/me/fiftyone/sub/IMG_6.JPG,[],cat\n"),
        ("sub/IMG_6.JPG", "filepath,ground_truth\nC:\\Users\\me\\sub\\IMG_6.JPG,cat\n"),
        ("train/000021.jpg", "image_id,label\n000021,cat\n"),  # Kaggle
        ("train/000021.jpg", "id,target\n000021,cat\n"),
        ("abc12.png", "id_code,category\nabc12,cat\n"),
        ("IMG_6.JPG", "Filename;Class\nimages\\IMG_6.JPG;cat\n"),
    ],
)
def test_tables_of_other_programs(dataset: Dataset, path: str, text: str) -> None:
    called(dataset, path)
    report = labels(dataset, text)
    assert labelled(dataset) == {0: "cat"}
    assert (report.unknown.lines, report.ambiguous.lines) == (0, 0)
    facts = text.replace("label", "mass").replace("choice", "mass")
    assert import_fields(dataset, io.BytesIO(facts.encode()), Wish()).matched == 1


def test_names_that_mean_several_items_or_other_folders_are_reported(dataset: Dataset) -> None:
    called(dataset, "a/1.png", "b/1.png", "a/2.png", "3.png")
    report = labels(dataset, "file_name,label\n1.png,cat\nb/2.png,cat\n2.png,dog\nx/y/3.png,cat\nother/z/3.png,dog\n")
    assert labelled(dataset) == {2: "dog", 3: "cat"}
    assert list(report.ambiguous.names) == ["1.png"]
    assert list(report.unknown.names) == ["b/2.png", "other/z/3.png"]
    assert report.by_name == 1


def test_a_path_is_never_guessed_in_our_own_column(dataset: Dataset) -> None:
    called(dataset, "a/1.png")
    assert list(labels(dataset, "path,label\n1.png,cat\n").unknown.names) == ["1.png"]
    assert labels(dataset, "path,label\n1.png,cat\n", key_column="path").by_name == 0
    assert labels(dataset, "path,label\n1.png,cat\n", key="name").applied == 1


@pytest.mark.parametrize(
    ("text", "choice", "message"),
    [
        ("image,image_id,label\na,b,cat\n", {}, r"'image' and 'image_id' may both name the images. .*--key COLUMN"),
        ("path,choice,target\na,b,cat\n", {}, r"'choice' and 'target' may both contain the label. .*--label COLUMN"),
        ("galaxy,kind\na,b\n", {}, r"The columns are 'galaxy', 'kind'. Choose .*--key COLUMN and .*--label COLUMN"),
        ("path,kind\na,b\n", {}, r"The columns are 'path', 'kind'. Choose the column of the labels with --label"),
        ("path,label\na,b\n", {"label_column": "kind"}, "no column 'kind'. The columns are 'path', 'label'"),
        ("path,label\na,b\n", {"key_column": "galaxy"}, "no column 'galaxy'. The columns are 'path', 'label'"),
    ],
)
def test_what_is_not_clear_is_asked(dataset: Dataset, text: str, choice: dict[str, str], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        labels(dataset, text, **choice)


def test_columns_are_chosen_on_the_command_line(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "table.csv"
    file.write_bytes("galaxy|kind|item_id|mass\nimage0002|cat|none|5\nimage0009|dog|none|6\n".encode("utf-16"))
    call_command("import_labels", str(file), "--key", "galaxy", "--label", "Kind", "--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["applied"], result["unknown_paths"], result["found_by_name"]) == (1, ["image0009"], 1)
    assert (result["key_column"], result["label_column"], result["encoding"]) == ("galaxy", "kind", "utf-16")
    assert labelled(dataset) == {2: "cat"}
    call_command("import_fields", str(file), "--key", "galaxy", "--columns", "mass", "--json")
    result = json.loads(capsys.readouterr().out)
    assert (result["matched"], result["key_column"], result["unknown_items"]) == (1, "galaxy", ["image0009"])
    call_command("import_labels", str(file), "--key", "name=galaxy", "--label", "kind")
    assert "0 applied, 1 unchanged" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no column 'nebula'"):
        call_command("import_labels", str(file), "--key", "nebula", "--label", "kind")


# -- Labels that are the same number ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("classes", "spellings", "same_numbers", "expected"),
    [
        ((), ["1", "1.0", "1."], "", ["1", "1", "1"]),
        ((), ["2.0", "1.0", "2"], "", ["2", "1.0", "2"]),
        (("1", "2"), ["1.0", "2", "1"], "", ["1", "2", "1"]),
        (("1.0",), ["1"], "", ["1.0"]),
        (("1", "01", "1.0"), ["1", "01", "1.0"], "", ["1", "01", "1.0"]),
        ((), ["1.1", "1.2", "v1"], "", ["1.1", "1.2", "v1"]),
        ((), ["1", "01", "1.0"], "merge", ["1", "1", "1"]),
        ((), ["1", "01", "1.0"], "keep", ["1", "01", "1"]),
        (("01",), ["1", "1.0"], "merge", ["01", "01"]),
        (("1",), ["01", "1.0"], "keep", ["01", "1"]),
        ((), ["1.5", "1.50"], "merge", ["1.5", "1.5"]),
    ],
)
def test_spellings_of_one_number(
    dataset: Dataset, classes: tuple[str, ...], spellings: list[str], same_numbers: str, expected: list[str]
) -> None:
    for key, name in enumerate(classes):
        LabelClass.objects.create(dataset=dataset, name=name, order=5 + key, colour="#000000")
    called(dataset, *(f"{row}.png" for row in range(4)))
    text = "path,label\n" + "".join(f"{row}.png,{label}\n" for row, label in enumerate(spellings))
    report = labels(dataset, text, create_classes=True, same_numbers=same_numbers)
    assert labelled(dataset) == dict(enumerate(expected))
    assert report.merged == {a: b for a, b in zip(spellings, expected, strict=True) if a != b}
    assert labels(dataset, text, create_classes=True, same_numbers=same_numbers).applied == 0


@pytest.mark.parametrize(
    ("classes", "spellings"), [((), ["1", "01"]), (("1",), ["01"]), (("01",), ["1.0"]), ((), ["1.5", "1.50"])]
)
def test_other_spellings_are_asked_about_and_nothing_is_applied(
    dataset: Dataset, classes: tuple[str, ...], spellings: list[str], tmp_path: Path
) -> None:
    for name in classes:
        LabelClass.objects.create(dataset=dataset, name=name, order=5, colour="#000000")
    before = set(LabelClass.objects.values_list("name", flat=True))
    file = tmp_path / "labels.csv"
    file.write_text("path,label\n" + "".join(f"image000{row * 2}.png,{label}\n" for row, label in enumerate(spellings)))
    with pytest.raises(CommandError, match=r"same number with different spellings.*--same-numbers merge.*keep"):
        call_command("import_labels", str(file), "--create-classes")
    assert (labelled(dataset), set(LabelClass.objects.values_list("name", flat=True))) == ({}, before)
    call_command("import_labels", str(file), "--create-classes", "--same-numbers", "merge")
    assert len(set(labelled(dataset).values())) == 1


def test_several_classes_of_one_number_are_not_guessed(dataset: Dataset) -> None:
    for name in ("1", "01"):
        LabelClass.objects.create(dataset=dataset, name=name, order=5, colour="#000000")
    with pytest.raises(Refusal, match=r"'1', '01' are the same number\. Merge them"):
        labels(dataset, "path,label\nimage0000.png,001\n", same_numbers="merge")


def test_classes_are_made_all_or_none(dataset: Dataset) -> None:
    before = set(LabelClass.objects.values_list("name", flat=True))
    with pytest.raises(Refusal, match="81 characters"):
        labels(dataset, f"path,label\nimage0000.png,emu\nimage0002.png,{'x' * 81}\n", create_classes=True)
    assert set(LabelClass.objects.values_list("name", flat=True)) == before
