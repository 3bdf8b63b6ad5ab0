"""Write scanned files to the database if each file is an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hoshina.jobs.runner import Run
from labeling.ingest.bulk_sql import ROLE, insert, set_available
from labeling.ingest.file_moves import FreeItem, FreeItemFinder
from labeling.ingest.grouping_template import Place
from labeling.ingest.moves import Member, Move, PendingFiles, move_items
from labeling.ingest.writer import CheckedFile, FileRecord, Writer
from labeling.models import Dataset, Frame


class FileWriter(Writer):
    """The writer for datasets in which each file is an item."""

    def __init__(self, dataset: Dataset, run: Run, endings: tuple[str, ...]) -> None:
        super().__init__(dataset, run, endings, {ROLE: 1}, PendingFiles("rowid"))
        # Which items of earlier runs moved to another file.
        self.is_moved = np.zeros(self.n_rows, dtype=bool)
        self.finder = FreeItemFinder(dataset)

    def place(self, path: str) -> Place:
        return Place(path, ROLE)

    def record_of(self, file: CheckedFile) -> FileRecord | None:
        """Return the record of a file, or None if its item has moved since the lookup."""
        record = file.record
        return None if record and record.row < self.n_rows and self.is_moved[record.row] else record

    def plan(
        self, new: list[Member], replaced: list[Member], unreadable: Sequence[int]
    ) -> Callable[[], dict[str, str]]:
        self.pending.add(replaced)
        free_items = self.finder.find(new) if new and self.n_rows else {}

        def write() -> dict[str, str]:
            # Before the moves, because an unreadable path may belong to an item that moves.
            set_available(self.dataset, unreadable, False)
            moved = self._move(new, free_items)
            created = [(member.path, member.examined) for member in new if member.path not in moved]
            insert(self.dataset, created)
            self.counts.new += len(created)
            return {}

        return write

    def passes(self) -> Sequence[Callable[[list[list[Member]]], set[str]]]:
        return (self._move_pending,)

    def _move_pending(self, groups: list[list[Member]]) -> set[str]:
        members = [member for group in groups for member in group]
        free_items = self.finder.find(members)
        with self.locked():
            return self._move(members, free_items)

    def _move(self, members: Sequence[Member], free_items: dict[str, FreeItem]) -> set[str]:
        """Move free items to the files that they match, by path. Return the paths that were assigned."""
        # Another run that was presumed dead may have moved some of them.
        frames = Frame.objects.filter(pk__in=[free_item.frame_id for free_item in free_items.values()])
        unmoved = set(frames.values_list("pk", "path")) if free_items else set()
        moves = {
            member.path: Move(free_item.item_id, {ROLE: free_item.frame_id}, [member], is_changed=False)
            for member in members
            if (free_item := free_items.get(member.path)) and (free_item.frame_id, free_item.path) in unmoved
        }
        move_items(self.dataset, list(moves.values()))
        rows = [row for path in moves if (row := free_items[path].row) < self.n_rows]
        self.seen[rows] = self.is_moved[rows] = True
        self.counts.moved += len(moves)
        return set(moves)
