"""Match moved and renamed groups of files to their items by content.

Groups are matched only after the whole folder is scanned, because the files of a group may be far apart in it. Until
then, files whose content was recorded elsewhere or was replaced are *pending*, together with the new files of their
groups. The *remaining* files of an item are those still at their recorded paths. A file whose content other items
share, such as a reference image for a whole night, does not identify an item: it would also remain if two groups had
swapped places.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import Count, Q

from hoshina.core.batches import batched
from labeling.images.file_check import Examined
from labeling.ingest import moves
from labeling.ingest.bulk_sql import FILLED
from labeling.ingest.moves import Member, Move, PendingFiles
from labeling.models import Dataset, Frame, Item, State

_AT_ONCE = 500


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

    def move_to(self, members: Sequence[Member]) -> Move:
        """Return the move of this item to the group of these files."""
        frames = {role: frame.key for role, frame in self.frames.items()}
        return Move(self.item_id, frames, members, is_changed=self.n_matching(members) < len(members))

    @property
    def contents(self) -> frozenset[tuple[str, str]]:
        """Return pairs of role and SHA-256 of all frames."""
        return frozenset((role, frame.examined.sha256) for role, frame in self.frames.items())


def _name(path: str) -> str:
    """Return the last part of an item's path, without the suffix of placeholder paths."""
    return moves.ADDED.sub("", path).rpartition("/")[2]


def candidates_for(dataset: Dataset, groups: Sequence[Sequence[Member]]) -> dict[str, list[Candidate]]:
    """Return the items that share contents with the groups, by content (SHA-256)."""
    hashes = {member.examined.sha256 for members in groups for member in members}
    frames = Frame.objects.filter(dataset=dataset, sha256__in=hashes)
    few = [sha256 for sha256, n in frames.values_list("sha256").annotate(n=Count("pk")) if n <= moves.FEW]
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
    for batch in batched(list(item_ids), _AT_ONCE):
        for pk, row, path, is_available, state in Item.objects.filter(pk__in=batch).values_list(*names):
            candidates[pk] = Candidate(pk, row, path, is_available, state != State.UNLABELLED, {})
        frames = list(Frame.objects.filter(item__in=batch).values_list("item_id", "role", "pk", "path", *FILLED))
        rows = [(item_id, role, pk, path, Examined(*filled)) for item_id, role, pk, path, *filled in frames]
        owners = _n_owners(dataset, {examined.sha256 for *_, examined in rows})
        for item_id, role, pk, path, examined in rows:
            item = candidates[item_id]
            is_shared = owners.get(examined.sha256, 0) > (item.is_available or moves.WAITING in item.path)
            item.frames[role] = StoredFrame(pk, path, examined, is_shared)
    return candidates


def _n_owners(dataset: Dataset, hashes: Collection[str]) -> dict[str, int]:
    """Return how many items have each content. Counts items that are, or were before matching, available."""
    owners: dict[str, int] = {}
    is_there = Q(item__is_available=True) | Q(item__path__contains=moves.WAITING)
    for batch in batched(list(hashes), _AT_ONCE):
        frames = Frame.objects.filter(is_there, dataset=dataset, sha256__in=batch)
        owners |= dict(frames.values_list("sha256").annotate(n=Count("item_id", distinct=True)))
    return owners


def best_match(candidates: Sequence[Candidate], members: Sequence[Member]) -> Candidate | None:
    """Return the item that matches most files. Ties prefer items with a decision, then items of the same name."""
    return min(
        candidates,
        key=lambda item: (-item.n_matching(members), not item.is_decided, not item.has_name_of(members), item.path),
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
