"""Writing what an ingest looked at: new files become items, changed ones are updated, moved ones keep their item."""

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
from labeling.images.folder_walk import Found, is_looked_for
from labeling.ingest.bulk_sql import insert, next_row, set_available, storable, update_frames, write_problems
from labeling.ingest.file_moves import Finder, Home, Later, Stray, move
from labeling.models import Dataset, Frame, Item

# So many files or items in one transaction.
FULL_BATCH = 500


@dataclass(frozen=True, slots=True)
class Known:
    """What the database holds of a file; ``is_outdated``: an older version of HOSHINA may have shown it otherwise."""

    item_id: int
    frame_id: int
    row: int
    is_available: bool
    size: int
    mtime_ns: int
    sha256: str
    is_outdated: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """A file that was looked at: it has a problem, was read, has to wait, or (none of these) has not changed."""

    path: str
    known: Known | None
    examined: Examined | None = None
    problem: str = ""
    is_waiting: bool = False


def known_files(dataset: Dataset, paths: Sequence[str]) -> dict[str, Known]:
    """What the database holds of the files at these paths."""
    frames = Frame.objects.filter(dataset=dataset, path__in=paths).values_list(
        "path", "item_id", "id", "item__row", "item__is_available", "size", "mtime_ns", "sha256", "revision"
    )
    return {
        path: Known(item_id, frame_id, row, is_available, size, mtime_ns, sha256, revision is None)
        for path, item_id, frame_id, row, is_available, size, mtime_ns, sha256, revision in frames
    }


@dataclass(slots=True)
class Counts:
    """Files of one run by what became of them."""

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
    """Writes what one run over a folder finds; a context.

    First :meth:`write` for every file, then :meth:`settle` for what had to wait until the whole folder was looked at,
    then :meth:`mark_vanished`.
    """

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...]) -> None:
        self.dataset = dataset
        self.run = run
        self.endings = endings
        self.counts = Counts()
        # Rows that earlier runs gave out.
        self.n_rows = next_row(dataset)

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @property
    @abstractmethod
    def n_broken(self) -> int:
        """Items whose files are there and can't be read."""

    def checked(self, found: Iterable[Found]) -> Iterable[Found]:
        """The files of the folder; those whose names say that they can't be part of the dataset as problems."""
        return found

    @abstractmethod
    def write(self, batch: Sequence[Looked]) -> None:
        """Write what is plain already, in one transaction."""

    @abstractmethod
    def settle(self) -> None:
        """Write what had to wait."""

    @abstractmethod
    def mark_vanished(self) -> None:
        """Items without a file become unavailable. Files of other extensions were not looked for."""

    def result(self) -> dict[str, Any]:
        """What else there is to tell about the dataset."""
        return {}

    def lock(self) -> None:
        """Rows are given out one by one, whoever else writes."""
        Dataset.objects.select_for_update().get(pk=self.dataset.pk)


class FileWriter(Writer):
    """For a dataset in which each file is an item.

    Files whose content was replaced wait, because what they held may have turned up elsewhere.
    """

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...]) -> None:
        super().__init__(dataset, run, endings)
        # Which of the items of earlier runs have a file: one byte each, by row.
        self.seen = np.zeros(self.n_rows, dtype=bool)
        # Those whose file is elsewhere now, and those whose file can no longer be read.
        self.is_moved, self.is_broken = self.seen.copy(), self.seen.copy()
        self.finder = Finder(dataset)
        self.replaced = Later()

    def __exit__(self, *_: object) -> None:
        self.replaced.__exit__()

    @property
    def n_broken(self) -> int:
        return int((self.is_broken & ~self.is_moved).sum())

    def write(self, batch: Sequence[Looked]) -> None:
        if not batch:
            return
        new: list[Stray] = []
        touched: list[tuple[int, Examined]] = []
        returned: list[int] = []
        broken: list[int] = []
        problems: dict[str, str] = {}
        for looked in batch:
            known, examined = self._still(looked.known), looked.examined
            if known is not None and known.row < self.seen.size:
                self.seen[known.row] = True
                self.is_broken[known.row] = bool(looked.problem)
            if looked.problem:
                problems[storable(looked.path)] = looked.problem
                broken += [known.item_id] if known else []
            elif looked.is_waiting:
                self.counts.waiting += 1
            elif known is None:
                new += [Stray(looked.path, examined)] if examined else []
            elif examined is not None and examined.sha256 != known.sha256:
                self.replaced.add(Stray(looked.path, examined))
            else:
                touched += [(known.frame_id, examined)] if examined else []
                returned += [] if known.is_available else [known.item_id]
                self.counts.unchanged += 1
        homes = self.finder.find(new) if new and self.seen.size else {}
        if new or touched or returned or problems:
            with transaction.atomic():
                self.lock()
                # Before the moves: a path that cannot be read may be that of an item that moves.
                set_available(self.dataset, broken, False)
                self._move_or_insert(new, homes)
                update_frames(touched)
                set_available(self.dataset, returned, True)
                write_problems(self.dataset, problems)
        self.counts.returned += len(returned)
        self.counts.failed += sum(bool(looked.problem) for looked in batch)

    def _still(self, known: Known | None) -> Known | None:
        """None for an item that has moved away since it was looked up."""
        if known is not None and known.row < self.is_moved.size and self.is_moved[known.row]:
            return None
        return known

    def _move_or_insert(self, new: Sequence[Stray], homes: dict[str, Home]) -> None:
        moved = self._move(new, homes)
        made = [(stray.path, stray.examined) for stray in new if stray.path not in moved]
        insert(self.dataset, made)
        self.counts.new += len(made)

    def _move(self, strays: Sequence[Stray], homes: dict[str, Home]) -> set[str]:
        moved = move(self.dataset, homes, {stray.path: stray.examined for stray in strays})
        rows = [row for path in moved if (row := homes[path].row) < self.seen.size]
        self.seen[rows] = self.is_moved[rows] = True
        self.counts.moved += len(moved)
        return moved

    def settle(self) -> None:
        # A file's content was replaced by that of another item, which moves there, or by something new.
        if not self.replaced.n:
            return
        self.run.stage("Comparing what was replaced", total=self.replaced.n)
        done = 0  # counts each twice: once compared, once written
        with Later() as edited:
            for batch in self.replaced.batches(FULL_BATCH):
                homes = self.finder.find(batch)
                with transaction.atomic():
                    self.lock()
                    moved = self._move(batch, homes)
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
        """Other content at the same path is the same item; unless that has moved away or made way meanwhile."""
        with transaction.atomic():
            self.lock()
            known = known_files(self.dataset, [stray.path for stray in batch])
            update_frames([(known[one.path].frame_id, one.examined) for one in batch if one.path in known])
            # Another run, thought dead, may have written the same content meanwhile.
            mark_content_changed(
                [
                    found.item_id
                    for one in batch
                    if (found := known.get(one.path)) is not None and found.sha256 != one.examined.sha256
                ]
            )
            returned = [one.item_id for one in known.values() if not one.is_available]
            set_available(self.dataset, returned, True)
            self._move_or_insert([stray for stray in batch if stray.path not in known], {})
        self.counts.changed += len(known)
        self.counts.returned += len(returned)

    def mark_vanished(self) -> None:
        rows = np.flatnonzero(~self.seen)
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            some = rows[start : start + FULL_BATCH].tolist()
            with transaction.atomic():
                items = Item.objects.filter(dataset=self.dataset, row__in=some, is_available=True)
                gone = [pk for pk, path in items.values_list("pk", "path") if is_looked_for(path, self.endings)]
                set_available(self.dataset, gone, False)
            self.run.progress(start + len(some))
