"""Write Parquet files with embedded images for Hugging Face, and a dataset card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from labeling.exporting.contents import Contents, LabeledImage
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.layouts.card import Split, dataset_card
from labeling.exporting.sink import Sink
from labeling.exporting.splits import SPLITS
from labeling.exporting.zip_stream import Member

if TYPE_CHECKING:
    import pyarrow as pa

DATASETS = """
from datasets import load_dataset

dataset = load_dataset("data")
"""
# The names that Hugging Face uses for splits.
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
# A row group stays in memory until it is written.
_GROUP_BYTES, _GROUP_ROWS = 16 * 2**20, 1000
_FILE_BYTES = 400 * 2**20


class HuggingFace(Layout):
    """Parquet files whose features are an Image and a ClassLabel."""

    name = "huggingface"
    title = "Hugging Face"
    sentence = "Parquet files with embedded images, class names and a dataset card, ready for the Hugging Face Hub."
    loading = (Loading("Hugging Face", DATASETS),)
    has_card = True

    def why_not(self) -> str:
        """Return a hint if pyarrow is not installed."""
        if find_spec("pyarrow"):
            return ""
        return "This layout needs the Python package pyarrow: uv sync --extra parquet."

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the Parquet files of each split, at least one, and the card."""
        splits = [Split(SPLIT_NAMES[split]) for split in SPLITS]
        for name, split in zip(SPLITS, splits, strict=True):
            yield from _ParquetFiles(contents, split).members(contents.images(name))
        yield Member("README.md", [dataset_card(contents, splits).encode()])


class _ParquetFiles:
    """Write the files of a split, each a stream of row groups."""

    def __init__(self, contents: Contents, split: Split) -> None:
        self._contents = contents
        self._split = split
        self._schema = _schema(contents)
        self._is_over = False

    def members(self, images: Iterator[LabeledImage]) -> Iterator[Member]:
        groups = self._row_groups(images)
        number = 0
        while not self._is_over:
            yield Member(f"data/{self._split.name}-{number:05d}.parquet", self._file(groups), is_huge=True)
            number += 1

    def _file(self, groups: Iterator[pa.Table]) -> Iterator[bytes]:
        import pyarrow.parquet as pq

        sink = Sink()
        size = 0
        with pq.ParquetWriter(sink, self._schema, compression="none", use_dictionary=False) as writer:
            while size < _FILE_BYTES:
                group = next(groups, None)
                if group is None:
                    self._is_over = True
                    break
                writer.write_table(group)
                yield (piece := sink.take())
                size += len(piece)
        yield (piece := sink.take())
        self._split.download_bytes += size + len(piece)

    def _row_groups(self, images: Iterator[LabeledImage]) -> Iterator[pa.Table]:
        import pyarrow as pa

        rows: list[dict[str, Any]] = []
        size = 0
        for image in images:
            content = self._contents.content(image)
            if content is None:
                continue
            rows.append(
                {
                    "image": {"bytes": content, "path": image.name},
                    "label": image.label.number,
                    "item_id": image.item_id,
                    "path": image.item_path,
                    "sha256": image.sha256,
                }
            )
            size += len(content)
            self._split.items += 1
            self._split.bytes += len(content)
            if size >= _GROUP_BYTES or len(rows) >= _GROUP_ROWS:
                yield pa.Table.from_pylist(rows, self._schema)
                rows, size = [], 0
        if rows:
            yield pa.Table.from_pylist(rows, self._schema)


def _schema(contents: Contents) -> pa.Schema:
    """Return the columns, with the features of the library datasets as metadata."""
    import pyarrow as pa

    features = {
        "image": {"_type": "Image"},
        "label": {"names": [label.name for label in contents.labels], "_type": "ClassLabel"},
        "item_id": {"dtype": "int64", "_type": "Value"},
        "path": {"dtype": "string", "_type": "Value"},
        "sha256": {"dtype": "string", "_type": "Value"},
    }
    columns = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
        ("item_id", pa.int64()),
        ("path", pa.string()),
        ("sha256", pa.string()),
    ]
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})
