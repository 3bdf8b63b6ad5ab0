"""Read JSON Lines, and JSON lists of flat objects as pandas writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from hoshina.core.errors import Refusal
from labeling.importing.columns import labels_in
from labeling.importing.formats.base import File, Importer, Rows
from labeling.tables.item_column import key_rank

_SAMPLE = 1000


class Records(Importer):
    """Read one object per line, or a list of objects. The names of their values are the columns."""

    name = "records"
    title = "JSON Lines or JSON records"
    sentence = "One JSON object per line, as of Hugging Face, or a list of them, as in Label Studio's JSON-MIN."
    library = "pandas"
    order = 60

    def recognizes(self, file: File) -> bool:
        """Return whether the file has objects with a name that images usually have."""
        if isinstance(file.json, list):
            return _is_table(file.first_keys)
        if file.json is not None:
            return _is_table(file.keys)
        first = file.text.split("\n", 1)[0]
        try:
            return file.text.startswith("{") and isinstance(msgspec.json.decode(first), dict)
        except msgspec.DecodeError:
            return False

    def rows(self, file: File) -> Rows:
        """Read the names of all columns from the first objects."""
        headers: dict[str, None] = {}
        for _, record in islice(_records(file), _SAMPLE):
            headers |= dict.fromkeys(_flat(record))
        if not headers:
            raise Refusal("The file is empty.")
        names = tuple(headers)

        def read() -> Iterator[tuple[int, list[Any]]]:
            for number, record in _records(file):
                flat = _flat(record)
                yield number, [flat.get(name) for name in names]

        return Rows(names, read)


def _is_table(keys: frozenset[str]) -> bool:
    names = sorted(keys)
    return bool(key_rank(names)) and bool(labels_in(names, "") or "annotations" not in keys)


def _records(file: File) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if isinstance(file.json, list):
        yield from ((number, _record(raw, number)) for number, raw in enumerate(file.json, 1))
        return
    file.stream.seek(0)
    for number, line in enumerate(file.stream, 1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if text:
            yield number, _record(text, number)


def _record(raw: bytes | msgspec.Raw, number: int) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Refusal(f"Line {number} is not a JSON object ({error}). Correct it, and import again.") from error


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an object; those of objects within it are named like FiftyOne's ``ground_truth.label``."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{part}": inner for part, inner in value.items() if not isinstance(inner, (dict, list))}
        elif isinstance(value, list):
            if all(isinstance(part, (str, int, float)) for part in value):
                flat[name] = value
        else:
            flat[name] = value
    return flat
