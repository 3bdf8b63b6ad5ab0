"""Test exports and imports of items with several frames."""

import hashlib
import io
import random
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from labeling.importing.save_table import import_labels
from labeling.models import Dataset, Frame, Item, LabelClass
from tests.factories import archive_bytes, decide, manifest, opened, table
from tests.labeling.groups import FLAT, ROLES, ingest_groups, write_triplets

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


def dataset_of(folder: Path, template: str = FLAT) -> Dataset:
    ingest_groups(folder, template)
    dataset = Dataset.objects.get()
    for number, name in enumerate(("real", "bogus")):
        LabelClass.objects.create(dataset=dataset, name=name, colour="#0072B2", key=number + 1, order=number)
    return dataset


def test_one_line_an_item_and_one_a_frame(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(5))
    (tmp_path / "in" / "sn2_ref.png").unlink()
    dataset = dataset_of(tmp_path / "in")
    decide(dataset, "assign", [row for row in range(4) if row != 2], "real")
    decide(dataset, "skip", [2])
    archive = opened(archive_bytes(dataset, with_images=True))
    labels = table(archive, "labels.csv")
    assert [(row["path"], row["label"]) for row in labels] == [
        ("sn0", "real"), ("sn1", "real"), ("sn2", ""), ("sn3", "real")
    ]  # fmt: skip
    ids = {row["path"]: row["item_id"] for row in labels}
    frames = [(row["item_id"], row["role"], row["path"], row["sha256"]) for row in table(archive, "frames.csv")]
    assert frames == [
        (ids[path], role, file.name, hashlib.sha256(file.read_bytes()).hexdigest())
        for path in ids
        for role in ROLES
        if (file := tmp_path / "in" / f"{path}_{role}.png").exists()
    ]
    # The files of labeled items, under their paths.
    inside = sorted(name for name in archive.namelist() if name.startswith("images/"))
    assert inside == sorted(f"images/sn{number}_{role}.png" for number in (0, 1, 3) for role in ROLES)
    grouping = manifest(archive)["frames"]
    assert (grouping["template"], grouping["roles"], grouping["largest_split_group"]) == (FLAT, list(ROLES), 1)
    assert "frames.csv" in manifest(archive)["files"]


def test_items_of_single_files_have_no_such_file(make_dataset: object) -> None:
    dataset = make_dataset(3)  # type: ignore[operator]
    decide(dataset, "assign", [0], "cat")
    archive = opened(archive_bytes(dataset))
    assert "frames.csv" not in archive.namelist()
    assert "frames" not in manifest(archive)


@pytest.mark.parametrize("seed", range(3))
def test_no_file_is_in_two_splits(tmp_path: Path, seed: int) -> None:
    """Share references within nights and some across nights, and use one in another role."""
    rng = random.Random(seed)
    folder = tmp_path / "in"
    write_triplets(folder, range(60), roles=("target", "diff"))
    for number in range(60):
        night = number // 4
        write_triplets(folder, [900 + night], roles=("ref",))
        shutil.copyfile(folder / f"sn{900 + night}_ref.png", folder / f"sn{number}_ref.png")
    for night in range(15):
        (folder / f"sn{900 + night}_ref.png").unlink()
    shutil.copyfile(folder / "sn0_target.png", folder / "sn59_ref.png")
    dataset = dataset_of(folder)
    rows = rng.sample(range(60), 60)
    decide(dataset, "assign", rows[:30], "real")
    decide(dataset, "assign", rows[30:], "bogus")
    archive = opened(archive_bytes(dataset, seed=seed, splits=(60, 20, 20)))
    split_of = {row["path"]: row["split"] for row in table(archive, "splits.csv")}
    sides: dict[str, set[str]] = defaultdict(set)
    for path, sha256 in Frame.objects.values_list("item__path", "sha256"):
        sides[sha256].add(split_of[path])
    assert all(len(splits) == 1 for splits in sides.values())
    assert {len([path for path in split_of if split_of[path] == name]) for name in ("val", "test")} <= set(range(8, 17))
    assert manifest(archive)["frames"]["largest_split_group"] >= 4
    assert split_of["sn0"] == split_of["sn59"]


def test_labels_come_back_by_the_paths_of_items_and_of_files(tmp_path: Path) -> None:
    write_triplets(tmp_path / "in", range(4))
    dataset = dataset_of(tmp_path / "in")
    lines = [
        "path,label", "sn0,real", "sn1_ref.png,bogus", f"{tmp_path / 'in' / 'sn2_diff.png'},real",
        "sn9_ref.png,real",
    ]  # fmt: skip
    report = import_labels(dataset, io.BytesIO("\n".join(lines).encode()), user=None)
    assert (report.applied, list(report.unknown.names)) == (3, ["sn9_ref.png"])
    assert dict(Item.objects.filter(label__isnull=False).values_list("path", "label__name")) == {
        "sn0": "real", "sn1": "bogus", "sn2": "real"
    }  # fmt: skip


def test_labels_of_single_files_go_to_the_items_that_these_are_part_of(tmp_path: Path) -> None:
    """Follow the advice given when regrouping a labeled dataset is refused."""
    from labeling.ingest.dataset_folder import dataset_for
    from labeling.ingest.scan import ingest
    from tests.labeling.factories import Steps

    write_triplets(tmp_path / "in", range(4))
    single = dataset_of(tmp_path / "in", "")
    rows = dict(Item.objects.values_list("path", "row"))
    decide(single, "assign", [rows["sn1_target.png"], rows["sn2_target.png"]], "real")
    labels = opened(archive_bytes(single)).read("labels.csv")
    grouped = dataset_for(tmp_path / "in", "groups")
    ingest(grouped, Steps(), grouping=FLAT)  # type: ignore[arg-type]
    # The IDs in the file belong to the other dataset, so the paths are used.
    assert import_labels(grouped, io.BytesIO(labels), user=None, create_classes=True).applied == 2
    assert set(grouped.items.filter(label__name="real").values_list("path", flat=True)) == {"sn1", "sn2"}
