"""Read a folder of images into a dataset: recursive, restartable, safe to repeat.

Files are looked at by a few threads (Pillow and hashlib work without the interpreter's lock) and written in
batches, the first ones small, so that there is something to label at once. Nothing is held of files that
were dealt with but a few bytes each, so a folder of a million costs no more memory than one of a thousand.

Labels follow content: a file that was moved or renamed keeps its item (see labeling.moving). Files whose content
was replaced wait until the whole folder was looked at, because what they held may have turned up elsewhere.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hoshina.jobs.errors import JobError
from hoshina.jobs.runner import Run
from labeling.images.opening import DEFAULT_EXTENSIONS
from labeling.images.problems import ImageProblem
from labeling.images.reading import Examined, examine
from labeling.images.rendering import Rendering
from labeling.images.scanning import Found, count, walk
from labeling.models import MAX_PATH, Dataset, Frame, Item, Problem
from labeling.moving import Finder, Home, Later, Stray, move
from labeling.records import insert, next_row, set_available, update_frames, write_problems
from labeling.registering import folder_problem
from labeling.signals import ingested
from labeling.watching import is_settled

# A batch is committed when it is full or this many seconds old. The first ones are small: people are waiting.
FIRST_BATCH = 30
FULL_BATCH = 500
_BATCH_SECONDS = 2.0
# Files are looked up in the database by the group, and handed to a thread by the slice.
_GROUP = 480
_SLICE = 8
_SLICES_AHEAD = 64
_FAILED_SHOWN = 100
# PostgreSQL's index of (dataset, path) takes no more than this.
_MAX_PATH_BYTES = 2500


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database holds of a file."""

    item_id: int
    frame_id: int
    row: int
    is_available: bool
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Looked:
    """A file that was looked at: it has a problem, was read, has to wait, or (none of these) has not changed."""

    path: str
    known: _Known | None
    examined: Examined | None = None
    problem: str = ""
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class _How:
    """How to look at the files."""

    root: Path
    rendering: Rendering
    reread: bool
    settled: float


def ingest(
    dataset: Dataset,
    run: Run,
    extensions: Sequence[str] = DEFAULT_EXTENSIONS,
    *,
    reread: bool = False,
    settled: float = 0.0,
) -> dict[str, Any]:
    """Bring a dataset up to date with its folder, and tell the rooms above (signal ``ingested``).

    New files become items; changed ones are read again; moved ones keep their item; vanished ones are marked as
    missing and come back when their file does; those that cannot be read become problems with a reason.
    Interrupted at any moment, a second run goes on where the first one stopped, since unchanged files are known
    by size and time and not opened; unless ``reread`` asks for it, because another part of each file is shown now.
    Files that were written to within the last ``settled`` seconds are left for the next time.

    Returns
    -------
    dict
        ``dataset slug items new changed moved unchanged waiting returned missing n_failed failed
        seconds``; ``failed`` holds the first 100 of ``{path, reason}``, all of them are the dataset's problems.

    Raises
    ------
    JobError
        When the folder is missing, cannot be read, or never had an image in it.
    """
    began = time.monotonic()
    words = folder_problem(dataset.data_dir)
    if words:
        write_problems(dataset, {".": words})
        raise JobError(words)
    ingestion = _Ingestion(dataset, run, extensions, reread=reread, settled=settled)
    with ingestion.replaced:
        ingestion.read()
        ingestion.settle_replaced()
    ingestion.mark_vanished()
    result = ingestion.finish()
    ingested.send(sender=Dataset, dataset_id=dataset.pk)
    return result | {"seconds": round(time.monotonic() - began, 2)}


class _Ingestion:
    """One run over the folder of one dataset."""

    def __init__(self, dataset: Dataset, run: Run, extensions: Sequence[str], *, reread: bool, settled: float) -> None:
        self.dataset = dataset
        self.how = _How(dataset.data_dir, dataset.shown_as, reread, settled)
        self.run = run
        self.root = dataset.data_dir
        self.endings = tuple(extension.lower() for extension in extensions)
        self.started_at = timezone.now()
        # Which of the items of earlier runs have a file: one byte each, by row.
        self.seen = np.zeros(next_row(dataset), dtype=bool)
        # Those whose file is elsewhere now, and those whose file can no longer be read.
        self.is_moved, self.is_broken = self.seen.copy(), self.seen.copy()
        self.finder = Finder(dataset)
        self.replaced = Later()
        self.new = self.changed = self.moved = self.unchanged = self.returned = self.failed = self.waiting = 0

    # -- Looking ----------------------------------------------------------------------------------
    def read(self) -> None:
        """Look at every file and write what was found."""
        self.run.stage("Reading the images")
        stop = threading.Event()
        threads = min(8, (os.cpu_count() or 2) + 1)
        with ThreadPoolExecutor(threads + 1, thread_name_prefix="ingest") as pool:
            try:
                # Counts in its own thread meanwhile: only the progress bar waits for the number.
                total = pool.submit(count, self.root, self.endings, stop, skip=settings.STORE_DIR)
                self._write_in_batches(self._look_at_all(pool), total)
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _write_in_batches(self, looked_at: Iterable[_Looked], total: Future[int]) -> None:
        batch: list[_Looked] = []
        full, written_at, done = FIRST_BATCH, time.monotonic(), 0
        for looked in looked_at:
            batch.append(looked)
            done += 1
            if len(batch) >= full or time.monotonic() - written_at > _BATCH_SECONDS:
                self._write(batch)
                batch, full, written_at = [], min(full * 2, FULL_BATCH), time.monotonic()
            self.run.progress(done, _result_so_far(total))
        self._write(batch)
        self.run.progress(done, done)

    def _look_at_all(self, pool: ThreadPoolExecutor) -> Iterator[_Looked]:
        """Every file in the folder's order, looked at by the threads of ``pool``, a bounded way ahead."""
        ahead: deque[Future[list[_Looked]]] = deque()
        found = iter(walk(self.root, self.endings, skip=settings.STORE_DIR))
        while group := list(itertools.islice(found, _GROUP)):
            known = self._look_up(group)
            for start in range(0, len(group), _SLICE):
                files = [(one, known.get(one.path)) for one in group[start : start + _SLICE]]
                ahead.append(pool.submit(_look, self.how, files))
                while ahead and (ahead[0].done() or len(ahead) > _SLICES_AHEAD):
                    yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()

    def _look_up(self, group: Sequence[Found]) -> dict[str, _Known]:
        """What is known of these files, by path."""
        if not self.seen.size:
            return {}
        paths = [found.path for found in group if not _name_problem(found.path)]
        frames = Frame.objects.filter(dataset=self.dataset, path__in=paths).values_list(
            "path", "item_id", "id", "item__row", "item__is_available", "size", "mtime_ns", "sha256"
        )
        return {
            path: _Known(item_id, frame_id, row, is_available, size, mtime_ns, sha256)
            for path, item_id, frame_id, row, is_available, size, mtime_ns, sha256 in frames
        }

    # -- Writing ----------------------------------------------------------------------------------
    def _write(self, batch: Sequence[_Looked]) -> None:
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
                problems[_shown(looked.path)] = looked.problem
                broken += [known.item_id] if known else []
            elif looked.is_waiting:
                self.waiting += 1
            elif known is None:
                new += [Stray(looked.path, examined)] if examined else []
            elif examined is not None and examined.sha256 != known.sha256:
                self.replaced.add(Stray(looked.path, examined))
            else:
                touched += [(known.frame_id, examined)] if examined else []
                returned += [] if known.is_available else [known.item_id]
                self.unchanged += 1
        homes = self.finder.find(new) if new and self.seen.size else {}
        if new or touched or returned or problems:
            with transaction.atomic():
                self._lock()
                # Before the moves: a path that cannot be read may be that of an item that moves.
                set_available(self.dataset, broken, False)
                self._move_or_insert(new, homes)
                update_frames(touched)
                set_available(self.dataset, returned, True)
                write_problems(self.dataset, problems)
        self.returned += len(returned)
        self.failed += sum(bool(looked.problem) for looked in batch)

    def _lock(self) -> None:
        """Rows are given out one by one, whoever else writes."""
        Dataset.objects.select_for_update().get(pk=self.dataset.pk)

    def _still(self, known: _Known | None) -> _Known | None:
        """None for an item that has moved away since it was looked up."""
        if known is not None and known.row < self.is_moved.size and self.is_moved[known.row]:
            return None
        return known

    def _move_or_insert(self, new: Sequence[Stray], homes: dict[str, Home]) -> None:
        moved = self._move(new, homes)
        made = [(stray.path, stray.examined) for stray in new if stray.path not in moved]
        insert(self.dataset, made)
        self.new += len(made)

    def _move(self, strays: Sequence[Stray], homes: dict[str, Home]) -> set[str]:
        moved = move(self.dataset, homes, {stray.path: stray.examined for stray in strays})
        rows = [row for path in moved if (row := homes[path].row) < self.seen.size]
        self.seen[rows] = self.is_moved[rows] = True
        self.moved += len(moved)
        return moved

    def settle_replaced(self) -> None:
        """Files whose content was replaced: by that of another item, which moves there, or by something new."""
        if not self.replaced.n:
            return
        self.run.stage("Comparing what was replaced", total=self.replaced.n)
        done = 0  # counts each twice: once compared, once written
        with Later() as edited:
            for batch in self.replaced.batches(FULL_BATCH):
                homes = self.finder.find(batch)
                with transaction.atomic():
                    self._lock()
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
            self._lock()
            known = self._look_up([Found(stray.path) for stray in batch])
            update_frames([(known[one.path].frame_id, one.examined) for one in batch if one.path in known])
            returned = [one.item_id for one in known.values() if not one.is_available]
            set_available(self.dataset, returned, True)
            self._move_or_insert([stray for stray in batch if stray.path not in known], {})
        self.changed += len(known)
        self.returned += len(returned)

    def mark_vanished(self) -> None:
        """Items without a file become unavailable. Files of other extensions were not looked for."""
        rows = np.flatnonzero(~self.seen)
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            some = rows[start : start + FULL_BATCH].tolist()
            with transaction.atomic():
                items = Item.objects.filter(dataset=self.dataset, row__in=some, is_available=True)
                gone = [pk for pk, path in items.values_list("pk", "path") if path.lower().endswith(self.endings)]
                set_available(self.dataset, gone, False)
            self.run.progress(start + len(some))

    def finish(self) -> dict[str, Any]:
        """Forget problems that are no more, and sum up. Raises JobError when there never was an image."""
        if not self.new + self.changed + self.moved + self.unchanged + self.waiting + self.failed:
            words = f"There are no images in {self.root}: no file name ends in {', '.join(self.endings)}."
            write_problems(self.dataset, {".": words})
            if not self.seen.size:
                raise JobError(words)
            self.failed += 1
        Problem.objects.filter(dataset=self.dataset, seen_at__lt=self.started_at).delete()
        self.dataset.refresh_from_db()
        failed = self.dataset.problems.values("path", "reason")[:_FAILED_SHOWN]
        return {
            "dataset": self.dataset.name,
            "slug": self.dataset.slug,
            "items": self.dataset.n_items,
            "new": self.new,
            "changed": self.changed,
            "moved": self.moved,
            "unchanged": self.unchanged,
            "waiting": self.waiting,
            "returned": self.returned,
            "missing": self.dataset.n_missing - int((self.is_broken & ~self.is_moved).sum()),
            "n_failed": self.failed,
            "failed": list(failed),
        }


def _look(how: _How, files: Sequence[tuple[Found, _Known | None]]) -> list[_Looked]:
    """Look at a few files; runs in a thread and never touches the database."""
    return [_look_at(how, found, known) for found, known in files]


def _look_at(how: _How, found: Found, known: _Known | None) -> _Looked:
    problem = found.problem or _name_problem(found.path)
    if problem:
        return _Looked(found.path, known, problem=problem)
    file = how.root / found.path
    try:
        if how.settled or (known is not None and not how.reread):
            status = file.stat()
            if known is not None and not how.reread and _is_as_known(status, known):
                return _Looked(found.path, known)
            if how.settled and not is_settled(status, how.settled):
                return _Looked(found.path, known, is_waiting=True)
        return _Looked(found.path, known, examine(file, how.rendering))
    except ImageProblem as error:
        if _is_being_written(file, how.settled):
            return _Looked(found.path, known, is_waiting=True)
        return _Looked(found.path, known, problem=error.reason)
    except OSError as error:
        return _Looked(found.path, known, problem=f"The file cannot be reached ({error.strerror or error}).")


def _is_being_written(file: Path, settled: float) -> bool:
    try:
        return settled > 0 and not is_settled(file.stat(), settled)
    except OSError:  # gone meanwhile
        return False


def _is_as_known(status: os.stat_result, known: _Known) -> bool:
    return (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns)


def _name_problem(path: str) -> str:
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "The name is not valid UTF-8, so it cannot be stored; rename the file."
    if len(path) > MAX_PATH or size > _MAX_PATH_BYTES:
        return f"The path is too long ({size:,} bytes); rename the file or a folder that it is in."
    return ""


def _shown(path: str) -> str:
    """The path as it can be stored: bytes that are no UTF-8 as ``\\xe9``, and too long ones cut."""
    words = os.fsencode(path).decode("utf-8", "backslashreplace")
    if len(words) <= MAX_PATH and len(words.encode()) <= _MAX_PATH_BYTES:
        return words
    return f"{words[:300]}…{hashlib.sha256(words.encode()).hexdigest()[:8]}…{words[-200:]}"


def _result_so_far(total: Future[int]) -> int:
    """The number of files once it is counted; 0 (unknown) before, or when counting failed."""
    return total.result() if total.done() and not total.cancelled() and total.exception() is None else 0
