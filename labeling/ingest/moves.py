"""Move items to files that match them by content, and store files that wait until the whole folder is scanned."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal, Self

import msgspec

from labeling.decisions.content_changes import mark_content_changed
from labeling.images.file_check import Examined
from labeling.ingest.bulk_sql import FILLED, insert_frames, set_available, update_many, values_of
from labeling.models import MAX_PATH, Dataset, Frame, Item

# Content that more frames share does not identify an item: 100,000 items may share a black image.
FEW = 50
# Suffixes of the placeholder paths of displaced items, before and after all groups are matched.
WAITING, _GONE = " (replaced, image ", " (gone, image "
ADDED = re.compile(r" \((replaced|gone), image \d+\)$")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a group: its group and role, its path, and its content."""

    group: str
    role: str
    path: str
    examined: Examined


class PendingFiles:
    """Files that wait for matching, in a temporary SQLite database, so that a million do not fill the memory.

    ``order``: groups come back by name or, if each has one file, in the order in which they were added (``rowid``).
    """

    def __init__(self, order: Literal["name", "rowid"] = "name") -> None:
        self._order = order
        # An empty name creates a temporary database that SQLite deletes when it is closed.
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE member (name TEXT, role TEXT, path TEXT, sha256 TEXT, examined TEXT)")
        self._database.execute("CREATE INDEX by_name ON member (name)")
        self._database.execute("CREATE INDEX by_content ON member (sha256)")
        self.n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, members: Sequence[Member]) -> None:
        rows = [
            (member.group, member.role, member.path, member.examined.sha256, msgspec.json.encode(member.examined))
            for member in members
        ]
        self._database.executemany("INSERT INTO member VALUES (?, ?, ?, ?, ?)", rows)
        self.n += len(rows)

    def batches(self, size: int) -> Iterator[list[list[Member]]]:
        """Yield batches of ``size`` groups, each its files by path. Groups that were yielded may be removed."""
        following = (
            f"SELECT DISTINCT {self._order}, name FROM member WHERE {self._order} > ? "  # noqa: S608 - a fixed name
            f"ORDER BY {self._order} LIMIT ?"
        )
        last: str | int = "" if self._order == "name" else 0
        while found := self._database.execute(following, (last, size)).fetchall():
            names = json.dumps([name for _, name in found])
            yield self._groups("SELECT value FROM json_each(?)", (names,))
            last = found[-1][0]

    def among(self, names: Collection[str]) -> set[str]:
        """Return the names of groups that have pending files."""
        rows = self._database.execute(
            "SELECT DISTINCT name FROM member WHERE name IN (SELECT value FROM json_each(?))",
            (json.dumps(list(names)),),
        )
        return {name for (name,) in rows}

    def with_content(self, hashes: Collection[str]) -> list[list[Member]]:
        """Return the groups that have files of these contents, ignoring contents that many files share."""
        few = (
            "SELECT sha256 FROM member WHERE sha256 IN (SELECT value FROM json_each(?)) "
            "GROUP BY sha256 HAVING count(*) <= ?"
        )
        names = f"SELECT name FROM member WHERE sha256 IN ({few})"  # noqa: S608
        return self._groups(names, (json.dumps(list(hashes)), FEW))

    def _groups(self, names: str, values: tuple[object, ...]) -> list[list[Member]]:
        rows = self._database.execute(
            f"SELECT name, role, path, examined FROM member WHERE name IN ({names}) "  # noqa: S608
            f"ORDER BY {self._order}, path",
            values,
        )
        members = [Member(name, role, path, msgspec.json.decode(row, type=Examined)) for name, role, path, row in rows]
        return [list(group) for _, group in groupby(members, key=attrgetter("group"))]

    def remove(self, groups: Collection[str]) -> None:
        self._database.executemany("DELETE FROM member WHERE name = ?", [(group,) for group in groups])


@dataclass(frozen=True, slots=True)
class Move:
    """An item that gets a group's path and files. ``frames``: keys by role; ``is_changed``: a file is new or edited."""

    item_id: int
    frames: Mapping[str, int]
    members: Sequence[Member]
    is_changed: bool


def move_items(dataset: Dataset, moves: Sequence[Move]) -> None:
    """Give items the paths and files of the groups that they match. The dataset must be locked.

    Other items at these paths get placeholder paths, and are missing until their own files are found.
    """
    if not moves:
        return
    movers = {move.item_id for move in moves}
    _displace(dataset, [move.members[0].group for move in moves], movers)
    update_many(Item, ("path",), [(move.members[0].group, move.item_id) for move in moves])
    updates, new, unmatched = [], [], []
    for move in moves:
        for member in move.members:
            if member.role in move.frames:
                updates.append((member.path, *values_of(member.examined), move.frames[member.role]))
            else:
                new.append((move.item_id, member.role, member.path, member.examined))
        roles = {member.role for member in move.members}
        unmatched += [key for role, key in move.frames.items() if role not in roles]
    update_many(Frame, ("path", *FILLED), updates)
    insert_frames(dataset, new)
    mark_content_changed([move.item_id for move in moves if move.is_changed])
    Frame.objects.filter(pk__in=unmatched).delete()
    set_available(dataset, list(movers), True)


def _displace(dataset: Dataset, paths: Sequence[str], movers: Collection[int]) -> None:
    """Give items at these paths, and their frames, placeholder paths, and mark them as missing unless they move."""
    items = Item.objects.filter(dataset=dataset, path__in=paths).values_list("pk", "path", "row")
    aside = {pk: (path, f"{ADDED.sub('', path)[: MAX_PATH - 60]}{WAITING}{row})") for pk, path, row in items}
    update_many(Item, ("path",), [(placeholder, pk) for pk, (_, placeholder) in aside.items()])
    frames = []
    for pk, item_id, path in Frame.objects.filter(item__in=aside).values_list("pk", "item_id", "path"):
        old, placeholder = aside[item_id]
        # A file that is an item has its path.
        frames.append((placeholder if path == old else f"{path[: MAX_PATH - 60]} (replaced, file {pk})", pk))
    update_many(Frame, ("path",), frames)
    set_available(dataset, [pk for pk in aside if pk not in movers], False)


def mark_displaced_gone(dataset: Dataset) -> None:
    """Mark displaced items that still have no files as gone, after all groups are matched."""
    waiting = Item.objects.filter(dataset=dataset, is_available=False, path__contains=WAITING)
    last = -1
    while rows := list(waiting.filter(row__gt=last).order_by("row").values_list("row", "path", "pk")[:500]):
        update_many(Item, ("path",), [(path.replace(WAITING, _GONE), pk) for _, path, pk in rows])
        last = rows[-1][0]
