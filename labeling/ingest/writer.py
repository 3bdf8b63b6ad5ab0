"""Write scanned files to the database: create items and frames for new files, and update changed and returned ones.

A dataset in which each file is an item has groups of one file, whose name is the file's path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from django.db import transaction
from django.db.models import QuerySet
from numpy.typing import NDArray

from hoshina.jobs.runner import Run
from labeling.decisions.content_changes import mark_content_changed
from labeling.images.file_check import Examined
from labeling.images.folder_walk import FoundFile, may_be_image
from labeling.ingest.bulk_sql import (
    FILLED,
    insert_frames,
    insert_items,
    next_row,
    set_available,
    storable,
    update_frames,
    update_many,
    values_of,
    write_problems,
)
from labeling.ingest.grouping_template import Place, in_order
from labeling.ingest.moves import Member, PendingFiles
from labeling.models import Dataset, Frame, Item

# Number of files or items per transaction.
FULL_BATCH = 500


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The record of a file; ``is_outdated``: an older version of HOSHINA may have rendered the file differently."""

    item_id: int
    frame_id: int
    row: int
    is_available: bool
    size: int
    mtime_ns: int
    sha256: str
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """The result of checking a file: it has a problem, was read, must wait or, if none of these, is unchanged."""

    path: str
    record: FileRecord | None
    examined: Examined | None = None
    problem: str = ""
    is_waiting: bool = False


def file_records(dataset: Dataset, paths: Sequence[str]) -> dict[str, FileRecord]:
    """Return the records of the files at these paths, by path."""
    frames = Frame.objects.filter(dataset=dataset, path__in=paths).values_list(
        "path", "item_id", "id", "item__row", "item__is_available", "size", "mtime_ns", "sha256", "revision"
    )
    return {
        path: FileRecord(item_id, frame_id, row, is_available, size, mtime_ns, sha256, revision is None)
        for path, item_id, frame_id, row, is_available, size, mtime_ns, sha256, revision in frames
    }


@dataclass(slots=True)
class Counts:
    """The numbers of files of one run, by outcome."""

    new: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    returned: int = 0
    n_failed: int = 0
    waiting: int = 0

    @property
    def n_found(self) -> int:
        return self.new + self.changed + self.moved + self.unchanged + self.waiting + self.n_failed


@dataclass(frozen=True, slots=True)
class _Item:
    """The item of a group. ``frames``: (primary key, path, SHA-256) by role; the key of a new frame is 0."""

    pk: int
    row: int
    is_available: bool
    frames: dict[str, tuple[int, str, str]]


class Writer(ABC):
    """A context manager that writes the results of one scan.

    Call :meth:`write` for all files, then :meth:`settle` for files that wait until the whole folder is scanned, then
    :meth:`mark_vanished`. ``bits``: the bit of each role.
    """

    # Number of groups that are settled in one transaction.
    settled_at_once: ClassVar[int] = 200

    def __init__(
        self, dataset: Dataset, run: Run, endings: tuple[str, ...], bits: dict[str, int], pending: PendingFiles
    ) -> None:
        self.dataset = dataset
        self.run = run
        self.endings = endings
        self.bits = bits
        # Files whose content was replaced wait, because their old content may be found elsewhere.
        self.pending = pending
        self.counts = Counts()
        # Number of rows assigned by earlier runs.
        self.n_rows = next_row(dataset)
        # Roles, as bits by row, of earlier runs' frames whose files are still at their paths, and of unreadable ones.
        self.seen = np.zeros(self.n_rows, dtype=np.uint32)
        self.broken = self.seen.copy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pending.__exit__()

    @property
    def n_broken(self) -> int:
        """Return the number of items whose files exist but can't be read."""
        return int(((self.broken != 0) & (self.seen == 0)).sum())

    def checked(self, files: Iterable[FoundFile]) -> Iterable[FoundFile]:
        """Yield the files of the folder. Files with names that do not fit the dataset become problems."""
        return files

    @abstractmethod
    def place(self, path: str) -> Place | None:
        """Return the group and role of a file; None if its name does not fit the dataset."""

    @abstractmethod
    def plan(
        self, new: list[Member], replaced: list[Member], unreadable: Sequence[int]
    ) -> Callable[[], dict[str, str]]:
        """Make files pending that must wait, and return the function that writes the others and returns problems.

        ``unreadable``: IDs of items of files that can't be read. The function is called in a transaction.
        """

    @abstractmethod
    def passes(self) -> Sequence[Callable[[list[list[Member]]], Collection[str]]]:
        """Return functions that move items to some pending groups that match them, and return these groups' names.

        Each is called for all pending groups before the next one is.
        """

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Run the block in a transaction that locks the dataset, so that no other writer can assign the same rows."""
        with transaction.atomic():
            Dataset.objects.select_for_update().get(pk=self.dataset.pk)
            yield

    # -- Files with a certain outcome ----------------------------------------------------------------------
    def write(self, batch: Sequence[CheckedFile]) -> None:
        """Write the files whose outcome is certain, in one transaction."""
        if not batch:
            return
        new: list[Member] = []
        replaced: list[Member] = []
        touched: list[tuple[int, Examined]] = []
        returned: set[int] = set()
        unreadable: list[int] = []
        problems: dict[str, str] = {}
        for file in batch:
            record, examined = self.record_of(file), file.examined
            if file.problem:
                problems[storable(file.path)] = file.problem
                unreadable += [record.item_id] if record else []
                self._note(self.broken, file.path, record)
            elif file.is_waiting:
                self.counts.waiting += 1
                self._note(self.seen, file.path, record)
            elif record is None:
                new += [self._member(file.path, examined)] if examined else []
            elif examined is not None and examined.sha256 != record.sha256:
                replaced.append(self._member(file.path, examined))
            else:
                self._note(self.seen, file.path, record)
                touched += [(record.frame_id, examined)] if examined else []
                returned |= set() if record.is_available else {record.item_id}
                self.counts.unchanged += 1
        self.counts.n_failed += len(problems)
        write_new = self.plan(new, replaced, unreadable)
        if new or touched or returned or problems:
            with self.locked():
                problems |= write_new()
                update_frames(touched)
                self._return(returned)
                write_problems(self.dataset, problems)

    def record_of(self, file: CheckedFile) -> FileRecord | None:
        """Return the record of a file, as far as it is still true."""
        return file.record

    def _note(self, bits: NDArray[np.uint32], path: str, record: FileRecord | None) -> None:
        place = self.place(path)
        if record is not None and place is not None and record.row < self.n_rows:
            bits[record.row] |= self.bits[place.role]

    def _member(self, path: str, examined: Examined) -> Member:
        place = self.place(path)
        assert place is not None  # files without a place are problems, see `checked`
        return Member(place.group, place.role, path, examined)

    def _return(self, item_ids: Iterable[int]) -> None:
        self.counts.returned += set_available(self.dataset, list(item_ids), True)

    # -- Joining --------------------------------------------------------------------------------------
    def join(self, members: Sequence[Member], *, is_last: bool = False) -> dict[str, str]:
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
            self.mark_seen(item.row, [member])
            returned |= set() if item.is_available else {item.pk}
        insert_frames(self.dataset, new)
        update_many(Frame, ("path", *FILLED), updates)
        mark_content_changed(changed)
        self._return(returned)
        self.add_roles({role for _, role, _, _ in new})
        self.counts.n_failed += len(problems)
        return problems

    def mark_seen(self, row: int, members: Sequence[Member]) -> None:
        """Record that the files of an item are at their paths."""
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

    def add_roles(self, roles: set[str]) -> None:
        """Add roles of new frames to a dataset whose files are grouped."""
        if not self.dataset.grouping or roles <= set(self.dataset.roles):
            return
        self.dataset.refresh_from_db(fields=["roles"])
        self.dataset.roles = in_order({*self.dataset.roles, *roles})
        self.dataset.save(update_fields=["roles"])

    # -- Pending files -------------------------------------------------------------------------------
    def settle(self) -> None:
        """Write the files that waited for the end of the scan: items move to them, or else changed in place."""
        if not self.pending.n:
            return
        total = self.pending.n
        self.run.stage("Comparing moved or replaced files", total=total)
        passes = (*self.passes(), self._join_last)
        done = 0  # counts each file once per pass
        for move in passes:
            settled: list[str] = []
            for groups in self.pending.batches(self.settled_at_once):
                settled += move(groups)
                done += sum(map(len, groups))
                self.run.progress(min(done // len(passes), total))
            # Remove them only now, because every group is compared with all others.
            self.pending.remove(settled)

    def _join_last(self, groups: Sequence[Sequence[Member]]) -> Collection[str]:
        with self.locked():
            write_problems(self.dataset, self.join([member for group in groups for member in group], is_last=True))
        return ()

    # -- Missing files -----------------------------------------------------------------------------------
    def mark_vanished(self) -> None:
        """Delete frames whose files vanished or can't be read if their items have others, which become incomplete.

        Items without any other files keep their frames and become unavailable, except those with other extensions,
        which were not scanned.
        """
        rows = np.flatnonzero(self.seen != sum(self.bits.values()))
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            with transaction.atomic():
                self._forget(rows[start : start + FULL_BATCH].tolist())
            self.run.progress(min(start + FULL_BATCH, len(rows)))

    def _forget(self, rows: Sequence[int]) -> None:
        frames = Frame.objects.filter(item__dataset=self.dataset, item__row__in=rows, item__is_available=True)
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

    def result(self) -> dict[str, Any]:
        """Return additional entries for the result of the run."""
        return {}


def _by_path(items: QuerySet[Item]) -> dict[str, _Item]:
    values = items.values_list("path", "pk", "row", "is_available")
    return {path: _Item(pk, row, is_available, {}) for path, pk, row, is_available in values}
