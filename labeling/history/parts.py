"""Register the tables of other packages that decisions refer to, such as rounds and model versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from hoshina.core.errors import Refusal
from labeling.exporting.past import Past
from labeling.models import Dataset

FOLDER = "history"


@dataclass
class Restored:
    """Tell what was restored so far: the new IDs by those of the file. ``users``: by name."""

    dataset: Dataset
    users: Mapping[str, int]
    ids: dict[str, Mapping[int, int]] = field(default_factory=dict)

    def new_id(self, part: str, old: int | None) -> int | None:
        """Return the new ID; None for None and for what the file does not have."""
        return None if old is None else self.ids.get(part, {}).get(old)


@dataclass(frozen=True)
class Part:
    """Represent a table that decisions refer to, as one JSON object per line in the folder ``history`` of an export.

    Parameters
    ----------
    name : Name of the part and its file, in the order in which parts are restored.
    rows : ``(dataset, past) -> objects`` of the table, with their IDs as ``id``.
    restore : ``(restored, objects) -> new IDs`` by those of the file. Raises Refusal if an object is invalid.
    numbers : ``dataset -> {ID: number}`` where the file has numbers in place of IDs.
    """

    name: str
    order: int
    rows: Callable[[Dataset, Past | None], Iterator[dict[str, Any]]]
    restore: Callable[[Restored, Iterable[dict[str, Any]]], Mapping[int, int]]
    numbers: Callable[[Dataset], Mapping[int, int]] | None = None

    @property
    def file(self) -> str:
        return f"{FOLDER}/{self.name}.jsonl"


_Row = TypeVar("_Row", bound=msgspec.Struct)
_parts: dict[str, Part] = {}


def register(part: Part) -> None:
    """Add a part, or replace the one of the same name."""
    _parts[part.name] = part


def parts() -> list[Part]:
    """Return all parts in the order in which they are restored."""
    return sorted(_parts.values(), key=lambda part: (part.order, part.name))


def parsed(row: dict[str, Any], kind: type[_Row]) -> _Row:
    """Check a JSON object of a part. Raises Refusal if it lacks something or has an impossible value."""
    try:
        found = msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise Refusal(f"A line of the folder {FOLDER} is damaged: {error}.", "Export the dataset again.") from error
    at = getattr(found, "at", None)
    if at is not None:
        time_of(at)
    return found


def time_of(text: str) -> datetime:
    """Parse a time with its zone. Raises Refusal if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refusal(f"{text[:40]!r} is not a time.", "Export the dataset again.") from error
    if found.tzinfo is None:
        raise Refusal(f"The time {text[:40]!r} has no time zone.", "Export the dataset again.")
    return found


def numbers_of(dataset: Dataset, name: str) -> Mapping[int, int] | None:
    """Return the numbers of a part by ID; None if the file has its IDs."""
    part = _parts.get(name)
    return part.numbers(dataset) if part and part.numbers else None
