"""Crops of detections: their pixels, sources and groups, what happens again, and what is said about bad files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError
from django.test import Client
from PIL import Image

from hoshina.backup.contents import store_files
from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.fields import column_of
from labeling.fields.item_values import texts_of
from labeling.fields.split_groups import choose
from labeling.images.crops import crops, pixels_of
from labeling.models import Dataset
from tests.factories import archive_bytes, assert_contains, command_json, command_output, decide, opened, said

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = (200, 100)
BOX = [0.25, 0.1, 0.5, 0.405]


def document(**more: Any) -> dict[str, Any]:
    """Return a file as its published format 1.5 has it, with a video and an image that could not be read.

    MegaDetector's own validator (10.0.28) accepts it without warnings.
    """
    return {
        "info": {
            "format_version": "1.5", "detector": "md_v5a.0.0.pt", "detection_completion_time": "2026-05-26 19:11:27",
            "detector_metadata": {"megadetector_version": "v5a.0.0", "typical_detection_threshold": 0.3,
                                  "conservative_detection_threshold": 0.05},
        },
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "classification_categories": {"0": "fox", "1": "elk"},
        "images": [
            {"file": "D:\\cameras\\site1\\a.png", "detections": [
                {"category": "1", "conf": 0.926, "bbox": BOX, "classifications": [["1", 0.901], ["0", 0.05]]},
                {"category": "1", "conf": 0.61, "bbox": [0.9, 0.9, 0.1, 0.1]},
                {"category": "1", "conf": 0.5, "bbox": [0.25001, 0.1, 0.5, 0.405]},
                {"category": "1", "conf": 0.29, "bbox": [0.0, 0.0, 0.1, 0.1]},
                {"category": "2", "conf": 0.99, "bbox": [0.0, 0.0, 1.0, 1.0]},
            ]},
            {"file": "D:\\cameras\\site2\\b.jpg", "failure": None,
             "detections": [{"category": "1", "conf": 0.4, "bbox": [0, 0, 0.5, 0.5]}]},
            {"file": "D:\\cameras\\site2\\gone.jpg", "detections": [{"category": "1", "conf": 0.8, "bbox": BOX}]},
            {"file": "D:\\cameras\\site2\\empty.png", "detections": []},
            {"file": "D:\\cameras\\site2\\bad.jpg", "failure": "Failure image access", "detections": None},
            {"file": "D:\\cameras\\site2\\v.mp4", "frame_rate": 20, "frames_processed": [0, 20],
             "detections": [{"category": "1", "conf": 0.9, "bbox": BOX, "frame_number": 20}]},
        ],
    } | more  # fmt: skip


@pytest.fixture
def dataset(store: Path, tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(4)
    for path in ("site1/a.png", "site2/b.jpg", "site2/empty.png"):
        (tmp_path / "traps" / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "traps" / path)
    command_json("ingest", "--data-dir", str(tmp_path / "traps"))
    return Dataset.objects.get()


def written(tmp_path: Path, content: object) -> str:
    (tmp_path / "md.json").write_text(json.dumps(content))
    return str(tmp_path / "md.json")


def values(dataset: Dataset, name: str) -> dict[str, str]:
    column = column_of(dataset.fields.get(name=name))
    rows = dict(dataset.items.values_list("row", "path"))
    return dict(zip(rows.values(), texts_of(column, np.array(list(rows))), strict=True))


def test_each_animal_becomes_an_image_with_source_and_box(dataset: Dataset, tmp_path: Path) -> None:
    file = written(tmp_path, document())
    result = command_json("import_labels", file, "--crops", "--dataset", "traps")
    crop_result = result["crops"]
    assert {**crop_result, "seconds": 0} == {
        "dataset": "traps crops", "slug": "traps-crops", "images": 2, "crops": 3, "new": 3, "unknown": 1,
        "ambiguous": 0, "n_failed": 0, "failed": [], "threshold": 0.3, "seconds": 0,
    }  # fmt: skip
    made = Dataset.objects.get(slug="traps-crops")
    path = f"site1/a_png-{dataset.items.get(path='site1/a.png').pk}-02500-01000-05000-04050.png"
    crop = np.asarray(Image.open(made.data_dir / path))
    source = np.asarray(Image.open(tmp_path / "traps/site1/a.png"))
    np.testing.assert_array_equal(crop, source[10:51, 50:150])
    assert values(made, "source_path")[path] == "site1/a.png"
    assert json.loads(values(made, "box")[path]) == BOX
    assert (values(made, "classification")[path], values(made, "detection_category")[path]) == ("elk", "animal")
    assert values(made, "detection_confidence")[path] == "0.926"
    assert made.together_by == made.fields.get(name="source_path")
    assert dict(dataset.fields.values_list("name", "kind"))["detection_category"] == "text"
    assert not set(dataset.items.values_list("path", flat=True)) - {"site1/a.png", "site2/b.jpg", "site2/empty.png"}
    # Again: nothing new. With a lower confidence: one more, in the same dataset under whatever name it has by now.
    Dataset.objects.filter(pk=made.pk).update(name="animals")
    assert command_json("import_labels", file, "--crops", "--dataset", "traps")["crops"]["new"] == 0
    more = command_json("import_labels", file, "--crops", "--crop-threshold", "0.2", "--dataset", "traps")
    assert (more["crops"]["new"], more["crops"]["dataset"]) == (1, "animals")
    assert (Dataset.objects.count(), made.items.count()) == (2, 4)
    # Backups hold the files, and exports say where each crop comes from.
    assert {Path(made.root) / path} <= set(store_files())
    made.classes.create(name="elk")
    decide(made, "assign", list(made.items.values_list("row", flat=True)), "elk")
    lines = opened(archive_bytes(made, extras=frozenset({"metadata"}))).read("metadata.csv").decode()
    assert_contains(lines, path, "site1/a.png", "0.25, 0.1, 0.5, 0.405")


def test_crops_are_grouped_as_their_sources_are(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("path,site\nsite1/a.png,7\n")
    command_json("import_fields", str(tmp_path / "sites.csv"), "--dataset", "traps")
    choose(dataset, "site")
    command_json("import_labels", written(tmp_path, document()), "--crops", "--dataset", "traps")
    made = Dataset.objects.get(slug="traps-crops")
    assert made.together_by == made.fields.get(name="site", kind="text")
    sources = values(made, "source_path")
    groups = {source: values(made, "site")[path] for path, source in sources.items()}
    assert groups == {"site1/a.png": "7", "site2/b.jpg": "site2/b.jpg"}


def test_an_image_that_is_in_the_file_twice(dataset: Dataset, tmp_path: Path) -> None:
    images = [{"file": "site1/a.png", "detections": [{"category": "1", "conf": c, "bbox": BOX}]} for c in (0.5, 0.75)]
    command_json("import_labels", written(tmp_path, document(images=images)), "--crops", "--dataset", "traps")
    assert list(values(Dataset.objects.get(slug="traps-crops"), "detection_confidence").values()) == ["0.75"]


def test_an_image_that_cannot_be_read_is_reported(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "traps/site1/a.png").write_bytes(b"\x89PNG broken")
    result = command_json("import_labels", written(tmp_path, document()), "--crops", "--dataset", "traps")
    crops_of = result["crops"]
    assert (crops_of["crops"], crops_of["n_failed"], crops_of["failed"][0]["path"]) == (1, 1, "site1/a.png")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (document(detection_categories={"1": "creature"}), (), "no category 'animal'. Its categories are creature"),
        (document(), ("--crop-threshold", "0.99"), "None of the 6 images .* at least 0.99"),
        (document(), ("--crop-threshold", "2"), "not a number from 0 to 1"),
        (document(images=[{"file": "x.png", "detections": [{"category": "1", "conf": 1, "bbox": [1, 2, 30, 40]}]}]),
         (), "has the box .* shares of the image"),
        (document(images=[{"file": "x.png", "detections": [{"category": "1", "conf": 1, "bbox": BOX}]}]),
         (), "names no image of this dataset"),
        ([{"path": "a.png", "label": "x"}], (), "not a file of MegaDetector"),
    ],
)  # fmt: skip
def test_nothing_is_made_of_bad_files(
    dataset: Dataset, tmp_path: Path, content: object, options: tuple[str, ...], words: str
) -> None:
    with pytest.raises((CommandError, Refusal), match=words):
        command_output("import_labels", written(tmp_path, content), "--crops", *options)
    assert Dataset.objects.count() == 1


def test_the_page_offers_crops(dataset: Dataset, client: Client, store: Path) -> None:
    upload = SimpleUploadedFile("md.json", json.dumps(document()).encode())
    preview = client.post("/d/traps/import/", {"file": upload}, follow=True)
    page = said(preview, 200)
    assert_contains(page, "MegaDetector JSON", "Crops of the detections")
    token = preview.context["token"]
    answer = client.post("/d/traps/import/crops/", {"upload": token, "threshold": "2"})
    assert_contains(said(answer, 422), "from 0 to 1")
    assert_contains(said(client.post("/d/traps/import/crops/", {"upload": token}), 200), "being cropped")
    job = Job.objects.get(kind="crop_detections")
    assert_contains(said(client.post("/d/traps/import/crops/", {"upload": token}), 422), "of another file")
    Job.objects.filter(pk=job.pk).delete()
    assert run_now("crop_detections", dataset_id=dataset.pk, params=job.params).result["crops"] == 3
    assert not Path(job.params["file"]).exists()
    assert [path.name for path in (store / "imports").iterdir()] != []  # the upload itself can still be imported


def test_boxes_in_pixels() -> None:
    assert pixels_of((0, 0, 1, 1), 30, 20) == (0, 0, 30, 20)
    assert pixels_of((0.1, 0.5, 0.1, 0.25), 30, 20) == (3, 10, 6, 15)
    assert pixels_of((1, 1, 0.001, 0.001), 30, 20) == (29, 19, 30, 20)
    assert pixels_of((0.99999, 0.5, 0.2, 0.00001), 30, 20) == (29, 10, 30, 11)


def test_crops_are_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    image.paste((250, 0, 0), (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right: the left edge becomes the upper one
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    (content,) = crops(tmp_path / "a.jpg", [(0.0, 0.0, 1.0, 0.25)], ".jpg")
    (tmp_path / "crop.jpg").write_bytes(content)
    crop = Image.open(tmp_path / "crop.jpg").convert("RGB")
    assert crop.size == (20, 10)
    assert np.asarray(crop).mean(axis=(0, 1))[0] > 230


def test_claims_without_data_dir(dataset: Dataset, tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = dataset.data_dir
    with pytest.raises(Refusal, match="AL_DATA_DIR replaces"):
        run_now("crop_detections", dataset_id=dataset.pk, params={"file": written(tmp_path, document())})
