"""Ingest a folder of images into a dataset, recursively. Runs can be interrupted and repeated.

A few threads check the files (Pillow and hashlib release the GIL) and the results are written in batches. The first
batches are small, so that labeling can start at once. Only a few bytes are kept of each processed file, so that a
folder of a million files needs no more memory than one of a thousand.

Labels follow content: a moved or renamed file keeps its item (see ``labeling.ingest.file_moves``). Files whose content
was replaced wait until the whole folder is scanned, because their old content may be found elsewhere.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from hoshina.core.errors import Refusal
from hoshina.core.folder_size import free_bytes
from hoshina.jobs.runner import Run
from labeling.images.decoder_pool import decoders, pictures, squares
from labeling.images.encoder_inputs import Squares
from labeling.images.file_check import WORTH_A_SQUARE, Examined, Keep
from labeling.images.folder_walk import FoundFile, count, walk
from labeling.images.natural_order import natural_key
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.ingest.bulk_sql import MAX_PATH_BYTES, noted_frames, write_problems
from labeling.ingest.dataset_folder import folder_problem
from labeling.ingest.file_writer import FileWriter
from labeling.ingest.folder_watch import is_settled
from labeling.ingest.group_writer import GroupWriter
from labeling.ingest.grouping_change import regroup, template_of
from labeling.ingest.writer import FULL_BATCH, CheckedFile, FileRecord, Writer, file_records
from labeling.models import MAX_PATH, Dataset, Problem
from labeling.signals import encoder_side, ingested

# A batch is committed when it is full or this many seconds old. The first batches are small, because users wait.
FIRST_BATCH = 30
_BATCH_SECONDS = 2.0
# Files are looked up in the database in groups, and passed to threads in slices.
_GROUP = 480
_SLICE = 8
_LARGEST_SLICE = 64
# The size of slices is adjusted so that a slice takes about this many seconds. The overhead of a request exceeds the
# time for a small file, but a slice of large files must not take long.
_SLICE_SECONDS = 0.1
_SLICES_AHEAD = 64
_FAILED_SHOWN = 100
_NOTED_SHOWN = 100
# Encoder inputs are cached if the free disk space is at least this many times their maximum size.
_ROOMY = 4


class CacheBudget:
    """The number of encoder inputs that may still be cached. Thread-safe."""

    def __init__(self, squares: Squares | None) -> None:
        most = settings.SQUARES_MEGABYTES * 2**20
        self._left = most // squares.n_bytes - squares.count() if squares else 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._left > 0

    def take(self, n: int) -> None:
        """Reduce the budget by ``n``."""
        with self._lock:
            self._left -= n


@dataclass(frozen=True, slots=True)
class _ScanOptions:
    """How files are checked."""

    root: Path
    rendering: Rendering
    reread: bool
    settled: float
    # What is cached during decoding: pictures of tiles and, within the budget, encoder inputs.
    keep: Keep
    budget: CacheBudget


def ingest(
    dataset: Dataset,
    run: Run,
    extensions: Sequence[str] = DEFAULT_EXTENSIONS,
    *,
    reread: bool = False,
    settled: float = 0.0,
    grouping: str | None = None,
) -> dict[str, Any]:
    """Update a dataset from its folder, and send the signal ``ingested``.

    New files become items, changed files are read again, moved files keep their items, and items of missing files are
    marked as missing until their files return. Files that cannot be read become problems with a reason. An interrupted
    run is continued by the next one, since unchanged files are recognized by size and time and are not opened.

    ``reread``: also open unchanged files, because the rendering changed. ``settled``: skip files that were modified
    within this many seconds. ``grouping``: a template that groups several files into one item from now on; "" makes
    each file an item, and None keeps the current grouping.

    Returns
    -------
    dict
        ``dataset slug items new changed moved unchanged waiting returned missing n_failed failed noted seconds``.
        ``failed`` holds the first 100 problems as ``{path, reason}``, and ``noted`` the first 100 files that can be
        displayed despite a defect, as ``{path, note}``. If files are grouped, also ``grouping roles frames incomplete
        left_out``; then ``items``, ``missing`` and ``incomplete`` count items, and the others count files.

    Raises Refusal if the folder is missing, cannot be read, or never contained an image (that matches the template), or
    if regrouping would lose labels.
    """
    began = time.monotonic()
    problem = folder_problem(dataset.data_dir)
    if problem:
        write_problems(dataset, {".": problem})
        raise Refusal(problem)
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
        encoder_inputs = _encoder_inputs_to_cache(dataset)
        self.options = _ScanOptions(
            dataset.data_dir,
            dataset.shown_as,
            reread,
            settled,
            Keep(pictures(), encoder_inputs),
            CacheBudget(encoder_inputs),
        )
        self.run = run
        self.root = dataset.data_dir
        self.endings = tuple(extension.lower() for extension in extensions)
        self.started_at = timezone.now()
        template = template_of(dataset)
        self.writer: Writer = (
            GroupWriter(dataset, run, self.endings, template) if template else FileWriter(dataset, run, self.endings)
        )

    # -- Reading ----------------------------------------------------------------------------------
    def read(self) -> None:
        """Check every file and write the results."""
        self.run.stage("Reading the images")
        stop = threading.Event()
        threads = min(8, (os.cpu_count() or 2) + 1)
        with ThreadPoolExecutor(threads + 1, thread_name_prefix="ingest") as pool:
            try:
                # Count in a separate thread. Only the progress bar needs the number.
                total = pool.submit(count, self.root, self.endings, stop, skip=settings.STORE_DIR)
                self._write_in_batches(self._check_all(pool), total)
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def _write_in_batches(self, slices: Iterable[list[CheckedFile]], total: Future[int]) -> None:
        batch: list[CheckedFile] = []
        full, written_at, done = FIRST_BATCH, time.monotonic(), 0
        for checked_files in slices:
            batch += checked_files
            done += len(checked_files)
            if len(batch) >= full or time.monotonic() - written_at > _BATCH_SECONDS:
                self.writer.write(batch)
                batch, full, written_at = [], min(full * 2, FULL_BATCH), time.monotonic()
            is_counted = total.done() and not total.cancelled() and total.exception() is None
            self.run.progress(done, total.result() if is_counted else 0)
        self.writer.write(batch)
        self.run.progress(done, done)

    def _check_all(self, pool: ThreadPoolExecutor) -> Iterator[list[CheckedFile]]:
        """Yield all files, checked by the threads of ``pool``, in the folder's order. At most some slices are ahead."""
        ahead: deque[Future[_Slice]] = deque()
        found_files = iter(self.writer.checked(walk(self.root, self.endings, skip=settings.STORE_DIR)))
        size = _SLICE
        while group := list(itertools.islice(found_files, _GROUP)):
            records = self._records_of(group)
            unchecked = deque((file, records.get(file.path)) for file in group)
            while unchecked:
                files = [unchecked.popleft() for _ in range(min(size, len(unchecked)))]
                ahead.append(pool.submit(_check_files, self.options, files))
                while ahead and (ahead[0].done() or len(ahead) > _SLICES_AHEAD):
                    checked_slice = ahead.popleft().result()
                    size = checked_slice.next_size
                    yield checked_slice.files
        while ahead:
            yield ahead.popleft().result().files

    def _records_of(self, group: Sequence[FoundFile]) -> dict[str, FileRecord]:
        """Return the records of these files, by path."""
        if not self.writer.n_rows:
            return {}
        paths = [file.path for file in group if not _name_problem(file.path)]
        return file_records(self.dataset, paths)

    def finish(self) -> dict[str, Any]:
        """Delete resolved problems and return the result. Raises Refusal if there never was an image."""
        counts = self.writer.counts
        if not counts.n_found:
            problem = f"There are no images in {self.root}: no file name ends in {', '.join(self.endings)}."
            write_problems(self.dataset, {".": problem})
            if not self.writer.n_rows:
                raise Refusal(problem)
            counts.n_failed += 1
        Problem.objects.filter(dataset=self.dataset, seen_at__lt=self.started_at).delete()
        self.dataset.refresh_from_db()
        failed = self.dataset.problems.values("path", "reason")[:_FAILED_SHOWN]
        return {
            "dataset": self.dataset.name,
            "slug": self.dataset.slug,
            "items": self.dataset.n_items,
            **asdict(counts),
            "missing": self.dataset.n_missing - self.writer.n_broken,
            "failed": sorted(failed, key=lambda problem: natural_key(problem["path"])),
            "noted": list(noted_frames(self.dataset).values("path", "note")[:_NOTED_SHOWN]),
            **self.writer.result(),
        }


def _encoder_inputs_to_cache(dataset: Dataset) -> Squares | None:
    """Return the cache of encoder inputs; None if no encoder will use it or free disk space is low."""
    side = encoder_side(dataset)
    is_roomy = free_bytes(settings.STORE_DIR) > _ROOMY * settings.SQUARES_MEGABYTES * 2**20
    if not side or not settings.SQUARES_MEGABYTES or not is_roomy:
        return None
    return squares(dataset.pk, side, dataset.shown_as)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Some checked files, and the recommended size of the next slice."""

    files: list[CheckedFile]
    next_size: int


def _check_files(options: _ScanOptions, files: Sequence[tuple[FoundFile, FileRecord | None]]) -> _Slice:
    """Check some files in a thread, without database access. Decoder processes open new and changed files."""
    began = time.monotonic()
    results = {file.path: _check_unopened(options, file, record) for file, record in files}
    unopened = [(file, record) for file, record in files if results[file.path] is None]
    paths = [f"{options.root}{os.sep}{file.path}" for file, _ in unopened]
    keep = options.keep if options.budget else replace(options.keep, squares=None)
    for (file, record), result in zip(unopened, decoders().examined(paths, options.rendering, keep), strict=True):
        results[file.path] = _check_opened(options, file, record, result)
        options.budget.take(isinstance(result, Examined) and result.size > WORTH_A_SQUARE)
    pace = _SLICE_SECONDS / max(time.monotonic() - began, 1e-3)
    size = min(max(int(len(files) * pace), _SLICE), _LARGEST_SLICE)
    return _Slice([checked_file for checked_file in results.values() if checked_file is not None], size)


def _check_unopened(options: _ScanOptions, file: FoundFile, record: FileRecord | None) -> CheckedFile | None:
    """Return the result for a file that does not have to be opened; None if it has to."""
    problem = file.problem or _name_problem(file.path)
    if problem:
        return CheckedFile(file.path, record, problem=problem)
    if not options.settled and (record is None or options.reread):
        return None
    try:
        status = (options.root / file.path).stat()
    except OSError as error:
        return CheckedFile(file.path, record, problem=f"The file cannot be reached ({error.strerror or error}).")
    is_same = record is not None and (status.st_size, status.st_mtime_ns) == (record.size, record.mtime_ns)
    if record is not None and is_same and not (options.reread or record.is_outdated):
        return CheckedFile(file.path, record)
    if options.settled and not is_settled(status, options.settled):
        return CheckedFile(file.path, record, is_waiting=True)
    return None


def _check_opened(
    options: _ScanOptions, file: FoundFile, record: FileRecord | None, result: Examined | ImageProblem
) -> CheckedFile:
    if isinstance(result, Examined):
        return CheckedFile(file.path, record, result)
    with suppress(OSError):  # deleted in the meantime
        if options.settled and not is_settled((options.root / file.path).stat(), options.settled):
            return CheckedFile(file.path, record, is_waiting=True)
    return CheckedFile(file.path, record, problem=result.reason)


def _name_problem(path: str) -> str:
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        return "The name is not valid UTF-8 and cannot be stored. Rename the file."
    if len(path) > MAX_PATH or size > MAX_PATH_BYTES:
        return f"The path is too long ({size:,} bytes). Rename the file or one of its folders."
    return ""
