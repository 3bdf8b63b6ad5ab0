"""What maps and queues share about an embedding set: its principal components and k-NN graph, kept on the disk.

Each is computed once for a generation of vectors. The algorithms are imported where they run: in a worker.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from modeling.models import EmbeddingSet
from modeling.store import Vectors

if TYPE_CHECKING:
    from modeling.algorithms.neighbours import Graph

Floats = NDArray[np.float32]
# tell(stage, done, total); total 0: nobody knows. May raise to stop.
Tell = Callable[[str, int, int], None]
NEIGHBOURS = 30
SEED = 0
# More images than this are compared in a job of its own, and their graph holds nearly all neighbours, not all.
AT_ONCE = 20_000
RECALL = 0.98


def silently(stage: str, done: int, total: int) -> None:
    """A ``Tell`` for when nobody listens."""


def projection_of(
    embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently, *, is_unit: bool = False
) -> Floats:
    """The vectors on their principal components, float32 (n_rows, <= 64); NaN where there is no vector.

    With ``is_unit`` those of the vectors brought to length one, for comparing by angle.
    """
    from modeling.algorithms.neighbours import project

    def count(done: int, total: int) -> None:
        tell("Projecting the vectors", done, total)

    def made() -> Floats:
        tell("Projecting the vectors", 0, 0)
        rng = np.random.default_rng(SEED)
        return project(vectors.X, rng=rng, has=vectors.has, is_unit=is_unit, on_progress=count)

    return kept(file_of(embedding_set, "unit" if is_unit else "projection"), made)


def graph_of(embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently, *, is_unit: bool = False) -> Graph:
    """The k-NN graph on that projection: exact up to 20,000 images, with a measured recall of 0.98 beyond."""
    from modeling.algorithms.neighbours import Graph

    file = file_of(embedding_set, "unitgraph" if is_unit else "graph", "npz")
    if not file.exists():
        graph, recall = made_graph(
            projection_of(embedding_set, vectors, tell, is_unit=is_unit), NEIGHBOURS, tell, seed=SEED
        )
        _keep(
            file,
            lambda draft: np.savez(draft, indices=graph.indices, distances=graph.distances, recall=np.array(recall)),
        )
    with np.load(file) as content:
        return Graph(content["indices"], content["distances"])


def made_graph(Z: Floats, k: int, tell: Tell, *, seed: int) -> tuple[Graph, float]:
    """The k-NN graph of rows (n, d), and which share of the true neighbours it holds."""
    from modeling.algorithms.cells import knn_graph_by_cells
    from modeling.algorithms.neighbours import knn_graph

    def count(done: int, total: int) -> None:
        tell("Finding the nearest neighbours of each image", done, total)

    if len(Z) <= AT_ONCE:
        return knn_graph(Z, k, on_progress=count), 1.0
    measured = knn_graph_by_cells(Z, k, rng=np.random.default_rng(seed), recall=RECALL, on_progress=count)
    return measured.graph, measured.recall


def recall_of(embedding_set: EmbeddingSet, *, is_unit: bool = False) -> float | None:
    """Which share of true neighbours the graph holds, measured on a sample; None while there is no graph."""
    file = file_of(embedding_set, "unitgraph" if is_unit else "graph", "npz")
    if not file.exists():
        return None
    with np.load(file) as content:
        return float(content["recall"])


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
    """The array of that file, mapped; made and written if it isn't there."""
    if not file.exists():
        content = made()
        _keep(file, lambda draft: np.save(draft, content))
    return cast(Floats, np.load(file, mmap_mode="r" if file.stat().st_size > 128 else None))


def _keep(file: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, move it into place, and drop those of earlier generations."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"draft-{os.getpid()}-{file.name}")
    try:
        write(draft)
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
