"""Test ingest of folders with all kinds of content, repeatedly."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoshina.core.errors import Refusal
from hoshina.jobs.errors import Cancelled
from labeling.images.folder_walk import FoundFile
from labeling.ingest import scan as ingest_module
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.scan import ingest
from labeling.models import MAX_PATH, Annotation, Dataset, Frame, Item, Problem
from labeling.signals import ingested
from tests.factories import MakeFolder, count_queries, fresh, heard_from
from tests.labeling.factories import Steps, counts_of, forbid_opening, ingest_folder, ingested_folder, write_png

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def rows(dataset: Dataset) -> dict[str, int]:
    return dict(dataset.items.values_list("path", "row"))


# -- The plain case ---------------------------------------------------------------------------------
def test_a_folder_becomes_items_with_frames(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "b.png", seed=1)
    write_png(tmp_path / "in" / "deep" / "er" / "a.png", seed=2, size=20)
    assert counts_of(ingest_folder(tmp_path / "in")) == {"items": 2, "new": 2}
    dataset = Dataset.objects.get(name="in")
    assert (dataset.n_items, dataset.n_missing) == (2, 0)
    assert rows(dataset) == {"b.png": 0, "deep/er/a.png": 1}
    frame = Frame.objects.get(path="deep/er/a.png")
    status = (tmp_path / "in" / "deep" / "er" / "a.png").stat()
    assert (frame.role, frame.width, frame.height, frame.format) == ("image", 20, 20, "PNG")
    assert (frame.size, frame.mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert len(frame.sha256) == 64
    assert frame.file == dataset.data_dir / "deep/er/a.png"


def test_again_changes_nothing_and_opens_nothing(picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ingested_folder(picture_folder(5))
    before = list(Item.objects.values()), list(Frame.objects.values())
    forbid_opening(monkeypatch)
    assert counts_of(ingest_folder(folder)) == {"items": 5, "unchanged": 5}
    assert (list(Item.objects.values()), list(Frame.objects.values())) == before


def test_changed_new_vanished_and_returned_files(picture_folder: MakeFolder, tmp_path: Path) -> None:
    folder = ingested_folder(picture_folder(4))
    dataset = Dataset.objects.get()
    old = Frame.objects.get(path="image0001.png").sha256
    write_png(folder / "image0001.png", seed=99, size=30)
    write_png(folder / "zzz.png", seed=98)
    (folder / "image0002.png").rename(tmp_path / "away.png")
    assert counts_of(ingest_folder(folder)) == {"items": 5, "new": 1, "changed": 1, "unchanged": 2, "missing": 1}
    dataset.refresh_from_db()
    assert (dataset.n_items, dataset.n_missing) == (5, 1)
    assert not Item.objects.get(path="image0002.png").is_available
    frame = Frame.objects.get(path="image0001.png")
    assert frame.sha256 != old
    assert frame.width == 30
    assert rows(dataset) == {f"image000{n}.png": n for n in range(4)} | {"zzz.png": 4}
    # Still missing, and counted once.
    assert counts_of(ingest_folder(folder)) == {"items": 5, "unchanged": 4, "missing": 1}
    (tmp_path / "away.png").rename(folder / "image0002.png")
    assert counts_of(ingest_folder(folder)) == {"items": 5, "unchanged": 5, "returned": 1}
    assert fresh(dataset).n_missing == 0
    assert Item.objects.get(path="image0002.png").is_available


def test_a_file_that_was_only_touched_is_unchanged(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(1))
    os.utime(folder / "image0000.png", ns=(1, 1_000_000_000))
    assert counts_of(ingest_folder(folder)) == {"items": 1, "unchanged": 1}
    assert Frame.objects.get().mtime_ns == 1_000_000_000


def test_labels_of_missing_files_stay(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(2))
    item = Item.objects.get(path="image0000.png")
    Item.objects.filter(pk=item.pk).update(state=2)
    (folder / "image0000.png").unlink()
    ingest_folder(folder)
    item.refresh_from_db()
    assert (item.is_available, item.state) == (False, 2)
    assert Annotation.objects.count() == 0


def test_extensions_choose_and_do_not_make_others_missing(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png")
    write_png(tmp_path / "in" / "b.JPG")
    assert counts_of(ingest_folder(tmp_path / "in", extensions=[".jpg"])) == {"items": 1, "new": 1}
    assert counts_of(ingest_folder(tmp_path / "in")) == {"items": 2, "new": 1, "unchanged": 1}
    assert counts_of(ingest_folder(tmp_path / "in", extensions=[".png"])) == {"items": 2, "unchanged": 1}
    assert Item.objects.filter(is_available=True).count() == 2


# -- Problems ---------------------------------------------------------------------------------------
def test_files_that_cannot_be_read_are_problems_and_the_rest_goes_on(picture_folder: MakeFolder) -> None:
    folder = picture_folder(3)
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("not an image")
    whole = (folder / "image0000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    result = ingest_folder(folder)
    assert counts_of(result) == {"items": 3, "new": 3, "n_failed": 3}
    reasons = {problem["path"]: problem["reason"] for problem in result["failed"]}
    assert reasons.keys() == {"cut.png", "empty.png", "text.jpg"}
    assert "empty" in reasons["empty.png"]
    assert "text" in reasons["text.jpg"]
    assert "truncated" in reasons["cut.png"]
    assert set(Problem.objects.values_list("path", flat=True)) == reasons.keys()


def test_a_file_that_is_deleted_between_the_scan_and_its_reading_is_a_problem(
    picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = picture_folder(3)
    walk = ingest_module.walk

    def walk_and_delete(*args: Any, **choices: Any) -> Iterator[FoundFile]:
        for file in walk(*args, **choices):
            if file.path == "image0001.png":
                (folder / file.path).unlink()
            yield file

    monkeypatch.setattr(ingest_module, "walk", walk_and_delete)
    result = ingest_folder(folder)
    assert counts_of(result) == {"items": 2, "new": 2, "n_failed": 1}
    reason = "The file no longer exists, or is a broken link."
    assert result["failed"] == [{"path": "image0001.png", "reason": reason}]
    monkeypatch.undo()
    assert counts_of(ingest_folder(folder)) == {"items": 2, "unchanged": 2}
    assert not Problem.objects.exists()


def test_a_solved_problem_is_forgotten_and_a_new_one_takes_the_item_away(picture_folder: MakeFolder) -> None:
    folder = picture_folder(2)
    (folder / "a.png").touch()
    ingest_folder(folder)
    write_png(folder / "a.png")
    (folder / "image0000.png").write_bytes(b"rubbish")
    assert counts_of(ingest_folder(folder)) == {"items": 3, "new": 1, "unchanged": 1, "n_failed": 1}
    assert [problem.path for problem in Problem.objects.all()] == ["image0000.png"]
    assert not Item.objects.get(path="image0000.png").is_available
    assert Dataset.objects.get().n_missing == 1
    write_png(folder / "image0000.png", seed=5)
    assert counts_of(ingest_folder(folder)) == {"items": 3, "changed": 1, "unchanged": 2, "returned": 1}
    assert not Problem.objects.exists()
    assert Dataset.objects.get().n_missing == 0


def test_strange_names_are_items(tmp_path: Path) -> None:
    strange = ["<b>bold</b>.png", "two\nlines.png", "duck 🦆 é.png", "%2e%2e.png", "a'b\".png"]
    if sys.platform == "win32":
        strange = strange[2:4]
    for number, name in enumerate(strange):
        write_png(tmp_path / "in" / name, seed=number)
    assert counts_of(ingest_folder(tmp_path / "in")) == {"items": len(strange), "new": len(strange)}
    assert set(Item.objects.values_list("path", flat=True)) == set(strange)
    assert counts_of(ingest_folder(tmp_path / "in")) == {"items": len(strange), "unchanged": len(strange)}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes names that are not UTF-8")
def test_names_that_are_not_utf_8_are_problems(picture_folder: MakeFolder) -> None:
    folder = picture_folder(1)
    os.rename(folder / "image0000.png", os.fsencode(folder) + b"/caf\xe9.png")  # noqa: PTH104 - bytes
    write_png(folder / "ok.png")
    result = ingest_folder(folder)
    assert result["failed"] == [
        {"path": "caf\\xe9.png", "reason": "The name is not valid UTF-8 and cannot be stored. Rename the file."}
    ]  # fmt: skip
    assert result["items"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has shorter paths")
@pytest.mark.parametrize("letter", ["d", "字"])
def test_too_long_paths_are_problems(tmp_path: Path, letter: str) -> None:
    folder = tmp_path / "in"
    write_png(folder / "ok.png")
    part = letter * (200 if letter == "d" else 80)
    deep = folder.joinpath(*[part] * (6 if letter == "d" else 12))
    write_png(deep / "a.png")
    write_png(deep / "b.png")
    result = ingest_folder(folder)
    assert result["items"] == 1
    assert len({problem["path"] for problem in result["failed"]}) == 2
    assert all(len(problem["path"]) <= MAX_PATH and "too long" in problem["reason"] for problem in result["failed"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_out_of_the_folder_and_circles_are_problems(picture_folder: MakeFolder, tmp_path: Path) -> None:
    folder = picture_folder(1)
    write_png(tmp_path / "secret.png")
    (folder / "secret.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop").symlink_to(folder)
    result = ingest_folder(folder)
    assert result["items"] == 1
    assert {problem["path"]: problem["reason"].split(".")[0] for problem in result["failed"]} == {
        "loop": "This link leads to a folder that contains it, so it is not followed",
        "secret.png": "This link leads outside the folder",
    }


def test_the_report_is_short_and_the_problems_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "_FAILED_SHOWN", 3)
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / "in" / f"{number}.png").touch()
    result = ingest_folder(tmp_path / "in")
    assert (len(result["failed"]), result["n_failed"], result["items"]) == (3, 5, 0)
    assert Problem.objects.count() == 5


# -- Folders ----------------------------------------------------------------------------------------
def test_a_folder_without_images_says_so_here_and_on_the_problems_page(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    with pytest.raises(Refusal, match=r"There are no images in .*in: no file name ends in \.jpg"):
        ingest_folder(tmp_path / "in")
    assert Problem.objects.get().path == "."


def test_a_folder_that_lost_all_its_images_keeps_its_items(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(2))
    for file in folder.iterdir():
        file.unlink()
    assert counts_of(ingest_folder(folder)) == {"items": 2, "missing": 2, "n_failed": 1}
    picture_folder(2)
    assert ingest_folder(folder)["missing"] == 0
    assert not Problem.objects.exists()


def test_a_folder_that_is_gone_changes_nothing(picture_folder: MakeFolder, tmp_path: Path) -> None:
    folder = ingested_folder(picture_folder(2))
    dataset = Dataset.objects.get()
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="does not exist"):
        ingest(dataset, Steps())  # type: ignore[arg-type]
    assert Item.objects.filter(is_available=True).count() == 2
    assert "does not exist" in Problem.objects.get(path=".").reason


def test_missing_folders_and_files_make_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "file.png").touch()
    with pytest.raises(Refusal, match="does not exist"):
        dataset_for(tmp_path / "gone")
    with pytest.raises(Refusal, match=r"is a file\. Specify the folder"):
        dataset_for(tmp_path / "file.png")
    assert not Dataset.objects.exists()


# -- Which dataset ------------------------------------------------------------------------------------
def test_the_same_root_is_the_same_dataset_and_names_stay_unique(tmp_path: Path) -> None:
    for parent in ("one", "two"):
        (tmp_path / parent / "Cats & Dogs").mkdir(parents=True)
    first = dataset_for(tmp_path / "one" / "Cats & Dogs")
    assert (first.name, first.slug) == ("Cats & Dogs", "cats-dogs")
    assert dataset_for(tmp_path / "one" / ".." / "one" / "Cats & Dogs") == first
    second = dataset_for(tmp_path / "two" / "Cats & Dogs")
    assert (second.name, second.slug) == ("Cats & Dogs 2", "cats-dogs-2")
    named = dataset_for(tmp_path / "one" / "Cats & Dogs", "another job")
    assert named not in {first, second}
    assert named.root == first.root
    assert dataset_for(tmp_path / "one" / "Cats & Dogs") == first


@pytest.mark.parametrize("name", ["木星", "🦆", "a" * 200, "---"])
def test_any_folder_name_gives_a_dataset(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    dataset = dataset_for(tmp_path / name)
    assert dataset.name
    assert dataset.slug
    dataset.full_clean()


def test_a_name_of_another_folder_is_refused_until_that_folder_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    dataset = dataset_for(tmp_path / "old", "cats")
    with pytest.raises(Refusal, match=r"belongs to the folder .*AL_DATA_DIR"):
        dataset_for(tmp_path / "new", "cats")
    (tmp_path / "old").rmdir()
    moved = dataset_for(tmp_path / "new", "cats")
    assert moved == dataset
    assert Dataset.objects.get().root == str((tmp_path / "new").resolve())
    assert "moved from" in caplog.text


def test_al_data_dir_moves_the_root(picture_folder: MakeFolder, tmp_path: Path, settings: Any) -> None:
    folder = ingested_folder(picture_folder(3))
    moved = tmp_path / "moved"
    folder.rename(moved)
    settings.DATA_DIR = moved
    assert counts_of(ingest_folder(moved)) == {"items": 3, "unchanged": 3}
    assert Dataset.objects.count() == 1
    (tmp_path / "other").mkdir()
    with pytest.raises(Refusal, match="AL_DATA_DIR"):
        dataset_for(tmp_path / "other")


# -- Batches, interruption ----------------------------------------------------------------------------
@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ingest_module, "FIRST_BATCH", 3)
    monkeypatch.setattr(ingest_module, "FULL_BATCH", 7)
    monkeypatch.setattr(ingest_module, "_GROUP", 5)
    monkeypatch.setattr(ingest_module, "_SLICE", 2)
    monkeypatch.setattr(ingest_module, "_LARGEST_SLICE", 2)
    monkeypatch.setattr(ingest_module, "_SLICES_AHEAD", 2)
    return


@pytest.mark.usefixtures("small_batches")
def test_batches_add_up_and_progress_grows(picture_folder: MakeFolder) -> None:
    folder = picture_folder(40)
    steps = Steps()
    result = ingest(dataset_for(folder), steps)  # type: ignore[arg-type]
    assert counts_of(result) == {"items": 40, "new": 40}
    assert list(Item.objects.order_by("path").values_list("row", flat=True)) == list(range(40))
    done = [n for n, _ in steps.seen[:-1]]  # the last one belongs to another stage
    assert done == sorted(done)
    assert done[-1] == 40
    assert len(set(done)) >= 20  # slices of two
    assert {total for _, total in steps.seen[:-1]} <= {0, 40}
    assert steps.stages == ["Reading the images", "Looking for missing files"]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("limit", [1, 4, 9, 17])
def test_an_interrupted_run_is_taken_up_where_it_stopped(picture_folder: MakeFolder, limit: int) -> None:
    folder = picture_folder(30)
    with heard_from(ingested) as heard:
        dataset = dataset_for(folder)
        with pytest.raises(Cancelled):
            ingest(dataset, Steps(limit))  # type: ignore[arg-type]
        dataset.refresh_from_db()
        stored = rows(dataset)
        assert dataset.n_items == len(stored) <= 2 * (limit + 1)
        assert heard == []
        result = ingest_folder(folder)
        assert counts_of(result) == {
            key: n for key, n in (("items", 30), ("new", 30 - len(stored)), ("unchanged", len(stored))) if n
        }
        assert rows(dataset).items() >= stored.items()
        assert sorted(rows(dataset).values()) == list(range(30))
        assert [news["dataset_id"] for news in heard] == [dataset.pk]


def test_two_datasets_have_rows_of_their_own(picture_folder: MakeFolder) -> None:
    for name in ("one", "two"):
        ingest_folder(picture_folder(3, name=name))
    for dataset in Dataset.objects.all():
        assert sorted(rows(dataset).values()) == [0, 1, 2]


def test_reading_again_takes_few_queries(picture_folder: MakeFolder) -> None:
    folder = ingested_folder(picture_folder(300))
    assert count_queries(ingest_folder, folder) < 18  # fewer than one per file


def test_what_another_run_wrote_meanwhile_is_not_written_twice(
    picture_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ingested_folder(picture_folder(5))
    write_png(folder / "zzz.png")
    # Simulate another run that writes between this run's lookup and its own write.
    monkeypatch.setattr(ingest_module._Ingestion, "_records_of", lambda self, group: {})
    ingest_folder(folder)
    dataset = Dataset.objects.get()
    assert dataset.n_items == 6
    assert sorted(rows(dataset).values()) == list(range(6))
