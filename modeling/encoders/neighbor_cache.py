"""Cache the principal components and the k-NN graph of an embedding set on disk, for maps and queues.

Each is computed once for a generation of embeddings. The algorithms are imported inside the functions: only workers
load them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.storage import Generations, StoreError, find_arrays, remove_folder
from modeling.models import EmbeddingSet
from modeling.store import Vectors

if TYPE_CHECKING:
    from modeling.algorithms.neighbors import Graph
    from modeling.algorithms.smoothing import Smoothing

Floats = NDArray[np.float32]
# tell(stage, done, total); total 0 means unknown. May raise to stop.
Tell = Callable[[str, int, int], None]
NEIGHBOURS = 30
SEED = 0
# More images than this are compared in a separate job, with an approximate graph.
AT_ONCE = 20_000
RECALL = 0.98


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
        tell("Computing principal components", done, total)

    def made() -> Floats:
        tell("Computing principal components", 0, 0)
        rng = np.random.default_rng(SEED)
        return project(vectors.X, rng=rng, has=vectors.has, is_unit=is_unit, on_progress=count)

    name = "unit" if is_unit else "projection"
    return cast(Floats, cache_of(embedding_set).array_of(name, embedding_set.generation, made))


def graph_of(embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently, *, is_unit: bool = False) -> Graph:
    """Return the k-NN graph of these components: exact up to 20,000 images, with a measured recall of 0.98 above."""
    from modeling.algorithms.neighbors import Graph

    def made() -> dict[str, NDArray[Any]]:
        Z = principal_components_of(embedding_set, vectors, tell, is_unit=is_unit)
        graph, recall = made_graph(Z, NEIGHBOURS, tell, seed=SEED)
        return {"indices": graph.indices, "distances": graph.distances, "recall": np.array(recall)}

    arrays = cache_of(embedding_set).arrays_of(_graph_name(is_unit), embedding_set.generation, made)
    return Graph(arrays["indices"], arrays["distances"])


def smoothing_of(embedding_set: EmbeddingSet, vectors: Vectors, tell: Tell = silently) -> Smoothing | None:
    """Return the smoothing over the graph; None for more than 20,000 images while no other job has made their graph."""
    from scipy.sparse import csr_array

    from modeling.algorithms.smoothing import Smoothing

    cache, generation = cache_of(embedding_set), embedding_set.generation
    files = [cache.file("smoothing", generation), cache.file(_graph_name(is_unit=False), generation, "npz")]
    if len(vectors) > AT_ONCE and not any(file.exists() for file in files):
        return None

    @functools.cache
    def made() -> Smoothing:
        return Smoothing.of(graph_of(embedding_set, vectors, tell))

    # Each in a file of its own, which is mapped: the weights of a million images take 250 MB.
    order = cache.array_of("smoothing_order", generation, lambda: made().order)
    indptr = cache.array_of("smoothing_indptr", generation, lambda: made().step.indptr)
    indices = cache.array_of("smoothing_indices", generation, lambda: made().step.indices)
    data = cache.array_of("smoothing", generation, lambda: made().step.data)
    return Smoothing(csr_array((data, indices, indptr), shape=(len(order), len(order))), order)


def made_graph(Z: Floats, k: int, tell: Tell, *, seed: int) -> tuple[Graph, float]:
    """Return the k-NN graph of rows (n, d), and its recall of the true neighbors."""
    from modeling.algorithms.ivf_neighbors import approximate_knn_graph
    from modeling.algorithms.neighbors import knn_graph

    def count(done: int, total: int) -> None:
        tell("Finding the nearest neighbors of each image", done, total)

    if len(Z) <= AT_ONCE:
        return knn_graph(Z, k, on_progress=count), 1.0
    measured = approximate_knn_graph(Z, k, rng=np.random.default_rng(seed), recall=RECALL, on_progress=count)
    return measured.graph, measured.recall


def recall_of(embedding_set: EmbeddingSet, *, is_unit: bool = False) -> float | None:
    """Return the recall of the graph, measured on a sample; None if there is no graph."""
    file = cache_of(embedding_set).file(_graph_name(is_unit), embedding_set.generation, "npz")
    try:
        arrays = find_arrays(file, "", "recall")
    except StoreError:  # the graph is computed again when it is next needed
        return None
    return None if arrays is None else float(arrays["recall"])


def _graph_name(is_unit: bool) -> str:
    return "unitgraph" if is_unit else "graph"


def forget_set(instance: EmbeddingSet, **kwargs: object) -> None:
    """Delete what was computed from a set of embeddings, after the set was deleted."""
    if instance.pk is not None:
        remove_folder(cache_of(instance).folder)


def cache_of(embedding_set: EmbeddingSet) -> Generations:
    """Return the files of what was computed from a set's vectors, by their generation."""
    return Generations(Path(settings.STORE_DIR) / "neighbours" / str(embedding_set.pk), "")
