"""Groups of files that were moved or renamed: their items follow them by content.

Nothing is decided before the whole folder was looked at, since the files of a group may lie far apart in it: files
whose content was known elsewhere, or whose content was replaced, wait here until then. An item is *free* when none
of its files is where it was.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Self

from django.db.models import Count

from labeling.images.reading import Examined
from labeling.models import MAX_PATH, Dataset, Frame, Item, State
from labeling.records import FILLED, insert_frames, set_available, update_many, values_of

# A content that more frames have than this tells of no item: 100,000 items may share a black image.
_FEW = 50


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a group: what it is part of, where it lies, and what it holds."""

    group: str
    role: str
    path: str
    examined: Examined


class Aside:
    """Files put aside, by their groups, in a temporary file: a million of them don't fill the memory."""

    def __init__(self) -> None:
        # An empty name is a database of SQLite's own that it removes again.
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE member (name TEXT, role TEXT, path TEXT, examined TEXT)")
        self._database.execute("CREATE INDEX by_name ON member (name)")
        self.n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, members: Sequence[Member]) -> None:
        rows = [(one.group, one.role, one.path, json.dumps(one.examined.as_params())) for one in members]
        self._database.executemany("INSERT INTO member VALUES (?, ?, ?, ?)", rows)
        self.n += len(rows)

    def batches(self, size: int) -> Iterator[list[list[Member]]]:
        """``size`` groups at a time, by name, each as its files by path. What came may be removed meanwhile."""
        last = ""
        while True:
            names = "SELECT DISTINCT name FROM member WHERE name > ? ORDER BY name LIMIT ?"
            found = self._database.execute(
                f"SELECT name, role, path, examined FROM member WHERE name IN ({names}) ORDER BY name, path",  # noqa: S608
                (last, size),
            )
            members = [Member(name, role, path, Examined(**json.loads(told))) for name, role, path, told in found]
            if not members:
                return
            yield [list(some) for _, some in groupby(members, key=attrgetter("group"))]
            last = members[-1].group

    def remove(self, groups: Collection[str]) -> None:
        self._database.executemany("DELETE FROM member WHERE name = ?", [(group,) for group in groups])


@dataclass(frozen=True, slots=True)
class Home:
    """An item that a group may belong to; its frames as (key, SHA-256, path) by their roles."""

    item_id: int
    row: int
    path: str
    is_available: bool
    is_decided: bool
    frames: dict[str, tuple[int, str, str]]

    def n_alike(self, members: Sequence[Member]) -> int:
        """How many of the files are frames of this item, by role and content."""
        return sum(one.role in self.frames and self.frames[one.role][1] == one.examined.sha256 for one in members)

    def fits(self, members: Sequence[Member], *, is_whole: bool) -> bool:
        """Whether the files are the item: each of its frames and none else, or else most of its frames. Half of them,
        or one, is enough where the name stayed and the folder changed."""
        n = self.n_alike(members)
        if is_whole:
            return n == len(self.frames) == len(members)
        has_same_name = _name(self.path) == _name(members[0].group)
        return 2 * n > len(self.frames) or (n > 0 and has_same_name)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def homes_of(dataset: Dataset, groups: Sequence[Sequence[Member]]) -> dict[str, list[Home]]:
    """The items that have frames of the groups' contents, by these contents."""
    hashes = {one.examined.sha256 for members in groups for one in members}
    frames = Frame.objects.filter(dataset=dataset, sha256__in=hashes)
    few = [sha256 for sha256, n in frames.values_list("sha256").annotate(n=Count("pk")) if n <= _FEW]
    owners = list(frames.filter(sha256__in=few).values_list("sha256", "item_id"))
    homes = _homes({item_id for _, item_id in owners})
    found: dict[str, list[Home]] = defaultdict(list)
    for sha256, item_id in owners:
        found[sha256].append(homes[item_id])
    return found


def _homes(item_ids: Collection[int]) -> dict[int, Home]:
    names = ("pk", "row", "path", "is_available", "state")
    homes: dict[int, Home] = {}
    for some in _slices(list(item_ids)):
        for pk, row, path, is_available, state in Item.objects.filter(pk__in=some).values_list(*names):
            homes[pk] = Home(pk, row, path, is_available, state != State.UNLABELLED, {})
        frames = Frame.objects.filter(item__in=some).values_list("item_id", "role", "pk", "sha256", "path")
        for item_id, role, pk, sha256, path in frames:
            homes[item_id].frames[role] = (pk, sha256, path)
    return homes


def _slices(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), 500):
        yield ids[start : start + 500]


def best(homes: Sequence[Home], members: Sequence[Member]) -> Home | None:
    """Of items, that with most of the files; of several one that somebody decided about, or of the same name."""
    name = _name(members[0].group)
    return min(
        homes,
        key=lambda home: (-home.n_alike(members), not home.is_decided, _name(home.path) != name, home.path),
        default=None,
    )


def move_groups(dataset: Dataset, moves: Sequence[tuple[Home, Sequence[Member]]]) -> None:
    """Give items the paths and files of the groups that they became. Call it with the dataset locked.

    Items that have such a path and are elsewhere, or gone, make way: they get a path that no file has, and are missing
    until their own files turn up.
    """
    movers = {home.item_id for home, _ in moves}
    there = dict(
        Item.objects.filter(dataset=dataset, path__in=[to[0].group for _, to in moves]).values_list("pk", "row")
    )
    _put_aside(movers | there.keys())
    set_available(dataset, [pk for pk in there if pk not in movers], False)
    update_many(Item, ("path",), [(members[0].group, home.item_id) for home, members in moves])
    updates, new, left = [], [], []
    for home, members in moves:
        for one in members:
            if one.role in home.frames:
                updates.append((one.path, *values_of(one.examined), home.frames[one.role][0]))
            else:
                new.append((home.item_id, one.role, one.path, one.examined))
        roles = {one.role for one in members}
        left += [pk for role, (pk, _, _) in home.frames.items() if role not in roles]
    update_many(Frame, ("path", *FILLED), updates)
    insert_frames(dataset, new)
    Frame.objects.filter(pk__in=left).delete()
    set_available(dataset, list(movers), True)


def _put_aside(item_ids: Collection[int]) -> None:
    """Give items and their frames paths that no file has."""
    for some in _slices(list(item_ids)):
        items = Item.objects.filter(pk__in=some).values_list("path", "row", "pk")
        update_many(
            Item, ("path",), [(f"{path[: MAX_PATH - 60]} (replaced, image {row})", pk) for path, row, pk in items]
        )
        frames = Frame.objects.filter(item__in=some).values_list("path", "pk")
        update_many(Frame, ("path",), [(f"{path[: MAX_PATH - 60]} (replaced, file {pk})", pk) for path, pk in frames])
