"""Score how much each row stands out from the others.

Markus Breunig, Hans-Peter Kriegel, Raymond Ng and Jörg Sander, *LOF: identifying density-based local outliers*, SIGMOD
2000; Fei Tony Liu, Kai Ming Ting and Zhi-Hua Zhou, *Isolation forest*, ICDM 2008, through scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import IsolationForest

from modeling.algorithms.neighbors import Graph
from modeling.algorithms.rows import Floats, blocks, sklearn_seed, usable

TREES = 100
ROWS_PER_TREE = 256
SCORING_BLOCK = 65_536


def local_outlier_factor(graph: Graph, k: int = 20) -> Floats:
    """Return the Local Outlier Factor (n,) float32 from the ``k`` nearest neighbors of a shared graph; O(n k).

    About 1 inside a cluster of any density, larger for rows in sparser regions than their neighbors. Uses all neighbors
    of the graph if it has fewer than ``k``. Rows without neighbors give NaN. The density of rows with more than ``k``
    duplicates is capped as in scikit-learn, so that it stays finite.
    """
    indices, distances = graph.indices[:, :k], graph.distances[:, :k]
    exists = indices >= 0
    count = exists.sum(axis=1)
    if not count.any():
        return np.full(len(indices), np.nan, np.float32)
    others = np.where(exists, indices, 0)
    reach = np.where(exists, distances, -np.inf).max(axis=1)  # distance to the k-th neighbor
    summed = np.where(exists, np.maximum(distances, reach[others]), 0).sum(axis=1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = 1 / (summed / count + 1e-10)
        factor = np.where(exists, density[others], 0).sum(axis=1) / count / density
    return np.where(count > 0, factor, np.nan).astype(np.float32)


def isolation(
    X: Floats,
    *,
    rng: np.random.Generator,
    n_trees: int = TREES,
    on_progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """Return isolation forest scores (n,) float32 in (0, 1] for the rows of ``X`` (n, d); about 0.5 is ordinary.

    Rows that are not finite give NaN; with fewer than two usable rows all scores are 0.5. O(n log(256) trees). Project
    ``X`` first: a split uses one column, and most of a thousand are not informative. ``on_progress(done, total)``
    counts rows and may raise to stop.
    """
    scores = np.full(len(X), np.nan, np.float32)
    valid = usable(X, np.arange(len(X)))
    if len(valid) < 2:
        scores[valid] = 0.5
        return scores
    # Each tree is fitted to 256 rows, so the forest needs no copy of a million.
    n_sampled = min(len(valid), n_trees * ROWS_PER_TREE)
    sample = valid if n_sampled == len(valid) else np.sort(rng.choice(valid, n_sampled, replace=False))
    forest = IsolationForest(
        n_estimators=n_trees, max_samples=min(ROWS_PER_TREE, n_sampled), random_state=sklearn_seed(rng)
    )
    forest.fit(X[sample])
    for part in blocks(len(valid), SCORING_BLOCK):
        scores[valid[part]] = -forest.score_samples(X[valid[part]])
        if on_progress is not None:
            on_progress(part.stop, len(valid))
    return scores
