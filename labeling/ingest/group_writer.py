"""Write scanned files to the database if several files form an item.

A file joins the item of its group whenever it arrives: in this run or a later one, before or after the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Count, QuerySet

from hoshina.jobs.runner import Run
from labeling.decisions.content_changes import mark_content_changed
from labeling.images.file_check import Examined
from labeling.images.folder_walk import FoundFile, may_be_image
from labeling.ingest.bulk_sql import (
    FILLED,
    insert_frames,
    insert_items,
    set_available,
    storable,
    update_frames,
    update_many,
    values_of,
    write_problems,
)
from labeling.ingest.file_writer import FULL_BATCH, CheckedFile, Writer
from labeling.ingest.group_moves import (
    Candidate,
    Member,
    PendingFiles,
    best_match,
    candidates_at,
    candidates_for,
    has_rival,
    mark_displaced_gone,
    move_groups,
    unambiguous_match,
)
from labeling.ingest.grouping_template import MAX_ROLES, Template, in_order
from labeling.models import Dataset, Frame, Item

_GROUPS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Item:
    """The item of a group. ``frames``: (primary key, path, SHA-256) by role; the key of a new frame is 0."""

    pk: int
    row: int
    is_available: bool
    frames: dict[str, tuple[int, str, str]]


class GroupWriter(Writer):
    """The writer for datasets whose files are grouped by ``template``."""

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...], template: Template) -> None:
        super().__init__(dataset, run, endings)
        self.template = template
        # The bit of each role.
        self.bits = {role: 1 << number for number, role in enumerate(dataset.roles)}
        # Roles, as bits by row, of earlier runs' frames whose files are still at their paths, and of unreadable ones.
        self.seen = np.zeros(self.n_rows, dtype=np.uint32)
        self.broken = self.seen.copy()
        self.pending = PendingFiles()
        self.n_left_out = 0

    def __exit__(self, *_: object) -> None:
        self.pending.__exit__()

    @property
    def n_broken(self) -> int:
        return int(((self.broken != 0) & (self.seen == 0)).sum())

    def checked(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        """Yield the files of the folder. Files that the template does not match become problems."""
        for file in files:
            place = None if file.problem else self.template.place(file.path)
            if file.problem:
                yield file
            elif place is None and self.template.other_role(file.path):
                self.n_left_out += 1  # the template excludes this role
            elif place is None:
                yield replace(file, problem=self.template.why_not(file.path))
            elif place.role not in self.bits and len(self.bits) >= MAX_ROLES:
                yield replace(file, problem=f"There are already {MAX_ROLES} roles. List the roles to use.")
            else:
                self.bits.setdefault(place.role, 1 << len(self.bits))
                yield file

    # -- Files with a certain outcome ----------------------------------------------------------------------
    def write(self, batch: Sequence[CheckedFile]) -> None:
        if not batch:
            return
        new: list[Member] = []
        replaced: list[Member] = []
        touched: list[tuple[int, Examined]] = []
        returned: set[int] = set()
        problems: dict[str, str] = {}
        for file in batch:
            record, examined = file.record, file.examined
            if file.problem:
                problems[storable(file.path)] = file.problem
                self._note(self.broken, file)
            elif file.is_waiting:
                self.counts.waiting += 1
                self._note(self.seen, file)
            elif record is None:
                new += [self._member(file.path, examined)] if examined else []
            elif examined is not None and examined.sha256 != record.sha256:
                replaced.append(self._member(file.path, examined))
            else:
                self._note(self.seen, file)
                touched += [(record.frame_id, examined)] if examined else []
                returned |= set() if record.is_available else {record.item_id}
                self.counts.unchanged += 1
        new, waiting = self._split_off_pending(new, replaced)
        self.pending.add(replaced + waiting)
        self.counts.failed += len(problems)
        if new or touched or returned or problems:
            with transaction.atomic():
                self.lock()
                problems |= self._join(new)
                update_frames(touched)
                self._return(returned)
                write_problems(self.dataset, problems)

    def _note(self, bits: np.ndarray[Any, np.dtype[np.uint32]], file: CheckedFile) -> None:
        record, place = file.record, self.template.place(file.path)
        if record is not None and place is not None and record.row < self.n_rows:
            bits[record.row] |= self.bits[place.role]

    def _member(self, path: str, examined: Examined) -> Member:
        place = self.template.place(path)
        assert place is not None  # files without a place are problems, see `checked`
        return Member(place.group, place.role, path, examined)

    def _split_off_pending(self, members: list[Member], replaced: list[Member]) -> tuple[list[Member], list[Member]]:
        """Return files of new content, and files that must wait.

        Files wait if an item of earlier runs has their content, since they may have moved, or if they belong to a group
        with such files or with replaced ones.
        """
        if not self.n_rows or not members:
            return members, []
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in={member.examined.sha256 for member in members})
        known_hashes = set(frames.filter(item__row__lt=self.n_rows).values_list("sha256", flat=True).distinct())
        groups = {member.group for member in members if member.examined.sha256 in known_hashes}
        groups |= {member.group for member in replaced}
        groups |= self.pending.among({member.group for member in members} - groups)
        certain = [member for member in members if member.group not in groups]
        return certain, [member for member in members if member.group in groups]

    def _return(self, item_ids: Iterable[int]) -> None:
        self.counts.returned += set_available(self.dataset, list(item_ids), True)

    # -- Joining --------------------------------------------------------------------------------------
    def _join(self, members: Sequence[Member], *, is_last: bool = False) -> dict[str, str]:
        """Add files to the items of their groups, creating items for new groups. Return the problems.

        A file whose role another file has is pending, since that file may turn out to be missing; except at the end
        (``is_last``).
        """
        if not members:
            return {}
        items = self._items_of(members)
        problems: dict[str, str] = {}
        new, updates = [], []
        returned: set[int] = set()
        changed: set[int] = set()
        for member in members:
            item = items[member.group]
            frame_id, path, sha256 = item.frames.get(member.role, (0, "", ""))
            bit = self.bits[member.role]
            is_gone = item.row < self.n_rows and not (self.seen[item.row] | self.broken[item.row]) & bit
            if not path:
                new.append((item.pk, member.role, member.path, member.examined))
                self.counts.new += 1
            elif path != member.path and not is_gone:
                problems[member.path] = f"The item “{member.group}” already has a file for “{member.role}”: {path}."
                continue
            elif not is_last:
                if path != member.path:  # else another run that was presumed dead wrote it
                    self.pending.add([member])
                continue
            else:
                updates.append((member.path, *values_of(member.examined), frame_id))
                self.counts.changed += 1
            item.frames[member.role] = (frame_id, member.path, member.examined.sha256)
            changed |= set() if sha256 == member.examined.sha256 else {item.pk}
            self._mark(item.row, [member])
            returned |= set() if item.is_available else {item.pk}
        insert_frames(self.dataset, new)
        update_many(Frame, ("path", *FILLED), updates)
        mark_content_changed(changed)
        self._return(returned)
        self._add_roles({role for _, role, _, _ in new})
        self.counts.failed += len(problems)
        return problems

    def _mark(self, row: int, members: Sequence[Member]) -> None:
        if row < self.n_rows:
            for member in members:
                self.seen[row] |= self.bits[member.role]

    def _items_of(self, members: Sequence[Member]) -> dict[str, _Item]:
        """Return the items of the members' groups by path, creating missing ones."""
        groups = list(dict.fromkeys(member.group for member in members))
        stored = Item.objects.filter(dataset=self.dataset)
        items = _by_path(stored.filter(path__in=groups))
        new = [group for group in groups if group not in items]
        if new:
            first = insert_items(self.dataset, new)
            items |= _by_path(stored.filter(row__gte=first))
        by_key = {item.pk: item for item in items.values()}
        frames = Frame.objects.filter(item__in=by_key).values_list("item_id", "role", "pk", "path", "sha256")
        for item_id, role, pk, path, sha256 in frames:
            by_key[item_id].frames[role] = (pk, path, sha256)
        return items

    def _add_roles(self, roles: set[str]) -> None:
        """Add roles of new frames to the dataset."""
        if roles <= set(self.dataset.roles):
            return
        self.dataset.refresh_from_db(fields=["roles"])
        self.dataset.roles = in_order({*self.dataset.roles, *roles})
        self.dataset.save(update_fields=["roles"])

    # -- Pending files -------------------------------------------------------------------------------
    def settle(self) -> None:
        if not self.pending.n:
            return
        # Match whole groups first, then parts of groups. The others changed in place.
        total = self.pending.n
        self.run.stage("Comparing moved or replaced files", total=total)
        for is_whole in (True, False):
            moved: list[str] = []
            for groups in self.pending.batches(_GROUPS_AT_ONCE):
                with transaction.atomic():
                    self.lock()
                    moved += self._move(groups, is_whole=is_whole)
                self.run.progress(self.counts.moved)
            # Remove them only now, because every group is compared with all others.
            self.pending.remove(moved)
        done = self.counts.moved
        for groups in self.pending.batches(_GROUPS_AT_ONCE):
            with transaction.atomic():
                self.lock()
                members = [member for group in groups for member in group]
                write_problems(self.dataset, self._join(members, is_last=True))
            done += len(members)
            self.run.progress(min(done, total))
        with transaction.atomic():
            self.lock()
            mark_displaced_gone(self.dataset)

    def _move(self, groups: Sequence[Sequence[Member]], *, is_whole: bool) -> list[str]:
        """Move items to the groups that match them. Return the names of these groups."""
        candidates = candidates_for(self.dataset, groups)
        places = candidates_at(self.dataset, [members[0].group for members in groups])
        moves: dict[int, tuple[Candidate, Sequence[Member]]] = {}
        for members in groups:
            place = places.get(members[0].group)
            whole = self._with_unchanged(members, place)
            if not _has_unique_roles(whole) or (place is not None and self._is_broken(place)):
                continue
            near = {item.item_id: item for member in members for item in candidates.get(member.examined.sha256, ())}
            fitting = [
                item
                for item in near.values()
                if item.fits(whole, is_whole=is_whole)
                and self._may_leave(item, whole)
                and not (is_whole and item.item_id in moves)
                and (not place or place.item_id in moves or item.displaces(place, self._remaining_roles(place), whole))
            ]
            item = best_match(fitting, whole) if is_whole else unambiguous_match(fitting, whole)
            if item is None or item.item_id in moves or (not is_whole and has_rival(item, members, self.pending)):
                continue
            moves[item.item_id] = (item, whole)
            self.counts.moved += len(members)
        self._release_remaining(moves)
        move_groups(self.dataset, list(moves.values()))
        for item, whole in moves.values():
            self._mark(item.row, whole)
        self._add_roles({member.role for _, whole in moves.values() for member in whole})
        return [whole[0].group for _, whole in moves.values()]

    def _remaining_roles(self, item: Candidate) -> list[str]:
        """Return the roles of an item's files that are still at their paths, or were not scanned."""
        if item.row >= self.n_rows:
            return list(item.frames)
        there = int(self.seen[item.row] | self.broken[item.row])
        return [
            role
            for role, frame in item.frames.items()
            # Files may have been moved since they were scanned.
            if (there & self.bits.get(role, 0) and (self.dataset.data_dir / frame.path).exists())
            or (item.is_available and not may_be_image(frame.path, self.endings))
        ]

    def _with_unchanged(self, members: Sequence[Member], place: Candidate | None) -> Sequence[Member]:
        """Return all files of a group: the pending ones, and the unchanged ones of the item at its path."""
        if place is None:
            return members
        pending_roles = {member.role for member in members}
        return [*members, *(place.member(role) for role in self._remaining_roles(place) if role not in pending_roles)]

    def _may_leave(self, item: Candidate, members: Sequence[Member]) -> bool:
        """Return whether the item's remaining files do not identify it and are fewer than those in ``members``."""
        left = self._remaining_roles(item)
        return not item.is_identified_by(left) and len(left) < item.n_matching(members) and not self._is_broken(item)

    def _is_broken(self, item: Candidate) -> bool:
        """Return whether a file of the item is still at its path but cannot be read."""
        return item.row < self.n_rows and bool(self.broken[item.row])

    def _release_remaining(self, moves: Mapping[int, tuple[Candidate, Sequence[Member]]]) -> None:
        """Add the remaining files of moved items to the pending files, so that they join the group at their path."""
        taken = {member.path for _, whole in moves.values() for member in whole}
        for item, _ in moves.values():
            left = [item.member(role) for role in self._remaining_roles(item)]
            self.pending.add(
                [member for member in left if member.path not in taken and may_be_image(member.path, self.endings)]
            )

    # -- Missing files -----------------------------------------------------------------------------------
    def mark_vanished(self) -> None:
        """Delete frames whose files vanished or can't be read if their items have others, which become incomplete.

        Items without any other files keep their frames and become unavailable.
        """
        rows = np.flatnonzero(self.seen != sum(self.bits.values()))
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            batch = rows[start : start + FULL_BATCH].tolist()
            with transaction.atomic():
                self._forget(batch)
            self.run.progress(start + len(batch))
        self._drop_roles()

    def _forget(self, rows: Sequence[int]) -> None:
        frames = Frame.objects.filter(dataset=self.dataset, item__row__in=rows, item__is_available=True)
        with_others: set[int] = set()
        gone: dict[int, list[int]] = defaultdict(list)
        for item_id, row, role, pk, path in frames.values_list("item_id", "item__row", "role", "pk", "path"):
            bit = self.bits.get(role, 0)
            was_scanned = may_be_image(path, self.endings) or self.broken[row] & bit
            if bit and was_scanned and not self.seen[row] & bit:
                gone[item_id].append(pk)
            else:
                with_others.add(item_id)
        Frame.objects.filter(pk__in=[pk for item_id in gone.keys() & with_others for pk in gone[item_id]]).delete()
        set_available(self.dataset, [item_id for item_id in gone if item_id not in with_others], False)

    def _drop_roles(self) -> None:
        """Remove roles without frames, unless the template names the roles."""
        if self.template.roles:
            return
        there = int(np.bitwise_or.reduce(self.seen)) if self.n_rows else 0
        frames = Frame.objects.filter(dataset=self.dataset)
        with transaction.atomic():
            self.lock()
            self.dataset.refresh_from_db(fields=["roles"])
            remaining = [
                role
                for role in self.dataset.roles
                if there & self.bits.get(role, 0) or frames.filter(role=role).exists()
            ]
            if remaining != self.dataset.roles:
                self.dataset.roles = remaining
                self.dataset.save(update_fields=["roles"])

    def result(self) -> dict[str, Any]:
        there = Item.objects.filter(dataset=self.dataset, is_available=True)
        n_incomplete = there.annotate(n=Count("frames")).filter(n__lt=len(self.dataset.roles)).count()
        return {
            "grouping": self.template.text,
            "roles": self.dataset.roles,
            "frames": Frame.objects.filter(dataset=self.dataset).count(),
            "incomplete": n_incomplete,
            "left_out": self.n_left_out,
        }


def _by_path(items: QuerySet[Item]) -> dict[str, _Item]:
    values = items.values_list("path", "pk", "row", "is_available")
    return {path: _Item(pk, row, is_available, {}) for path, pk, row, is_available in values}


def _has_unique_roles(members: Sequence[Member]) -> bool:
    return len({member.role for member in members}) == len(members)
