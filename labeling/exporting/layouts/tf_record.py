"""Write TFRecord files of tf.train.Example without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from labeling.exporting.contents import Contents, LabeledImage
from labeling.exporting.crc32c import crc32c
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.splits import SPLITS
from labeling.exporting.zip_stream import Member

TF_DATA = """
import json
from pathlib import Path

import tensorflow as tf

classes = json.loads(Path("data/classes.json").read_text())
features = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
}


def load(record):
    example = tf.io.parse_single_example(record, features)
    image = tf.io.decode_image(example["image/encoded"], channels=3, expand_animations=False)
    return tf.image.resize(image, (224, 224)), example["image/class/label"]


train, val, test = (
    tf.data.TFRecordDataset(tf.io.gfile.glob(f"data/{split}-*.tfrecord")).map(load)
    for split in ("train", "val", "test")
)
"""
_FILE_BYTES = 400 * 2**20
_MASK = 0xA282EAD8
# The wire type of strings, bytes and messages in protocol buffers.
_BYTES = 2


class TfRecord(Layout):
    """Files of serialized examples with checksums."""

    name = "tfrecord"
    title = "TFRecord"
    sentence = "TFRecord files of tf.train.Example with the encoded image and its class, for tf.data."
    loading = (Loading("tf.data", TF_DATA),)

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the files of each split, at least one, and the names of the classes."""
        for split in SPLITS:
            records = _records(contents, split)
            record: bytes | None = next(records, b"")
            number = 0
            while record is not None:
                file = _File(record, records)
                yield Member(f"{split}-{number:05d}.tfrecord", file.chunks(), is_huge=True)
                record = file.following
                number += 1
        yield contents.class_list()


class _File:
    """Describe a file of some records. ``following``: the first record of the next file, None if there is none."""

    def __init__(self, first: bytes, records: Iterator[bytes]) -> None:
        self._first = first
        self._records = records
        self.following: bytes | None = None

    def chunks(self) -> Iterator[bytes]:
        size = len(self._first)
        yield self._first
        for record in self._records:
            if size >= _FILE_BYTES:
                self.following = record
                return
            size += len(record)
            yield record


def _records(contents: Contents, split: str) -> Iterator[bytes]:
    for image in contents.images(split):
        content = contents.content(image)
        if content is not None:
            yield framed(example(_features(image, content)))


def _features(image: LabeledImage, content: bytes) -> dict[str, bytes | int]:
    return {
        "image/encoded": content,
        "image/format": image.ending.lower().encode(),
        "image/filename": image.item_path.encode(),
        "image/width": image.width,
        "image/height": image.height,
        "image/class/label": image.label.number,
        "image/class/text": image.label.name.encode(),
        "image/key/sha256": image.sha256.encode(),
        "item_id": image.item_id,
    }


def framed(record: bytes) -> bytes:
    """Return a record of a TFRecord file: its length and its bytes, each followed by a masked checksum."""
    length = struct.pack("<Q", len(record))
    return length + _masked_checksum(length) + record + _masked_checksum(record)


def _masked_checksum(data: bytes) -> bytes:
    checksum = crc32c(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + _MASK) & 0xFFFFFFFF)


def example(features: Mapping[str, bytes | int]) -> bytes:
    """Return a serialized tf.train.Example, with a list of one value for each feature."""
    entries = (_field(1, _field(1, name.encode()) + _field(2, _feature(features[name]))) for name in sorted(features))
    return _field(1, b"".join(entries))


def _feature(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        return _field(1, _field(1, value))  # bytes_list
    return _field(3, _field(1, _varint(value)))  # int64_list, packed


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a whole number of 0 or more in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
