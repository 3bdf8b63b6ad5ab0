"""Test label imports: accepted files, their effect, and that repeating them changes nothing."""

import io
import json
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User

from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.importing import save_table
from labeling.importing.label_table import Row, read_rows
from labeling.importing.save_table import Report, import_labels
from labeling.models import Action, Annotation, Dataset, Frame, Item, LabelClass, State
from tests.factories import MakeDataset, archive_bytes, decide, opened, table

pytestmark = pytest.mark.django_db


def read(text: str) -> list[Row]:
    return list(read_rows(io.BytesIO(text.encode())))


def load(dataset: Dataset, text: str | bytes, *, create_classes: bool = False) -> Report:
    content = text.encode() if isinstance(text, str) else text
    return import_labels(dataset, io.BytesIO(content), user=None, create_classes=create_classes)


def states(dataset: Dataset) -> dict[int, tuple[int, str | None]]:
    values = Item.objects.filter(dataset=dataset).exclude(state=0).values_list("row", "state", "label__name")
    return {row: (state, label) for row, state, label in values}


# -- Reading ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,cat\n", "path;label\r\na.png;cat\r\n", "label\tpath\ncat\ta.png",
        "\ufeffPath , LABEL\na.png,cat\n", "\n\nfilename,class,extra\n\na.png, cat ,x\n,,\n",
        'file,category\n"a.png","cat"\n',
    ],
)  # fmt: skip
def test_a_file_may_look_like_this(text: str) -> None:
    assert [(row.path, row.label) for row in read(text)] == [("a.png", "cat")]


def test_all_columns_are_read() -> None:
    rows = read("item_id,path,label,was_unsure,skipped\n7,,cat,true,\n8.0,b.png,,NO,1\n")
    assert rows == [
        Row(line=2, path="", item_id=7, label="cat", was_unsure=True, is_skipped=False),
        Row(line=3, path="b.png", item_id=8, label="", was_unsure=False, is_skipped=True),
    ]


def test_a_short_line_has_empty_fields() -> None:
    assert [(row.path, row.label) for row in read("path,label\na.png\n")] == [("a.png", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "not a text file but a PNG image"),
        (b"PK\x03\x04\x00\x00path,label\n", "not a text file but a ZIP archive, such as an Excel workbook"),
        (b"\xd0\xcf\x11\xe0path,label\n", "not a text file but an Excel workbook"),
        (b"\x01\x02path,label\n", "not a text file"),
        (b"path,label\na\x81.png,cat\n", "not text in Windows-1252"),
        (b"name,colour\na,b\n", "columns are 'name', 'colour'"),
        (b"a.png,cat\nb.png,dog\n", "columns are 'a.png', 'cat'"),
        (b"path,label\n,cat\n", "Line 2 has neither a path nor an item_id"),
        (b"item_id,label\n3,cat\nseven,cat\n", "Line 3: item_id is 'seven'"),
        (b"item_id,label\n99999999999999999999,cat\n", "Line 2: item_id"),
        (b"path,label,skipped\na.png,,perhaps\n", "Line 2: skipped is 'perhaps'"),
        (b'path,label\na.png,cat\n"b.png,cat\nc.png,cat\n', "are unbalanced"),
        (b'path,label\n"a"b.png,cat\n', "are unbalanced"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(content: bytes, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        list(read_rows(io.BytesIO(content)))


def test_the_file_stays_open_for_its_owner() -> None:
    stream = io.BytesIO(b"path,label\na.png,cat\n")
    list(read_rows(stream))
    assert not stream.closed


# -- Saving -----------------------------------------------------------------------------------------
def test_labels_come_in_by_path_and_by_id(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(5)
    pk = Item.objects.get(row=3).pk
    report = load(dataset, f"path,item_id,label\nimage0001.png,,cat\n,{pk},DOG\n")
    assert states(dataset) == {1: (State.LABELLED, "cat"), 3: (State.LABELLED, "dog")}
    assert (report.applied, report.unchanged, report.rows) == (2, 0, 2)
    dataset.refresh_from_db()
    assert (dataset.n_labelled, dataset.n_decisions) == (2, 2)
    assert set(Annotation.objects.values_list("queue", "action__kind")) == {("import", "import")}


def test_the_path_goes_before_the_id(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(5)
    pk = Item.objects.get(row=3).pk
    report = load(dataset, f"path,item_id,label\nimage0001.png,{pk},cat\nnowhere.png,{pk},cat\n")
    assert states(dataset) == {1: (State.LABELLED, "cat")}
    assert list(report.unknown.names) == ["nowhere.png"]


def test_a_second_import_changes_nothing(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(6)
    text = (
        "path,label,was_unsure,skipped\nimage0000.png,cat,true,false\nimage0001.png,dog,,\n"
        "image0002.png,,true,\nimage0003.png,,true,true\nimage0004.png,,,true\nimage0001.png,cat,,\n"
    )
    first = load(dataset, text)
    assert (first.applied, first.unchanged, first.repeated) == (5, 0, 1)
    annotations, actions = Annotation.objects.count(), Action.objects.count()
    dataset.refresh_from_db()
    decisions = dataset.n_decisions
    second = load(dataset, text)
    assert (second.applied, second.unchanged, second.repeated) == (0, 5, 1)
    dataset.refresh_from_db()
    assert (Annotation.objects.count(), Action.objects.count()) == (annotations, actions)
    assert dataset.n_decisions == decisions


def test_the_last_line_about_an_item_counts(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_table, "BATCH", 2)
    monkeypatch.setattr(save_table, "IN_BATCH", 2)
    dataset = make_dataset(4)
    lines = ["image0000.png,cat", *(f"image000{row},dog" for row in ("1.png", "2.png", "3.png"))]
    report = load(dataset, "path,label\n" + "\n".join([*lines, "image0000.png,dog"]))
    assert states(dataset) == dict.fromkeys(range(4), (State.LABELLED, "dog"))
    assert (report.applied, report.repeated) == (4, 1)
    assert Annotation.objects.filter(item__row=0).count() == 1


def test_unsure_and_skipped_come_in(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    report = load(
        dataset,
        "path,label,was_unsure,skipped\nimage0000.png,,true,false\nimage0001.png,,false,true\n"
        "image0002.png,,,\nimage0003.png,cat,true,\n",
    )
    assert states(dataset) == {
        0: (State.UNSURE, None), 1: (State.SKIPPED, None), 3: (State.LABELLED, "cat"),
    }  # fmt: skip
    assert report.undecided == 1
    history = Annotation.objects.filter(item__row=3).order_by("pk").values_list("state", flat=True)
    assert list(history) == [State.UNSURE, State.LABELLED]


def test_a_line_without_a_decision_leaves_the_label(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    decide(dataset, "assign", [0], "cat")
    report = load(dataset, "path,label\nimage0000.png,\n")
    assert states(dataset) == {0: (State.LABELLED, "cat")}
    assert (report.applied, report.undecided) == (0, 1)


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        ("sub/a.png", "sub\\a.png"), ("sub/a.png", "./sub/a.png"), ("sub/a.png", " sub/a.png "),
        ("sub/a.png", "{root}/sub/a.png"), ("sub/a.png", "{root}\\sub\\a.png"),
        ("sub/\u00e9.png", "sub/e\u0301.png"), ("sub/e\u0301.png", "sub/\u00e9.png"),
        ("back\\slash.png", "back\\slash.png"), ("new\nline.png", '"new\nline.png"'),
    ],
)  # fmt: skip
def test_paths_of_other_systems_are_found(make_dataset: MakeDataset, stored: str, path: str) -> None:
    dataset = make_dataset(2)
    Item.objects.filter(row=1).update(path=stored)
    report = load(dataset, f"path,label\n{path.format(root=dataset.root)},cat\n")
    assert states(dataset) == {1: (State.LABELLED, "cat")}
    assert report.unknown.lines == 0


def test_unknown_paths_and_classes_are_reported(make_dataset: MakeDataset) -> None:
    dataset, other = make_dataset(3), make_dataset(3, name="others")
    foreign = Item.objects.get(dataset=other, row=0).pk
    report = load(
        dataset,
        f"path,item_id,label\nimage0000.png,,cat\nimage0001.png,,emu\nimage0002.png,,emu\nno.png,,cat\n"
        f"no.png,,cat\n,{foreign},cat\nodd\0.png,,cat\n",
    )
    result = report.as_json()
    assert result["unknown_paths"] == ["no.png", str(foreign), "odd\0.png"]
    assert result["unknown_classes"] == ["emu"]
    assert (result["applied"], result["lines_with_unknown_path"], result["lines_with_unknown_class"]) == (1, 4, 2)
    assert states(dataset) == {0: (State.LABELLED, "cat")}
    assert states(other) == {}
    assert not LabelClass.objects.filter(name="emu").exists()


def test_the_report_names_a_thousand_and_counts_all(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    lines = "\n".join(f"missing{number}.png,cat" for number in range(1500))
    result = load(dataset, f"path,label\n{lines}\n").as_json()
    paths = result["unknown_paths"]
    assert isinstance(paths, list)
    assert (len(paths), result["lines_with_unknown_path"]) == (1000, 1500)


def test_missing_classes_are_made_if_asked(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    lines = "path,label\nimage0000.png,Emu\nimage0001.png,emu\nimage0002.png,yak\nno.png,gnu\n"
    assert load(dataset, lines, create_classes=True).created_classes == ["Emu", "yak"]
    assert states(dataset) == {
        0: (State.LABELLED, "Emu"), 1: (State.LABELLED, "Emu"), 2: (State.LABELLED, "yak"),
    }  # fmt: skip
    created = LabelClass.objects.filter(name__in=["Emu", "yak"]).values_list("name", "key", "order", "n_items")
    assert list(created) == [("Emu", 3, 2, 2), ("yak", 4, 3, 1)]


def test_a_retired_class_is_unknown(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    classes.delete(LabelClass.objects.get(name="cat"), user=None)
    assert load(dataset, "path,label\nimage0000.png,cat\n").as_json()["unknown_classes"] == ["cat"]


def test_a_class_name_that_cannot_be_is_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    text = f"path,label\nimage0000.png,{'x' * 81}\n"
    assert load(dataset, text).as_json()["unknown_classes"] == ["x" * 81]
    with pytest.raises(Refusal, match="81 characters"):
        load(dataset, text, create_classes=True)
    assert states(dataset) == {}


def test_a_column_of_anything_makes_no_classes(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_table, "MAX_NEW_CLASSES", 3)
    dataset = make_dataset(4)
    lines = "\n".join(f"image000{row}.png,note {row}" for row in range(4))
    with pytest.raises(Refusal, match="Is 'label' the right column"):
        load(dataset, f"path,label\n{lines}\n", create_classes=True)
    assert LabelClass.objects.count() == 2


def test_a_fault_in_the_last_line_applies_nothing(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    with pytest.raises(Refusal, match="Line 4"):
        load(dataset, "item_id,label,skipped\n1,emu,\n2,cat,\n3,cat,maybe\n", create_classes=True)
    assert states(dataset) == {}
    assert Annotation.objects.count() == 0
    assert LabelClass.objects.count() == 2


def test_progress_is_told(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_table, "BATCH", 2)
    dataset = make_dataset(5)
    progress = Mock()
    lines = "\n".join(f"image000{row}.png,cat" for row in range(5))
    import_labels(dataset, io.BytesIO(f"path,label\n{lines}".encode()), user=None, progress=progress)
    assert [call.args for call in progress.call_args_list] == [(2, 5), (4, 5), (5, 5)]


# -- There and back ---------------------------------------------------------------------------------
def test_an_export_comes_back_the_same(make_dataset: MakeDataset) -> None:
    names = ("cat", "dog, big", "=1+1")
    first, second = make_dataset(40, name="one", classes=names), make_dataset(40, name="two", classes=())
    for dataset in (first, second):
        Item.objects.filter(dataset=dataset, row=5).update(path='awk"ward,\nname.png')
        Frame.objects.filter(item__dataset=dataset, item__row__in=(7, 8)).update(sha256="ab" * 32)
    decide(first, "unsure", range(12))
    decide(first, "assign", range(4, 30), "cat")
    decide(first, "assign", range(20, 34), "dog, big")
    decide(first, "assign", range(6, 9), "=1+1")
    decide(first, "skip", [10, 39])
    exported = opened(archive_bytes(first, seed=4))
    report = load(second, exported.read("labels.csv"), create_classes=True)
    assert report.unknown.lines == 0
    assert report.applied == len(table(exported, "labels.csv")) == 35
    again = opened(archive_bytes(second, seed=4))

    def essence(archive_name: str, *dropped: str) -> list[list[dict[str, str]]]:
        return [
            [{key: value for key, value in row.items() if key not in dropped} for row in table(archive, archive_name)]
            for archive in (exported, again)
        ]

    before, after = essence("labels.csv", "item_id", "labelled_at", "created_at", "annotator", "queue")
    assert before == after
    before, after = essence("splits.csv", "item_id")
    assert before == after
    counts = [
        {label["name"]: label["labelled"] for label in json.loads(archive.read("classes.json"))}
        for archive in (exported, again)
    ]
    assert counts[0] == counts[1] == {"cat": 12, "dog, big": 14, "=1+1": 3}
    assert load(first, exported.read("labels.csv")).applied == 0


def test_the_user_is_the_annotator(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    ana = User.objects.create_user("ana")
    import_labels(dataset, io.BytesIO(b"path,label\nimage0000.png,cat\n"), user=ana)
    assert Annotation.objects.get().annotator == ana
