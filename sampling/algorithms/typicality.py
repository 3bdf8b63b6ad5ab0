"""Select the first items to label: the most typical row of each cluster (TypiClust).

Guy Hacohen, Avihu Dekel and Daphna Weinshall, *Active learning on a budget: opposite strategies suit high and low
budgets*, ICML 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans

from modeling.algorithms.rows import Floats, Rows, as_rows, blocks, sklearn_seed, usable

N_NEIGHBORS = 20
MAX_CLUSTERS = 500
# Of more rows, a random sample is clustered: typicality compares rows of a cluster, and a sample ranks them alike.
SAMPLE = 20_000
# Larger clusters are represented by at most this many evenly spaced rows; the others follow once those are used up.
MAX_MEMBERS = 4096
SMALL_CLUSTER = 5


@dataclass(frozen=True)
class Typical:
    """Rows in the order of selection, with their typicality: the inverse of a mean distance."""

    rows: Rows
    typicality: Floats  # infinite for a row with enough exact duplicates


def typical(
    X: Floats,
    candidates: ArrayLike,
    labeled: ArrayLike,
    k: int,
    *,
    rng: np.random.Generator,
    n_neighbors: int = N_NEIGHBORS,
) -> Typical:
    """Select ``k`` candidates: from each cluster of the data the row with the highest density.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row; a projection is sufficient and faster.
    candidates, labeled
        Rows to select from, and rows that have a label. Both are clustered.
    k
        Number of rows, limited to the number of candidates.
    rng
        Seeds the k-means.
    n_neighbors
        Typicality is the inverse mean distance to this many nearest rows of the cluster, or to half of a small cluster.

    Returns
    -------
    Typical
        Clusters with the fewest labels and selections come first, the largest first among them; clusters of fewer
        than five rows only when nothing else is left. Rows that are not finite are never selected; without usable
        rows the result is empty. Identical vectors share a cluster and keep the order of positions.

    Notes
    -----
    labeled + k clusters, at most 500. O(n d clusters) for k-means and O(d m^2) for the distances in each cluster of m
    rows, at most 4096. Of more than 20,000 rows a random sample is used; ADR 45 measures what that costs.
    """
    labeled_rows = usable(X, as_rows(labeled))
    rows = np.setdiff1d(usable(X, candidates), labeled_rows)
    k = min(k, len(rows))
    if k <= 0:
        return Typical(np.empty(0, np.int64), np.empty(0, np.float32))
    rows, labeled_rows = _sampled(rows, labeled_rows, k, rng)
    all_rows = np.union1d(rows, labeled_rows)
    Z = np.asarray(X[all_rows], np.float32)
    cluster = _clusters(Z, min(len(labeled_rows) + k, MAX_CLUSTERS), rng)
    density = np.zeros(len(all_rows), np.float32)
    for number in range(int(cluster.max()) + 1):
        members = np.flatnonzero(cluster == number)
        members = members[:: -(-len(members) // MAX_MEMBERS) or 1]
        density[members] = _density(Z[members], n_neighbors)
    is_labeled = np.isin(all_rows, labeled_rows)
    picks = _select_by_cluster(cluster, density, is_labeled, k)
    return Typical(all_rows[picks], density[picks])


def _sampled(rows: Rows, labeled: Rows, k: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Return random samples of both, ascending: 20,000 rows in all, at most half of them labeled, at least ``k`` not.

    Labels are few, and count how often a cluster was visited, so they are kept as long as possible.
    """
    if len(rows) + len(labeled) <= SAMPLE:
        return rows, labeled
    labeled = _drawn(labeled, SAMPLE // 2, rng)
    return _drawn(rows, max(k, SAMPLE - len(labeled)), rng), labeled


def _drawn(rows: Rows, n: int, rng: np.random.Generator) -> Rows:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def _clusters(Z: Floats, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the cluster (n,) of each row; fewer clusters if there are fewer distinct rows."""
    seed = sklearn_seed(rng)
    n_clusters = min(n_clusters, len(np.unique(Z, axis=0)))
    if n_clusters < 2:
        return np.zeros(len(Z), np.int64)
    return np.asarray(KMeans(n_clusters, n_init=1, random_state=seed).fit_predict(Z), np.int64)


def _density(Z: Floats, n_neighbors: int) -> Floats:
    """Return the inverse mean distance (n,) of each row of a cluster to its nearest others."""
    n = len(Z)
    if n < 2:
        return np.zeros(n, np.float32)
    Z = Z - Z.mean(axis=0)  # far from the origin, rounding in the products would exceed the distances
    lengths = np.einsum("ij,ij->i", Z, Z)
    nearest = min(n_neighbors, max(1, n // 2))
    density = np.empty(n, np.float32)
    for part in blocks(n, 1024):
        squared = lengths - 2 * (Z[part] @ Z.T) + lengths[part, None]
        own = np.arange(part.start, part.stop)
        squared[own - part.start, own] = np.inf
        near = np.partition(squared, nearest - 1, axis=1)[:, :nearest]
        with np.errstate(divide="ignore"):
            density[part] = 1 / np.sqrt(np.maximum(near, 0)).mean(axis=1)
    return density


def _select_by_cluster(
    cluster: NDArray[np.int64],
    density: Floats,
    is_labeled: NDArray[np.bool_],
    k: int,
) -> NDArray[np.int64]:
    """Return positions of ``k`` candidates, each the densest left in the cluster whose turn it is."""
    n_clusters = int(cluster.max()) + 1
    size = np.bincount(cluster, minlength=n_clusters)
    taken = np.bincount(cluster[is_labeled], minlength=n_clusters)
    ranked = np.flatnonzero(~is_labeled)
    ranked = ranked[np.lexsort((ranked, -density[ranked], cluster[ranked]))]
    waiting = np.split(ranked, np.cumsum(np.bincount(cluster[ranked], minlength=n_clusters))[:-1])
    next_up = np.zeros(n_clusters, np.int64)
    picks: list[int] = []
    is_small = size < SMALL_CLUSTER
    while len(picks) < k:
        left = np.array([len(w) for w in waiting]) > next_up
        turn = int(np.lexsort((-size, taken, is_small, ~left))[0])
        picks.append(int(waiting[turn][next_up[turn]]))
        next_up[turn] += 1
        taken[turn] += 1
    return np.array(picks, np.int64)
