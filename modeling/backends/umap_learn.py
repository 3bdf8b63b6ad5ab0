"""The layout by umap-learn itself: for work that has to name it. The usual one is ``modeling.algorithms.umap``."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from modeling.algorithms.neighbours import Graph

Floats = NDArray[np.float32]


def lay_out(
    Z: Floats,
    graph: Graph,
    start: Floats,
    *,
    n_neighbors: int,
    min_dist: float,
    seed: int,
    y: NDArray[np.int64] | None = None,
) -> Floats:
    """Places (n, 2) of the rows of ``Z`` (n, d), from their neighbours and beginning at ``start`` (n, 2).

    The graph holds at least ``n_neighbors - 1`` others of each row; ``y`` (n,), where labels have a say, -1 for rows
    without one. The same seed gives the same places. It works on one core and can't be stopped or asked how far it is.
    """
    n, k = len(Z), n_neighbors - 1
    # umap-learn counts a row as its own first neighbour.
    indices = np.hstack([np.arange(n, dtype=np.int32)[:, None], graph.indices[:, :k]])
    distances = np.hstack([np.zeros((n, 1), np.float32), graph.distances[:, :k]])
    with warnings.catch_warnings():
        # Of a new image that it could not place (others do) and of cores that a seed leaves idle.
        warnings.simplefilter("ignore")
        made = _umap().UMAP(
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            init=start,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(indices, distances),
            force_approximation_algorithm=True,
        )
        places: Floats = made.fit_transform(Z, y).astype(np.float32)
    return places


def _umap() -> Any:
    """The package, without TensorFlow: it looks for it on its import, for a part that is not used here."""
    is_loaded = "tensorflow" in sys.modules
    if not is_loaded:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        import umap
    finally:
        if not is_loaded:
            del sys.modules["tensorflow"]
    return umap
