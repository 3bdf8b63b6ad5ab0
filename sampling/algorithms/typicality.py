"""The very first labels: the most typical row of each part of the data (TypiClust).

Guy Hacohen, Avihu Dekel and Daphna Weinshall, *Active learning on a budget: opposite strategies suit high and low
budgets*, ICML 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans

from modeling.algorithms.rows import Floats, Rows, as_rows, blocks, usable, whole_seed

NEIGHBOURS = 20
MOST_CLUSTERS = 500
# k-means on every row is slow beyond this; in small batches it is nearly as good.
BATCHES_FROM = 20_000
# So many rows, evenly taken, stand for a larger cluster; the others wait until those are gone.
MEASURED = 4096
LONELY = 5


@dataclass(frozen=True)
class Typical:
    """Rows in the order they were picked, and how typical each is: one over a mean distance."""

    rows: Rows
    typicality: Floats  # infinity for a row with enough exact copies


def typical(
    X: Floats,
    candidates: ArrayLike,
    labelled: ArrayLike,
    k: int,
    *,
    rng: np.random.Generator,
    neighbours: int = NEIGHBOURS,
) -> Typical:
    """Pick ``k`` candidates: from each cluster of the data the one in the densest place.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row; a projection will do and is quicker.
    candidates, labelled
        Rows to pick from; rows that have a label. Both are clustered.
    k
        How many; more than there are gives all.
    rng
        Seeds the k-means.
    neighbours
        Typicality is one over the mean distance to so many nearest rows of the cluster, or to half of a small
        cluster.

    Returns
    -------
    Typical
        Clusters with the fewest labels and picks come first, the largest first among them; clusters of
        fewer than five rows only when nothing else is left. Rows that are not all finite are never picked;
        nothing usable gives nothing. Identical vectors share a cluster and come in order of position.

    Notes
    -----
    labelled + k clusters, at most 500. O(n d clusters) for k-means and O(d m^2) for the distances in each cluster,
    with m its size but at most 4096.
    """
    given = usable(X, as_rows(labelled))
    rows = np.setdiff1d(usable(X, candidates), given)
    k = min(k, len(rows))
    if k <= 0:
        return Typical(np.empty(0, np.int64), np.empty(0, np.float32))
    everything = np.union1d(rows, given)
    Z = np.asarray(X[everything], np.float32)
    cluster = _clusters(Z, min(len(given) + k, MOST_CLUSTERS), rng)
    density = np.zeros(len(everything), np.float32)
    for number in range(int(cluster.max()) + 1):
        members = np.flatnonzero(cluster == number)
        members = members[:: -(-len(members) // MEASURED) or 1]
        density[members] = _density(Z[members], neighbours)
    is_given = np.isin(everything, given)
    picks = _in_turn(cluster, density, is_given, k)
    return Typical(everything[picks], density[picks])


def _clusters(Z: Floats, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) cluster of each row; fewer clusters than asked when there are not so many distinct rows."""
    seed = whole_seed(rng)
    distinct = len(np.unique(Z, axis=0)) if len(Z) <= BATCHES_FROM else n_clusters
    n_clusters = min(n_clusters, distinct)
    if n_clusters < 2:
        return np.zeros(len(Z), np.int64)
    if len(Z) <= BATCHES_FROM:
        means = KMeans(n_clusters, n_init=1, random_state=seed)
    else:
        means = MiniBatchKMeans(n_clusters, n_init=1, batch_size=4096, random_state=seed)
    return np.asarray(means.fit_predict(Z), np.int64)


def _density(Z: Floats, neighbours: int) -> Floats:
    """(n,) one over the mean distance of each row of a cluster to its nearest others."""
    n = len(Z)
    if n < 2:
        return np.zeros(n, np.float32)
    Z = Z - Z.mean(axis=0)  # far from the origin the products would round the distances away
    lengths = np.einsum("ij,ij->i", Z, Z)
    nearest = min(neighbours, max(1, n // 2))
    density = np.empty(n, np.float32)
    for part in blocks(n, 1024):
        squared = lengths - 2 * (Z[part] @ Z.T) + lengths[part, None]
        own = np.arange(part.start, part.stop)
        squared[own - part.start, own] = np.inf
        near = np.partition(squared, nearest - 1, axis=1)[:, :nearest]
        with np.errstate(divide="ignore"):
            density[part] = 1 / np.sqrt(np.maximum(near, 0)).mean(axis=1)
    return density


def _in_turn(
    cluster: NDArray[np.int64],
    density: Floats,
    is_given: NDArray[np.bool_],
    k: int,
) -> NDArray[np.int64]:
    """Positions of ``k`` candidates, each the densest left in the cluster whose turn it is."""
    n_clusters = int(cluster.max()) + 1
    size = np.bincount(cluster, minlength=n_clusters)
    taken = np.bincount(cluster[is_given], minlength=n_clusters)
    ranked = np.flatnonzero(~is_given)
    ranked = ranked[np.lexsort((ranked, -density[ranked], cluster[ranked]))]
    waiting = np.split(ranked, np.cumsum(np.bincount(cluster[ranked], minlength=n_clusters))[:-1])
    next_up = np.zeros(n_clusters, np.int64)
    picks: list[int] = []
    lonely = size < LONELY
    while len(picks) < k:
        left = np.array([len(w) for w in waiting]) > next_up
        turn = int(np.lexsort((-size, taken, lonely, ~left))[0])
        picks.append(int(waiting[turn][next_up[turn]]))
        next_up[turn] += 1
        taken[turn] += 1
    return np.array(picks, np.int64)
