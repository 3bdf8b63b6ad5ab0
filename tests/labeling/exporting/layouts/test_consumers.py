"""Load every layout with the library that it is for, by the code that the page shows: nothing may change."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from labeling.exporting.layouts import layouts
from labeling.models import Dataset
from tests.factories import command_json
from tests.labeling.exporting.layouts.conftest import CLASSES, counts_of
from tests.parts import missing

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
SPLITS = ("train", "val", "test")
SIZE = (32, 24)
Names = dict[str, Any]
# What the code made: how many images of each class are in each split, and all classes in their order if it tells them.
Found = tuple[dict[str, dict[str, int]], list[str] | None]
BY_NAME = sorted(CLASSES)
# Classes without an image.
EMPTY = CLASSES[-1:]


def per_split(names: Names, labels: Callable[[Any], Iterable[str]]) -> dict[str, dict[str, int]]:
    return {split: dict(Counter(labels(names[split]))) for split in SPLITS}


def pandas(names: Names) -> Found:
    table = names["table"]
    return {split: dict(Counter(table[table.split == split].label)) for split in SPLITS}, None


def keras(names: Names) -> Found:
    def labels(split: Any) -> Iterable[str]:
        for images, numbers in split:
            assert images.shape[1:] == (224, 224, 3)
            yield from (unquote(split.class_names[number]) for number in numbers.numpy())

    # The numbers of classes agree between the splits.
    assert names["train"].class_names == names["val"].class_names == names["test"].class_names
    return per_split(names, labels), sorted(map(unquote, names["train"].class_names))


def image_folder(names: Names) -> Found:
    """Return what datasets finds. It does not see folders without images."""
    dataset = names["dataset"]
    assert set(dataset) == {"train", "validation", "test"}
    classes = [*map(unquote, dataset["train"].features["label"].names)]
    assert dataset["train"][0]["image"].size == SIZE
    counts = {
        split: dict(Counter(classes[number] for number in dataset[name]["label"]))
        for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True)
    }
    return counts, sorted([*classes, *EMPTY])


def parquet(names: Names) -> Found:
    dataset = names["dataset"]
    assert set(dataset) == {"train", "validation", "test"}
    features = dataset["train"].features
    assert type(features["image"]).__name__ == "Image"
    assert dataset["train"][0]["image"].size == SIZE
    classes = features["label"].names
    counts = {
        split: dict(Counter(classes[number] for number in dataset[name]["label"]))
        for split, name in zip(SPLITS, ("train", "validation", "test"), strict=True)
    }
    return counts, classes


def coco(names: Names) -> Found:
    def labels(split: Any) -> Iterable[str]:
        for annotation in split.loadAnns(split.getAnnIds()):
            (image,) = split.loadImgs(annotation["image_id"])
            assert Path("data", image["file_name"]).is_file()
            assert (image["width"], image["height"]) == SIZE
            yield split.cats[annotation["category_id"]]["name"]

    return per_split(names, labels), [category["name"] for category in names["val"].cats.values()]


def webdataset(names: Names) -> Found:
    def labels(split: Any) -> Iterable[str]:
        for sample in split:
            image = next(sample[key] for key in ("png", "jpg") if key in sample)
            assert image.size == SIZE
            assert names["classes"][sample["cls"]] == sample["json"]["label"]
            yield names["classes"][sample["cls"]]

    return per_split(names, labels), names["classes"]


def tf_data(names: Names) -> Found:
    def labels(split: Any) -> Iterable[str]:
        for image, number in split:
            assert image.shape == (224, 224, 3)
            yield names["classes"][int(number)]

    return per_split(names, labels), names["classes"]


def label_studio(names: Names) -> Found:
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for task in names["tasks"]:
        counts[task["split"]][task["label"]] += 1
        assert Path("data", unquote(task["image"].partition("?d=")[2])).is_file()
    from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config

    return {split: dict(count) for split, count in counts.items()}, parse_config(names["config"])["label"]["labels"]


def croissant(names: Names) -> Found:
    assert not names["dataset"].metadata.ctx.issues.errors
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for record in names["records"]:
        assert record["images/image"].size == SIZE
        counts[record["images/split"].decode()][record["images/label"].decode()] += 1
    classes = [record["classes/name"] for record in names["dataset"].records("classes")]
    return {split: dict(count) for split, count in counts.items()}, [
        name.decode() if isinstance(name, bytes) else name for name in classes
    ]


# Layout and library -> what it found, and the modules it needs beside those of the application and its tests.
READERS: Mapping[tuple[str, str], tuple[Callable[[Names], Found], str]] = {
    ("csv", "pandas"): (pandas, "pandas"),
    ("imagefolder", "Keras"): (keras, "keras"),
    ("imagefolder", "Hugging Face"): (image_folder, "datasets"),
    ("huggingface", "Hugging Face"): (parquet, "datasets"),
    ("coco", "pycocotools"): (coco, "pycocotools"),
    ("webdataset", "webdataset"): (webdataset, "webdataset"),
    ("tfrecord", "tf.data"): (tf_data, "tensorflow"),
    ("labelstudio", "label-studio-sdk"): (label_studio, "label_studio_sdk"),
    ("croissant", "mlcroissant"): (croissant, "mlcroissant"),
}


def test_all_code_that_is_said_to_be_tested_is_tested() -> None:
    said = {
        (name, loading.library)
        for name, layout in layouts().items()
        for loading in layout.loading
        if not loading.by_hand
    }
    assert said == set(READERS)


# webdataset leaves the tar files open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("layout", "library"), READERS)
def test_it_loads_with_classes_splits_and_counts_unchanged(
    labeled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, library: str
) -> None:
    read, module = READERS[layout, library]
    if not find_spec(module):
        missing(f"no {module} on this machine: uv sync --group dev --group formats")
    monkeypatch.chdir(tmp_path)
    if module == "datasets":
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    command_json("export", "--layout", layout, "--folder", "--output", "data")
    names: Names = {}
    code = next(loading.code for loading in layouts()[layout].loading if loading.library == library)
    exec(code, names)
    counts, classes = read(names)
    assert counts == counts_of(labeled)
    if classes is not None:
        assert classes == BY_NAME
