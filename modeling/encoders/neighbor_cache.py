"""Cache the principal components and the k-NN graph of an embedding set on disk, for maps and queues.

Each is computed once for a generation of embeddings. The algorithms are imported inside the functions: only workers
load them.
"""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from zipfile import BadZipFile

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from modeling.models import EmbeddingSet
from modeling.store import Vectors

if TYPE_CHECKING:
    from modeling.algorithms.neighbors import Graph

log = logging.getLogger(__name__)

T = TypeVar("T")
Floats = NDArray[np.float32]
# tell(stage, done, total); total 0 means unknown. May raise to stop.
Tell = Callable[[str, int, int], None]
NEIGHBOURS = 30
SEED = 0
# More images than this are compared in a separate job, with an approximate graph.
AT_ONCE = 20_000
RECALL = 0.98


# Raised when reading a truncated or overwritten file.
DAMAGES = (ValueError, EOFError, OSError, KeyError, BadZipFile, zlib.error)


def silently(stage: str, done: int, total: int) -> None:
    """Ignore progress: a ``Tell`` that does nothing."""


def principal_components_of(
    embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently, *, is_unit: bool = False
) -> Floats:
    """Return the principal components of the embeddings, float32 (n_rows, <= 64); NaN without an embedding.

    With ``is_unit`` they are those of embeddings scaled to unit length, for comparison by angle.
    """
    from modeling.algorithms.neighbors import project

    def count(done: int, total: int) -> None:
        tell("Projecting the vectors", done, total)

    def made() -> Floats:
        tell("Projecting the vectors", 0, 0)
        rng = np.random.default_rng(SEED)
        return project(vectors.X, rng=rng, has=vectors.has, is_unit=is_unit, on_progress=count)

    return kept(file_of(embedding_set, "unit" if is_unit else "projection"), made)


def graph_of(embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently, *, is_unit: bool = False) -> Graph:
    """Return the k-NN graph of these components: exact up to 20,000 images, with a measured recall of 0.98 above."""
    from modeling.algorithms.neighbors import Graph

    def write(draft: Path) -> None:
        Z = principal_components_of(embedding_set, vectors, tell, is_unit=is_unit)
        graph, recall = made_graph(Z, NEIGHBOURS, tell, seed=SEED)
        np.savez(draft, indices=graph.indices, distances=graph.distances, recall=np.array(recall))

    def read(file: Path) -> Graph:
        with file.open("rb") as stream, np.load(stream) as content:
            return Graph(content["indices"], content["distances"])

    return _cached(file_of(embedding_set, "unitgraph" if is_unit else "graph", "npz"), read, write)


def made_graph(Z: Floats, k: int, tell: Tell, *, seed: int) -> tuple[Graph, float]:
    """Return the k-NN graph of rows (n, d), and its recall of the true neighbors."""
    from modeling.algorithms.ivf_neighbors import approximate_knn_graph
    from modeling.algorithms.neighbors import knn_graph

    def count(done: int, total: int) -> None:
        tell("Finding the nearest neighbours of each image", done, total)

    if len(Z) <= AT_ONCE:
        return knn_graph(Z, k, on_progress=count), 1.0
    measured = approximate_knn_graph(Z, k, rng=np.random.default_rng(seed), recall=RECALL, on_progress=count)
    return measured.graph, measured.recall


def recall_of(embedding_set: EmbeddingSet, *, is_unit: bool = False) -> float | None:
    """Return the recall of the graph, measured on a sample; None if there is no graph."""
    file = file_of(embedding_set, "unitgraph" if is_unit else "graph", "npz")
    try:
        with file.open("rb") as stream, np.load(stream) as content:
            return float(content["recall"])
    except FileNotFoundError:
        return None
    except DAMAGES:  # the graph is computed again when it is needed
        return None


def forget_set(instance: EmbeddingSet, **kwargs: object) -> None:
    """Delete what was computed from a set of embeddings, after the set was deleted."""
    if instance.pk is not None:
        shutil.rmtree(_folder(instance.pk), ignore_errors=True)


def _folder(pk: int) -> Path:
    return Path(settings.STORE_DIR) / "neighbours" / str(pk)


def file_of(embedding_set: EmbeddingSet, name: str, suffix: str = "npy") -> Path:
    """Return the file for data computed from the current generation of embeddings; ``name`` has no hyphen."""
    folder = _folder(embedding_set.pk)
    return folder / f"{name}-{embedding_set.generation}.{suffix}"


def kept(file: Path, made: Callable[[], Floats]) -> Floats:
    """Return the array in that file, memory-mapped. If it is missing or damaged, compute and write it first."""
    return _cached(file, _mapped, lambda draft: np.save(draft, made()))


def is_intact(file: Path) -> bool:
    """Return whether the array of that file can be mapped, so that :func:`kept` computes nothing."""
    try:
        _mapped(file)
    except (FileNotFoundError, *DAMAGES):
        return False
    return True


def _mapped(file: Path) -> Floats:
    return cast(Floats, np.load(file, mmap_mode="r" if file.stat().st_size > 128 else None))


def _cached(file: Path, read: Callable[[Path], T], write: Callable[[Path], None]) -> T:
    """Return what ``read`` returns for a file. If it is missing or damaged, ``write`` it first."""
    try:
        return read(file)
    except FileNotFoundError:
        pass
    except DAMAGES as error:
        log.warning("%s is damaged (%s). It is computed again.", file, error)
    _keep(file, write)
    return read(file)


def _keep(file: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, move it into place, and delete those of earlier generations."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"draft-{os.getpid()}-{file.name}")
    try:
        write(draft)
        with draft.open("rb+") as stream:
            os.fsync(stream.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    name = file.name.split("-")[0]
    for older in file.parent.glob(f"{name}-*{file.suffix}"):
        if older != file:
            try:
                older.unlink(missing_ok=True)
            except PermissionError:  # Windows: another process has it mapped; the next generation deletes it
                continue
