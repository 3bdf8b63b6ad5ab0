"""Compute embeddings: find new and changed images and have them encoded in chunks that any worker may take."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache
from django.conf import settings
from django.db.models import Max

from hoshina.core import memory
from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.jobs.chunks import work_through
from hoshina.jobs.errors import Superseded
from hoshina.jobs.models import Chunk
from hoshina.jobs.presence import me
from hoshina.jobs.runner import Run, is_busy
from labeling.images.decoder_pool import forget_squares, squares
from labeling.images.encoder_inputs import Squares
from labeling.models import Dataset, Item
from modeling import store
from modeling.backends import Encoder, choose_encoder, parts_of, user_models
from modeling.encoders.choice import (
    activate,
    backend_of,
    fingerprint_of,
    graphs_dir,
    imported_set,
    likely,
    sets_as_shown,
)
from modeling.encoders.frames import encode_items, pictured
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.reductions import count_left_out, embedding_set_of, reduced_for, with_reduction
from modeling.leakage.signatures import Signatures
from modeling.models import IMPORTED, EmbeddingSet

log = logging.getLogger(__name__)

# Rows per chunk: seconds of work for a network, so that progress is visible and little is lost if a worker dies.
CHUNK_ROWS = 256
_FIRST_CHUNKS = 2
_PLAN_ROWS = 20_000

Rows = npt.NDArray[np.int64]


def embed(run: Run) -> dict[str, Any]:
    """Run the job ``embed``: compute the embeddings of new and changed images.

    Its parameter is ``backend`` (default: the dataset's choice, or AL_EMBEDDING_BACKEND; if that changes in the
    meantime, the job switches to the other encoder). Returns what ``embed --json`` prints.
    """
    began = time.monotonic()
    while True:
        if _wanted(run).startswith(IMPORTED):
            return check_imported(run, _wanted(run), began)
        try:
            return _embed(run, _wanted(run), began)
        except _Rechosen:
            # The chunks do not apply to the other encoder's embeddings; what was computed stays in the store.
            Chunk.objects.filter(job=run.job).delete()


class _Rechosen(Exception):
    """Raised when another encoder or another way to display images was chosen while this one ran."""


def _wanted(run: Run) -> str:
    return str(run.params.get("backend") or backend_of(run.dataset_id))


def _embed(run: Run, backend: str, began: float) -> dict[str, Any]:
    dataset = Dataset.objects.get(pk=run.dataset_id)
    spec = InputSpec.of(dataset)
    run.stage("Loading the encoder")
    encoder, computed = with_reduction(run, dataset, encoder_of(backend, fresh=True), spec)
    # In the result, so that the job's parameters stay as they were requested.
    run.job.result = {
        "backend": backend,
        "encoder": encoder.name,
        "fingerprint": fingerprint_of(encoder, spec),
        **spec.as_params(),
    }
    run.job.save(update_fields=["result"])
    vectors = embedding_set_of(dataset, encoder, spec)

    if store.has_parts(vectors):  # of the sample, or from a run that was killed or cancelled
        store.merge_parts(vectors, count_rows(dataset))
    tried = np.zeros(0, dtype=np.bool_)
    while True:
        run.stage("Looking for new and changed images")
        stale, n_available = stale_rows(dataset, store.open_stamps(vectors), run.check)
        tried = np.pad(tried, (0, max(0, int(stale.max(initial=-1)) + 1 - len(tried))))
        untried = stale[~tried[stale]]
        if not len(untried):
            break
        if not dataset.data_dir.is_dir():
            raise Refusal(
                f"The folder {dataset.data_dir} does not exist.",
                "Connect its disk, or set AL_DATA_DIR to where it is now.",
            )
        tried[untried] = True
        computed += len(untried)
        # Repeat afterwards: an ingest that is still running may have added images.
        _compute(run, vectors, encoder, cut(untried))
    if n_available and not vectors.n_vectors:
        raise Refusal(
            f"None of the {n_available} images in {dataset.data_dir} could be read.",
            "See its Problems page, or scan the folder again with `hoshina ingest`.",
        )
    _require_still_wanted(run)
    activate(vectors, n_failed=len(stale))
    forget_squares(dataset.pk)
    return {
        "encoder": encoder.name,
        "fingerprint": vectors.fingerprint,
        "reason": encoder.reason,
        "items": vectors.n_vectors,
        "dim": vectors.dim,
        "failed": len(stale),
        "computed": computed - len(stale),
        "seconds": round(time.monotonic() - began, 3),
    }


def _compute(run: Run, vectors: EmbeddingSet, encoder: Encoder, ranges: list[tuple[int, int]]) -> None:
    """Compute all ranges, merging parts whenever the embeddings have doubled: queues can use the first ones early."""
    total = sum(stop - start for start, stop in ranges)
    run.stage(encoder.name, total=total)
    before = 0
    for batch in _growing_batches(ranges, vectors.n_vectors):
        work_through(_Share(run, before, total), batch)
        before += sum(stop - start for start, stop in batch)
        store.merge_parts(vectors, count_rows(vectors.dataset))
        if not EmbeddingSet.objects.filter(dataset=vectors.dataset_id, is_active=True).exists():
            activate(vectors, n_failed=0)


class _Share(Run):
    """A run for one of several calls of ``work_through``: its progress is that of the whole job."""

    def __init__(self, run: Run, before: int, total: int) -> None:
        super().__init__(run.job)
        self._run, self._before, self._of = run, before, total

    def progress(self, done: int, total: int | None = None) -> None:
        self._run.progress(self._before + done, self._of)
        _require_still_wanted(self._run)

    def check(self) -> None:
        self._run.check()


def check_imported(run: Run, backend: str, began: float) -> dict[str, Any]:
    """Use imported embeddings, drop those of changed images, and count the images without one. Computes nothing."""
    dataset = Dataset.objects.get(pk=run.dataset_id)
    vectors = imported_set(dataset, backend)
    if vectors is None:
        name = backend.removeprefix(IMPORTED)
        raise Refusal(f"The imported embeddings {name!r} were deleted.", "Import them again, or choose an encoder.")
    run.stage("Looking for new and changed images")
    stamps = store.open_stamps(vectors)
    stale, _ = stale_rows(dataset, stamps, run.check)
    changed = stale[stale < len(stamps)]
    changed = changed[stamps[changed] != 0]
    if len(changed):
        no_vectors = np.zeros((len(changed), vectors.dim), np.float32)
        store.save_part(
            vectors, int(changed[0]), int(changed[-1]) + 1, changed, np.zeros(len(changed), np.uint64), no_vectors
        )
        store.merge_parts(vectors, count_rows(dataset))
    activate(vectors, n_failed=len(stale))
    return {
        "encoder": vectors.encoder, "fingerprint": vectors.fingerprint, "reason": vectors.reason,
        "items": vectors.n_vectors, "dim": vectors.dim, "failed": 0, "without_embedding": len(stale), "computed": 0,
        "seconds": round(time.monotonic() - began, 3),
    }  # fmt: skip


# -- One chunk ------------------------------------------------------------------------------------
def embed_chunk(run: Run, start: int, stop: int) -> None:
    """Encode the new and changed rows in [start, stop) on the worker that took them, and save them as one part."""
    spec = InputSpec.from_params(run.job.result)
    # The encoder that the job settled on: the dataset's choice may have changed since.
    encoder = encoder_of(str(run.job.result.get("backend") or _wanted(run)))
    sets = EmbeddingSet.objects.select_related("dataset").filter(dataset=run.dataset_id)
    vectors = sets.filter(fingerprint=run.job.result.get("fingerprint")).first()
    if vectors is not None:
        encoder = reduced_for(vectors, encoder)
    _require_same_encoder(run, encoder, spec)
    vectors = sets.get(fingerprint=fingerprint_of(encoder, spec))
    recorded = store.open_stamps(vectors)
    wanted = [
        item
        for item in pictured(vectors.dataset, start, stop, spec)
        if item.row >= len(recorded) or recorded[item.row] != item.stamp
    ]
    squares = _squares(vectors.dataset, encoder, spec)
    signatures = Signatures(len(wanted)) if encoder.is_plain else None
    found, missing, problems = encode_items(
        encoder, wanted, vectors.dataset.data_dir, spec, run.advance, squares, signatures.add if signatures else None
    )
    stamps = np.array([item.stamp for item in wanted], dtype=np.uint64)
    rows = np.array([item.row for item in wanted], dtype=np.int64)
    store.save_part(vectors, start, stop, rows, stamps, found, missing)
    if signatures is not None:
        signatures.save(run.dataset_id, spec, rows, stamps)
    count_left_out(vectors, encoder)
    if squares is not None:
        squares.drop(sha256 for item in wanted for sha256 in item.hashes.values())
    if problems:
        path, reason = problems[0]
        log.warning("%s could not be read, such as %s: %s", counted(len(problems), "image"), path, reason)


def _squares(dataset: Dataset, encoder: Encoder, spec: InputSpec) -> Squares | None:
    """Return the cache of encoder inputs that an ingest may have filled, if it applies to this encoder."""
    if not encoder.is_plain or not spec.is_file_by_file:
        return None
    return squares(dataset.pk, encoder.input_side, spec.rendering)


# -- The encoder of this process --------------------------------------------------------------------
# Networks are large, and switching between more of them is rare.
_encoders: LRUCache[tuple[Any, ...], Encoder] = LRUCache(2)
_encoders_lock = threading.Lock()
# Seconds that unused encoders stay: the next chunk or search often comes soon.
_KEEP_SECONDS = 45.0
_release: threading.Timer | None = None


def encoder_of(backend: str, *, fresh: bool = False) -> Encoder:
    """Return the encoder of that name, cached in the process for a while: loading a network takes seconds.

    ``fresh`` looks for a better one if the cached one is a fallback: weights may have been installed.
    """
    stamps = [user_models.stamp(part, settings.WEIGHTS_DIR, graphs_dir()) for part in parts_of(backend)]
    key = (backend, settings.WEIGHTS_DIR, *stamps)
    with _encoders_lock:
        encoder = _encoders.get(key)
        if encoder is None or not encoder.is_alive or (fresh and encoder.is_fallback):
            encoder = _encoders[key] = choose_encoder(backend, settings.WEIGHTS_DIR, graphs=graphs_dir())
        _release_later()
        return encoder


def _release_later() -> None:
    """Release the encoders when none has been asked for during a while, and no job may be using one."""
    global _release
    if _release is not None:
        _release.cancel()
    _release = threading.Timer(_KEEP_SECONDS, _release_unless_busy)
    _release.daemon = True
    _release.start()


def _release_unless_busy() -> None:
    if is_busy():  # a slow network needs longer for a chunk
        with _encoders_lock:
            _release_later()
    else:
        release_encoders()


def release_encoders() -> None:
    """Drop the cached encoders, and return their memory to the system."""
    with _encoders_lock:
        _encoders.clear()
    memory.trim()


def _require_still_wanted(run: Run) -> None:
    spec = InputSpec.of(Dataset.objects.only("rendering", "roles", "composition").get(pk=run.dataset_id))
    if _wanted(run) != run.job.result.get("backend") or spec != InputSpec.from_params(run.job.result):
        raise _Rechosen


def _require_same_encoder(run: Run, encoder: Encoder, spec: InputSpec) -> None:
    """Refuse to mix the embeddings of two encoders in one file."""
    wanted = run.job.result
    if fingerprint_of(encoder, spec) == wanted.get("fingerprint"):
        return
    message = (
        f"The worker {me()} would compute these embeddings with {encoder.name} ({encoder.reason}), "
        f"but the job uses {wanted.get('encoder')} {wanted.get('fingerprint')}."
    )
    hint = "Give all workers the same AL_EMBEDDING_BACKEND, AL_WEIGHTS_DIR and version of TensorFlow."
    if run.job.worker == me():
        raise Refusal(message, hint)
    # A helper with another encoder must not stop the others.
    log.warning("%s %s", message, hint)
    raise Superseded(message)


# -- Images to encode -------------------------------------------------------------------------------
def stale_rows(
    dataset: Dataset, stamps: npt.NDArray[np.uint64], check: Callable[[], None] = lambda: None
) -> tuple[Rows, int]:
    """Return the rows, ascending, of new and changed images, and the number of items that have an image."""
    n_available = 0
    found: list[Rows] = []
    for rows, wanted in stamp_batches(dataset):
        check()
        n_available += len(rows)
        found.append(rows[_differ(rows, wanted, stamps)])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64), n_available


def has_work(dataset: Dataset) -> bool:
    """Return whether ``embed`` has work: new or changed images, or a better encoder than the active one."""
    backend = likely(backend_of(dataset.pk)).backend
    active = sets_as_shown(dataset).filter(is_active=True, backend=backend).first()
    if active is None:
        return Item.objects.of(dataset).available().exists()
    stamps = store.open_stamps(active)
    return any(_differ(rows, wanted, stamps).any() for rows, wanted in stamp_batches(dataset))


def cut(rows: Rows) -> list[tuple[int, int]]:
    """Cut ascending rows into ranges [start, stop), each within one stretch of CHUNK_ROWS."""
    if not len(rows):
        return []
    firsts = np.flatnonzero(np.diff(rows // CHUNK_ROWS, prepend=-1))
    lasts = np.append(firsts[1:], len(rows)) - 1
    return [(int(rows[a]), int(rows[b]) + 1) for a, b in zip(firsts, lasts, strict=True)]


def _growing_batches(ranges: Sequence[tuple[int, int]], n_vectors: int) -> Iterator[Sequence[tuple[int, int]]]:
    """Yield batches, each as large as all before it, so that merging costs about twice one copy."""
    taken = 0
    while taken < len(ranges):
        size = max(_FIRST_CHUNKS, n_vectors // CHUNK_ROWS + taken)
        yield ranges[taken : taken + size]
        taken += size


def _differ(rows: Rows, wanted: npt.NDArray[np.uint64], stamps: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    differ = np.ones(len(rows), dtype=np.bool_)
    is_recorded = rows < len(stamps)
    differ[is_recorded] = stamps[rows[is_recorded]] != wanted[is_recorded]
    return differ


def stamp_batches(dataset: Dataset) -> Iterator[tuple[Rows, npt.NDArray[np.uint64]]]:
    """Yield rows and stamps of all available items, in batches of some thousands."""
    start = 0
    n_rows = count_rows(dataset)
    spec = InputSpec.of(dataset)
    while start < n_rows:
        items = list(pictured(dataset, start, start + _PLAN_ROWS, spec))
        rows = np.array([item.row for item in items], dtype=np.int64)
        yield rows, np.array([item.stamp for item in items], dtype=np.uint64)
        start += _PLAN_ROWS


def count_rows(dataset: Dataset) -> int:
    last = Item.objects.of(dataset).aggregate(last=Max("row"))["last"]
    return 0 if last is None else int(last) + 1
