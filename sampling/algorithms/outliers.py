"""Oddities: how much each row stands out from the others.

Markus Breunig, Hans-Peter Kriegel, Raymond Ng and Jörg Sander, *LOF: identifying density-based local outliers*,
SIGMOD 2000; Fei Tony Liu, Kai Ming Ting and Zhi-Hua Zhou, *Isolation forest*, ICDM 2008, through scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import IsolationForest

from modeling.algorithms.neighbors import Graph
from modeling.algorithms.rows import Floats, blocks, usable, whole_seed

TREES = 100
LEARNT_FROM = 256
SCORED_AT_ONCE = 65_536


def local_outlier_factor(graph: Graph, k: int = 20) -> Floats:
    """(n,) float32 Local Outlier Factor from the ``k`` nearest neighbours of a shared graph; O(n k).

    About 1 inside a cluster of any density, larger for rows in emptier places than their neighbours. Takes as
    many neighbours as the graph has when that is fewer than ``k``; rows without neighbours give NaN. Where
    more than ``k`` copies of a row exist, their density is capped as in scikit-learn, so it stays finite.
    """
    indices, distances = graph.indices[:, :k], graph.distances[:, :k]
    found = indices >= 0
    count = found.sum(axis=1)
    if not count.any():
        return np.full(len(indices), np.nan, np.float32)
    others = np.where(found, indices, 0)
    reach = np.where(found, distances, -np.inf).max(axis=1)  # distance to the k-th neighbour
    summed = np.where(found, np.maximum(distances, reach[others]), 0).sum(axis=1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = 1 / (summed / count + 1e-10)
        factor = np.where(found, density[others], 0).sum(axis=1) / count / density
    return np.where(count > 0, factor, np.nan).astype(np.float32)


def isolation(
    X: Floats,
    *,
    rng: np.random.Generator,
    n_trees: int = TREES,
    on_progress: Callable[[int, int], None] | None = None,
) -> Floats:
    """(n,) float32 in (0, 1]: how quickly random cuts isolate each row of ``X`` (n, d); about 0.5 is ordinary.

    Rows that are not all finite give NaN; with fewer than two usable rows nothing stands out: 0.5.
    O(n log(256) trees). Best given a projection: a cut is of one column, and most of a thousand say little.
    ``on_progress(done, total)`` counts rows and may raise to stop.
    """
    scores = np.full(len(X), np.nan, np.float32)
    known = usable(X, np.arange(len(X)))
    if len(known) < 2:
        scores[known] = 0.5
        return scores
    # The forest learns from 256 rows a tree; it need not see, or copy, a million.
    most = min(len(known), n_trees * LEARNT_FROM)
    drawn = known if most == len(known) else np.sort(rng.choice(known, most, replace=False))
    forest = IsolationForest(n_estimators=n_trees, max_samples=min(LEARNT_FROM, most), random_state=whole_seed(rng))
    forest.fit(X[drawn])
    for part in blocks(len(known), SCORED_AT_ONCE):
        scores[known[part]] = -forest.score_samples(X[known[part]])
        if on_progress is not None:
            on_progress(part.stop, len(known))
    return scores
