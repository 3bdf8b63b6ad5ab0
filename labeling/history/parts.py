"""Register the tables of other packages that decisions refer to, such as rounds and model versions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.exporting.scope import Scope
from labeling.models import MAX_PATH, Action, Dataset

FOLDER = "history"
_AT_ONCE = 900
AGAIN = "Export the dataset again."
# The UUID of an action, or "" for none.
ActionText = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$")]


@dataclass
class Restored:
    """Tell what was restored so far: the new IDs by those of the file. ``users``: by name.

    ``items``: the IDs of the items, known after the decisions.
    """

    dataset: Dataset
    users: Mapping[str, int]
    ids: dict[str, Mapping[int, int]] = field(default_factory=dict)
    items: Mapping[int, int] = field(default_factory=dict)

    def new_id(self, part: str, old: int | None) -> int | None:
        """Return the new ID; None for None and for what the file does not have."""
        return None if old is None else self.ids.get(part, {}).get(old)

    def existing_id(self, part: str, old: int) -> int:
        """Return the new ID. Raises Refusal if the file of the part does not have the old one."""
        found = self.new_id(part, old)
        if found is None:
            raise Refusal(f"A line of the folder {FOLDER} refers to {old}, which {part} lacks.", AGAIN)
        return found

    def action_ids(self, uuids: Collection[str]) -> Mapping[str, int]:
        """Return the actions by their UUIDs. Raises Refusal if the record lacks one."""
        found: dict[str, int] = {}
        for batch in batched(sorted({UUID(uuid) for uuid in uuids}), _AT_ONCE):
            actions = Action.objects.filter(dataset=self.dataset, uuid__in=batch)
            found |= {str(uuid): pk for uuid, pk in actions.values_list("uuid", "pk")}
        if missing := sorted(set(uuids) - found.keys()):
            raise Refusal(f"A line of the folder {FOLDER} refers to the action {missing[0]}, which is missing.", AGAIN)
        return found


class LaterLine(msgspec.Struct, kw_only=True):
    """Represent a line of a part that follows the decisions: an item and a person that it names, if any."""

    item_id: int | None = None
    path: Annotated[str, msgspec.Meta(max_length=MAX_PATH)] = ""
    sha256: Annotated[str, msgspec.Meta(max_length=64)] = ""
    by: str = ""


@dataclass(frozen=True)
class Part:
    """Represent a table that decisions refer to, as one JSON object per line in the folder ``history`` of an export.

    With ``line``, the table refers to decisions, and is restored after them. Records of older versions may lack it.

    Parameters
    ----------
    name : Name of the part and its file, in the order in which parts are restored.
    rows : ``(dataset, scope) -> objects`` of the table, with their IDs as ``id``.
    restore : ``(restored, objects) -> new IDs`` by those of the file. Raises Refusal if an object is invalid.
    numbers : ``dataset -> {ID: number}`` where the file has numbers in place of IDs.
    line : The type of an object, in which the import finds items and people before it saves anything.
    """

    name: str
    order: int
    rows: Callable[[Dataset, Scope], Iterator[dict[str, Any]]]
    restore: Callable[[Restored, Iterable[dict[str, Any]]], Mapping[int, int]]
    numbers: Callable[[Dataset], Mapping[int, int]] | None = None
    line: type[LaterLine] | None = None

    @property
    def file(self) -> str:
        return f"{FOLDER}/{self.name}.jsonl"


_Row = TypeVar("_Row", bound=msgspec.Struct)
_parts: dict[str, Part] = {}


def register(part: Part) -> None:
    """Add a part, or replace the one of the same name."""
    _parts[part.name] = part


def parts(*, after_decisions: bool = False) -> list[Part]:
    """Return the parts that precede the decisions, or those that are restored ``after_decisions``, in order."""
    found = [part for part in _parts.values() if (part.line is not None) == after_decisions]
    return sorted(found, key=lambda part: (part.order, part.name))


def parsed(row: dict[str, Any], kind: type[_Row]) -> _Row:
    """Check a JSON object of a part. Raises Refusal if it lacks something or has an impossible value."""
    try:
        found = msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise Refusal(f"A line of the folder {FOLDER} is damaged: {error}.", AGAIN) from error
    at = getattr(found, "at", None)
    if at is not None:
        time_of(at)
    return found


def time_of(text: str) -> datetime:
    """Parse a time with its zone. Raises Refusal if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refusal(f"{text[:40]!r} is not a time.", AGAIN) from error
    if found.tzinfo is None:
        raise Refusal(f"The time {text[:40]!r} has no time zone.", AGAIN)
    return found


def numbers_of(dataset: Dataset, name: str) -> Mapping[int, int] | None:
    """Return the numbers of a part by ID; None if the file has its IDs."""
    part = _parts.get(name)
    return part.numbers(dataset) if part and part.numbers else None
