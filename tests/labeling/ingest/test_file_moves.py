"""Test that items follow moved and renamed files by content."""

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image

from hoshina.jobs.errors import Cancelled
from labeling.ingest import file_moves
from labeling.ingest import scan as ingest_module
from labeling.ingest.scan import ingest
from labeling.models import Dataset, Frame, Item, LabelClass, Problem, State
from tests.factories import MakeFolder, call_before
from tests.labeling.factories import (
    Steps,
    counts_of,
    ingest_folder,
    ingested_folder,
    label_item,
    labels_by_path,
    write_png,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def consistent(dataset: Dataset) -> None:
    """Assert that counters, rows, and the paths of items and frames agree with each other."""
    dataset.refresh_from_db()
    items = list(dataset.items.order_by("row"))
    assert [item.row for item in items] == list(range(dataset.n_items))
    assert dataset.n_missing == sum(not item.is_available for item in items)
    assert dict(Frame.objects.values_list("item_id", "path")) == {item.pk: item.path for item in items}


# -- One thing at a time ------------------------------------------------------------------------------
def test_a_renamed_file_keeps_its_item(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(3))
    before = Item.objects.get(path="image0001.png")
    label_item("image0001.png")
    (folder / "deep").mkdir()
    (folder / "image0001.png").rename(folder / "deep" / "other name.png")
    assert counts_of(ingest_folder(folder)) == {"items": 3, "moved": 1, "unchanged": 2}
    after = Item.objects.get(path="deep/other name.png")
    assert (after.pk, after.row, after.state, after.is_available) == (before.pk, before.row, State.LABELLED, True)
    assert labels_by_path() == {"deep/other name.png": "was image0001.png"}
    consistent(after.dataset)
    assert counts_of(ingest_folder(folder)) == {"items": 3, "unchanged": 3}


def test_a_renamed_folder_keeps_all_items_in_a_few_queries(picture_folder: MakeFolder) -> None:
    folder = picture_folder(2)
    for number in range(200):
        write_png(folder / "night 1" / f"{number}.png", seed=100 + number)
    ingest_folder(folder)
    rows = dict(Item.objects.values_list("path", "row"))
    (folder / "night 1").rename(folder / "2031-01-04")
    with CaptureQueriesContext(connection) as queries:
        assert counts_of(ingest_folder(folder)) == {"items": 202, "moved": 200, "unchanged": 2}
    assert len(queries) < 80
    assert dict(Item.objects.values_list("path", "row")) == {
        path.replace("night 1", "2031-01-04"): row for path, row in rows.items()
    }


def test_an_item_that_was_missing_for_long_is_found_again(picture_folder: MakeFolder, tmp_path: Path) -> None:
    folder = ingested_folder(picture_folder(3), "image0000.png")
    (folder / "image0000.png").rename(tmp_path / "away.png")
    assert counts_of(ingest_folder(folder)) == {"items": 3, "unchanged": 2, "missing": 1}
    (tmp_path / "away.png").rename(folder / "z.png")
    assert counts_of(ingest_folder(folder)) == {"items": 3, "moved": 1, "unchanged": 2}
    assert labels_by_path() == {"z.png": "was image0000.png"}
    consistent(Dataset.objects.get())


def test_a_copy_is_a_new_item(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(2), "image0000.png")
    (folder / "a copy.png").write_bytes((folder / "image0000.png").read_bytes())
    os.utime(folder / "image0000.png", ns=(1, 1))  # touched, but with the same content
    assert counts_of(ingest_folder(folder)) == {"items": 3, "new": 1, "unchanged": 2}
    assert labels_by_path() == {"image0000.png": "was image0000.png"}


def test_of_identical_files_those_with_labels_are_found_first_and_each_once(picture_folder: MakeFolder) -> None:
    folder = picture_folder(1)
    for name in "abc":
        write_png(folder / f"{name}.png", seed=50)
    ingest_folder(folder)
    label_item("c.png")
    for name in "abc":
        (folder / f"{name}.png").unlink()
    for name in "wxyz":
        write_png(folder / f"{name}.png", seed=50)
    assert counts_of(ingest_folder(folder)) == {"items": 5, "new": 1, "moved": 3, "unchanged": 1}
    assert labels_by_path() == {"w.png": "was c.png"}
    rows = dict(Item.objects.values_list("path", "row"))
    assert [rows[f"{name}.png"] for name in "wxyz"] == [2, 0, 1, 4]
    consistent(Dataset.objects.get())


def test_renumbered_files_keep_their_labels(picture_folder: MakeFolder) -> None:
    """Give all paths but the first the content of another, and add a new one."""
    folder = ingested_folder(picture_folder(6))
    for number in range(6):
        label_item(f"image{number:04d}.png")
    for number in reversed(range(6)):
        (folder / f"image{number:04d}.png").rename(folder / f"image{number + 1:04d}.png")
    write_png(folder / "image0000.png", seed=77)
    assert counts_of(ingest_folder(folder)) == {"items": 7, "new": 1, "moved": 6}
    assert labels_by_path() == {f"image{number + 1:04d}.png": f"was image{number:04d}.png" for number in range(6)}
    consistent(Dataset.objects.get())


def test_two_files_that_changed_places(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(2), "image0000.png")
    (folder / "image0000.png").rename(folder / "aside")
    (folder / "image0001.png").rename(folder / "image0000.png")
    (folder / "aside").rename(folder / "image0001.png")
    assert counts_of(ingest_folder(folder)) == {"items": 2, "moved": 2}
    assert labels_by_path() == {"image0001.png": "was image0000.png"}
    consistent(Dataset.objects.get())


def test_an_image_that_was_overwritten_by_another_is_missing_and_comes_back(
    picture_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = ingested_folder(picture_folder(2), "image0000.png", "image0001.png")
    content = (folder / "image0001.png").read_bytes()
    (folder / "image0000.png").replace(folder / "image0001.png")
    assert counts_of(ingest_folder(folder)) == {"items": 2, "moved": 1, "missing": 1}
    assert labels_by_path() == {"image0001.png": "was image0000.png"}
    gone = Item.objects.get(is_available=False)
    assert gone.path == "image0001.png (replaced, image 1)"
    assert counts_of(ingest_folder(folder)) == {"items": 2, "unchanged": 1, "missing": 1}
    (folder / "found again.png").write_bytes(content)
    assert counts_of(ingest_folder(folder)) == {"items": 2, "moved": 1, "unchanged": 1}
    assert labels_by_path()["found again.png"] == "was image0001.png"
    consistent(Dataset.objects.get())


def test_an_edited_file_is_the_same_item_and_its_old_content_elsewhere_too(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(2), "image0000.png", "image0001.png")
    write_png(folder / "image0000.png", seed=70)
    (folder / "z.png").write_bytes((folder / "image0001.png").read_bytes())
    write_png(folder / "image0001.png", seed=71)
    # The content of image0001.png, with its label, is now at z.png.
    assert counts_of(ingest_folder(folder)) == {"items": 3, "new": 1, "changed": 1, "moved": 1}
    assert labels_by_path() == {"image0000.png": "was image0000.png", "z.png": "was image0001.png"}


@pytest.mark.parametrize("name", ["before.png", "z after.png"])
def test_a_path_that_cannot_be_read_any_more_lets_its_item_go(picture_folder: MakeFolder, name: str) -> None:
    folder = ingested_folder(picture_folder(2), "image0000.png")
    (folder / name).write_bytes((folder / "image0000.png").read_bytes())
    (folder / "image0000.png").write_bytes(b"rubbish")
    assert counts_of(ingest_folder(folder)) == {"items": 2, "moved": 1, "unchanged": 1, "n_failed": 1}
    assert labels_by_path() == {name: "was image0000.png"}
    assert [problem.path for problem in Problem.objects.all()] == ["image0000.png"]
    consistent(Dataset.objects.get())


def test_labels_stay_within_their_dataset(picture_folder: MakeFolder) -> None:
    first, second = picture_folder(1, name="one"), picture_folder(2, name="two")
    ingest_folder(first)
    label_item("image0000.png")
    (first / "image0000.png").unlink()
    write_png(first / "other.png", seed=9)
    ingest_folder(first)
    assert ingest_folder(second)["new"] == 2
    assert labels_by_path() == {}


@pytest.mark.parametrize("variable", [False, True])
def test_a_root_that_was_moved_and_sorted_anew(
    picture_folder: MakeFolder, tmp_path: Path, settings: Any, variable: bool
) -> None:
    folder = ingested_folder(picture_folder(4))
    for number in range(4):
        label_item(f"image{number:04d}.png")
    moved = tmp_path / "elsewhere"
    (moved / "sorted").mkdir(parents=True)
    for number in range(4):
        (folder / f"image{number:04d}.png").rename(moved / "sorted" / f"{number}.png")
    folder.rmdir()
    settings.DATA_DIR = moved if variable else None
    assert counts_of(ingest_folder(moved, "pictures")) == {"items": 4, "moved": 4}
    assert labels_by_path() == {f"sorted/{number}.png": f"was image{number:04d}.png" for number in range(4)}
    assert Dataset.objects.count() == 1


def test_only_the_case_of_a_name_changed_on_a_disk_that_does_not_care(
    picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate a case-insensitive disk, which also finds the file under its old name, with a link."""
    folder = ingested_folder(picture_folder(2), "image0000.png")
    (folder / "image0000.png").rename(folder / "IMAGE0000.png")
    stat = Path.stat

    def lenient(self: Path, **kwargs: Any) -> os.stat_result:
        return stat(self.with_name("IMAGE0000.png") if self.name == "image0000.png" else self, **kwargs)

    monkeypatch.setattr(Path, "stat", lenient)
    assert counts_of(ingest_folder(folder)) == {"items": 2, "moved": 1, "unchanged": 1}
    assert labels_by_path() == {"IMAGE0000.png": "was image0000.png"}


def test_a_thousand_black_images_are_looked_at_once_each(
    picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_moves, "_FEW", 3)
    monkeypatch.setattr(ingest_module, "FIRST_BATCH", 4)
    monkeypatch.setattr(ingest_module, "FULL_BATCH", 4)
    folder = picture_folder(1)
    for number in range(40):
        write_png(folder / f"black {number:02d}.png", seed=5)
    ingest_folder(folder)
    label_item("black 30.png")
    for number in range(20, 40):
        (folder / f"black {number}.png").rename(folder / f"moved {number}.png")
    write_png(folder / "one more.png", seed=5)
    checked: list[str] = []
    finder = file_moves.FreeItemFinder
    call_before(monkeypatch, finder, "_is_free", lambda _, free_item, stray: checked.append(free_item.path))
    assert counts_of(ingest_folder(folder)) == {"items": 42, "new": 1, "moved": 20, "unchanged": 21}
    assert labels_by_path() == {"moved 20.png": "was black 30.png"}
    assert max(Counter(checked).values()) == 1
    consistent(Dataset.objects.get())


# -- Any sequence of changes ----------------------------------------------------------------------------
CONTENTS = 12
NAMES = [f"{folder}{name}.png" for folder in ("", "a/", "b/c/") for name in "pqrstu"]


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    """Return the bytes of a few different images."""
    import io

    files = []
    for seed in range(CONTENTS):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


class Disk:
    """A folder with random changes."""

    def __init__(self, root: Path, contents: list[bytes], rng: random.Random) -> None:
        self.root, self.contents, self.rng = root, contents, rng
        self.files: dict[str, int] = {}
        # Distinct times for all writes, as is usual in practice.
        self.clock = itertools.count(1_000_000_000, 1_000_000)

    def write(self, name: str, content: int) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.contents[content])
        moment = next(self.clock)
        os.utime(file, ns=(moment, moment))
        self.files[name] = content

    def rename(self, old: str, new: str) -> None:
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).replace(self.root / new)
        self.files[new] = self.files.pop(old)

    def change(self) -> None:
        kind = self.rng.choice(["rename", "rename", "rename", "swap", "delete", "copy", "write", "folder"])
        there = sorted(self.files)
        name = self.rng.choice(there) if there else ""
        other = self.rng.choice(NAMES)
        if not there or kind == "write":
            self.write(other, self.rng.randrange(CONTENTS))
        elif kind == "delete" and len(there) > 2:
            (self.root / name).unlink()
            del self.files[name]
        elif kind == "copy" and name != other:
            self.write(other, self.files[name])
        elif kind == "rename" and name != other:
            self.rename(name, other)
        elif kind == "swap" and other in self.files and other != name:
            self.rename(name, "aside")
            self.rename(other, name)
            self.rename("aside", other)
        elif kind == "folder":
            for name in [name for name in there if name.startswith("a/")]:
                self.rename(name, name.replace("a/", "b/c/"))


class Oracle:
    """A slow reference implementation that searches one list of items."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def ingest(self, files: dict[str, int]) -> None:
        holders = {item["path"]: item for item in self.items if files.get(item["path"]) == item["content"]}
        strays = [path for path in walked(files) if path not in holders]
        free = [item for item in self.items if item not in holders.values()]
        was = {item["path"]: item for item in free}
        # Match new paths first, then those whose content was replaced.
        for path in [p for p in strays if p not in was] + [p for p in strays if p in was]:
            same = [item for item in free if item["content"] == files[path]]
            if same:
                item = min(same, key=lambda candidate: (candidate["label"] is None, candidate["order"]))
                free.remove(item)
                holders[path] = item
        for path in strays:
            if path not in holders and was.get(path) in free:  # edited in place
                holders[path] = was[path]
                free.remove(was[path])
        for path in strays:
            if path not in holders:
                holders[path] = {"label": None}
                self.items.append(holders[path])
        for item in free:
            item["path"] = None if item["path"] in files else item["path"]
        for path, item in holders.items():
            item |= {"path": path, "content": files[path], "order": path}

    def labels_by_path(self, files: dict[str, int]) -> dict[str, str]:
        return {item["path"]: item["label"] for item in self.items if item["path"] in files and item["label"]}


def by_content(labels_by_path: dict[str, str], files: dict[str, int]) -> list[tuple[int, str]]:
    return sorted((files[path], name) for path, name in labels_by_path.items())


def walked(files: dict[str, int]) -> list[str]:
    """Return paths in the order of a walk: files before folders."""
    return sorted(files, key=lambda path: [(part != path.split("/")[-1], part) for part in path.split("/")])


def label_some(dataset: Dataset, oracle: Oracle, rng: random.Random, names: Iterator[int]) -> None:
    for item in dataset.items.filter(is_available=True, label=None).order_by("path"):
        if rng.random() < 0.4:
            name = f"label {next(names)}"
            label_class = LabelClass.objects.create(dataset=dataset, name=name, colour="#0072B2")
            Item.objects.filter(pk=item.pk).update(state=State.LABELLED, label=label_class)
            [mine] = [entry for entry in oracle.items if entry["path"] == item.path]
            mine["label"] = name


@pytest.fixture(params=["one batch", "many batches"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "many batches":
        for name, value in (("FIRST_BATCH", 2), ("FULL_BATCH", 3), ("_GROUP", 3), ("_SLICE", 2)):
            monkeypatch.setattr(ingest_module, name, value)
        monkeypatch.setattr(file_moves, "_FEW", 1)
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_labels_follow_content_through_any_changes(
    tmp_path: Path, contents: list[bytes], batches: str, seed: int
) -> None:
    rng = random.Random(seed)
    (tmp_path / "in").mkdir()
    disk, oracle, names = Disk(tmp_path / "in", contents, rng), Oracle(), itertools.count()
    for name in NAMES[: rng.randint(3, 10)]:
        disk.write(name, rng.randrange(CONTENTS))
    for _ in range(8):
        ingest_folder(disk.root)
        oracle.ingest(disk.files)
        dataset = Dataset.objects.get()
        consistent(dataset)
        there = dataset.items.filter(is_available=True)
        assert set(there.values_list("path", flat=True)) == disk.files.keys()
        assert dataset.n_items == len(oracle.items)
        if batches == "one batch":
            assert labels_by_path() == oracle.labels_by_path(disk.files)
        else:  # which of several identical images gets which label may depend on the batches
            actual, expected = labels_by_path(), oracle.labels_by_path(disk.files)
            assert by_content(actual, disk.files) == by_content(expected, disk.files)
            for item in oracle.items:
                item["label"] = actual.get(item["path"]) if item["path"] in disk.files else item["label"]
        label_some(dataset, oracle, rng, names)
        for _ in range(rng.randint(1, 7)):
            disk.change()


@pytest.mark.slow
@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("seed", range(10))
def test_interrupted_at_any_moment_no_label_is_lost_or_doubled(
    tmp_path: Path, contents: list[bytes], seed: int
) -> None:
    """Use distinct contents, which have one correct result, however often ingest was interrupted."""
    rng = random.Random(1000 + seed)
    (tmp_path / "in").mkdir()
    disk = Disk(tmp_path / "in", contents, rng)
    for name, content in zip(rng.sample(NAMES, CONTENTS), range(CONTENTS), strict=True):
        disk.write(name, content)
    ingest_folder(disk.root)
    names_by_content = {content: label_item(path).name for path, content in disk.files.items()}
    for _ in range(4):
        there = sorted(disk.files)
        for old, new in zip(there, rng.sample(NAMES, len(there)), strict=True):  # permute all names
            disk.rename(old, f"{new}.aside")
        for name in sorted(disk.files):
            disk.rename(name, name.removesuffix(".aside"))
        for limit in range(0, 30, 4):
            try:
                ingest(Dataset.objects.get(), Steps(limit))  # type: ignore[arg-type]
            except Cancelled:
                consistent(Dataset.objects.get())
                assert Item.objects.filter(label__isnull=False).count() == CONTENTS
        ingest_folder(disk.root)
        consistent(Dataset.objects.get())
        assert labels_by_path() == {path: names_by_content[content] for path, content in disk.files.items()}
        assert Dataset.objects.get().n_missing == 0
