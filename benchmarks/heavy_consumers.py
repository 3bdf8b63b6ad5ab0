"""Load exports with libraries that are too large for the tests: torchvision, ultralytics, FiftyOne's importer.

    hoshina export --layout imagefolder --folder --output /tmp/exports/imagefolder   # also yolo and fiftyone
    python benchmarks/heavy_consumers.py /tmp/exports

Needs nothing of HOSHINA, so that it runs in an environment of its own. Prints what each library found, and fails unless
its classes, splits and counts are those of the export's manifest.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

SPLITS = ("train", "val", "test")
Counts = dict[str, dict[str, int]]


def torchvision(folder: Path) -> Counts:
    from torchvision.datasets import ImageFolder

    splits = {split: ImageFolder(str(folder / split), allow_empty=True) for split in SPLITS}
    assert len({tuple(found.classes) for found in splits.values()}) == 1
    return {
        split: dict(Counter(unquote(found.classes[number]) for number in found.targets))
        for split, found in splits.items()
    }


def ultralytics(folder: Path) -> Counts:
    from ultralytics.data.dataset import ClassificationDataset
    from ultralytics.data.utils import check_cls_dataset
    from ultralytics.utils import DEFAULT_CFG

    checked = check_cls_dataset(str(folder))
    counts = {}
    for split in SPLITS:
        found = ClassificationDataset(str(checked[split]), args=DEFAULT_CFG)
        counts[split] = dict(Counter(unquote(checked["names"][number]) for _, number, *_ in found.samples))
    return counts


def fiftyone(folder: Path) -> Counts:
    from fiftyone.utils.data.importers import FiftyOneImageClassificationDatasetImporter

    counts = {}
    for split in SPLITS:
        with FiftyOneImageClassificationDatasetImporter(str(folder / split)) as found:
            counts[split] = dict(Counter(label.label for _, _, label in found))
    return counts


READERS: dict[str, tuple[str, Callable[[Path], Counts]]] = {
    "torchvision": ("imagefolder", torchvision),
    "ultralytics": ("yolo", ultralytics),
    "fiftyone": ("fiftyone", fiftyone),
}


def main(exports: Path) -> None:
    """Compare what each library finds with the manifest."""
    from importlib.metadata import version

    for library, (layout, read) in READERS.items():
        manifest = json.loads((exports / layout / "manifest.json").read_bytes())
        expected = {split: of_split["classes"] for split, of_split in manifest["splits"].items()}
        found = read(exports / layout)
        assert found == expected, (library, found, expected)
        totals = {split: sum(counts.values()) for split, counts in found.items()}
        print(f"{library} {version(library)}: classes, splits and counts equal; {totals}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
