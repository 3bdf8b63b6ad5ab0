"""What maps and queues share about an embedding set: its principal components and k-NN graph, kept on the disk.

Each is computed once for a generation of vectors. The algorithms are imported where they run: in a worker.
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
# tell(stage, done, total); total 0: nobody knows. May raise to stop.
Tell = Callable[[str, int, int], None]
NEIGHBOURS = 30
SEED = 0
# More images than this are compared in a job of its own, and their graph holds nearly all neighbours, not all.
AT_ONCE = 20_000
RECALL = 0.98


# What reading a file raises that was cut short or overwritten.
DAMAGES = (ValueError, EOFError, OSError, KeyError, BadZipFile, zlib.error)


def silently(stage: str, done: int, total: int) -> None:
    """A ``Tell`` for when nobody listens."""


def principal_components_of(
    embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently, *, is_unit: bool = False
) -> Floats:
    """The vectors on their principal components, float32 (n_rows, <= 64); NaN where there is no vector.

    With ``is_unit`` those of the vectors brought to length one, for comparing by angle.
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
    """The k-NN graph on that projection: exact up to 20,000 images, with a measured recall of 0.98 beyond."""
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
    """The k-NN graph of rows (n, d), and which share of the true neighbours it holds."""
    from modeling.algorithms.ivf_neighbors import approximate_knn_graph
    from modeling.algorithms.neighbors import knn_graph

    def count(done: int, total: int) -> None:
        tell("Finding the nearest neighbours of each image", done, total)

    if len(Z) <= AT_ONCE:
        return knn_graph(Z, k, on_progress=count), 1.0
    measured = approximate_knn_graph(Z, k, rng=np.random.default_rng(seed), recall=RECALL, on_progress=count)
    return measured.graph, measured.recall


def recall_of(embedding_set: EmbeddingSet, *, is_unit: bool = False) -> float | None:
    """Which share of true neighbours the graph holds, measured on a sample; None while there is no graph."""
    file = file_of(embedding_set, "unitgraph" if is_unit else "graph", "npz")
    try:
        with file.open("rb") as stream, np.load(stream) as content:
            return float(content["recall"])
    except FileNotFoundError:
        return None
    except DAMAGES:  # whoever needs the graph next makes it again
        return None


def forget_set(instance: EmbeddingSet, **kwargs: object) -> None:
    """After a set of vectors was deleted: what was computed from them goes too."""
    if instance.pk is not None:
        shutil.rmtree(_folder(instance.pk), ignore_errors=True)


def _folder(pk: int) -> Path:
    return Path(settings.STORE_DIR) / "neighbours" / str(pk)


def file_of(embedding_set: EmbeddingSet, name: str, suffix: str = "npy") -> Path:
    """Where something computed from the current generation of vectors is kept; ``name`` has no hyphen."""
    folder = _folder(embedding_set.pk)
    return folder / f"{name}-{embedding_set.generation}.{suffix}"


def kept(file: Path, made: Callable[[], Floats]) -> Floats:
    """Return the array of that file, mapped. Where it is missing or damaged, compute and write it first."""
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
    """Return what ``read`` makes of a file. Where it is missing or damaged, ``write`` it first."""
    try:
        return read(file)
    except FileNotFoundError:
        pass
    except DAMAGES as error:
        log.warning("%s is damaged (%s). It is computed again.", file, error)
    _keep(file, write)
    return read(file)


def _keep(file: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, move it into place, and drop those of earlier generations."""
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
            except PermissionError:  # Windows: somebody has it mapped; the next generation removes it
                continue
