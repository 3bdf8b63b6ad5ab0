"""Files of annotation programs: what is read, and what is said about files that lack labels of whole images."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from hoshina.core.errors import Refusal
from labeling.fields import column_of
from labeling.fields.item_values import texts_of
from labeling.importing.columns import Choice
from labeling.importing.save_table import Report, import_labels
from labeling.models import Annotation, Dataset, Item, State
from tests.factories import MakeDataset, archive_bytes, decide, opened

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset) -> Dataset:
    return make_dataset(6)


def load(dataset: Dataset, content: bytes | str | object, name: str = "") -> Report:
    if not isinstance(content, (bytes, str)):
        content = json.dumps(content)
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return import_labels(dataset, stream, user=None, create_classes=True, choice=Choice(file_name=name))


def labels(dataset: Dataset) -> dict[int, str | None]:
    decided = Item.objects.filter(dataset=dataset).exclude(state=State.UNLABELLED)
    return dict(decided.values_list("row", "label__name"))


def values(dataset: Dataset, name: str) -> list[str]:
    column = column_of(dataset.fields.get(name=name))
    import numpy as np

    return list(texts_of(column, np.arange(len(column.values))))


# -- Label Studio -------------------------------------------------------------------------------------
def task(image: str, *choices: str, **more: Any) -> dict[str, Any]:
    result = [{"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": list(choices)}}]
    return {"data": {"image": image}, "annotations": [{"result": result if choices else [], **more}]}


def test_tasks_of_label_studio(dataset: Dataset) -> None:
    ana = User.objects.create_user("ana@example.org")
    tasks = [
        task("/data/upload/1/1b2c3d4e-image0000.png", "cat", completed_by={"id": 3, "email": "ana@example.org"},
             updated_at="2024-05-01T12:00:00.5Z"),
        task("s3://bucket/image0001.png", "cat", "dog", completed_by=7),
        task("/data/local-files/?d=image0002.png", was_cancelled=True),
        task("image0003.png"),
        task("image0004.png", "emu", completed_by=7),
    ]  # fmt: skip
    report = load(dataset, tasks)
    assert report.format == "Label Studio JSON"
    assert labels(dataset) == {0: "cat", 1: None, 2: None, 4: "emu"}
    assert dict(Item.objects.filter(row__in=(1, 2)).values_list("row", "state")) == {1: State.UNSURE, 2: State.SKIPPED}
    first = Annotation.objects.get(item__row=0)
    assert (first.annotator, str(first.decided_at)) == (ana, "2024-05-01 12:00:00.500000+00:00")
    assert Annotation.objects.get(item__row=4).annotator is None
    assert report.unknown_annotators == ["7"]
    assert values(dataset, "annotator")[4] == "7"


def test_what_label_studios_converter_writes(dataset: Dataset, make_dataset: MakeDataset, tmp_path: Path) -> None:
    from label_studio_sdk.converter import Converter

    tasks = [
        task(f"/data/upload/1/1b2c3d4e-image000{row}.png", ("cat", "dog")[row % 2], completed_by=1) for row in range(4)
    ]
    for number, each in enumerate(tasks):
        each["id"] = number
        each["annotations"][0]["id"] = number
    source = tmp_path / "tasks.json"
    source.write_text(json.dumps(tasks))
    config = (
        '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
        '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
    )
    converter = Converter(config, project_dir=None)
    converter.convert_to_json_min(str(source), str(tmp_path / "min"), is_dir=False)
    converter.convert_to_csv(str(source), str(tmp_path / "csv"), is_dir=False, sep=",")
    expected = {0: "cat", 1: "dog", 2: "cat", 3: "dog"}
    for number, file in enumerate((source, tmp_path / "min/result.json", tmp_path / "csv/result.csv")):
        other = make_dataset(6, name=f"copy {number}")
        load(other, file.read_bytes(), file.name)
        assert labels(other) == expected, file


# -- Our exports --------------------------------------------------------------
@pytest.mark.parametrize(
    ("layout", "member"),
    [("labelstudio", "tasks.json"), ("csv", "labels.csv")],
)
def test_exports_of_other_layouts_come_back(
    dataset: Dataset, make_dataset: MakeDataset, layout: str, member: str
) -> None:
    dataset.data_dir.mkdir(exist_ok=True)
    for path in dataset.items.values_list("path", flat=True):
        (dataset.data_dir / path).write_bytes(b"picture")
    decide(dataset, "assign", [0, 1, 2], "cat")
    decide(dataset, "assign", [3, 4], "dog")
    archive = opened(archive_bytes(dataset, layout=layout, splits=(100, 0, 0)))
    content = archive.read(member)
    other = make_dataset(6, name="other")
    report = load(other, content)
    assert report.unknown.lines == 0
    assert labels(other) == labels(dataset) == {0: "cat", 1: "cat", 2: "cat", 3: "dog", 4: "dog"}


@pytest.mark.parametrize("layout", ["fiftyone", "coco"])
def test_labels_come_back_by_the_names_of_exported_files(dataset: Dataset, layout: str) -> None:
    dataset.data_dir.mkdir(exist_ok=True)
    for path in dataset.items.values_list("path", flat=True):
        (dataset.data_dir / path).write_bytes(b"picture")
    decide(dataset, "assign", [0, 1, 2], "cat")
    decide(dataset, "assign", [3, 4], "dog")
    archive = opened(archive_bytes(dataset, layout=layout, splits=(100, 0, 0)))
    member = next(name for name in archive.namelist() if name.endswith(("train/labels.json", "train.json")))
    content = archive.read(member)
    decide(dataset, "clear", [0, 1, 2, 3, 4])
    assert load(dataset, content).unknown.lines == 0
    assert labels(dataset) == {0: "cat", 1: "cat", 2: "cat", 3: "dog", 4: "dog"}


# -- FiftyOne -----------------------------------------------------------------------------------------
def test_labels_and_samples_of_fiftyone(dataset: Dataset) -> None:
    load(
        dataset, {"classes": ["cat", "emu"], "labels": {"image0000": 1, "image0001": {"label": 0, "confidence": 0.25}}}
    )
    assert labels(dataset) == {0: "emu", 1: "cat"}
    assert values(dataset, "confidence")[1] == "0.25"
    load(dataset, {"samples": [
        {"filepath": "data/image0002.png", "tags": ["night"],
         "ground_truth": {"_cls": "Classification", "label": "dog", "tags": []}},
        {"filepath": "data/image0003.png", "tags": [], "ground_truth": None},
    ]})  # fmt: skip
    assert labels(dataset) == {0: "emu", 1: "cat", 2: "dog"}
    assert list(dataset.tags.values_list("name", flat=True)) == ["night"]


# -- CVAT ---------------------------------------------------------------------------------------------
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id></task></meta>
<image id="0" name="night/image0000.png" width="9" height="9"><tag label="cat" source="manual"></tag></image>
<image id="1" name="image0001.png" width="9" height="9"><tag label="cat"/><tag label="dog"/></image>
<image id="2" name="image0002.png" width="9" height="9"/>
<image id="3" name="image0003.png"><box label="cat" xtl="1" ytl="1" xbr="2" ybr="2"/><tag label="d&amp;g"/></image>
</annotations>
"""


def test_tags_of_cvat(dataset: Dataset) -> None:
    Item.objects.filter(row=0).update(path="night/image0000.png")
    assert load(dataset, CVAT).format == "CVAT XML"
    assert labels(dataset) == {0: "cat", 1: None, 3: "d&g"}


# What datumaro 1.13 exports of labels and a box made for this test, as CVAT XML and as COCO.
DATUMARO_CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id></id><name>default</name><size>4</size><mode>annotation</mode><overlap></overlap>
    <labels><label><name>cat</name><attributes></attributes></label></labels></task></meta>
  <image id="0" name="night/image0000.png" width="9" height="9">
    <tag label="cat">
    </tag>
  </image>
  <image id="1" name="image0001.png" width="9" height="9">
    <tag label="cat">
    </tag>
    <tag label="dog">
    </tag>
  </image>
  <image id="2" name="image0002.png" width="9" height="9">
  </image>
  <image id="3" name="image0003.png" width="9" height="9">
    <box label="cat" occluded="0" outside="0" keyframe="0" xtl="1.00" ytl="1.00" xbr="3.00" ybr="3.00" z_order="0">
    </box>
    <tag label="d&amp;g">
    </tag>
  </image>
</annotations>
"""
_NO_DATE = {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0, "width": 9, "height": 9}
DATUMARO_COCO = {
    "licenses": [{"name": "", "id": 0, "url": ""}],
    "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
    "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(("cat", "dog", "d&g"), 1)],
    "images": [
        {"id": n, "file_name": name, **_NO_DATE}
        for n, name in enumerate(("night/image0000.png", "image0001.png", "image0002.png", "image0003.png"), 1)
    ],
    "annotations": [
        {"id": n, "image_id": image, "category_id": category}
        for n, (image, category) in enumerate(((1, 1), (2, 1), (2, 2), (4, 3)), 1)
    ],
}


@pytest.mark.parametrize("content", [DATUMARO_CVAT, DATUMARO_COCO], ids=["cvat", "coco"])
def test_what_datumaro_exports(dataset: Dataset, content: Any) -> None:
    Item.objects.filter(row=0).update(path="night/image0000.png")
    assert load(dataset, content).format == ("CVAT XML" if content is DATUMARO_CVAT else "COCO Camera Traps")
    assert labels(dataset) == {0: "cat", 1: None, 3: "d&g"}


# -- Camera traps -------------------------------------------------------------------------------------
def coco(**more: Any) -> dict[str, Any]:
    images = [{"id": f"i{row}", "file_name": f"image000{row}.png", "location": f"site {row % 2}"} for row in range(4)]
    made = [{"id": row, "image_id": f"i{row}", "category_id": row % 2} for row in range(3)]
    categories = [{"id": 0, "name": "deer"}, {"id": 1, "name": "fox"}]
    both = {"id": 9, "image_id": "i2", "category_id": 1}
    return {"images": images, "annotations": [*made, both], "categories": categories} | more


def test_categories_of_camera_traps(dataset: Dataset) -> None:
    report = load(dataset, coco())
    assert (report.format, report.fields) == ("COCO Camera Traps", ["location"])
    assert labels(dataset) == {0: "deer", 1: "fox", 2: None}
    assert values(dataset, "location")[:4] == ["site 0", "site 1", "site 0", "site 1"]


def test_detections_of_megadetector_are_fields_and_no_labels(dataset: Dataset) -> None:
    images = [
        {"file": "x/image0000.png", "detections": [{"category": "1", "conf": 0.25, "bbox": [0, 0, 1, 1]},
                                                   {"category": "2", "conf": 0.75, "bbox": [0, 0, 1, 1]},
                                                   {"category": "7", "conf": 0.9, "bbox": [0, 0, 1, 1]}]},
        {"file": "x/image0001.png", "detections": []},
        {"file": "x/image0002.png", "failure": "Failure image access", "detections": None},
    ]  # fmt: skip
    document = {"images": images, "detection_categories": {"1": "animal", "2": "person"}, "info": {}}
    report = load(dataset, document)
    assert report.fields == ["detections", "detection_confidence", "detection_category"]
    assert labels(dataset) == {}
    assert values(dataset, "detections")[:3] == ["2", "0", ""]
    assert values(dataset, "detection_confidence")[:2] == ["0.75", "0"]
    assert values(dataset, "detection_category")[:3] == ["person", "empty", ""]


# -- Zooniverse ---------------------------------------------------------------------------------------
def classifications(*answers: tuple[str, str | None]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["classification_id", "user_name", "metadata", "annotations", "subject_data", "subject_ids"])
    for number, (image, answer) in enumerate(answers):
        made = [{"task": "T0", "task_label": "Which?", "value": answer}, {"task": "T1", "value": ["several"]}]
        subject = {str(100 + number): {"retired": None, "Filename": image}}
        writer.writerow([number, "ana", "{}", json.dumps(made), json.dumps(subject), 100 + number])
    return text.getvalue()


def test_votes_of_zooniverse_become_a_label_and_counts(dataset: Dataset) -> None:
    a, b, c = "image0000.png", "image0001.png", "image0002.png"
    votes = [(a, "Smooth"), (a, "Disk"), (a, "Smooth"), (a, "Smooth"), (b, "Disk"), (b, "Smooth"), (c, "Disk")]
    report = load(dataset, classifications(*votes))
    assert (report.format, report.rows) == ("Zooniverse classifications", 3)
    assert labels(dataset) == {0: "Smooth", 1: None, 2: "Disk"}
    assert values(dataset, "votes")[:3] == ["4", "2", "1"]
    assert values(dataset, "confidence")[:3] == ["0.75", "0.5", "1"]


# -- Files that lack something --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": [{"segmentation": []}], "categories": []}, "a COCO file with segmentation but without images"),
        (coco(categories=[]), "annotation of category 0, which is not listed"),
        (coco(images=[{"id": 1}]), "looks like a COCO file, but it can't be read"),
        ([{"data": {"image": "a.png"}, "annotations": [{"result": [{"type": "rectanglelabels"}]}]}],
         "a Label Studio file with rectanglelabels but without choices"),
        ([{"data": {"text": "hello"}, "annotations": []}], "tasks of Label Studio, but none has an image"),
        ({"classes": ["cat"], "labels": {"a": 3}}, "label of 'a' is number 3, but the file has 1 classes"),
        ({"samples": [{"filepath": "a.png", "truth": {"_cls": "Detections"}}]}, "with Detections but without a Class"),
        (CVAT.replace("<tag", "<x").replace("</tag", "</x"), "a CVAT file with box but without tags"),
        (CVAT[:300], "looks like a CVAT file, but it can't be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + CVAT.split("\n", 1)[1], "document type declaration"),
        (classifications(("image0000.png", None)), "there is no answer to a question"),
        (classifications(("a.png", "b")).replace("task", 'ta"sk'), "line 2 has a cell that is not JSON|unbalanced"),
        ({"images": [{}], "detection_categories": {}}, "looks like a MegaDetector file, but it can't be read"),
    ],
)  # fmt: skip
def test_the_message_names_the_format(dataset: Dataset, content: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        load(dataset, content)
    assert labels(dataset) == {}
    assert not dataset.fields.exists()
