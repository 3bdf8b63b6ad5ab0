"""Test the content of export archives, and that equal labels give equal bytes."""

import hashlib
import json
import platform
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hoshina.core.errors import Refusal
from labeling.decisions import classes
from labeling.exporting import Contribution, Export, Member, Options, Section, parse_splits
from labeling.exporting import registry as registry_module
from labeling.exporting.canonical_text import cell, csv_line, json_bytes, moment, number
from labeling.exporting.rows import BATCH, decided_items
from labeling.exporting.zip_stream import stream_zip
from labeling.models import Annotation, Dataset, Frame, Item, LabelClass, State
from tests.factories import AT, MakeDataset, archive_bytes, decide, manifest, opened, table

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


# -- labels.csv -----------------------------------------------------------------------------------
def test_labels_has_one_line_per_decision(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(6)
    decide(dataset, "assign", [4], "dog", user=ana, queue="uncertain")
    decide(dataset, "unsure", [1], user=ana)
    decide(dataset, "skip", [3], user=ana)
    lines = opened(archive_bytes(dataset)).read("labels.csv").decode().split("\n")
    ids = dict(Item.objects.values_list("row", "pk"))
    at = "2026-03-04T05:06:07.000089Z"
    assert lines == [
        "item_id,path,label,was_unsure,skipped,labelled_at,annotator,queue,sha256,created_at,content_changed,"
        "flagged,tags,notes",
        f"{ids[1]},image0001.png,,true,false,{at},ana,random,{1:064x},{at},0,0,,",
        f"{ids[3]},image0003.png,,false,true,{at},ana,random,{3:064x},{at},0,0,,",
        f"{ids[4]},image0004.png,dog,false,false,{at},ana,uncertain,{4:064x},{at},0,0,,",
        "",
    ]


def test_created_at_is_the_time_of_the_first_decision_that_was_not_undone(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    times = [AT + timedelta(hours=hours) for hours in range(6)]
    decide(dataset, "unsure", [0], at=times[1])
    decide(dataset, "assign", [0], "cat", at=times[2])  # row 0: first unsure
    decide(dataset, "assign", [1], "cat", at=times[3])
    decide(dataset, "clear", [1], at=times[4])
    decide(dataset, "assign", [1], "dog", at=times[5])  # row 1: cleared and labeled again
    decide(dataset, "assign", [2], "cat", at=times[0])
    decide(dataset, "undo")
    decide(dataset, "assign", [2], "dog", at=times[4])  # row 2: the first decision was undone
    decide(dataset, "assign", [3], "cat", at=times[1])
    decide(dataset, "assign", [3], "dog", at=times[2])
    decide(dataset, "undo")  # row 3: back to the first decision
    rows = table(opened(archive_bytes(dataset)), "labels.csv")
    expected = [(times[2], times[1]), (times[5], times[3]), (times[4], times[4]), (times[1], times[1])]
    assert [(row["labelled_at"], row["created_at"]) for row in rows] == [
        tuple(moment(time) for time in pair) for pair in expected
    ]


def test_was_unsure_remembers_the_history_but_no_undone_mark(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    decide(dataset, "unsure", [0, 2])
    decide(dataset, "assign", [0, 2], "cat")
    decide(dataset, "unsure", [1])
    decide(dataset, "undo")
    decide(dataset, "assign", [1], "cat")
    rows = {row["path"]: row["was_unsure"] for row in table(opened(archive_bytes(dataset)), "labels.csv")}
    assert rows == {"image0000.png": "true", "image0001.png": "false", "image0002.png": "true"}


def test_an_undo_gives_back_the_earlier_decision_with_its_provenance(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(2)
    ben = User.objects.create_user("ben")
    decide(dataset, "assign", [0], "cat", user=ana, queue="uncertain")
    before = opened(archive_bytes(dataset)).read("labels.csv")
    decide(dataset, "assign", [0], "dog", user=ben, at=AT + timedelta(hours=1), queue="random")
    assert opened(archive_bytes(dataset)).read("labels.csv") != before
    decide(dataset, "undo", user=ben)
    assert opened(archive_bytes(dataset)).read("labels.csv") == before


def test_a_cleared_item_has_no_line(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    decide(dataset, "assign", [0, 1], "cat")
    decide(dataset, "clear", [0])
    assert [row["path"] for row in table(opened(archive_bytes(dataset)), "labels.csv")] == ["image0001.png"]


def test_merged_classes_have_one_name(make_dataset: MakeDataset, ana: User) -> None:
    dataset = make_dataset(3)
    decide(dataset, "assign", [0], "cat")
    decide(dataset, "assign", [1], "dog")
    cat, dog = LabelClass.objects.order_by("name")
    classes.merge(cat, dog, user=ana)
    archive = opened(archive_bytes(dataset))
    assert [row["label"] for row in table(archive, "labels.csv")] == ["dog", "dog"]
    assert [label["name"] for label in json.loads(archive.read("classes.json"))] == ["dog"]


def test_awkward_names_survive(make_dataset: MakeDataset) -> None:
    names = ['a,"b".png', "new\nline.png", "carriage\rreturn.png", "=1+1.png", "ünï/😀.png", " space .png"]
    dataset = make_dataset(len(names), classes=("=cmd|' /C calc'!A0", "b, c"))
    for row, name in enumerate(names):
        Item.objects.filter(dataset=dataset, row=row).update(path=name)
    decide(dataset, "assign", range(len(names)), "b, c")
    decide(dataset, "assign", [0], "=cmd|' /C calc'!A0")
    archive = opened(archive_bytes(dataset))
    rows = table(archive, "labels.csv")
    assert [row["path"] for row in rows] == names
    assert [row["label"] for row in rows] == ["=cmd|' /C calc'!A0"] + ["b, c"] * 5
    assert {row["path"] for row in table(archive, "splits.csv")} == set(names)


def test_an_item_that_changes_meanwhile_comes_once(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.exporting.rows.BATCH", 4)
    dataset = make_dataset(20)
    decide(dataset, "assign", range(0, 20, 2), "cat")
    decide(dataset, "unsure", range(1, 20, 2))
    batches = decided_items(dataset)
    seen = list(next(batches))
    # Items that were read in advance as labeled are unsure by now, and vice versa.
    decide(dataset, "unsure", range(0, 20, 2))
    decide(dataset, "assign", range(1, 20, 2), "cat")
    seen += [row for batch in batches for row in batch]
    paths = [row.path for row in seen]
    assert paths == sorted(set(paths))
    assert len(paths) >= 18


def test_several_frames_have_one_hash_of_all(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    item = Item.objects.get(row=0)
    frame = item.frames.get()
    frame.pk, frame.role, frame.path, frame.sha256 = None, "diff", "diff.png", "d" * 64
    frame.save()
    decide(dataset, "assign", [0, 1], "cat")
    first, second = table(opened(archive_bytes(dataset)), "labels.csv")
    joint = hashlib.sha256(f"diff:{'d' * 64}\nimage:{0:064x}\n".encode()).hexdigest()
    assert (first["sha256"], second["sha256"]) == (joint, f"{1:064x}")


# -- classes.json, splits.csv, manifest.json ------------------------------------------------------
def test_classes_are_listed_in_the_persons_order(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3, classes=("zebra", "ant"))
    decide(dataset, "assign", [0, 1], "ant")
    zebra, ant = LabelClass.objects.order_by("order")
    assert json.loads(opened(archive_bytes(dataset)).read("classes.json")) == [
        {"id": zebra.pk, "name": "zebra", "colour": "#E69F00", "key": 1, "letter": None, "labelled": 0},
        {"id": ant.pk, "name": "ant", "colour": "#56B4E9", "key": 2, "letter": None, "labelled": 2},
    ]


def test_splits_hold_the_labelled_items_stratified(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(120)
    decide(dataset, "assign", range(0, 100, 2), "cat")
    decide(dataset, "assign", range(1, 100, 2), "dog")
    decide(dataset, "unsure", [101])
    archive = opened(archive_bytes(dataset, seed=3, splits=(60, 20, 20)))
    counts = Counter((row["label"], row["split"]) for row in table(archive, "splits.csv"))
    assert counts == {
        (label, split): n for label in ("cat", "dog") for split, n in (("train", 30), ("val", 10), ("test", 10))
    }
    assert manifest(archive)["splits"] == {
        split: {"items": 2 * n, "classes": {"cat": n, "dog": n}}
        for split, n in (("train", 30), ("val", 10), ("test", 10))
    }


def test_identical_files_share_a_split(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(60)
    for row, frame in enumerate(Frame.objects.order_by("item__row")):
        frame.sha256 = f"{row % 20:064x}"
        frame.save()
    decide(dataset, "assign", range(60), "cat")
    archive = opened(archive_bytes(dataset, splits=(50, 25, 25)))
    hashes = {row["item_id"]: row["sha256"] for row in table(archive, "labels.csv")}
    of_hash: dict[str, set[str]] = {}
    for row in table(archive, "splits.csv"):
        of_hash.setdefault(hashes[row["item_id"]], set()).add(row["split"])
    assert [len(splits) for splits in of_hash.values()] == [1] * 20
    assert {next(iter(splits)) for splits in of_hash.values()} == {"train", "val", "test"}


def test_the_manifest_tells_about_the_rest(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(9)
    decide(dataset, "assign", range(4), "cat")
    decide(dataset, "unsure", [4, 5])
    decide(dataset, "skip", [6])
    archive = opened(archive_bytes(dataset, seed=11, splits=(50, 25, 25)))
    data = manifest(archive)
    assert data["counts"] == {
        "items": 9, "labelled": 4, "unsure": 2, "skipped": 1, "undecided": 2, "missing": 0,
    }  # fmt: skip
    assert data["dataset"] == {
        "name": "pictures", "slug": "pictures", "description": "", "license": "", "citation": "",
    }  # fmt: skip
    assert (data["rendering"], data["seeds"]) == ({}, {"splits": 11})
    assert data["options"] == {
        "annotations": False, "annotations-parquet": False, "coordinates": False, "images": False,
        "metadata": False, "predictions": False, "rounds": False,
        "seed": 11, "group_by": None, "escape_formulas": False, "leakage_check": True,
        "splits": {"train": 50, "val": 25, "test": 25},
    }  # fmt: skip
    assert data["encoder"] is None
    assert data["model"] is None
    assert {"django", "numpy", "pillow", "scikit-learn"} <= set(data["libraries"])
    assert data["libraries"]["astropy"] == metadata.version("astropy")
    assert data["libraries"]["umap-learn"] == metadata.version("umap-learn")
    assert data["python"] == platform.python_version()
    assert data["app"] == {"name": "hoshina", "version": "0.1.0"}
    for name, facts in data["files"].items():
        content = archive.read(name)
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert set(data["files"]) == {"labels.csv", "classes.json", "splits.csv", "data_card.md"}


def test_the_manifest_holds_no_place_of_this_machine(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    decide(dataset, "assign", range(3), "cat")
    text = opened(archive_bytes(dataset)).read("manifest.json").decode()
    assert dataset.root not in text
    assert str(Path.home()) not in text


def test_an_export_of_nothing_is_whole(make_dataset: MakeDataset) -> None:
    archive = opened(archive_bytes(make_dataset(0, classes=())))
    assert table(archive, "labels.csv") == table(archive, "splits.csv") == []
    assert json.loads(archive.read("classes.json")) == []
    assert manifest(archive)["counts"]["labelled"] == 0


def test_another_datasets_labels_stay_out(make_dataset: MakeDataset) -> None:
    dataset, other = make_dataset(3), make_dataset(3, name="others")
    decide(dataset, "assign", [0], "cat")
    decide(other, "assign", [1], "dog")
    archive = opened(archive_bytes(dataset))
    assert [row["path"] for row in table(archive, "labels.csv")] == ["image0000.png"]
    assert [label["labelled"] for label in json.loads(archive.read("classes.json"))] == [1, 0]


# -- images/ --------------------------------------------------------------------------------------
@pytest.fixture
def with_files(make_dataset: MakeDataset, tmp_path: Path) -> Dataset:
    """Create four labeled items with distinct files."""
    dataset = make_dataset(5)
    for frame in Frame.objects.all():
        content = f"content of {frame.path}".encode()
        file = Path(dataset.root) / frame.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        Frame.objects.filter(pk=frame.pk).update(sha256=hashlib.sha256(content).hexdigest())
    decide(dataset, "assign", range(4), "cat")
    return dataset


def test_images_of_labelled_items_are_put_in(with_files: Dataset) -> None:
    archive = opened(archive_bytes(with_files, with_images=True))
    images = {name: archive.read(name).decode() for name in archive.namelist() if name.startswith("images/")}
    assert images == {f"images/image{row:04d}.png": f"content of image{row:04d}.png" for row in range(4)}
    assert archive.namelist()[-1] == "manifest.json"
    nothing = {"count": 0, "paths": []}
    assert manifest(archive)["images"] == {"files": 4, "missing": nothing, "changed_since_ingest": nothing}


def test_missing_and_changed_images_are_named(with_files: Dataset, tmp_path: Path) -> None:
    root = Path(with_files.root)
    (root / "image0001.png").unlink()
    (root / "image0002.png").write_bytes(b"something else")
    outside = tmp_path / "secret.png"
    outside.write_bytes(b"not of this dataset")
    Frame.objects.filter(path="image0003.png").update(path="../secret.png")
    archive = opened(archive_bytes(with_files, with_images=True))
    assert [name for name in archive.namelist() if name.startswith("images/")] == [
        "images/image0000.png",
        "images/image0002.png",
    ]
    assert manifest(archive)["images"] == {
        "files": 2,
        "missing": {"count": 2, "paths": ["image0001.png", "../secret.png"]},
        "changed_since_ingest": {"count": 1, "paths": ["image0002.png"]},
    }


def test_a_missing_folder_is_no_failure(with_files: Dataset) -> None:
    Dataset.objects.update(root="/nowhere/at/all")
    assert manifest(opened(archive_bytes(with_files, with_images=True)))["images"]["missing"]["count"] == 4


# -- The same bytes ---------------------------------------------------------------------------------
def test_two_exports_are_equal_byte_by_byte(with_files: Dataset) -> None:
    archive = archive_bytes(with_files, with_images=True, seed=5)
    Item.objects.update(state=State.UNLABELLED, label=None)  # rewrite rows in another order
    order = list(Annotation.objects.order_by("-item__row"))
    for annotation in order:
        Item.objects.filter(pk=annotation.item_id).update(state=annotation.state, label=annotation.label_id)
    assert archive_bytes(with_files, with_images=True, seed=5) == archive
    assert archive_bytes(with_files, with_images=True, seed=6) != archive


def test_the_order_and_zone_of_decisions_do_not_matter(make_dataset: MakeDataset) -> None:
    first, second = make_dataset(30, name="one"), make_dataset(30, name="two")
    nepal = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))
    decide(first, "assign", range(0, 30, 3), "cat")
    decide(first, "assign", range(1, 30, 3), "dog")
    decide(second, "assign", range(1, 30, 3), "dog", at=nepal)
    decide(second, "assign", range(0, 30, 3), "cat", at=nepal)

    def without_ids(dataset: Dataset, name: str) -> list[str]:
        lines = opened(archive_bytes(dataset)).read(name).decode().splitlines()
        return [line.split(",", 1)[1] for line in lines]

    for name in ("labels.csv", "splits.csv"):
        assert without_ids(first, name) == without_ids(second, name)


def test_the_archive_tells_nothing_of_when_and_where(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    decide(dataset, "assign", [0], "cat")
    for entry in opened(archive_bytes(dataset)).infolist():
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert (entry.create_system, entry.external_attr >> 16, entry.compress_type) == (3, 0o100644, 0)
        assert entry.extra == b""


# -- A stream ---------------------------------------------------------------------------------------
def test_the_first_bytes_come_before_the_first_label(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(4)
    decide(dataset, "assign", range(4), "cat")
    pieces = iter(Export(dataset, Options()))
    with CaptureQueriesContext(connection) as queries:
        first = next(pieces)
    assert first.startswith(b"PK\x03\x04")
    assert len(queries) == 0
    opened(first + b"".join(pieces))


def many(make_dataset: MakeDataset, n: int, name: str) -> Dataset:
    """Create a dataset whose items are labeled by an update instead of 20,000 annotations."""
    dataset = make_dataset(n, name=name)
    cat, dog = LabelClass.objects.filter(dataset=dataset)
    Item.objects.filter(dataset=dataset).update(state=State.LABELLED, label=cat)
    Item.objects.filter(dataset=dataset, row__lt=n // 3).update(label=dog)
    return dataset


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dataset(make_dataset: MakeDataset) -> None:
    def peak(dataset: Dataset) -> int:
        tracemalloc.start()
        try:
            size = sum(len(piece) for piece in Export(dataset, Options()))
            assert size > dataset.n_items * 100
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = many(make_dataset, 2 * BATCH, "small"), many(make_dataset, 20_000, "large")
    peak(small)  # fills caches
    # The 18,200 additional items need 3 MB in the archive. The splits keep less than 100 bytes per item.
    assert peak(large) - peak(small) < 18_200 * 100


def test_queries_grow_with_batches_not_with_items(make_dataset: MakeDataset) -> None:
    dataset = many(make_dataset, 3 * BATCH, "many")
    with CaptureQueriesContext(connection) as queries:
        archive_bytes(dataset)
    assert len(queries) <= 54
    assert not any("OFFSET" in query["sql"] for query in queries)


def test_a_stream_that_breaks_off_is_no_archive() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise OSError("the disk is gone")

    sent = []
    pieces = stream_zip([Member("a", [b"a"]), Member("b", broken())], {})
    with pytest.raises(OSError, match="gone"):
        sent.extend(pieces)
    assert b"PK\x05\x06" not in b"".join(sent)


def test_a_huge_member_has_wide_sizes() -> None:
    archive = opened(b"".join(stream_zip([Member("a", [b"abc"], is_huge=True)], {})))
    assert archive.read("a") == b"abc"
    assert archive.getinfo("a").extract_version == 45


# -- Options and sections ---------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["80,10", "80,10,x", "", "80,10,11", "120,-10,-10", "80;10;10"])
def test_splits_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(Refusal):
        parse_splits(text)


def test_splits_are_parsed() -> None:
    assert parse_splits("70, 20,10") == (70, 20, 10)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_cannot_be_are_refused(seed: int) -> None:
    with pytest.raises(Refusal, match="seed"):
        Options(seed=seed)


@pytest.fixture
def moods(monkeypatch: pytest.MonkeyPatch) -> Section:
    """Register a section of another package for this test."""
    monkeypatch.setattr(registry_module, "_sections", {})

    def contribute(dataset: Dataset, is_wanted: bool) -> Contribution:
        members = [Member("moods.csv", [b"mood\n", b"good\n"])] if is_wanted else []
        return Contribution({"moods": {"of": dataset.slug}, "seeds": {"moods": 4}}, members)

    section = Section("moods", "Moods", contribute, lambda dataset: "" if dataset.n_items else "No moods.")
    registry_module.register(section)
    return section


def test_another_room_adds_files_and_keys(make_dataset: MakeDataset, moods: Section) -> None:
    dataset = make_dataset(1)
    without = opened(archive_bytes(dataset))
    assert "moods.csv" not in without.namelist()
    assert manifest(without)["moods"] == {"of": "pictures"}
    assert manifest(without)["options"]["moods"] is False
    archive = opened(archive_bytes(dataset, extras=frozenset({"moods"})))
    assert archive.read("moods.csv") == b"mood\ngood\n"
    data = manifest(archive)
    assert data["seeds"] == {"splits": 0, "moods": 4}
    assert data["options"]["moods"] is True
    assert data["files"]["moods.csv"]["bytes"] == 10


@pytest.mark.parametrize(("n", "name", "message"), [(0, "moods", "No moods."), (1, "tides", "no option 'tides'")])
def test_what_cannot_be_had_is_refused_at_once(
    make_dataset: MakeDataset, moods: Section, n: int, name: str, message: str
) -> None:
    with pytest.raises(Refusal, match=message):
        Export(make_dataset(n), Options(extras=frozenset({name})))


# -- Text -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "written"),
    [("plain", "plain"), ("a,b", '"a,b"'), ('a"b', '"a""b"'), ("a\rb", '"a\rb"'), ("a\nb", '"a\nb"'),
     ("=SUM(A1)", "=SUM(A1)"), ("", "")],
)  # fmt: skip
def test_a_cell_is_quoted_where_it_must_be(value: str, written: str) -> None:
    assert cell(value) == written


def test_lines_numbers_and_json() -> None:
    assert csv_line((1, None, True, False, "x,y")) == '1,,true,false,"x,y"\n'
    assert [number(value) for value in (0.1, 1 / 3, 1e-7, 1.0, 0.99999999)] == [
        "0.1", "0.333333", "1e-07", "1", "1",
    ]  # fmt: skip
    value: Any = {"b": "ü", "a": [1]}
    assert json_bytes(value) == '{\n  "a": [\n    1\n  ],\n  "b": "ü"\n}\n'.encode()
