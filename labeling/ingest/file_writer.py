"""Write scanned files to the database: create items for new files, and update changed and moved ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from django.db import transaction

from hoshina.jobs.runner import Run
from labeling.decisions.content_changes import mark_content_changed
from labeling.images.file_check import Examined
from labeling.images.folder_walk import FoundFile, may_be_image
from labeling.ingest.bulk_sql import insert, next_row, set_available, storable, update_frames, write_problems
from labeling.ingest.file_moves import FreeItem, FreeItemFinder, SpooledStrays, Stray, move
from labeling.models import Dataset, Frame, Item

# Number of files or items per transaction.
FULL_BATCH = 500


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The record of a file in the database.

    ``is_outdated``: an older version of HOSHINA may have rendered the file differently.
    """

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
    failed: int = 0
    waiting: int = 0

    @property
    def n_found(self) -> int:
        return self.new + self.changed + self.moved + self.unchanged + self.waiting + self.failed


class Writer(ABC):
    """A context manager that writes the results of one scan.

    Call :meth:`write` for all files, then :meth:`settle` for files that wait until the whole folder is scanned, then
    :meth:`mark_vanished`.
    """

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...]) -> None:
        self.dataset = dataset
        self.run = run
        self.endings = endings
        self.counts = Counts()
        # Number of rows assigned by earlier runs.
        self.n_rows = next_row(dataset)

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @property
    @abstractmethod
    def n_broken(self) -> int:
        """Return the number of items whose files exist but can't be read."""

    def checked(self, files: Iterable[FoundFile]) -> Iterable[FoundFile]:
        """Yield the files of the folder. Files with names that do not fit the dataset become problems."""
        return files

    @abstractmethod
    def write(self, batch: Sequence[CheckedFile]) -> None:
        """Write the files whose outcome is certain, in one transaction."""

    @abstractmethod
    def settle(self) -> None:
        """Write the files that waited for the end of the scan."""

    @abstractmethod
    def mark_vanished(self) -> None:
        """Mark items without files as unavailable, except those with other extensions, which were not scanned."""

    def result(self) -> dict[str, Any]:
        """Return additional entries for the result of the run."""
        return {}

    def lock(self) -> None:
        """Lock the dataset, so that other writers cannot assign the same rows."""
        Dataset.objects.select_for_update().get(pk=self.dataset.pk)


class FileWriter(Writer):
    """The writer for datasets in which each file is an item.

    Files whose content was replaced wait, because their old content may be found elsewhere.
    """

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...]) -> None:
        super().__init__(dataset, run, endings)
        # Which items of earlier runs have a file, by row.
        self.seen = np.zeros(self.n_rows, dtype=bool)
        # Items whose file moved, and items whose file can no longer be read.
        self.is_moved, self.is_broken = self.seen.copy(), self.seen.copy()
        self.finder = FreeItemFinder(dataset)
        self.replaced = SpooledStrays()

    def __exit__(self, *_: object) -> None:
        self.replaced.__exit__()

    @property
    def n_broken(self) -> int:
        return int((self.is_broken & ~self.is_moved).sum())

    def write(self, batch: Sequence[CheckedFile]) -> None:
        if not batch:
            return
        new: list[Stray] = []
        touched: list[tuple[int, Examined]] = []
        returned: list[int] = []
        broken: list[int] = []
        problems: dict[str, str] = {}
        for file in batch:
            record, examined = self._unless_moved(file.record), file.examined
            if record is not None and record.row < self.seen.size:
                self.seen[record.row] = True
                self.is_broken[record.row] = bool(file.problem)
            if file.problem:
                problems[storable(file.path)] = file.problem
                broken += [record.item_id] if record else []
            elif file.is_waiting:
                self.counts.waiting += 1
            elif record is None:
                new += [Stray(file.path, examined)] if examined else []
            elif examined is not None and examined.sha256 != record.sha256:
                self.replaced.add(Stray(file.path, examined))
            else:
                touched += [(record.frame_id, examined)] if examined else []
                returned += [] if record.is_available else [record.item_id]
                self.counts.unchanged += 1
        free_items = self.finder.find(new) if new and self.seen.size else {}
        if new or touched or returned or problems:
            with transaction.atomic():
                self.lock()
                # Before the moves, because an unreadable path may belong to an item that moves.
                set_available(self.dataset, broken, False)
                self._move_or_insert(new, free_items)
                update_frames(touched)
                set_available(self.dataset, returned, True)
                write_problems(self.dataset, problems)
        self.counts.returned += len(returned)
        self.counts.failed += sum(bool(file.problem) for file in batch)

    def _unless_moved(self, record: FileRecord | None) -> FileRecord | None:
        """Return ``record``, or None if its item has moved since the lookup."""
        if record is not None and record.row < self.is_moved.size and self.is_moved[record.row]:
            return None
        return record

    def _move_or_insert(self, new: Sequence[Stray], free_items: dict[str, FreeItem]) -> None:
        moved = self._move(new, free_items)
        created = [(stray.path, stray.examined) for stray in new if stray.path not in moved]
        insert(self.dataset, created)
        self.counts.new += len(created)

    def _move(self, strays: Sequence[Stray], free_items: dict[str, FreeItem]) -> set[str]:
        moved = move(self.dataset, free_items, {stray.path: stray.examined for stray in strays})
        rows = [row for path in moved if (row := free_items[path].row) < self.seen.size]
        self.seen[rows] = self.is_moved[rows] = True
        self.counts.moved += len(moved)
        return moved

    def settle(self) -> None:
        # Replaced content belongs to another item, which moves here, or is new.
        if not self.replaced.n:
            return
        self.run.stage("Comparing replaced files", total=self.replaced.n)
        done = 0  # counts each file twice: once compared, once written
        with SpooledStrays() as edited:
            for batch in self.replaced.batches(FULL_BATCH):
                free_items = self.finder.find(batch)
                with transaction.atomic():
                    self.lock()
                    moved = self._move(batch, free_items)
                for stray in batch:
                    if stray.path not in moved:
                        edited.add(stray)
                done += len(batch)
                self.run.progress(done // 2)
            for batch in edited.batches(FULL_BATCH):
                self._write_edited(batch)
                done += len(batch)
                self.run.progress(done // 2)

    def _write_edited(self, batch: Sequence[Stray]) -> None:
        """Update the items of edited files. Items that were moved or displaced in the meantime are skipped."""
        with transaction.atomic():
            self.lock()
            records = file_records(self.dataset, [stray.path for stray in batch])
            update_frames([(records[stray.path].frame_id, stray.examined) for stray in batch if stray.path in records])
            # Another run that was presumed dead may have written the same content.
            mark_content_changed(
                [
                    record.item_id
                    for stray in batch
                    if (record := records.get(stray.path)) is not None and record.sha256 != stray.examined.sha256
                ]
            )
            returned = [record.item_id for record in records.values() if not record.is_available]
            set_available(self.dataset, returned, True)
            self._move_or_insert([stray for stray in batch if stray.path not in records], {})
        self.counts.changed += len(records)
        self.counts.returned += len(returned)

    def mark_vanished(self) -> None:
        rows = np.flatnonzero(~self.seen)
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            batch = rows[start : start + FULL_BATCH].tolist()
            with transaction.atomic():
                items = Item.objects.filter(dataset=self.dataset, row__in=batch, is_available=True)
                gone = [pk for pk, path in items.values_list("pk", "path") if may_be_image(path, self.endings)]
                set_available(self.dataset, gone, False)
            self.run.progress(start + len(batch))
