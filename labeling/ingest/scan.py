"""Read a folder of images into a dataset: recursive, restartable, safe to repeat.

Files are looked at by a few threads (Pillow and hashlib work without the interpreter's lock) and written in
batches, the first ones small, so that there is something to label at once. Nothing is held of files that
were dealt with but a few bytes each, so a folder of a million costs no more memory than one of a thousand.

Labels follow content: a file that was moved or renamed keeps its item (see ``labeling.ingest.file_moves``). Files whose
content was replaced wait until the whole folder was looked at, because what they held may have turned up elsewhere.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from hoshina.jobs.errors import JobError
from hoshina.jobs.runner import Run
from labeling.images.decoder_pool import decoders, pictures, squares
from labeling.images.encoder_inputs import Squares
from labeling.images.file_check import WORTH_A_SQUARE, Examined, Keep
from labeling.images.folder_walk import Found, count, walk
from labeling.images.natural_order import natural_key
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.ingest.bulk_sql import MAX_PATH_BYTES, noted_frames, write_problems
from labeling.ingest.dataset_folder import folder_problem
from labeling.ingest.file_writer import FULL_BATCH, FileWriter, Known, Looked, Writer, known_files
from labeling.ingest.folder_watch import is_settled
from labeling.ingest.group_writer import GroupWriter
from labeling.ingest.grouping_change import regroup, template_of
from labeling.models import MAX_PATH, Dataset, Problem
from labeling.signals import encoder_side, ingested

# A batch is committed when it is full or this many seconds old. The first ones are small: people are waiting.
FIRST_BATCH = 30
_BATCH_SECONDS = 2.0
# Files are looked up in the database by the group, and handed to a thread by the slice.
_GROUP = 480
_SLICE = 8
_LARGEST_SLICE = 64
# Slices grow and shrink until a thread is busy with one for about so many seconds: asking costs more than a small file
# does, and nobody wants to wait for a slice of large ones.
_SLICE_SECONDS = 0.1
_SLICES_AHEAD = 64
_FAILED_SHOWN = 100
_NOTED_SHOWN = 100
# Squares are kept where there is so many times as much room as they may take.
_ROOMY = 4


class Room:
    """How many more squares may be kept; any thread takes from it."""

    def __init__(self, squares: Squares | None) -> None:
        most = settings.SQUARES_MEGABYTES * 2**20
        self._left = most // squares.n_bytes - squares.count() if squares else 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._left > 0

    def take(self, n: int) -> None:
        with self._lock:
            self._left -= n


@dataclass(frozen=True, slots=True)
class _How:
    """How to look at the files."""

    root: Path
    rendering: Rendering
    reread: bool
    settled: float
    # What is made in passing: the pictures of tiles, and what an encoder will ask for as long as there is room.
    keep: Keep
    room: Room


def ingest(
    dataset: Dataset,
    run: Run,
    extensions: Sequence[str] = DEFAULT_EXTENSIONS,
    *,
    reread: bool = False,
    settled: float = 0.0,
    grouping: str | None = None,
) -> dict[str, Any]:
    """Bring a dataset up to date with its folder, and tell the rooms above (signal ``ingested``).

    New files become items; changed ones are read again; moved ones keep their item; vanished ones are marked as
    missing and come back when their file does; those that cannot be read become problems with a reason.
    Interrupted at any moment, a second run goes on where the first one stopped, since unchanged files are known
    by size and time and not opened; unless ``reread`` asks for it, because another part of each file is shown now.
    Files that were written to within the last ``settled`` seconds are left for the next time.
    ``grouping``: the template by which several files make one item from now on; "": each is one; None: as before.

    Returns
    -------
    dict
        ``dataset slug items new changed moved unchanged waiting returned missing n_failed failed noted
        seconds``; ``failed`` holds the first 100 of ``{path, reason}``, all of them are the dataset's problems; and
        ``noted`` the first 100 of ``{path, note}``: files that are shown although something is wrong with them.
        Where files are grouped also ``grouping roles frames incomplete left_out``; ``items``, ``missing`` and
        ``incomplete`` then count items, and all else files.

    Raises
    ------
    JobError
        When the folder is missing, cannot be read, or never had an image in it (that matches the template); when
        labels would be lost by grouping its files otherwise.
    """
    began = time.monotonic()
    words = folder_problem(dataset.data_dir)
    if words:
        write_problems(dataset, {".": words})
        raise JobError(words)
    if grouping is not None:
        run.stage("Grouping the files")
        regroup(dataset, grouping, extensions, run.check)
    ingestion = _Ingestion(dataset, run, extensions, reread=reread, settled=settled)
    with ingestion.writer:
        ingestion.read()
        ingestion.writer.settle()
        ingestion.writer.mark_vanished()
    result = ingestion.finish()
    ingested.send(sender=Dataset, dataset_id=dataset.pk)
    return result | {"seconds": round(time.monotonic() - began, 2)}


class _Ingestion:
    """One run over the folder of one dataset."""

    def __init__(self, dataset: Dataset, run: Run, extensions: Sequence[str], *, reread: bool, settled: float) -> None:
        self.dataset = dataset
        kept = _wanted_squares(dataset)
        self.how = _How(dataset.data_dir, dataset.shown_as, reread, settled, Keep(pictures(), kept), Room(kept))
        self.run = run
        self.root = dataset.data_dir
        self.endings = tuple(extension.lower() for extension in extensions)
        self.started_at = timezone.now()
        self.writer = _writer_for(dataset, run, self.endings)

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

    def _write_in_batches(self, slices: Iterable[list[Looked]], total: Future[int]) -> None:
        batch: list[Looked] = []
        full, written_at, done = FIRST_BATCH, time.monotonic(), 0
        for looked_at in slices:
            batch += looked_at
            done += len(looked_at)
            if len(batch) >= full or time.monotonic() - written_at > _BATCH_SECONDS:
                self.writer.write(batch)
                batch, full, written_at = [], min(full * 2, FULL_BATCH), time.monotonic()
            self.run.progress(done, _result_so_far(total))
        self.writer.write(batch)
        self.run.progress(done, done)

    def _look_at_all(self, pool: ThreadPoolExecutor) -> Iterator[list[Looked]]:
        """Every file in the folder's order, looked at by the threads of ``pool``, a bounded way ahead."""
        ahead: deque[Future[_Slice]] = deque()
        found = iter(self.writer.checked(walk(self.root, self.endings, skip=settings.STORE_DIR)))
        size = _SLICE
        while group := list(itertools.islice(found, _GROUP)):
            known = self._look_up(group)
            left = deque((one, known.get(one.path)) for one in group)
            while left:
                files = [left.popleft() for _ in range(min(size, len(left)))]
                ahead.append(pool.submit(_look, self.how, files))
                while ahead and (ahead[0].done() or len(ahead) > _SLICES_AHEAD):
                    looked_at = ahead.popleft().result()
                    size = looked_at.next_size
                    yield looked_at.files
        while ahead:
            yield ahead.popleft().result().files

    def _look_up(self, group: Sequence[Found]) -> dict[str, Known]:
        """What is known of these files, by path."""
        if not self.writer.n_rows:
            return {}
        paths = [found.path for found in group if not _name_problem(found.path)]
        return known_files(self.dataset, paths)

    def finish(self) -> dict[str, Any]:
        """Forget problems that are no more, and sum up. Raises JobError when there never was an image."""
        counts = self.writer.counts
        if not counts.n_found:
            words = f"There are no images in {self.root}: no file name ends in {', '.join(self.endings)}."
            write_problems(self.dataset, {".": words})
            if not self.writer.n_rows:
                raise JobError(words)
            counts.failed += 1
        Problem.objects.filter(dataset=self.dataset, seen_at__lt=self.started_at).delete()
        self.dataset.refresh_from_db()
        failed = self.dataset.problems.values("path", "reason")[:_FAILED_SHOWN]
        return {
            "dataset": self.dataset.name,
            "slug": self.dataset.slug,
            "items": self.dataset.n_items,
            "new": counts.new,
            "changed": counts.changed,
            "moved": counts.moved,
            "unchanged": counts.unchanged,
            "waiting": counts.waiting,
            "returned": counts.returned,
            "missing": self.dataset.n_missing - self.writer.n_broken,
            "n_failed": counts.failed,
            "failed": sorted(failed, key=lambda problem: natural_key(problem["path"])),
            "noted": list(noted_frames(self.dataset).values("path", "note")[:_NOTED_SHOWN]),
            **self.writer.result(),
        }


def _wanted_squares(dataset: Dataset) -> Squares | None:
    """Where to keep what an encoder will ask for; None where none will, or the disk has better uses for its room."""
    side = encoder_side(dataset)
    is_roomy = shutil.disk_usage(settings.STORE_DIR).free > _ROOMY * settings.SQUARES_MEGABYTES * 2**20
    if not side or not settings.SQUARES_MEGABYTES or not is_roomy:
        return None
    return squares(dataset.pk, side, dataset.shown_as)


def _writer_for(dataset: Dataset, run: Run, endings: tuple[str, ...]) -> Writer:
    template = template_of(dataset)
    if template is None:
        return FileWriter(dataset, run, endings)
    return GroupWriter(dataset, run, endings, template)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Some files that were looked at, and how many the next such slice shall have."""

    files: list[Looked]
    next_size: int


def _look(how: _How, files: Sequence[tuple[Found, Known | None]]) -> _Slice:
    """Look at a few files; runs in a thread and never touches the database. Decoders open those that are not known."""
    began = time.monotonic()
    looked = {found.path: _told_unopened(how, found, known) for found, known in files}
    unopened = [(found, known) for found, known in files if looked[found.path] is None]
    paths = [f"{how.root}{os.sep}{found.path}" for found, _ in unopened]
    keep = how.keep if how.room else replace(how.keep, squares=None)
    for (found, known), said in zip(unopened, decoders().examined(paths, how.rendering, keep), strict=True):
        looked[found.path] = _told_opened(how, found, known, said)
        how.room.take(isinstance(said, Examined) and said.size > WORTH_A_SQUARE)
    pace = _SLICE_SECONDS / max(time.monotonic() - began, 1e-3)
    size = min(max(int(len(files) * pace), _SLICE), _LARGEST_SLICE)
    return _Slice([one for one in looked.values() if one is not None], size)


def _told_unopened(how: _How, found: Found, known: Known | None) -> Looked | None:
    """What is clear of a file without opening it; None where it has to be opened."""
    problem = found.problem or _name_problem(found.path)
    if problem:
        return Looked(found.path, known, problem=problem)
    if not how.settled and (known is None or how.reread):
        return None
    try:
        status = (how.root / found.path).stat()
    except OSError as error:
        return Looked(found.path, known, problem=f"The file cannot be reached ({error.strerror or error}).")
    if known is not None and not how.reread and not known.is_outdated and _is_as_known(status, known):
        return Looked(found.path, known)
    if how.settled and not is_settled(status, how.settled):
        return Looked(found.path, known, is_waiting=True)
    return None


def _told_opened(how: _How, found: Found, known: Known | None, said: Examined | ImageProblem) -> Looked:
    if isinstance(said, Examined):
        return Looked(found.path, known, said)
    if _is_being_written(how.root / found.path, how.settled):
        return Looked(found.path, known, is_waiting=True)
    return Looked(found.path, known, problem=said.reason)


def _is_being_written(file: Path, settled: float) -> bool:
    try:
        return settled > 0 and not is_settled(file.stat(), settled)
    except OSError:  # gone meanwhile
        return False


def _is_as_known(status: os.stat_result, known: Known) -> bool:
    return (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns)


def _name_problem(path: str) -> str:
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "The name is not valid UTF-8, so it cannot be stored; rename the file."
    if len(path) > MAX_PATH or size > MAX_PATH_BYTES:
        return f"The path is too long ({size:,} bytes); rename the file or a folder that it is in."
    return ""


def _result_so_far(total: Future[int]) -> int:
    """The number of files once it is counted; 0 (unknown) before, or when counting failed."""
    return total.result() if total.done() and not total.cancelled() and total.exception() is None else 0
