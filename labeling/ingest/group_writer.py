"""Writing what an ingest looked at where several files make one item.

A file joins the item of its group whenever it comes: in this run or a later one, before the others or after them.
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
from labeling.images.folder_walk import Found, is_looked_for
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
from labeling.ingest.file_writer import FULL_BATCH, Looked, Writer
from labeling.ingest.group_moves import (
    Aside,
    Home,
    Member,
    best,
    forget_waiting,
    has_rival,
    homes_at,
    homes_of,
    move_groups,
    only,
)
from labeling.ingest.grouping_template import MAX_ROLES, Template, in_order
from labeling.models import Dataset, Frame, Item

_GROUPS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Item:
    """The item of a group, and (key, path, SHA-256) of its frames by their roles; the key is 0 for one just made."""

    pk: int
    row: int
    is_available: bool
    frames: dict[str, tuple[int, str, str]]


class GroupWriter(Writer):
    """For a dataset whose files are grouped by ``template``."""

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...], template: Template) -> None:
        super().__init__(dataset, run, endings)
        self.template = template
        # One bit for each role.
        self.bits = {role: 1 << number for number, role in enumerate(dataset.roles)}
        # Which frames of earlier runs' items are where they were, and which of those can't be read: by row.
        self.seen = np.zeros(self.n_rows, dtype=np.uint32)
        self.broken = self.seen.copy()
        self.aside = Aside()
        self.n_left_out = 0

    def __exit__(self, *_: object) -> None:
        self.aside.__exit__()

    @property
    def n_broken(self) -> int:
        return int(((self.broken != 0) & (self.seen == 0)).sum())

    def checked(self, found: Iterable[Found]) -> Iterator[Found]:
        for one in found:
            place = None if one.problem else self.template.place(one.path)
            if one.problem:
                yield one
            elif place is None and self.template.other_role(one.path):
                self.n_left_out += 1  # somebody chose the roles that count
            elif place is None:
                yield replace(one, problem=self.template.why_not(one.path))
            elif place.role not in self.bits and len(self.bits) >= MAX_ROLES:
                yield replace(one, problem=f"There are {MAX_ROLES} roles already. Name those that count.")
            else:
                self.bits.setdefault(place.role, 1 << len(self.bits))
                yield one

    # -- What is plain already ----------------------------------------------------------------------
    def write(self, batch: Sequence[Looked]) -> None:
        if not batch:
            return
        new: list[Member] = []
        replaced: list[Member] = []
        touched: list[tuple[int, Examined]] = []
        returned: set[int] = set()
        problems: dict[str, str] = {}
        for looked in batch:
            known, examined = looked.known, looked.examined
            if looked.problem:
                problems[storable(looked.path)] = looked.problem
                self._note(self.broken, looked)
            elif looked.is_waiting:
                self.counts.waiting += 1
                self._note(self.seen, looked)
            elif known is None:
                new += [self._member(looked.path, examined)] if examined else []
            elif examined is not None and examined.sha256 != known.sha256:
                replaced.append(self._member(looked.path, examined))
            else:
                self._note(self.seen, looked)
                touched += [(known.frame_id, examined)] if examined else []
                returned |= set() if known.is_available else {known.item_id}
                self.counts.unchanged += 1
        new, waiting = self._apart(new, replaced)
        self.aside.add(replaced + waiting)
        self.counts.failed += len(problems)
        if new or touched or returned or problems:
            with transaction.atomic():
                self.lock()
                problems |= self._join(new)
                update_frames(touched)
                self._return(returned)
                write_problems(self.dataset, problems)

    def _note(self, bits: np.ndarray[Any, np.dtype[np.uint32]], looked: Looked) -> None:
        known, place = looked.known, self.template.place(looked.path)
        if known is not None and place is not None and known.row < self.n_rows:
            bits[known.row] |= self.bits[place.role]

    def _member(self, path: str, examined: Examined) -> Member:
        place = self.template.place(path)
        assert place is not None  # what has none is a problem, see `checked`
        return Member(place.group, place.role, path, examined)

    def _apart(self, members: list[Member], replaced: list[Member]) -> tuple[list[Member], list[Member]]:
        """Those with new content, and those whose content an item of earlier runs has: these may have been moved, and
        what is new of their groups was edited then."""
        if not self.n_rows or not members:
            return members, []
        frames = Frame.objects.filter(dataset=self.dataset, sha256__in={one.examined.sha256 for one in members})
        known = set(frames.filter(item__row__lt=self.n_rows).values_list("sha256", flat=True).distinct())
        groups = {one.group for one in members if one.examined.sha256 in known} | {one.group for one in replaced}
        groups |= self.aside.among({one.group for one in members} - groups)
        return (
            [one for one in members if one.group not in groups],
            [one for one in members if one.group in groups],
        )

    def _return(self, item_ids: Iterable[int]) -> None:
        self.counts.returned += set_available(self.dataset, list(item_ids), True)

    # -- Joining --------------------------------------------------------------------------------------
    def _join(self, members: Sequence[Member], *, is_last: bool = False) -> dict[str, str]:
        """Make files frames of the items of their groups; new groups become items. Returns the problems.

        A file whose role another file has is put aside, since that one may turn out to be gone; not so in the end
        (``is_last``).
        """
        if not members:
            return {}
        items = self._items_of(members)
        problems: dict[str, str] = {}
        new, updates = [], []
        returned: set[int] = set()
        changed: set[int] = set()
        for one in members:
            item = items[one.group]
            frame_id, path, sha256 = item.frames.get(one.role, (0, "", ""))
            is_gone = item.row < self.n_rows and not (self.seen[item.row] | self.broken[item.row]) & self.bits[one.role]
            if not path:
                new.append((item.pk, one.role, one.path, one.examined))
                self.counts.new += 1
            elif path != one.path and not is_gone:
                problems[one.path] = f"The item “{one.group}” has a file for “{one.role}” already: {path}."
                continue
            elif not is_last:
                if path != one.path:  # else another run, thought dead, wrote it meanwhile
                    self.aside.add([one])
                continue
            else:
                updates.append((one.path, *values_of(one.examined), frame_id))
                self.counts.changed += 1
            item.frames[one.role] = (frame_id, one.path, one.examined.sha256)
            changed |= set() if sha256 == one.examined.sha256 else {item.pk}
            self._mark(item.row, [one])
            returned |= set() if item.is_available else {item.pk}
        insert_frames(self.dataset, new)
        update_many(Frame, ("path", *FILLED), updates)
        mark_content_changed(changed)
        self._return(returned)
        self._tell_roles({role for _, role, _, _ in new})
        self.counts.failed += len(problems)
        return problems

    def _mark(self, row: int, members: Sequence[Member]) -> None:
        if row < self.n_rows:
            for one in members:
                self.seen[row] |= self.bits[one.role]

    def _items_of(self, members: Sequence[Member]) -> dict[str, _Item]:
        """The items of the members' groups by path, made where there is none."""
        groups = list(dict.fromkeys(one.group for one in members))
        there = Item.objects.filter(dataset=self.dataset)
        items = _by_path(there.filter(path__in=groups))
        made = [group for group in groups if group not in items]
        if made:
            first = insert_items(self.dataset, made)
            items |= _by_path(there.filter(row__gte=first))
        by_key = {item.pk: item for item in items.values()}
        frames = Frame.objects.filter(item__in=by_key).values_list("item_id", "role", "pk", "path", "sha256")
        for item_id, role, pk, path, sha256 in frames:
            by_key[item_id].frames[role] = (pk, path, sha256)
        return items

    def _tell_roles(self, roles: set[str]) -> None:
        """New roles, as soon as there are frames of them."""
        if roles <= set(self.dataset.roles):
            return
        self.dataset.refresh_from_db(fields=["roles"])
        self.dataset.roles = in_order({*self.dataset.roles, *roles})
        self.dataset.save(update_fields=["roles"])

    # -- What had to wait -------------------------------------------------------------------------------
    def settle(self) -> None:
        if not self.aside.n:
            return
        # Whole groups choose first, then parts of groups; what is left changed where it is.
        total = self.aside.n
        self.run.stage("Comparing what was moved or replaced", total=total)
        for is_whole in (True, False):
            moved: list[str] = []
            for groups in self.aside.batches(_GROUPS_AT_ONCE):
                with transaction.atomic():
                    self.lock()
                    moved += self._move(groups, is_whole=is_whole)
                self.run.progress(self.counts.moved)
            # Not before: a group is compared with all others, whichever came first.
            self.aside.remove(moved)
        done = self.counts.moved
        for groups in self.aside.batches(_GROUPS_AT_ONCE):
            with transaction.atomic():
                self.lock()
                members = [one for some in groups for one in some]
                write_problems(self.dataset, self._join(members, is_last=True))
            done += len(members)
            self.run.progress(min(done, total))
        with transaction.atomic():
            self.lock()
            forget_waiting(self.dataset)

    def _move(self, groups: Sequence[Sequence[Member]], *, is_whole: bool) -> list[str]:
        """Let items follow their files; returns the groups that were given one."""
        homes = homes_of(self.dataset, groups)
        places = homes_at(self.dataset, [members[0].group for members in groups])
        moves: dict[int, tuple[Home, Sequence[Member]]] = {}
        for members in groups:
            place = places.get(members[0].group)
            whole = self._with_rest(members, place)
            if not _roles_once(whole) or (place is not None and self._is_broken(place)):
                continue
            near = {home.item_id: home for one in members for home in homes.get(one.examined.sha256, ())}
            fitting = [
                home
                for home in near.values()
                if home.fits(whole, is_whole=is_whole)
                and self._may_leave(home, whole)
                and not (is_whole and home.item_id in moves)
                and (place is None or place.item_id in moves or home.displaces(place, self._left(place), whole))
            ]
            home = best(fitting, whole) if is_whole else only(fitting, whole)
            if home is None or home.item_id in moves or (not is_whole and has_rival(home, members, self.aside)):
                continue
            moves[home.item_id] = (home, whole)
            self.counts.moved += len(members)
        self._leave_behind(moves)
        move_groups(self.dataset, list(moves.values()))
        for home, whole in moves.values():
            self._mark(home.row, whole)
        self._tell_roles({one.role for _, whole in moves.values() for one in whole})
        return [whole[0].group for _, whole in moves.values()]

    def _left(self, home: Home) -> list[str]:
        """The roles of an item's files that are where they were, or were not looked for."""
        if home.row >= self.n_rows:
            return list(home.frames)
        there = int(self.seen[home.row] | self.broken[home.row])
        return [
            role
            for role, kept in home.frames.items()
            # Files may have been moved since they were seen.
            if (there & self.bits.get(role, 0) and (self.dataset.data_dir / kept.path).exists())
            or (home.is_available and not is_looked_for(kept.path, self.endings))
        ]

    def _with_rest(self, members: Sequence[Member], place: Home | None) -> Sequence[Member]:
        """All files of a group: those put aside, and those of the item of its path that are unchanged."""
        if place is None:
            return members
        known = {one.role for one in members}
        return [*members, *(place.member(role) for role in self._left(place) if role not in known)]

    def _may_leave(self, home: Home, members: Sequence[Member]) -> bool:
        """Whether nothing that tells of an item is left where it was, and more of it is found among ``members``."""
        left = self._left(home)
        return not home.is_told_by(left) and len(left) < home.n_alike(members) and not self._is_broken(home)

    def _is_broken(self, home: Home) -> bool:
        """Whether a file of the item is where it was, but cannot be read."""
        return home.row < self.n_rows and bool(self.broken[home.row])

    def _leave_behind(self, moves: Mapping[int, tuple[Home, Sequence[Member]]]) -> None:
        """Files that an item leaves where it was are part of whatever else lies there."""
        taken = {one.path for _, whole in moves.values() for one in whole}
        for home, _ in moves.values():
            left = [home.member(role) for role in self._left(home)]
            self.aside.add([one for one in left if one.path not in taken and is_looked_for(one.path, self.endings)])

    # -- What is gone -----------------------------------------------------------------------------------
    def mark_vanished(self) -> None:
        """Frames whose files vanished or can't be read are forgotten where the item has others: it is incomplete. One
        that has none left is missing, and keeps them."""
        rows = np.flatnonzero(self.seen != sum(self.bits.values()))
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            some = rows[start : start + FULL_BATCH].tolist()
            with transaction.atomic():
                self._forget(some)
            self.run.progress(start + len(some))
        self._drop_roles()

    def _forget(self, rows: Sequence[int]) -> None:
        frames = Frame.objects.filter(dataset=self.dataset, item__row__in=rows, item__is_available=True)
        kept: set[int] = set()
        gone: dict[int, list[int]] = defaultdict(list)
        for item_id, row, role, pk, path in frames.values_list("item_id", "item__row", "role", "pk", "path"):
            bit = self.bits.get(role, 0)
            was_looked_for = is_looked_for(path, self.endings) or self.broken[row] & bit
            if bit and was_looked_for and not self.seen[row] & bit:
                gone[item_id].append(pk)
            else:
                kept.add(item_id)
        Frame.objects.filter(pk__in=[pk for item_id in gone.keys() & kept for pk in gone[item_id]]).delete()
        set_available(self.dataset, [item_id for item_id in gone if item_id not in kept], False)

    def _drop_roles(self) -> None:
        """Roles that no frame has any more, unless the template names them."""
        if self.template.roles:
            return
        there = int(np.bitwise_or.reduce(self.seen)) if self.n_rows else 0
        frames = Frame.objects.filter(dataset=self.dataset)
        with transaction.atomic():
            self.lock()
            self.dataset.refresh_from_db(fields=["roles"])
            kept = [
                role
                for role in self.dataset.roles
                if there & self.bits.get(role, 0) or frames.filter(role=role).exists()
            ]
            if kept != self.dataset.roles:
                self.dataset.roles = kept
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
    found = items.values_list("path", "pk", "row", "is_available")
    return {path: _Item(pk, row, is_available, {}) for path, pk, row, is_available in found}


def _roles_once(members: Sequence[Member]) -> bool:
    return len({one.role for one in members}) == len(members)
