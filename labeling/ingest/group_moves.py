"""Groups of files that were moved or renamed: their items follow them by content.

Nothing is decided before the whole folder was looked at, since the files of a group may lie far apart in it: files
whose content was known elsewhere, or whose content was replaced, wait here until then, and with them what is new of
their groups. What is *left* of an item are those of its files that are where they were. One whose content other items
have too, such as a reference for a whole night, tells nothing: it would lie there as well if two groups had changed
places.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Self, TypeVar

import msgspec
from django.db.models import Count, Q

from labeling.decisions.content_changes import mark_content_changed
from labeling.images.file_check import Examined
from labeling.ingest.bulk_sql import FILLED, insert_frames, set_available, update_many, values_of
from labeling.models import MAX_PATH, Dataset, Frame, Item, State

# A content that more frames have than this tells of no item: 100,000 items may share a black image.
_FEW = 50
# What is added to the path of an item that makes way, until all groups have found their items; and then.
_WAITING, _GONE = " (replaced, image ", " (gone, image "
_ADDED = re.compile(r" \((replaced|gone), image \d+\)$")
_T = TypeVar("_T")


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
            (one.group, one.role, one.path, one.examined.sha256, msgspec.json.encode(one.examined)) for one in members
        ]
        self._database.executemany("INSERT INTO member VALUES (?, ?, ?, ?, ?)", rows)
        self.n += len(rows)

    def batches(self, size: int) -> Iterator[list[list[Member]]]:
        """``size`` groups at a time, by name, each as its files by path. What came may be removed meanwhile."""
        last = ""
        while True:
            groups = self._groups("SELECT DISTINCT name FROM member WHERE name > ? ORDER BY name LIMIT ?", (last, size))
            if not groups:
                return
            yield groups
            last = groups[-1][0].group

    def among(self, names: Collection[str]) -> set[str]:
        """Those of the names whose groups have files here."""
        found = self._database.execute(
            "SELECT DISTINCT name FROM member WHERE name IN (SELECT value FROM json_each(?))",
            (json.dumps(list(names)),),
        )
        return {name for (name,) in found}

    def with_content(self, hashes: Collection[str]) -> list[list[Member]]:
        """The groups that have files of these contents, of those contents that few files have."""
        few = (
            "SELECT sha256 FROM member WHERE sha256 IN (SELECT value FROM json_each(?)) "
            "GROUP BY sha256 HAVING count(*) <= ?"
        )
        names = f"SELECT name FROM member WHERE sha256 IN ({few})"  # noqa: S608
        return self._groups(names, (json.dumps(list(hashes)), _FEW))

    def _groups(self, names: str, values: tuple[object, ...]) -> list[list[Member]]:
        found = self._database.execute(
            f"SELECT name, role, path, examined FROM member WHERE name IN ({names}) ORDER BY name, path",  # noqa: S608
            values,
        )
        members = [Member(name, role, path, msgspec.json.decode(row, type=Examined)) for name, role, path, row in found]
        return [list(some) for _, some in groupby(members, key=attrgetter("group"))]

    def remove(self, groups: Collection[str]) -> None:
        self._database.executemany("DELETE FROM member WHERE name = ?", [(group,) for group in groups])


@dataclass(frozen=True, slots=True)
class Kept:
    """A frame as the database has it. ``is_shared``: other items that are there have its content too."""

    key: int
    path: str
    examined: Examined
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Home:
    """An item that a group may belong to; its frames by their roles."""

    item_id: int
    row: int
    path: str
    is_available: bool
    is_decided: bool
    frames: dict[str, Kept]

    def n_alike(self, members: Sequence[Member]) -> int:
        """How many of the files are frames of this item, by role and content."""
        return len(self._alike(members))

    def _alike(self, members: Sequence[Member]) -> list[str]:
        return [
            one.role
            for one in members
            if one.role in self.frames and self.frames[one.role].examined.sha256 == one.examined.sha256
        ]

    def fits(self, members: Sequence[Member], *, is_whole: bool) -> bool:
        """Whether the files are the item: each of its frames and none else, or else most of its frames, one of them no
        other item's as well. Half of them, or any one, is enough where the name stayed and the folder changed."""
        alike = self._alike(members)
        if is_whole:
            return len(alike) == len(self.frames) == len(members)
        has_most = 2 * len(alike) > len(self.frames) and self.is_told_by(alike)
        return has_most or (bool(alike) and self.has_name_of(members))

    def has_name_of(self, members: Sequence[Member]) -> bool:
        return _name(self.path) == _name(members[0].group)

    def likeness(self, members: Sequence[Member]) -> tuple[int, int, bool]:
        """What speaks for the files being the item; larger is more."""
        alike = self._alike(members)
        n_telling = sum(not self.frames[role].is_shared for role in alike)
        return n_telling, len(alike), self.has_name_of(members)

    def is_told_by(self, roles: Sequence[str]) -> bool:
        """Whether one of these files is no other item's as well."""
        return any(not self.frames[role].is_shared for role in roles)

    def displaces(self, place: Home, left: Sequence[str], members: Sequence[Member]) -> bool:
        """Whether it may take the place of an item that has the group's path, and files of the roles ``left`` there.

        Either these don't tell that it is that item; or nobody decided about that one and somebody did about this one,
        and most of the files are this one's, or all that it still had and the name stayed: then the item there was made
        of files that came before the others.
        """
        n = self.n_alike(members)
        has_most = n > place.n_alike(members)
        if place.item_id == self.item_id:
            return False
        if not place.is_told_by(left):
            return has_most
        is_all_of_it = self.has_name_of(members) and n == len(self.frames)
        return self.is_decided and not place.is_decided and (is_all_of_it or (has_most and 2 * n > len(members)))

    def member(self, role: str) -> Member:
        """One of its files as part of the group that lies there."""
        return Member(self.path, role, self.frames[role].path, self.frames[role].examined)

    @property
    def contents(self) -> frozenset[tuple[str, str]]:
        return frozenset((role, kept.examined.sha256) for role, kept in self.frames.items())


def _name(path: str) -> str:
    """The last part of an item's path, also of one that made way."""
    return _ADDED.sub("", path).rpartition("/")[2]


def homes_of(dataset: Dataset, groups: Sequence[Sequence[Member]]) -> dict[str, list[Home]]:
    """The items that have frames of the groups' contents, by these contents."""
    hashes = {one.examined.sha256 for members in groups for one in members}
    frames = Frame.objects.filter(dataset=dataset, sha256__in=hashes)
    few = [sha256 for sha256, n in frames.values_list("sha256").annotate(n=Count("pk")) if n <= _FEW]
    owners = list(frames.filter(sha256__in=few).values_list("sha256", "item_id"))
    homes = _homes(dataset, {item_id for _, item_id in owners})
    found: dict[str, list[Home]] = defaultdict(list)
    for sha256, item_id in owners:
        found[sha256].append(homes[item_id])
    return found


def homes_at(dataset: Dataset, paths: Sequence[str]) -> dict[str, Home]:
    """The items that have these paths, by them."""
    ids = list(Item.objects.filter(dataset=dataset, path__in=paths).values_list("pk", flat=True))
    return {home.path: home for home in _homes(dataset, ids).values()}


def _homes(dataset: Dataset, item_ids: Collection[int]) -> dict[int, Home]:
    names = ("pk", "row", "path", "is_available", "state")
    homes: dict[int, Home] = {}
    for some in _slices(list(item_ids)):
        for pk, row, path, is_available, state in Item.objects.filter(pk__in=some).values_list(*names):
            homes[pk] = Home(pk, row, path, is_available, state != State.UNLABELLED, {})
        frames = list(Frame.objects.filter(item__in=some).values_list("item_id", "role", "pk", "path", *FILLED))
        told = [(item_id, role, pk, path, Examined(*filled)) for item_id, role, pk, path, *filled in frames]
        owners = _n_owners(dataset, {examined.sha256 for *_, examined in told})
        for item_id, role, pk, path, examined in told:
            home = homes[item_id]
            is_shared = owners.get(examined.sha256, 0) > (home.is_available or _WAITING in home.path)
            home.frames[role] = Kept(pk, path, examined, is_shared)
    return homes


def _n_owners(dataset: Dataset, hashes: Collection[str]) -> dict[str, int]:
    """How many items that are there, or were when all this began, have each of the contents."""
    owners: dict[str, int] = {}
    is_there = Q(item__is_available=True) | Q(item__path__contains=_WAITING)
    for some in _slices(list(hashes)):
        frames = Frame.objects.filter(is_there, dataset=dataset, sha256__in=some)
        owners |= dict(frames.values_list("sha256").annotate(n=Count("item_id", distinct=True)))
    return owners


def _slices(ids: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(ids), 500):
        yield ids[start : start + 500]


def best(homes: Sequence[Home], members: Sequence[Member]) -> Home | None:
    """Of items, that with most of the files; of several one that somebody decided about, or of the same name."""
    return min(
        homes,
        key=lambda home: (-home.n_alike(members), not home.is_decided, not home.has_name_of(members), home.path),
        default=None,
    )


def only(homes: Sequence[Home], members: Sequence[Member]) -> Home | None:
    """Of items that have some of the files, the one for which most speaks; None where that is said of several.

    Items of the same contents are one and the same here, as long as one at most was decided about.
    """
    most = max((home.likeness(members) for home in homes), default=None)
    first = [home for home in homes if home.likeness(members) == most]
    if len({home.contents for home in first}) > 1 or sum(home.is_decided for home in first) > 1:
        return None
    return best(first, members)


def has_rival(home: Home, members: Sequence[Member], aside: Aside) -> bool:
    """Whether as much speaks for another group being the item."""
    groups = aside.with_content({sha256 for _, sha256 in home.contents})
    return any(
        home.likeness(others) >= home.likeness(members) for others in groups if others[0].group != members[0].group
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
                updates.append((one.path, *values_of(one.examined), home.frames[one.role].key))
            else:
                new.append((home.item_id, one.role, one.path, one.examined))
        roles = {one.role for one in members}
        left += [kept.key for role, kept in home.frames.items() if role not in roles]
    update_many(Frame, ("path", *FILLED), updates)
    insert_frames(dataset, new)
    mark_content_changed([home.item_id for home, members in moves if _has_other_content(home, members)])
    Frame.objects.filter(pk__in=left).delete()
    set_available(dataset, list(movers), True)


def _has_other_content(home: Home, members: Sequence[Member]) -> bool:
    """Return whether a file of the group was edited, or is new to the item, when it moved."""
    known = {role: kept.examined.sha256 for role, kept in home.frames.items()}
    return any(known.get(one.role) != one.examined.sha256 for one in members)


def forget_waiting(dataset: Dataset) -> None:
    """All groups have found their items: those that made way and are still without files are gone."""
    waiting = Item.objects.filter(dataset=dataset, is_available=False, path__contains=_WAITING)
    last = -1
    while rows := list(waiting.filter(row__gt=last).order_by("row").values_list("row", "path", "pk")[:500]):
        update_many(Item, ("path",), [(path.replace(_WAITING, _GONE), pk) for _, path, pk in rows])
        last = rows[-1][0]


def _put_aside(item_ids: Collection[int]) -> None:
    """Give items and their frames paths that no file has."""
    for some in _slices(list(item_ids)):
        items = Item.objects.filter(pk__in=some).values_list("path", "row", "pk")
        update_many(
            Item,
            ("path",),
            [(f"{_ADDED.sub('', path)[: MAX_PATH - 60]}{_WAITING}{row})", pk) for path, row, pk in items],
        )
        frames = Frame.objects.filter(item__in=some).values_list("path", "pk")
        update_many(Frame, ("path",), [(f"{path[: MAX_PATH - 60]} (replaced, file {pk})", pk) for path, pk in frames])
