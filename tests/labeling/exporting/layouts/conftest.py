"""A labeled dataset of image files with class names and paths that are hard to export."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeling.models import Dataset, Frame, Item
from tests.factories import MakeDataset, archive_bytes, decide, opened, table

CLASSES = (
    "caf\u00e9", "cafe\u0301", "a/b", "a%2Fb", "CON", "test", "my train-set", "ünïcode 😀", ".hidden", "ends.",
    "NA", "007", 'quo"te, comma', "<xml> & 'more'", "nobody chose this",
)  # fmt: skip


@pytest.fixture
def labeled(make_dataset: MakeDataset, tmp_path: Path) -> Dataset:
    """Make 120 labeled images in folders, with equal names, and some without a label."""
    return make_labeled(make_dataset, tmp_path, 120)


def make_labeled(make_dataset: Callable[..., Dataset], tmp_path: Path, n: int) -> Dataset:
    dataset = make_dataset(n + 4, classes=CLASSES)
    rng = np.random.default_rng(0)
    items = list(Item.objects.order_by("row"))
    frames = {frame.item_id: frame for frame in Frame.objects.all()}
    for item in items:
        kind = ("png", "jpg")[item.row % 2]
        item.path = f"night {item.row % 3}/val/image.{item.row // 3}.{kind}"
        file = tmp_path / "pictures" / item.path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).save(file)
        frame = frames[item.pk]
        frame.path, frame.width = item.path, 32
    Item.objects.bulk_update(items, ["path"])
    Frame.objects.bulk_update(frames.values(), ["path", "width"])
    for number, name in enumerate(CLASSES[:-1]):
        decide(dataset, "assign", range(number, n, len(CLASSES) - 1), name)
    decide(dataset, "unsure", [n])
    decide(dataset, "skip", [n + 1])
    dataset.refresh_from_db()
    return dataset


def counts_of(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return how many images of each class are in each split, from the tables of the default layout."""
    counts = {split: Counter[str]() for split in ("train", "val", "test")}
    for line in table(opened(archive_bytes(dataset)), "splits.csv"):
        counts[line["split"]][line["label"]] += 1
    return {split: dict(of_split) for split, of_split in counts.items()}
