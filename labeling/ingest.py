"""Read a folder of images into a dataset: recursive, restartable, safe to repeat.

Files are looked at by a few threads (Pillow and hashlib work without the interpreter's lock) and written in
batches, the first ones small, so that there is something to label at once. Nothing is held of files that
were dealt with but one byte each, so a folder of a million costs no more memory than one of a thousand.
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
from django.db.models import F, Max
from django.utils import timezone

from hoshina.jobs.errors import JobError
from hoshina.jobs.runner import Run
from labeling.images.opening import DEFAULT_EXTENSIONS
from labeling.images.problems import ImageProblem
from labeling.images.reading import Examined, examine
from labeling.images.rendering import Rendering
from labeling.images.scanning import Found, count, walk
from labeling.models import MAX_PATH, Dataset, Frame, Item, Problem
from labeling.registering import folder_problem
from labeling.signals import ingested

ROLE = "image"
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
    """A file that was looked at: it has a problem, was read, or (neither) has not changed."""

    path: str
    known: _Known | None
    examined: Examined | None = None
    problem: str = ""


def ingest(
    dataset: Dataset, run: Run, extensions: Sequence[str] = DEFAULT_EXTENSIONS, *, reread: bool = False
) -> dict[str, Any]:
    """Bring a dataset up to date with its folder, and tell the rooms above (signal ``ingested``).

    New files become items; changed ones are read again; vanished ones are marked as missing and come back
    when their file does; those that cannot be read become problems with a reason. Interrupted at any
    moment, a second run goes on where the first one stopped, since unchanged files are known by size and
    time and not opened; unless ``reread`` asks for it, because another part of each file is shown now.

    Returns
    -------
    dict
        ``dataset slug items new changed unchanged returned missing n_failed failed seconds``; ``failed``
        holds the first 100 of ``{path, reason}``, all of them are the dataset's problems.

    Raises
    ------
    JobError
        When the folder is missing, cannot be read, or never had an image in it.
    """
    began = time.monotonic()
    words = folder_problem(dataset.data_dir)
    if words:
        _write_problems(dataset, {".": words})
        raise JobError(words)
    ingestion = _Ingestion(dataset, run, extensions, reread=reread)
    ingestion.read()
    ingestion.mark_vanished()
    result = ingestion.finish()
    ingested.send(sender=Dataset, dataset_id=dataset.pk)
    return result | {"seconds": round(time.monotonic() - began, 2)}


class _Ingestion:
    """One run over the folder of one dataset."""

    def __init__(self, dataset: Dataset, run: Run, extensions: Sequence[str], *, reread: bool = False) -> None:
        self.dataset = dataset
        self.rendering = dataset.shown_as
        self.reread = reread
        self.run = run
        self.root = dataset.data_dir
        self.endings = tuple(extension.lower() for extension in extensions)
        self.started_at = timezone.now()
        # Which of the items of earlier runs have a file: one byte each, by row.
        self.seen = np.zeros(_next_row(dataset), dtype=bool)
        self.new = self.changed = self.unchanged = self.returned = self.broken = self.failed = 0

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
                ahead.append(pool.submit(_look, self.root, files, self.rendering, self.reread))
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
        new: list[tuple[str, Examined]] = []
        changed: list[tuple[_Known, Examined]] = []
        returned: list[int] = []
        broken: list[int] = []
        problems: dict[str, str] = {}
        for looked in batch:
            known = looked.known
            if looked.problem:
                problems[_shown(looked.path)] = looked.problem
                if known is not None:
                    broken.append(known.item_id)
            elif known is None:
                if looked.examined is not None:
                    new.append((looked.path, looked.examined))
            else:
                if looked.examined is not None:
                    changed.append((known, looked.examined))
                if not known.is_available:
                    returned.append(known.item_id)
            if known is not None and known.row < self.seen.size:
                self.seen[known.row] = True
        if new or changed or returned or problems:
            with transaction.atomic():
                # Locked: rows are given out one by one, whoever else writes.
                Dataset.objects.select_for_update().get(pk=self.dataset.pk)
                _insert(self.dataset, new)
                _update_frames(changed)
                _set_available(self.dataset, returned, True)
                _set_available(self.dataset, broken, False)
                _write_problems(self.dataset, problems)
        failed = sum(bool(looked.problem) for looked in batch)
        # A file that was only touched is the same image.
        really = sum(known.sha256 != examined.sha256 for known, examined in changed)
        self.new += len(new)
        self.changed += really
        self.unchanged += len(batch) - len(new) - really - failed
        self.returned += len(returned)
        self.broken += len(broken)
        self.failed += failed

    def mark_vanished(self) -> None:
        """Items without a file become unavailable. Files of other extensions were not looked for."""
        rows = np.flatnonzero(~self.seen)
        self.run.stage("Looking for missing files", total=len(rows))
        for start in range(0, len(rows), FULL_BATCH):
            some = rows[start : start + FULL_BATCH].tolist()
            with transaction.atomic():
                items = Item.objects.filter(dataset=self.dataset, row__in=some, is_available=True)
                gone = [pk for pk, path in items.values_list("pk", "path") if path.lower().endswith(self.endings)]
                _set_available(self.dataset, gone, False)
            self.run.progress(start + len(some))

    def finish(self) -> dict[str, Any]:
        """Forget problems that are no more, and sum up. Raises JobError when there never was an image."""
        if not self.new + self.changed + self.unchanged + self.failed:
            words = f"There are no images in {self.root}: no file name ends in {', '.join(self.endings)}."
            _write_problems(self.dataset, {".": words})
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
            "unchanged": self.unchanged,
            "returned": self.returned,
            "missing": self.dataset.n_missing - self.broken,
            "n_failed": self.failed,
            "failed": list(failed),
        }


def _look(
    root: Path, files: Sequence[tuple[Found, _Known | None]], rendering: Rendering, reread: bool
) -> list[_Looked]:
    """Look at a few files; runs in a thread and never touches the database."""
    return [_look_at(root, found, known, rendering, reread) for found, known in files]


def _look_at(root: Path, found: Found, known: _Known | None, rendering: Rendering, reread: bool) -> _Looked:
    problem = found.problem or _name_problem(found.path)
    if problem:
        return _Looked(found.path, known, problem=problem)
    file = root / found.path
    try:
        if known is not None and not reread:
            status = file.stat()
            if (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns):
                return _Looked(found.path, known)
        return _Looked(found.path, known, examine(file, rendering))
    except ImageProblem as error:
        return _Looked(found.path, known, problem=error.reason)
    except OSError as error:
        return _Looked(found.path, known, problem=f"The file cannot be reached ({error.strerror or error}).")


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


def _next_row(dataset: Dataset) -> int:
    newest = Item.objects.filter(dataset=dataset).aggregate(newest=Max("row"))["newest"]
    return 0 if newest is None else newest + 1


def _result_so_far(total: Future[int]) -> int:
    """The number of files once it is counted; 0 (unknown) before, or when counting failed."""
    return total.result() if total.done() and not total.cancelled() and total.exception() is None else 0


def _insert(dataset: Dataset, new: Sequence[tuple[str, Examined]]) -> None:
    """Make items of new files. Call it with the dataset locked."""
    paths = [path for path, _ in new]
    # A run that was thought dead may have woken and written some meanwhile.
    taken = set(Item.objects.filter(dataset=dataset, path__in=paths).values_list("path", flat=True))
    new = [(path, examined) for path, examined in new if path not in taken]
    if not new:
        return
    rows = itertools.count(_next_row(dataset))
    items = Item.objects.bulk_create(
        [Item(dataset_id=dataset.pk, row=row, path=path) for row, (path, _) in zip(rows, new, strict=False)]
    )
    Frame.objects.bulk_create(
        [
            _fill(Frame(item_id=item.pk, dataset_id=dataset.pk, role=ROLE, path=path), examined)
            for item, (path, examined) in zip(items, new, strict=True)
        ]
    )
    Dataset.objects.filter(pk=dataset.pk).update(n_items=F("n_items") + len(new))


def _update_frames(changed: Sequence[tuple[_Known, Examined]]) -> None:
    frames = [_fill(Frame(pk=known.frame_id), examined) for known, examined in changed]
    if frames:
        Frame.objects.bulk_update(frames, ["sha256", "size", "mtime_ns", "width", "height", "format"], batch_size=100)


def _fill(frame: Frame, examined: Examined) -> Frame:
    frame.sha256, frame.size, frame.mtime_ns = examined.sha256, examined.size, examined.mtime_ns
    frame.width, frame.height, frame.format = examined.width, examined.height, examined.format
    return frame


def _set_available(dataset: Dataset, item_ids: Sequence[int], is_available: bool) -> None:
    """Where it is not so already; the dataset's count of missing items follows."""
    if not item_ids:
        return
    n = Item.objects.filter(pk__in=item_ids, is_available=not is_available).update(is_available=is_available)
    Dataset.objects.filter(pk=dataset.pk).update(n_missing=F("n_missing") + (-n if is_available else n))


def _write_problems(dataset: Dataset, problems: dict[str, str]) -> None:
    Problem.objects.bulk_create(
        [Problem(dataset=dataset, path=path, reason=reason) for path, reason in problems.items()],
        update_conflicts=True,
        unique_fields=["dataset", "path"],
        update_fields=["reason", "seen_at"],
    )
