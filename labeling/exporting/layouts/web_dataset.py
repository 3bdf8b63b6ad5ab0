"""Write tar files for WebDataset: each image with its class number and a JSON record."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator

from labeling.exporting.contents import Contents, LabeledImage
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.splits import SPLITS
from labeling.exporting.zip_stream import Member

WEBDATASET = """
import json
from glob import glob
from pathlib import Path

import webdataset as wds

classes = json.loads(Path("data/classes.json").read_text())
train, val, test = (
    wds.WebDataset(sorted(glob(f"data/{split}-*.tar")), shardshuffle=False, empty_check=False).decode("pil")
    for split in ("train", "val", "test")
)
"""
_SHARD_BYTES, _SHARD_IMAGES = 400 * 2**20, 10_000


class WebDataset(Layout):
    """Shards of tar files."""

    name = "webdataset"
    title = "WebDataset"
    sentence = "Tar files to stream in training, each with images, class numbers (.cls) and records (.json)."
    loading = (Loading("webdataset", WEBDATASET),)

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the shards of each split, at least one, and the names of the classes."""
        for split in SPLITS:
            images = _Images(contents.images(split))
            number = 0
            while number == 0 or not images.is_over:
                yield Member(f"{split}-{number:06d}.tar", _shard(contents, images), is_huge=True)
                number += 1
        yield contents.class_list()


class _Images:
    """Images with a look at whether there are more."""

    def __init__(self, images: Iterator[LabeledImage]) -> None:
        self._images = images
        self._next = next(images, None)

    @property
    def is_over(self) -> bool:
        return self._next is None

    def take(self) -> LabeledImage | None:
        image, self._next = self._next, next(self._images, None) if self._next else None
        return image


def _shard(contents: Contents, images: _Images) -> Iterator[bytes]:
    size = count = 0
    while size < _SHARD_BYTES and count < _SHARD_IMAGES and (image := images.take()):
        content = contents.content(image)
        if content is None:
            continue
        yield _file(f"{image.stem}.{image.ending or 'bin'}", content)
        yield _file(f"{image.stem}.cls", str(image.label.number).encode())
        yield _file(f"{image.stem}.json", json.dumps(_record(image), ensure_ascii=False).encode())
        size += len(content)
        count += 1
    yield bytes(2 * tarfile.BLOCKSIZE)


def _record(image: LabeledImage) -> dict[str, object]:
    return {
        "item_id": image.item_id,
        "path": image.item_path,
        "label": image.label.name,
        "split": image.split,
        "sha256": image.sha256,
    }


def _file(name: str, content: bytes) -> bytes:
    """Return a file of a tar archive, padded to whole blocks."""
    header = tarfile.TarInfo(name)
    header.size = len(content)
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    return header.tobuf(tarfile.PAX_FORMAT) + content + padding
