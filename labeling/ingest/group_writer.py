"""Write scanned files to the database if several files form an item.

A file joins the item of its group whenever it arrives: in this run or a later one, before or after the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from django.db.models import Count

from hoshina.jobs.runner import Run
from labeling.images.folder_walk import FoundFile, may_be_image
from labeling.ingest.group_moves import (
    Candidate,
    best_match,
    candidates_at,
    candidates_for,
    has_rival,
    unambiguous_match,
)
from labeling.ingest.grouping_template import MAX_ROLES, Place, Template
from labeling.ingest.moves import Member, PendingFiles, mark_displaced_gone, move_items
from labeling.ingest.writer import Writer
from labeling.models import Dataset, Frame, Item


class GroupWriter(Writer):
    """The writer for datasets whose files are grouped by ``template``."""

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...], template: Template) -> None:
        bits = {role: 1 << number for number, role in enumerate(dataset.roles)}
        super().__init__(dataset, run, endings, bits, PendingFiles())
        self.template = template
        self.n_left_out = 0

    def place(self, path: str) -> Place | None:
        return self.template.place(path)

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

    def plan(
        self, new: list[Member], replaced: list[Member], unreadable: Sequence[int]
    ) -> Callable[[], dict[str, str]]:
        waiting = self._names_of_waiting(new, replaced)
        self.pending.add(replaced + [member for member in new if member.group in waiting])
        return partial(self.join, [member for member in new if member.group not in waiting])

    def _names_of_waiting(self, members: list[Member], replaced: list[Member]) -> set[str]:
        """Return the names of the groups whose new files must wait.

        They wait if an item of earlier runs has the content of one of them, since they may have moved, or if their
        group has replaced or waiting files.
        """
        if not self.n_rows or not members:
            return set()
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in={member.examined.sha256 for member in members})
        known_hashes = set(frames.filter(item__row__lt=self.n_rows).values_list("sha256", flat=True).distinct())
        groups = {member.group for member in members if member.examined.sha256 in known_hashes}
        groups |= {member.group for member in replaced}
        return groups | self.pending.among({member.group for member in members} - groups)

    # -- Pending files -------------------------------------------------------------------------------
    def settle(self) -> None:
        if not self.pending.n:
            return
        super().settle()
        with self.locked():
            mark_displaced_gone(self.dataset)

    def passes(self) -> Sequence[Callable[[list[list[Member]]], list[str]]]:
        # Match whole groups first, then parts of groups. The others changed in place.
        return partial(self._move, is_whole=True), partial(self._move, is_whole=False)

    def _move(self, groups: Sequence[Sequence[Member]], *, is_whole: bool) -> list[str]:
        """Move items to the groups that match them. Return the names of these groups."""
        with self.locked():
            moves = self._matches(groups, is_whole=is_whole)
            self._release_remaining(moves)
            move_items(self.dataset, [item.move_to(whole) for item, whole in moves.values()])
            for item, whole in moves.values():
                self.mark_seen(item.row, whole)
            self.add_roles({member.role for _, whole in moves.values() for member in whole})
        return [whole[0].group for _, whole in moves.values()]

    def _matches(
        self, groups: Sequence[Sequence[Member]], *, is_whole: bool
    ) -> dict[int, tuple[Candidate, Sequence[Member]]]:
        """Return the items that match groups by their IDs, with all files of the group."""
        candidates = candidates_for(self.dataset, groups)
        places = candidates_at(self.dataset, [members[0].group for members in groups])
        moves: dict[int, tuple[Candidate, Sequence[Member]]] = {}
        for members in groups:
            place = places.get(members[0].group)
            whole = self._with_unchanged(members, place)
            if len({member.role for member in whole}) < len(whole) or (place is not None and self._is_broken(place)):
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
        return moves

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
        super().mark_vanished()
        if not self.template.roles:  # the template does not name them
            self._drop_roles()

    def _drop_roles(self) -> None:
        """Remove roles without frames."""
        there = int(np.bitwise_or.reduce(self.seen)) if self.n_rows else 0
        frames = Frame.objects.filter(dataset=self.dataset)
        with self.locked():
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
