"""Test what all layouts have in common: names, folders and links, what is left out, and refusals."""

import io
import json
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from hoshina.core.errors import Refusal
from labeling.exporting import Export, Options
from labeling.exporting.layouts import layout_named, layouts
from labeling.models import Dataset, Item, LabelClass
from tests.factories import MakeDataset, archive_bytes, command_json, command_output, decide, manifest, opened
from tests.labeling.exporting.layouts.conftest import counts_of
from tests.parts import missing

pytestmark = pytest.mark.django_db
NAMES = (
    "csv", "imagefolder", "coco", "croissant", "fiftyone", "huggingface", "labelstudio", "tfrecord", "webdataset",
    "yolo",
)  # fmt: skip


@pytest.fixture
def with_pyarrow() -> None:
    if not find_spec("pyarrow"):
        missing("no pyarrow on this machine: uv sync --group dev --group formats")


def test_the_layouts_are_entry_points_and_csv_is_the_first() -> None:
    points = {point.name for point in metadata.entry_points(group="hoshina.exporters")}
    assert points == set(NAMES) - {"csv"}, "The environment is older than pyproject.toml: uv sync --group dev"
    assert tuple(layouts()) == NAMES
    for name, layout in layouts().items():
        assert layout.name == name
        assert layout.title
        assert layout.sentence.endswith(".")
        assert layout.loading
        for loading in layout.loading:
            compile(loading.code, loading.library, "exec")


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(Refusal, match="The layouts are csv, imagefolder"):
        layout_named("zip")


def test_another_package_adds_a_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("mine", "labeling.exporting.layouts.coco:Coco", "hoshina.exporters")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    layouts.cache_clear()
    try:
        assert tuple(layouts()) == ("csv", "mine")
    finally:
        layouts.cache_clear()


@pytest.mark.usefixtures("with_pyarrow")
@pytest.mark.parametrize("name", NAMES)
def test_an_archive_and_a_folder_have_the_same_files(labeled: Dataset, tmp_path: Path, name: str) -> None:
    archive = opened(archive_bytes(labeled, layout=name, with_images=True))
    folder = tmp_path / "data"
    command_json("export", "--layout", name, "--folder", "--output", str(folder))
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert files == {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    folders = {f"{path.relative_to(folder)}/" for path in folder.rglob("*") if path.is_dir()}
    assert {entry.filename for entry in archive.infolist() if entry.is_dir()} <= folders
    assert len({file.casefold() for file in files}) == len(files)


@pytest.mark.usefixtures("with_pyarrow")
@pytest.mark.parametrize("name", NAMES)
def test_equal_labels_give_equal_bytes_and_true_counts(labeled: Dataset, name: str) -> None:
    content = archive_bytes(labeled, layout=name, with_images=True)
    assert content == archive_bytes(labeled, layout=name, with_images=True)
    about = manifest(opened(content))
    assert {split: of_split["classes"] for split, of_split in about["splits"].items()} == counts_of(labeled)
    assert about["images"]["files"] == about["counts"]["labelled"] == 120
    assert (about["counts"]["unsure"], about["counts"]["skipped"]) == (1, 1)


@pytest.mark.parametrize("name", ["imagefolder", "coco", "labelstudio", "fiftyone", "croissant"])
def test_links_share_the_content_of_the_images(labeled: Dataset, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    result = command_json("export", "--layout", name, "--folder", "--link", "--output", str(folder))
    images = [file for file in folder.rglob("*") if file.suffix in (".png", ".jpg")]
    assert len(images) == result["items"] == 120
    sources = {file.stat().st_ino for file in labeled.data_dir.rglob("*") if file.is_file()}
    assert {file.stat().st_ino for file in images} <= sources


def test_a_missing_file_is_left_out_and_named(labeled: Dataset, tmp_path: Path) -> None:
    item = Item.objects.order_by("row")[5]
    (labeled.data_dir / item.path).unlink()
    folder = tmp_path / "data"
    output = command_output("export", "--layout", "imagefolder", "--folder", "--output", str(folder))
    assert "119 labeled images written" in output
    assert "3 items left out: unsure, skipped, or without a file" in output
    about = json.loads((folder / "manifest.json").read_bytes())
    assert about["images"]["missing"] == {"count": 1, "paths": [item.path]}


def test_only_an_earlier_export_is_replaced(labeled: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    arguments = ("export", "--layout", "imagefolder", "--folder", "--output", str(folder))
    folder.mkdir()
    first = command_json(*arguments)
    (folder / "old").touch()
    assert command_json(*arguments) == first
    assert not (folder / "old").exists()
    (folder / "manifest.json").unlink()
    for more in ((), ("--force",)):
        with pytest.raises(CommandError, match="is not an earlier export"):
            command_json(*arguments, *more)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--link",), "--link needs --folder"),
        (("--layout", "coco", "--no-images"), "nothing without images"),
    ],
)
def test_impossible_options_are_refused(labeled: Dataset, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        command_json("export", *arguments)


def test_an_unknown_layout_of_the_command_is_refused(labeled: Dataset) -> None:
    with pytest.raises(CommandError, match="There is no layout 'zip'"):
        command_json("export", "--layout", "zip")


def test_without_a_label_there_is_nothing_to_export(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    decide(dataset, "skip", [0])
    dataset.refresh_from_db()
    with pytest.raises(Refusal, match="No image is labeled yet"):
        Export(dataset, Options(layout="imagefolder"))


@pytest.mark.usefixtures("with_pyarrow")
@pytest.mark.parametrize("name", NAMES[1:])
def test_unsure_and_skipped_images_are_two_more_classes_on_request(labeled: Dataset, name: str) -> None:
    found = manifest(opened(archive_bytes(labeled, layout=name, with_unsure=True)))
    assert found["images"]["files"] == 122
    assert (found["counts"]["labelled"], found["counts"]["unsure"], found["counts"]["skipped"]) == (120, 1, 1)
    classes = {label for split in found["splits"].values() for label in split["classes"]}
    assert {"unsure", "skipped"} <= classes
    assert manifest(opened(archive_bytes(labeled, layout=name)))["images"]["files"] == 120


def test_unsure_images_have_a_folder(labeled: Dataset) -> None:
    names = opened(archive_bytes(labeled, layout="imagefolder", with_unsure=True)).namelist()
    (unsure,) = (name for name in names if "/unsure/" in name and not name.endswith("/"))
    assert unsure.split("/")[0] in {"train", "val", "test"}
    assert "train/skipped/" in names
    assert not any("/unsure/" in name for name in opened(archive_bytes(labeled, layout="imagefolder")).namelist())


def test_a_class_called_unsure_stays_alone(labeled: Dataset) -> None:
    LabelClass.objects.create(dataset=labeled, name="unsure", colour="#000000")
    with pytest.raises(Refusal, match="“unsure” is one already"):
        Export(labeled, Options(layout="imagefolder", with_unsure=True))


def test_of_items_with_several_files_one_is_exported(labeled: Dataset, tmp_path: Path) -> None:
    labeled.roles = ["image", "reference"]
    labeled.save()
    with pytest.raises(Refusal, match="Choose which with --role: image, reference"):
        Export(labeled, Options(layout="coco"))
    archive = opened(archive_bytes(labeled, layout="coco", role="image"))
    assert len(json.loads(archive.read("annotations.json"))["images"]) == 120


def test_without_pyarrow_the_layout_says_what_to_install(labeled: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.exporting.layouts.hugging_face.find_spec", lambda name: None)
    with pytest.raises(Refusal, match="uv sync --extra parquet"):
        Export(labeled, Options(layout="huggingface"))


def test_large_splits_are_written_in_several_files(labeled: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.exporting.layouts.web_dataset._SHARD_IMAGES", 40)
    monkeypatch.setattr("labeling.exporting.layouts.tf_record._FILE_BYTES", 60_000)
    for name, ending, n_files in (("webdataset", ".tar", 3), ("tfrecord", ".tfrecord", 4)):
        archive = opened(archive_bytes(labeled, layout=name))
        shards = [entry for entry in archive.namelist() if entry.startswith("train-") and entry.endswith(ending)]
        assert len(shards) == n_files
        assert manifest(archive)["images"]["files"] == 120


@pytest.mark.usefixtures("with_pyarrow")
def test_parquet_files_have_groups_of_rows(labeled: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("labeling.exporting.layouts.hugging_face._GROUP_ROWS", 10)
    monkeypatch.setattr("labeling.exporting.layouts.hugging_face._FILE_BYTES", 60_000)
    archive = opened(archive_bytes(labeled, layout="huggingface"))
    names = [name for name in archive.namelist() if name.startswith("data/train-")]
    assert len(names) > 1
    files = [pq.ParquetFile(io.BytesIO(archive.read(name))) for name in names]
    assert files[0].num_row_groups > 1
    assert sum(file.metadata.num_rows for file in files) == sum(counts_of(labeled)["train"].values())


def test_the_manifest_names_the_layout(labeled: Dataset) -> None:
    about: dict[str, Any] = manifest(opened(archive_bytes(labeled, layout="coco")))
    assert about["options"]["layout"] == "coco"
    with zipfile.ZipFile(io.BytesIO(archive_bytes(labeled, layout="coco"))) as archive:
        assert archive.namelist()[-1] == "manifest.json"
