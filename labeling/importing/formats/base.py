"""Define what an importer is: it recognizes a format of files and reads them as tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, BinaryIO, ClassVar

import msgspec

from hoshina.core.errors import Refusal
from labeling.tables.layout import Layout, Rank

_HEAD = 64 * 1024
# JSON documents, workbooks and the like are read as a whole. Larger ones belong into a table.
MOST_BYTES = 2**30


@dataclass
class File:
    """Represent a file to import. ``name`` may be empty, as for a pipe."""

    stream: BinaryIO
    name: str = ""
    encoding: str = ""

    @property
    def extension(self) -> str:
        """Return the extension in lower case, with its dot."""
        return PurePath(self.name).suffix.lower()

    @cached_property
    def head(self) -> bytes:
        """Return the first bytes."""
        self.stream.seek(0)
        return self.stream.read(_HEAD)

    @cached_property
    def text(self) -> str:
        """Return the first characters, if the file is text in UTF-8 or an encoding that agrees with it in ASCII."""
        return self.head.decode("utf-8-sig", errors="replace").lstrip()

    def content(self) -> bytes:
        """Return the whole file. Raises Refusal if it is too large to be read at once."""
        size = self.stream.seek(0, 2)
        if size > MOST_BYTES:
            limit = MOST_BYTES // 2**20
            raise Refusal(f"The file has more than {limit:,} MiB.", "Split it, or convert it to CSV.")
        self.stream.seek(0)
        return self.stream.read()

    @cached_property
    def json(self) -> Mapping[str, msgspec.Raw] | list[msgspec.Raw] | None:
        """Return the first level of a JSON document; None if the file is not one."""
        if not self.text.startswith(("{", "[")):
            return None
        try:
            return msgspec.json.decode(
                self.content().removeprefix(b"\xef\xbb\xbf"), type=dict[str, msgspec.Raw] | list[msgspec.Raw]
            )
        except msgspec.DecodeError:
            return None

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of a JSON object; empty if the file is none."""
        return frozenset(self.json) if isinstance(self.json, Mapping) else frozenset()

    @cached_property
    def first_keys(self) -> frozenset[str]:
        """Return the keys of the first object in a JSON list; empty if there is none."""
        if not isinstance(self.json, list) or not self.json:
            return frozenset()
        try:
            return frozenset(msgspec.json.decode(self.json[0], type=dict[str, msgspec.Raw]))
        except msgspec.DecodeError:
            return frozenset()


@dataclass(frozen=True)
class Rows:
    """Hold a table made from a file: headers, rows after their numbers, and roles that the format gives to columns.

    ``read`` is called for each reading. A value of None is an empty cell.
    """

    headers: tuple[str, ...]
    read: Callable[[], Iterable[tuple[int, Iterable[Any]]]]
    roles: Mapping[str, str] = field(default_factory=dict)


class Importer(ABC):
    """Read a format as a table.

    ``name``: of the entry point. ``title``, ``sentence``: say what it is. ``library``: the library that the tests write
    such files with. ``order``: formats with a smaller number are tried first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]
    library: ClassVar[str] = ""
    order: ClassVar[int] = 50

    @abstractmethod
    def recognizes(self, file: File) -> bool:
        """Return whether the file is of this format, by its content, else by its extension."""

    @abstractmethod
    def rows(self, file: File) -> Rows:
        """Read the file. Raises Refusal if it lacks something."""

    def layout(self, file: File, rank: Rank) -> Layout:
        """Return the file as a table. ``rank`` tells how well headers fit."""
        rows = self.rows(file)
        headers = tuple(" ".join(str(name).split()) for name in rows.headers)
        return Layout(
            encoding="",
            delimiter="",
            headers=headers,
            n_above=0,
            format=self.title,
            read=lambda: _as_text(rows),
            roles={" ".join(name.split()): role for name, role in rows.roles.items()},
        )


def cell(value: Any) -> str:
    """Return a value as the cell of a table."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (list, tuple)):
        return ";".join(map(cell, value))
    return str(value)


def _as_text(rows: Rows) -> Iterator[tuple[int, list[str]]]:
    for number, values in rows.read():
        yield number, [cell(value) for value in values]
