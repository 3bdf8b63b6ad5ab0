"""Read Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows

_BATCH = 10_000


class Parquet(Importer):
    """Read Parquet files, a batch of rows at a time. Class numbers of Hugging Face become names."""

    name = "parquet"
    title = "Parquet"
    sentence = "A Parquet file, as of pandas or Hugging Face. Needs the extra parquet."
    library = "pyarrow"
    order = 10

    def recognizes(self, file: File) -> bool:
        """Return whether the file begins like Parquet."""
        return file.head.startswith(b"PAR1")

    def rows(self, file: File) -> Rows:
        """Open the file."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            hint = "Install it with uv sync --extra parquet, or save the table as CSV."
            raise Refusal(
                "This is a Parquet file, and the package pyarrow that reads it is not installed.", hint
            ) from error
        try:
            schema = pq.read_schema(_rewound(file.stream))
        except pa.ArrowException as error:
            raise Refusal(
                f"This looks like a Parquet file, but it can't be read ({error}).", "Save it again."
            ) from error
        columns = [
            (field.name, part)
            for field in schema
            if not pa.types.is_binary(field.type) and (part := _part_of(field.type, pa)) is not None
        ]
        names = _class_names(schema.metadata or {})

        def read() -> Iterator[tuple[int, list[Any]]]:
            number = 0
            table = pq.ParquetFile(_rewound(file.stream))
            wanted = [f"{name}.{part}" if part else name for name, part in columns]
            for batch in table.iter_batches(_BATCH, columns=wanted):
                values = [_named(batch.column(name).to_pylist(), part, names.get(name)) for name, part in columns]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, list(row)

        return Rows(tuple(name for name, _ in columns), read)


def _rewound(stream: BinaryIO) -> BinaryIO:
    stream.seek(0)
    return stream


def _part_of(kind: Any, pa: Any) -> str | None:
    """Return "" for a column of values, ``path`` for images of Hugging Face, and None for other structures."""
    if not pa.types.is_struct(kind):
        return ""
    return "path" if kind.get_field_index("path") >= 0 else None


def _named(values: list[Any], part: str, names: list[str] | None) -> list[Any]:
    if part:
        return [value and value.get(part) for value in values]
    if names:
        return [names[value] if isinstance(value, int) and 0 <= value < len(names) else value for value in values]
    return values


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the class names of the columns that Hugging Face marks as ClassLabel."""
    import json

    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }
