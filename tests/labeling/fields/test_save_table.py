"""Facts in: what a file may look like, what becomes of it, and that doing it again changes nothing."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from hoshina.core.errors import Refusal
from labeling.fields import column_of
from labeling.fields.item_values import facts_of, texts_of
from labeling.fields.metadata_table import Wish
from labeling.fields.parse_values import Guess, number_of, number_text, time_of, time_text
from labeling.fields.save_table import Report, import_fields
from labeling.models import Dataset, Field, Item
from tests.factories import MakeDataset, assert_contains, not_none


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset, transactional_db: None) -> Dataset:
    return make_dataset(5)


def load(dataset: Dataset, text: str | bytes, wish: Wish = Wish(), **kinds: str) -> Report:  # noqa: B008 - frozen
    content = text.encode() if isinstance(text, str) else text
    return import_fields(dataset, io.BytesIO(content), wish, kinds)


def columns(dataset: Dataset) -> dict[str, list[str]]:
    rows = np.arange(5)
    return {field.name: list(texts_of(column_of(field), rows)) for field in Field.objects.filter(dataset=dataset)}


# -- Values -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2.5e3", "", ".5", "7."], "number"),
        (["nan", "-", "N/A"], "number"),
        (["2011-06-07", "2011-06-07T06:33:02.770", "2011-06-07 06:33:02Z", ""], "time"),
        (["2011-06-07T06:33:02+02:00"], "time"),
        (["2011-13-07"], "text"),
        (["2021:05:03 14:22:11", "2021:05:03 14:22:12.25+02:00", "2021:05:03", ""], "time"),
        (["2021:05:03 14:22:11", "0000:00:00 00:00:00", "2021-05-03"], "time"),
        (["2021:13:03 14:22:11"], "text"),
        (["14:22:11"], "text"),
        (["1", "2011-06-07"], "text"),
        (["2011-06-07", "1"], "text"),
        (["7", "seven"], "text"),
        (["1_000"], "text"),
        (["0042", "0043"], "text"),
        (["0", "0.5", "-0.5", "00"], "text"),
        (["0", "0.5", "-0.25"], "number"),
        (["5853498713160606720"], "number"),  # a double holds it
        (["5853498713160606721"], "text"),
        (["true"], "text"),
    ],
)
def test_the_kind_of_a_column(values: list[str], kind: str) -> None:
    guess = Guess()
    for line, value in enumerate(values):
        guess.add(line, value)
    assert guess.kind == kind


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_without_loss(value: float) -> None:
    assert number_of(number_text(value)) == value


@given(st.datetimes())
def test_times_are_written_without_loss(moment: object) -> None:
    seconds = not_none(time_of(str(moment)))
    assert time_of(time_text(seconds)) == pytest.approx(seconds, abs=2e-5 if abs(seconds) > 1e10 else 1e-6)
    if 1900 <= moment.year < 2100:  # type: ignore[attr-defined]
        assert time_text(seconds).removesuffix("Z").replace("T", " ") in str(moment)


def test_zones_count_from_utc() -> None:
    assert time_of("1970-01-01T02:00:01+02:00") == 1
    assert time_text(1.5) == "1970-01-01T00:00:01.500000Z"
    assert time_text(86400) == "1970-01-02"


def test_times_as_exif_writes_them() -> None:
    assert time_of("1970:01:01 00:00:01.5") == 1.5
    assert time_of("1970:01:01 02:00:01+02:00") == 1
    assert time_of("1970:01:02") == 86400
    unknown = not_none(time_of("0000:00:00 00:00:00"))
    assert math.isnan(unknown)
    assert time_of("1970:02:31 00:00:00") is None


# -- Files ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "path,mass,band\nimage0001.png,2.5,g\nimage0003.png,-,r\n",
        "\ufeffPath;Mass;Band\r\nimage0001.png;2,5;g\r\nimage0003.png;;r\r\n",
        "mass\tfile\tband\n2.5\timage0001.png\tg\n\nnan\t ./image0003.png\tr\n",
        '\nfilename,mass,band,,\n"image0001.png"," 2.5 ",g,,\nimage0003.png,N/A,r,,\n',
    ],
)
def test_a_file_may_look_like_this(dataset: Dataset, text: str) -> None:
    report = load(dataset, text)
    assert {name.lower(): values for name, values in columns(dataset).items()} == {
        "mass": ["", "2.5", "", "", ""],
        "band": ["", "g", "", "r", ""],
    }
    assert [(one.name.lower(), one.kind, one.n_known, one.is_new) for one in report.fields] == [
        ("mass", "number", 1, True),
        ("band", "text", 2, True),
    ]


def test_a_column_of_exif_times_is_a_time(dataset: Dataset) -> None:
    report = load(
        dataset,
        "path,taken\nimage0001.png,2021:05:03 14:22:11\nimage0002.png,0000:00:00 00:00:00\n"
        "image0003.png,2021:05:03 14:22:12\n",
    )
    assert [(one.name, one.kind, one.n_known) for one in report.fields] == [("taken", "time", 2)]
    assert columns(dataset) == {"taken": ["", "2021-05-03T14:22:11Z", "", "2021-05-03T14:22:12Z", ""]}


def test_a_comma_is_a_point_only_in_numbers(dataset: Dataset) -> None:
    load(dataset, "path;a;b\nimage0000.png;-3,5e2;3,5\nimage0001.png;,25;12,5 cm\n")
    assert columns(dataset) == {"a": ["-350", "0.25", "", "", ""], "b": ["3,5", "12,5 cm", "", "", ""]}


def test_items_are_told_by_id_and_by_name(dataset: Dataset) -> None:
    Item.objects.filter(row=4).update(path="sub/image0003.png")
    ids = dict(Item.objects.filter(dataset=dataset).values_list("row", "pk"))
    load(dataset, f"item_id,a\n{ids[0]}.0,1\n{ids[4]},2\n999999,3\n")
    report = load(dataset, "image,b\nimage0001,1\nelsewhere/image0002.png,2\nimage0003.png,3\nimage,4\n", Wish("name"))
    assert columns(dataset) == {"a": ["1", "", "", "", "2"], "b": ["", "1", "2", "", ""]}
    assert (report.matched, list(report.ambiguous.names), list(report.unknown.names)) == (
        2, ["image0003.png"], ["image"],
    )  # fmt: skip
    load(dataset, "galaxy,c\nimage0001,5\n", Wish("name", "Galaxy"))
    assert columns(dataset)["c"] == ["", "5", "", "", ""]


def test_a_file_that_is_imported_again_changes_nothing(dataset: Dataset) -> None:
    text = "path,mass,band,at\nimage0001.png,2.5,g,2011-06-07\nimage0002.png,0.1,é,2011-06-07T06:33:02.77\n"
    load(dataset, text)
    before = list(Field.objects.values())
    assert load(dataset, text).n_changed == 0
    assert list(Field.objects.values()) == before


def test_another_file_adds_columns_fills_in_and_corrects(dataset: Dataset) -> None:
    load(dataset, "path,mass,band\nimage0000.png,1,g\nimage0001.png,2,r\n")
    report = load(dataset, "path,MASS,band,new\nimage0001.png,,z,5\nimage0002.png,3,a,\n")
    assert columns(dataset) == {
        "mass": ["1", "2", "3", "", ""],
        "band": ["g", "z", "a", "", ""],
        "new": ["", "5", "", "", ""],
    }
    assert [(one.name, one.n_changed, one.is_new) for one in report.fields] == [
        ("mass", 1, False), ("band", 2, False), ("new", 1, True),
    ]  # fmt: skip
    assert list(column_of(Field.objects.get(name="band")).vocabulary) == ["a", "g", "z"]  # r is no more


def test_kinds_may_be_asked_for(dataset: Dataset) -> None:
    load(dataset, "path,a,b\nimage0000.png,1,0042\n", a="text", b="number")
    assert [(field.name, field.kind) for field in Field.objects.all()] == [("a", "text"), ("b", "number")]
    # A text takes numbers from then on.
    load(dataset, "path,a\nimage0001.png,7\n")
    assert columns(dataset)["a"][:2] == ["1", "7"]


def test_columns_are_chosen(dataset: Dataset) -> None:
    load(dataset, "path,a,b,c\nimage0000.png,1,2,3\n", Wish(columns=("C", "a")))
    assert list(columns(dataset)) == ["a", "c"]


def test_windows_1252_is_said_aloud(dataset: Dataset) -> None:
    report = load(dataset, "path,band\nimage0000.png,été\n".encode("cp1252"))
    assert "read as Windows-1252" in report.encoding_note
    assert columns(dataset) == {"band": ["été", "", "", "", ""]}


def test_columns_without_values_become_no_field(dataset: Dataset) -> None:
    assert (load(dataset, "path,a,b\nimage0000.png,1,-\n").empty, list(columns(dataset))) == (["b"], ["a"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"path,a\n", "no other line"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "columns are"),
        (b"PK\x03\x04\x00\x00path,a\n", "not a text file"),
        (b"name,a\nx,1\n", "columns are 'name', 'a'"),
        (b"path\nimage0000.png\n", "no column besides"),
        (b"path,a,A\nimage0000.png,1,2\n", "two columns called 'A'"),
        (b"path,a\nimage0000.png\n", "Line 2 has 1 value, but the header names 2 columns"),
        (b"path,a\n\nimage0000.png,1,2\n", "Line 3 has 3 values"),
        (b"path,a\n ,1\n", "Line 2 does not name an image"),
        (b'path,a\nimage0000.png,"1\n', "are unbalanced"),
        (b"path,a\nimage0000.png,1\nimage0000.png,2\n", "Line 3: a of 'image0000.png' is '2', but an earlier line"),
        (b"path,a\nimage0000.png,x\nimage0000.png,y\n", "Line 3: a of 'image0000.png' is 'y', but an earlier line"),
        (b"path,a\nother.png,1\n", "No line names an image of this dataset. The first line has 'other.png'"),
        (b"item_id,a\nseven,1\n", "Line 2: item_id is 'seven'"),
        (b"path,there\nimage0000.png,high\n", "Line 2: there is 'high', but the column must contain numbers"),
        (b"path,card\nimage0000.png,high\n", "read from the headers"),
        (b"path,a\nimage0000.png," + b"x" * 2000, "longer than 1,000"),
        (b"path," + b"x" * 90 + b"\nimage0000.png,1\n", "longer than 80"),
        (
            b"path," + b",".join(b"c%d" % n for n in range(201)) + b"\nimage0000.png" + b",1" * 201,
            "201 columns, and 200 is the limit",
        ),
        (b"path," + b",".join(b"c%d" % n for n in range(199)) + b"\nimage0000.png" + b",1" * 199, "201 fields"),
    ],
)
def test_a_bad_file_is_refused_in_words_and_changes_nothing(dataset: Dataset, content: bytes, words: str) -> None:
    load(dataset, "path,there\nimage0001.png,1\n")
    Field.objects.create(dataset=dataset, name="Card", kind="number", source="EXPTIME", order=7)
    before = list(Field.objects.values())
    with pytest.raises(Refusal, match=words):
        load(dataset, content)
    assert list(Field.objects.values()) == before


def test_wishes_that_cannot_be_are_refused_in_words(dataset: Dataset) -> None:
    text = "path,a\nimage0000.png,x\n"
    for wish, kinds, words in (
        (Wish(columns=("b",)), {}, "no column 'b'. The columns are 'path', 'a'"),
        (Wish(key_column="galaxy"), {}, "There is no column 'galaxy'"),
        (Wish("item_id"), {}, "The columns are"),
        (Wish(), {"b": "text"}, "no column 'b' to set the kind of"),
        (Wish(), {"a": "time"}, r"a is 'x', but the column must contain times .*, as you asked"),
    ):
        with pytest.raises(Refusal, match=words):
            load(dataset, text, wish, **kinds)


def test_repeated_lines_that_agree_are_one(dataset: Dataset) -> None:
    load(dataset, "path,a,b\nimage0000.png,1,\nimage0000.png,1.0,x\n")
    assert columns(dataset) == {"a": ["1", "", "", "", ""], "b": ["x", "", "", "", ""]}


def test_what_is_written_is_what_is_read(dataset: Dataset) -> None:
    """Any text survives, quoted as the csv module does it."""
    values = ["a,b", 'say "x"', "two\nlines", "; x", "Ünïcödé"]
    text = io.StringIO()
    csv.writer(text).writerows([("path", "note"), *((f"image{n:04d}.png", value) for n, value in enumerate(values))])
    load(dataset, text.getvalue())
    assert columns(dataset) == {"note": values}
    assert [fact.text for fact in facts_of(dataset, 1)] == ['say "x"']


# -- The command ------------------------------------------------------------------------------------
def test_the_command_tells_what_it_did(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "facts.csv"
    file.write_text("id,mass,night,spare\nimage0001,2.5,0042,\nimage0002,3.5,0042,\nnobody,1,0042,\n")
    call_command("import_fields", file, "--key", "name=id", "--columns", "mass,spare", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["fields"] == [{"name": "mass", "kind": "number", "known": 2, "changed": 2, "new": True}]
    assert (told["rows"], told["matched"]) == (3, 2)
    assert (told["unknown_items"], told["empty_columns"]) == (["nobody"], ["spare"])
    call_command("import_fields", file, "--key", "name", "--kinds", "night=text")
    told = capsys.readouterr().out
    assert_contains(told, "mass (number): 2 known, unchanged", "night (text): 2 known, new")
    assert "1 line about items that it does not have: nobody." in told


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nowhere.csv"], 1), ([], 2), (["x", "--key", "sha"], 1), (["x", "--kinds", "a=colour"], 1)],
)
def test_the_command_refuses_in_one_line(dataset: Dataset, arguments: list[str], code: int) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("import_fields", *arguments)
    assert refused.value.returncode == code
    assert "\n" not in str(refused.value)
