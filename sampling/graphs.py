"""The k-NN graph of an embedding set: built once, kept beside the vectors, shared by every queue that needs it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from django.conf import settings

from modeling.models import EmbeddingSet
from modeling.store import Vectors
from sampling.algorithms.neighbours import Graph, knn_graph, project

NEIGHBOURS = 30
SEED = 0


def graph_of(embedding_set: EmbeddingSet, vectors: Vectors) -> Graph:
    """The exact k-NN graph (on a PCA projection) of this generation of the vectors, from the disk if it is there."""
    folder = Path(settings.STORE_DIR) / "graphs" / str(embedding_set.pk)
    file = folder / f"graph-{embedding_set.generation}.npz"
    if file.exists():
        with np.load(file) as kept:
            return Graph(kept["indices"], kept["distances"])
    X = np.where(vectors.has[:, None], vectors.X, np.float32(np.nan))
    graph = knn_graph(project(X, rng=np.random.default_rng(SEED)), NEIGHBOURS)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{file.stem}.{os.getpid()}.tmp.npz"
    np.savez(draft, indices=graph.indices, distances=graph.distances)
    draft.replace(file)
    for older in folder.glob("graph-*.npz"):
        if older != file:
            older.unlink(missing_ok=True)
    return graph
