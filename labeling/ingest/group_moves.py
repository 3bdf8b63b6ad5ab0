"""Match moved and renamed groups of files to their items by content.

Groups are matched only after the whole folder is scanned, because the files of a group may be far apart in it. Until
then, files whose content was recorded elsewhere or was replaced are *pending*, together with the new files of their
groups. The *remaining* files of an item are those still at their recorded paths. A file whose content other items
share, such as a reference image for a whole night, does not identify an item: it would also remain if two groups had
swapped places.
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

# Content that more frames share does not identify an item: 100,000 items may share a black image.
_FEW = 50
# Suffixes of the placeholder paths of displaced items, before and after all groups are matched.
_WAITING, _GONE = " (replaced, image ", " (gone, image "
_ADDED = re.compile(r" \((replaced|gone), image \d+\)$")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a group: its group and role, its path, and its content."""

    group: str
    role: str
    path: str
    examined: Examined


class PendingFiles:
    """Files that wait for matching, in a temporary SQLite database, so that a million do not fill the memory."""

    def __init__(self) -> None:
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
        """Yield batches of ``size`` groups by name, each a list of its files by path.

        Groups that were yielded may be removed during the iteration.
        """
        last = ""
        while True:
            groups = self._groups("SELECT DISTINCT name FROM member WHERE name > ? ORDER BY name LIMIT ?", (last, size))
            if not groups:
                return
            yield groups
            last = groups[-1][0].group

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
        return self._groups(names, (json.dumps(list(hashes)), _FEW))

    def _groups(self, names: str, values: tuple[object, ...]) -> list[list[Member]]:
        rows = self._database.execute(
            f"SELECT name, role, path, examined FROM member WHERE name IN ({names}) ORDER BY name, path",  # noqa: S608
            values,
        )
        members = [Member(name, role, path, msgspec.json.decode(row, type=Examined)) for name, role, path, row in rows]
        return [list(group) for _, group in groupby(members, key=attrgetter("group"))]

    def remove(self, groups: Collection[str]) -> None:
        self._database.executemany("DELETE FROM member WHERE name = ?", [(group,) for group in groups])


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame in the database. ``is_shared``: whether other available items have the same content."""

    key: int
    path: str
    examined: Examined
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that a group may belong to, with its frames by role."""

    item_id: int
    row: int
    path: str
    is_available: bool
    is_decided: bool
    frames: dict[str, StoredFrame]

    def n_matching(self, members: Sequence[Member]) -> int:
        """Return the number of files that match frames of this item by role and content."""
        return len(self._matching_roles(members))

    def _matching_roles(self, members: Sequence[Member]) -> list[str]:
        return [
            member.role
            for member in members
            if member.role in self.frames and self.frames[member.role].examined.sha256 == member.examined.sha256
        ]

    def fits(self, members: Sequence[Member], *, is_whole: bool) -> bool:
        """Return whether the files match this item.

        If ``is_whole``, they must match all of its frames and have no others. Otherwise they must match most of its
        frames, including one that identifies it; or any frame, if only the folder changed and not the name.
        """
        matching = self._matching_roles(members)
        if is_whole:
            return len(matching) == len(self.frames) == len(members)
        has_most = 2 * len(matching) > len(self.frames) and self.is_identified_by(matching)
        return has_most or (bool(matching) and self.has_name_of(members))

    def has_name_of(self, members: Sequence[Member]) -> bool:
        """Return whether the item and the group have the same name, in any folder."""
        return _name(self.path) == _name(members[0].group)

    def likeness(self, members: Sequence[Member]) -> tuple[int, int, bool]:
        """Return a score, larger for better matches, of how well the files match this item."""
        matching = self._matching_roles(members)
        n_identifying = sum(not self.frames[role].is_shared for role in matching)
        return n_identifying, len(matching), self.has_name_of(members)

    def is_identified_by(self, roles: Sequence[str]) -> bool:
        """Return whether at least one of these files is shared by no other item."""
        return any(not self.frames[role].is_shared for role in roles)

    def displaces(self, place: Candidate, left: Sequence[str], members: Sequence[Member]) -> bool:
        """Return whether this item may replace ``place``, the item at the group's path, whose files ``left`` remain.

        It may if the remaining files do not identify ``place`` and this item matches more files. It also may if this
        item has a decision, ``place`` has none, and either most files are this item's, or all of its frames match and
        the name is unchanged: ``place`` was then created from files that arrived before the others.
        """
        n = self.n_matching(members)
        has_most = n > place.n_matching(members)
        if place.item_id == self.item_id:
            return False
        if not place.is_identified_by(left):
            return has_most
        is_all_of_it = self.has_name_of(members) and n == len(self.frames)
        return self.is_decided and not place.is_decided and (is_all_of_it or (has_most and 2 * n > len(members)))

    def member(self, role: str) -> Member:
        """Return one of the item's files as a member of the group at its path."""
        return Member(self.path, role, self.frames[role].path, self.frames[role].examined)

    @property
    def contents(self) -> frozenset[tuple[str, str]]:
        """Return pairs of role and SHA-256 of all frames."""
        return frozenset((role, frame.examined.sha256) for role, frame in self.frames.items())


def _name(path: str) -> str:
    """Return the last part of an item's path, without the suffix of placeholder paths."""
    return _ADDED.sub("", path).rpartition("/")[2]


def candidates_for(dataset: Dataset, groups: Sequence[Sequence[Member]]) -> dict[str, list[Candidate]]:
    """Return the items that share contents with the groups, by content (SHA-256)."""
    hashes = {member.examined.sha256 for members in groups for member in members}
    frames = Frame.objects.filter(dataset=dataset, sha256__in=hashes)
    few = [sha256 for sha256, n in frames.values_list("sha256").annotate(n=Count("pk")) if n <= _FEW]
    owners = list(frames.filter(sha256__in=few).values_list("sha256", "item_id"))
    candidates = _load_candidates(dataset, {item_id for _, item_id in owners})
    by_content: dict[str, list[Candidate]] = defaultdict(list)
    for sha256, item_id in owners:
        by_content[sha256].append(candidates[item_id])
    return by_content


def candidates_at(dataset: Dataset, paths: Sequence[str]) -> dict[str, Candidate]:
    """Return the items with these paths, by path."""
    ids = list(Item.objects.filter(dataset=dataset, path__in=paths).values_list("pk", flat=True))
    return {item.path: item for item in _load_candidates(dataset, ids).values()}


def _load_candidates(dataset: Dataset, item_ids: Collection[int]) -> dict[int, Candidate]:
    names = ("pk", "row", "path", "is_available", "state")
    candidates: dict[int, Candidate] = {}
    for batch in _slices(list(item_ids)):
        for pk, row, path, is_available, state in Item.objects.filter(pk__in=batch).values_list(*names):
            candidates[pk] = Candidate(pk, row, path, is_available, state != State.UNLABELLED, {})
        frames = list(Frame.objects.filter(item__in=batch).values_list("item_id", "role", "pk", "path", *FILLED))
        rows = [(item_id, role, pk, path, Examined(*filled)) for item_id, role, pk, path, *filled in frames]
        owners = _n_owners(dataset, {examined.sha256 for *_, examined in rows})
        for item_id, role, pk, path, examined in rows:
            item = candidates[item_id]
            is_shared = owners.get(examined.sha256, 0) > (item.is_available or _WAITING in item.path)
            item.frames[role] = StoredFrame(pk, path, examined, is_shared)
    return candidates


def _n_owners(dataset: Dataset, hashes: Collection[str]) -> dict[str, int]:
    """Return how many items have each content. Counts items that are, or were before matching, available."""
    owners: dict[str, int] = {}
    is_there = Q(item__is_available=True) | Q(item__path__contains=_WAITING)
    for batch in _slices(list(hashes)):
        frames = Frame.objects.filter(is_there, dataset=dataset, sha256__in=batch)
        owners |= dict(frames.values_list("sha256").annotate(n=Count("item_id", distinct=True)))
    return owners


def _slices(ids: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(ids), 500):
        yield ids[start : start + 500]


def best_match(candidates: Sequence[Candidate], members: Sequence[Member]) -> Candidate | None:
    """Return the item that matches most files. Ties prefer items with a decision, then items of the same name."""
    return min(
        candidates,
        key=lambda item: (
            -item.n_matching(members),
            not item.is_decided,
            not item.has_name_of(members),
            item.path,
        ),
        default=None,
    )


def unambiguous_match(candidates: Sequence[Candidate], members: Sequence[Member]) -> Candidate | None:
    """Return the item with the highest likeness to the files; None if it is ambiguous.

    Items with the same contents are interchangeable as long as at most one of them has a decision.
    """
    most = max((item.likeness(members) for item in candidates), default=None)
    first = [item for item in candidates if item.likeness(members) == most]
    if len({item.contents for item in first}) > 1 or sum(item.is_decided for item in first) > 1:
        return None
    return best_match(first, members)


def has_rival(item: Candidate, members: Sequence[Member], pending: PendingFiles) -> bool:
    """Return whether another pending group matches the item at least as well."""
    groups = pending.with_content({sha256 for _, sha256 in item.contents})
    return any(
        item.likeness(others) >= item.likeness(members) for others in groups if others[0].group != members[0].group
    )


def move_groups(dataset: Dataset, moves: Sequence[tuple[Candidate, Sequence[Member]]]) -> None:
    """Give items the paths and files of the groups that they match. The dataset must be locked.

    Other items at these paths get placeholder paths, and are missing until their own files are found.
    """
    movers = {item.item_id for item, _ in moves}
    displaced = dict(
        Item.objects.filter(dataset=dataset, path__in=[to[0].group for _, to in moves]).values_list("pk", "row")
    )
    _displace(movers | displaced.keys())
    set_available(dataset, [pk for pk in displaced if pk not in movers], False)
    update_many(Item, ("path",), [(members[0].group, item.item_id) for item, members in moves])
    updates, new, unmatched = [], [], []
    for item, members in moves:
        for member in members:
            if member.role in item.frames:
                updates.append((member.path, *values_of(member.examined), item.frames[member.role].key))
            else:
                new.append((item.item_id, member.role, member.path, member.examined))
        roles = {member.role for member in members}
        unmatched += [frame.key for role, frame in item.frames.items() if role not in roles]
    update_many(Frame, ("path", *FILLED), updates)
    insert_frames(dataset, new)
    mark_content_changed([item.item_id for item, members in moves if _has_other_content(item, members)])
    Frame.objects.filter(pk__in=unmatched).delete()
    set_available(dataset, list(movers), True)


def _has_other_content(item: Candidate, members: Sequence[Member]) -> bool:
    """Return whether a file of the moved group was edited or is new to the item."""
    recorded = {role: frame.examined.sha256 for role, frame in item.frames.items()}
    return any(recorded.get(member.role) != member.examined.sha256 for member in members)


def mark_displaced_gone(dataset: Dataset) -> None:
    """Mark displaced items that still have no files as gone, after all groups are matched."""
    waiting = Item.objects.filter(dataset=dataset, is_available=False, path__contains=_WAITING)
    last = -1
    while rows := list(waiting.filter(row__gt=last).order_by("row").values_list("row", "path", "pk")[:500]):
        update_many(Item, ("path",), [(path.replace(_WAITING, _GONE), pk) for _, path, pk in rows])
        last = rows[-1][0]


def _displace(item_ids: Collection[int]) -> None:
    """Give items and their frames placeholder paths."""
    for batch in _slices(list(item_ids)):
        items = Item.objects.filter(pk__in=batch).values_list("path", "row", "pk")
        update_many(
            Item,
            ("path",),
            [(f"{_ADDED.sub('', path)[: MAX_PATH - 60]}{_WAITING}{row})", pk) for path, row, pk in items],
        )
        frames = Frame.objects.filter(item__in=batch).values_list("path", "pk")
        update_many(Frame, ("path",), [(f"{path[: MAX_PATH - 60]} (replaced, file {pk})", pk) for path, pk in frames])
