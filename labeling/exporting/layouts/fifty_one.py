"""Write FiftyOne's own dataset format for image classification, one folder per split."""

from __future__ import annotations

import json
from collections.abc import Iterator

from labeling.exporting.contents import Contents
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.splits import SPLITS
from labeling.exporting.spool import JsonList
from labeling.exporting.zip_stream import Member

FIFTYONE = """
import fiftyone as fo

dataset = fo.Dataset()
for split in ("train", "val", "test"):
    dataset.add_dir(f"data/{split}", fo.types.FiftyOneImageClassificationDataset, tags=split)
"""


class FiftyOne(Layout):
    """Write a FiftyOneImageClassificationDataset per split."""

    name = "fiftyone"
    title = "FiftyOne"
    sentence = "One FiftyOne image classification dataset per split: a folder data and labels.json."
    loading = (Loading("fiftyone", FIFTYONE, by_hand="1.22.1"),)

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the images and the labels of each split."""
        for split in SPLITS:
            labels = JsonList("{}")
            yield Member.folder(f"{split}/data")
            for image in contents.images(split):
                for member in contents.file(image, f"{split}/data/{image.name}"):
                    yield member
                    key = image.name.rpartition(".")[0] or image.name
                    labels.add(image.label.number, key)
            yield Member(f"{split}/labels.json", _document(contents, labels), labels.is_huge)


def _document(contents: Contents, labels: JsonList) -> Iterator[bytes]:
    classes = [label.name for label in contents.labels]
    yield b'{"classes": ' + json.dumps(classes).encode() + b',\n"labels": '
    yield from labels.chunks()
    yield b"}\n"
