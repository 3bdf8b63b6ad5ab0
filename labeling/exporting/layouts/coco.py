"""Write COCO Camera Traps JSON: images, annotations, categories and splits."""

from __future__ import annotations

import json
from collections.abc import Iterator

from labeling.exporting.contents import Contents, LabeledImage
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.splits import SPLITS
from labeling.exporting.spool import JsonList
from labeling.exporting.zip_stream import Member

PYCOCOTOOLS = """
from pycocotools.coco import COCO

train, val, test = (COCO(f"data/{split}.json") for split in ("train", "val", "test"))
"""


class Coco(Layout):
    """Write one annotation of a category per image, without boxes."""

    name = "coco"
    title = "COCO Camera Traps"
    sentence = (
        "JSON files of images, annotations and categories in COCO Camera Traps format, one per split and one of all."
    )
    loading = (Loading("pycocotools", PYCOCOTOOLS),)

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the images, then the JSON files."""
        files = {name: (JsonList(), JsonList()) for name in ("annotations", *SPLITS)}
        for image in contents.images():
            for member in contents.file(image, f"images/{image.name}"):
                yield member
                for name in ("annotations", image.split):
                    images, annotations = files[name]
                    images.add(_image(image))
                    annotations.add(_annotation(image))
        for name, (images, annotations) in files.items():
            is_huge = images.is_huge or annotations.is_huge
            yield Member(f"{name}.json", _document(contents, images, annotations), is_huge)


def _image(image: LabeledImage) -> dict[str, object]:
    return {
        "id": image.item_id,
        "file_name": f"images/{image.name}",
        "width": image.width,
        "height": image.height,
        "original_path": image.item_path,
        "split": image.split,
    }


def _annotation(image: LabeledImage) -> dict[str, object]:
    return {"id": image.item_id, "image_id": image.item_id, "category_id": image.label.number + 1}


def _document(contents: Contents, images: JsonList, annotations: JsonList) -> Iterator[bytes]:
    info = {"version": "1.0", "description": contents.dataset.name, "contributor": "hoshina"}
    # COCO numbers categories from 1.
    categories = [{"id": label.number + 1, "name": label.name} for label in contents.labels]
    yield b'{"info": ' + json.dumps(info).encode()
    yield b',\n"categories": ' + json.dumps(categories).encode()
    yield b',\n"images": '
    yield from images.chunks()
    yield b',\n"annotations": '
    yield from annotations.chunks()
    yield b"}\n"
