"""What queues share about an embedding set: its projection and its k-NN graph, computed once and kept on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from django.conf import settings

from modeling.models import EmbeddingSet
from modeling.store import Vectors
from sampling.algorithms.neighbours import Graph, knn_graph, project
from sampling.algorithms.rows import Floats

NEIGHBOURS = 30
SEED = 0


def projection_of(embedding_set: EmbeddingSet, vectors: Vectors) -> Floats:
    """The vectors on their principal components, float32 (n_rows, <= 64); NaN where there is no vector."""
    file = _file(embedding_set, "projection", "npy")
    if not file.exists():
        X = np.where(vectors.has[:, None], vectors.X, np.float32(np.nan))
        projected = project(X, rng=np.random.default_rng(SEED))
        _keep(file, lambda draft: np.save(draft, projected))
    return np.asarray(np.load(file, mmap_mode="r"))


def graph_of(embedding_set: EmbeddingSet, vectors: Vectors) -> Graph:
    """The exact k-NN graph on that projection."""
    file = _file(embedding_set, "graph", "npz")
    if not file.exists():
        graph = knn_graph(projection_of(embedding_set, vectors), NEIGHBOURS)
        _keep(file, lambda draft: np.savez(draft, indices=graph.indices, distances=graph.distances))
    with np.load(file) as kept:
        return Graph(kept["indices"], kept["distances"])


def _file(embedding_set: EmbeddingSet, name: str, suffix: str) -> Path:
    folder = Path(settings.STORE_DIR) / "neighbours" / str(embedding_set.pk)
    return folder / f"{name}-{embedding_set.generation}.{suffix}"


def _keep(file: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, move it into place, and drop those of earlier generations."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"draft-{os.getpid()}-{file.name}")
    write(draft)
    draft.replace(file)
    name = file.name.split("-")[0]
    for older in file.parent.glob(f"{name}-*{file.suffix}"):
        if older != file:
            try:
                older.unlink(missing_ok=True)
            except PermissionError:  # Windows: somebody has it mapped; the next generation removes it
                continue
