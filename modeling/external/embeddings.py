"""Import embeddings from a file as an embedding set of their own name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.utils import timezone
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.core.storage import PageReleaser, block_lengths
from labeling.models import Dataset
from labeling.tables.report import Names
from labeling.tables.row_finder import FoundRows, RowFinder
from modeling import store
from modeling.backends.encoder import file_sha256, fingerprint
from modeling.encoders.choice import imported_set
from modeling.encoders.pipeline import count_rows, stamp_batches
from modeling.external import vector_files
from modeling.external.array_files import Keys
from modeling.external.vector_files import VectorFile
from modeling.models import IMPORTED, EmbeddingSet

# No plus sign: it joins encoders.
_NAME = re.compile(r"\w[\w ./:@-]{0,79}")
# How much two embeddings of one image may differ: files may round to half precision.
_RELATIVE, _ABSOLUTE = 2e-3, 1e-4
_ANOTHER_NAME = "Choose another name (--name), or replace the earlier ones (--replace)."

Tell = Callable[[str, int, int], None]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Request:
    """Represent an import of embeddings.

    ``title`` is the name of the file for people; ``kind`` says what its keys are.
    """

    file: Path
    ids: Path | None = None
    name: str = ""
    kind: str = ""
    is_replacing: bool = False
    title: str = ""
    by: str = ""

    @property
    def file_name(self) -> str:
        return self.title or self.file.name

    @property
    def set_name(self) -> str:
        """Return the name of the embeddings: by default that of the file. Raises Refusal."""
        name = self.name.strip() or Path(self.file_name).stem.replace("+", "_")
        if not _NAME.fullmatch(name):
            raise Refusal(
                f"Embeddings cannot be named {name[:100]!r}.",
                "Use up to 80 letters, digits, spaces and . / : @ _ -, beginning with a letter or digit.",
                field="name",
            )
        return name


@dataclass
class Report:
    """Hold the result of an import of embeddings; see docs/reference/json.md for the keys of :meth:`as_json`."""

    name: str
    rows: int
    dim: int
    dtype: str
    key: str
    fingerprint: str = ""
    items: int = 0
    added: int = 0
    unchanged: int = 0
    duplicates: int = 0
    permuted: bool = False
    without_embedding: int = 0
    unavailable: int = 0
    unknown: Names = field(default_factory=Names)
    ambiguous: Names = field(default_factory=Names)
    not_finite: Names = field(default_factory=Names)

    def as_json(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if not isinstance(value, Names)}
        for name in ("unknown", "ambiguous", "not_finite"):
            names: Names = getattr(self, name)
            values |= {name: names.lines, f"{name}_names": list(names.names)}
        return values


def import_embeddings(dataset: Dataset, request: Request, tell: Tell = lambda stage, done, total: None) -> Report:
    """Import a file of embeddings. Nothing changes if it is refused or interrupted.

    Embeddings of a name that was imported before are added to those: an image in both must have the same embedding.
    With ``is_replacing`` they make a new set. The caller decides whether models and queues use the set.

    Raises
    ------
    Refusal : the file cannot be read, is about no image of the dataset, or contradicts itself or an earlier import.
    """
    name = request.set_name
    folder = Path(settings.STORE_DIR) / "imports"
    folder.mkdir(parents=True, exist_ok=True)
    tell("Reading the file", 0, 0)
    with vector_files.opened(request.file, request.ids, request.kind, folder) as opened:
        report = Report(name, len(opened.X), int(opened.X.shape[1]), str(opened.X.dtype), opened.keys.kind)
        source = _matched(dataset, opened, report, tell)
        stamps = _stamps(dataset, len(source), source, report)
        with _target(dataset, request, report) as embedding_set:
            old = None if embedding_set.generation == 0 else _old(embedding_set)
            blocks = _blocks(opened.X, source, stamps, old, _Progress(report, tell))
            store.replace_vectors(embedding_set, stamps, _refusing_nothing(blocks, report))
            report.without_embedding = _count_without(dataset, embedding_set)
            return report


# -- Matching --------------------------------------------------------------------------------------
def _matched(dataset: Dataset, opened: VectorFile, report: Report, tell: Tell) -> Rows:
    """Return the position in the file of each row's embedding, int64 (n_rows,), -1 without one."""
    source = np.full(count_rows(dataset), -1, np.int64)
    repeated: list[tuple[int, int, str]] = []
    finder, start = RowFinder(dataset, opened.keys.kind), 0
    for keys in opened.keys.batches():
        found = finder(keys, start + 1)
        _count(found, keys, report)
        for position, row in zip((found.positions + start).tolist(), found.rows.tolist(), strict=True):
            if source[row] < 0:
                source[row] = position
            else:
                repeated.append((int(source[row]), position, keys[position - start]))
        start += len(keys)
        tell("Finding the images", min(start, report.rows), report.rows)
    _require_same_length(opened.keys, start, report.rows)
    report.duplicates = len(repeated)
    _refuse_contradictions(opened.X, repeated)
    matched = source[source >= 0]
    if not len(matched):
        shown = ", ".join(list(report.unknown.names)[:3]) or "none"
        raise Refusal(
            f"No row is about an image of this dataset. The first keys ({report.key}) are: {shown}.",
            "Check the dataset, or say what the keys are: item_id, path, name or sha256 (--key).",
        )
    report.permuted = bool((np.diff(matched) < 0).any())
    return source


def _count(found: FoundRows, keys: list[str], report: Report) -> None:
    for position in found.unknown:
        report.unknown.add(keys[position])
    for position in found.ambiguous:
        report.ambiguous.add(keys[position])


def _require_same_length(keys: Keys, n_keys: int, n_vectors: int) -> None:
    if n_keys != n_vectors:
        raise Refusal(
            f"There are {n_keys:,} keys ({keys.name[:60]}) and {n_vectors:,} embeddings.",
            "Each embedding needs one key, in the same order.",
        )


def _refuse_contradictions(X: NDArray[Any], repeated: list[tuple[int, int, str]]) -> None:
    """Raise Refusal if an image occurs with two embeddings."""
    differing = Names()
    for first, second, key in repeated:
        if not np.array_equal(X[first], X[second], equal_nan=True):
            differing.add(key)
    if differing.lines:
        raise Refusal(
            f"{counted(differing.lines, 'image')} occur more than once with different embeddings, such as "
            f"{next(iter(differing.names))}.",
            "Keep one embedding for each image; items of several frames have one in all.",
        )


def _stamps(dataset: Dataset, n_rows: int, source: Rows, report: Report) -> NDArray[np.uint64]:
    """Return the stamp of each row's current files, uint64 (n_rows,), 0 for items whose files are missing."""
    stamps = np.zeros(n_rows, np.uint64)
    for rows, current in stamp_batches(dataset):
        is_known = rows < n_rows  # an ingest may add images meanwhile
        stamps[rows[is_known]] = current[is_known]
    report.unavailable = int(np.count_nonzero((source >= 0) & (stamps == 0)))
    return stamps


# -- The set ---------------------------------------------------------------------------------------
@contextmanager
def _target(dataset: Dataset, request: Request, report: Report) -> Iterator[EmbeddingSet]:
    """Yield the set to write to; a new one is deleted again if the block fails."""
    sha256 = file_sha256(request.file)
    earlier = imported_set(dataset, IMPORTED + report.name)
    if earlier is not None and not request.is_replacing and earlier.dim != report.dim:
        raise Refusal(
            f"The embeddings have {report.dim:,} values, those imported before as {report.name} have {earlier.dim:,}.",
            _ANOTHER_NAME,
        )
    embedding_set = _new_set(dataset, report, sha256) if earlier is None or request.is_replacing else earlier
    report.fingerprint = embedding_set.fingerprint
    was_empty = embedding_set.generation == 0
    try:
        yield embedding_set
    except BaseException:
        if was_empty:
            store.delete_vectors(embedding_set)
            embedding_set.delete()
        raise
    embedding_set.n_failed = report.without_embedding
    embedding_set.origin = _origin(request, report, sha256)
    embedding_set.reason = f"Imported from {request.file_name}."
    embedding_set.save(update_fields=["n_failed", "origin", "reason", "updated_at"])


def _new_set(dataset: Dataset, report: Report, sha256: str) -> EmbeddingSet:
    # Backups hold the files of these sets, which nothing can compute again (hoshina.backup.contents).
    mark = fingerprint(imported=report.name, dim=report.dim, file=sha256) + "imported"
    facts = {"encoder": report.name, "backend": IMPORTED + report.name, "dim": report.dim}
    return EmbeddingSet.objects.get_or_create(dataset=dataset, fingerprint=mark, defaults=facts)[0]


def _origin(request: Request, report: Report, sha256: str) -> dict[str, Any]:
    return {
        "name": report.name,
        "file": request.file_name,
        "sha256": sha256,
        "imported_at": timezone.now().isoformat(),
        "by": request.by,
        "rows": report.rows,
        "key": report.key,
        "dtype": report.dtype,
    }


@dataclass(frozen=True)
class _Old:
    X: NDArray[np.float32]
    stamps: NDArray[np.uint64]


def _old(embedding_set: EmbeddingSet) -> _Old | None:
    vectors = store.open_vectors(embedding_set)
    return None if vectors is None else _Old(vectors.X, store.open_stamps(embedding_set))


# -- Writing ---------------------------------------------------------------------------------------
@dataclass
class _Progress:
    report: Report
    tell: Tell


def _blocks(
    X: NDArray[Any], source: Rows, stamps: NDArray[np.uint64], old: _Old | None, progress: _Progress
) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of all rows in blocks; the stamps of rows without an embedding become 0."""
    start = 0
    for count in block_lengths(len(source), X.shape[1] * 4):
        stop = start + count
        block = np.zeros((count, X.shape[1]), np.float32)
        has = _fill_old(block, old, stamps, start) if old is not None else np.zeros(count, np.bool_)
        new = _new_vectors(X, source[start:stop], stamps[start:stop], progress.report)
        _compare(block, has, *new, progress)
        places, vectors = new
        block[places], has[places] = vectors, True
        stamps[start:stop][~has] = 0
        PageReleaser(X).release(len(X))
        yield block
        start = stop
        progress.tell("Writing the embeddings", stop, len(source))
    progress.report.items = int(np.count_nonzero(stamps))


def _fill_old(block: NDArray[np.float32], old: _Old, stamps: NDArray[np.uint64], start: int) -> NDArray[np.bool_]:
    """Copy the earlier embeddings of images that did not change. Return which rows have one, bool (n,)."""
    has = np.zeros(len(block), np.bool_)
    before = old.stamps[start : start + len(block)]
    has[: len(before)] = (before != 0) & (before == stamps[start : start + len(before)])
    block[has] = old.X[start : start + len(before)][has[: len(before)]]
    return has


def _new_vectors(
    X: NDArray[Any], source: Rows, stamps: NDArray[np.uint64], report: Report
) -> tuple[Rows, NDArray[np.float32]]:
    """Return the places in the block of new embeddings, and these as float32, without those that are not finite."""
    places = np.flatnonzero((source >= 0) & (stamps != 0))
    in_order = places[np.argsort(source[places], kind="stable")]  # the file is read from its beginning to its end
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = np.asarray(X[source[in_order]]).astype(np.float32, copy=False)
    sound = np.isfinite(vectors).all(axis=1)
    for position in source[in_order[~sound]].tolist():
        report.not_finite.add(f"row {position + 1}")
    return (in_order, vectors) if sound.all() else (in_order[sound], vectors[sound])


def _compare(
    block: NDArray[np.float32], has: NDArray[np.bool_], places: Rows, vectors: NDArray[np.float32], progress: _Progress
) -> None:
    """Count new and equal embeddings. Raise Refusal if one differs from the earlier one of the same image."""
    in_both = has[places]
    is_close = np.isclose(block[places[in_both]], vectors[in_both], rtol=_RELATIVE, atol=_ABSOLUTE)
    equal = np.array(is_close, np.bool_).all(axis=1)
    if not equal.all():
        raise Refusal(
            f"The embeddings of at least {counted(int((~equal).sum()), 'image')} differ from those imported before as "
            f"{progress.report.name}, so they come from another encoder.",
            _ANOTHER_NAME,
        )
    progress.report.unchanged += int(in_both.sum())
    progress.report.added += int((~in_both).sum())


def _refusing_nothing(blocks: Iterator[NDArray[np.float32]], report: Report) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks, and raise Refusal in the end if the file gave no image an embedding."""
    yield from blocks
    if not report.added and not report.unchanged:
        raise Refusal(
            f"None of the {report.rows:,} embeddings can be used: {report.not_finite.lines:,} are not finite, "
            f"{report.unavailable:,} are of images whose files are missing."
        )


def _count_without(dataset: Dataset, embedding_set: EmbeddingSet) -> int:
    return max(0, dataset.n_items - dataset.n_missing - embedding_set.n_vectors)
