"""Rank uncertain candidates without near-duplicates: the central one of each of k clusters of the most uncertain.

Fedor Zhdanov, *Diverse mini-batch active learning*, arXiv:1901.05954 (2019). The clustering is Lloyd's algorithm with
k-means++ seeds (Arthur and Vassilvitskii, SODA 2007), weighted by the model's uncertainty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.rows import Floats, Rows, as_rows, single_blas_thread, usable
from sampling.algorithms.ranking import top

CANDIDATES_PER_PICK = 10
ITERATIONS = 10
N_PROJECTED = 64


def diversify(
    X: Floats,
    candidates: ArrayLike,
    scores: Floats,
    k: int,
    *,
    rng: np.random.Generator,
    batch: int = 40,
    per_pick: int = CANDIDATES_PER_PICK,
    diverse: int | None = None,
) -> Rows:
    """Rank ``k`` candidates so that each batch of the ranking is uncertain and free of near-duplicates.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row; a projection is sufficient and faster.
    candidates
        (m,) rows to rank.
    scores
        (m,) uncertainty of each, 0 or more; NaN is never selected.
    k
        Number of rows, limited to the number of candidates.
    rng
        Seeds the clusters.
    batch
        Size of a page. For each page, the ``per_pick * batch`` most uncertain remaining rows are split into
        ``batch`` clusters, and the row nearest to the uncertainty-weighted center of each is selected. Within a
        page the most uncertain rows come first. (The most uncertain row of each cluster instead needed a seventh
        more labels on scikit-learn's digits.)
    diverse
        Only this many rows of the ranking are diversified (default all); the rest follow by score alone.

    Returns
    -------
    (k,) rows. A candidate whose vector is not finite is never selected. A page of identical vectors is ordered by
    score, then position.

    Notes
    -----
    O(m) for the scores and O(batch^2 per_pick d) per page.
    """
    rows, scores = as_rows(candidates), np.asarray(scores, np.float32)
    diverse = k if diverse is None else min(diverse, k)
    pages = -(-diverse // batch)
    # No page considers more than this many of the most uncertain.
    reach = top(scores, max(k, pages * batch + per_pick * batch))
    reach = reach[np.isin(rows[reach], usable(X, rows[reach]))]
    chosen: list[NDArray[np.int64]] = []
    for page in range(pages):
        if not len(reach):
            break
        size = min(batch, diverse - page * batch)
        near = reach[: per_pick * batch]
        with single_blas_thread():
            picks = near[_central_rows(np.asarray(X[rows[near]], np.float32), scores[near], size, rng)]
        chosen.append(picks)
        reach = reach[~np.isin(reach, picks)]
    order = np.concatenate([*chosen, reach]) if chosen else reach
    return rows[order[: max(k, 0)]]


def random_projection(X: Floats, rng: np.random.Generator) -> Floats:
    """Project rows of ``X`` (n, d) to at most 64 dimensions, which approximately preserves distances; O(n d).

    A random projection (William Johnson and Joram Lindenstrauss, 1984) is accurate enough for the clusters of a page
    and, unlike principal components, needs no fit.
    """
    if X.shape[1] <= N_PROJECTED:
        return X
    directions = rng.standard_normal((X.shape[1], N_PROJECTED), dtype=np.float32) / np.float32(np.sqrt(N_PROJECTED))
    return np.asarray(X @ directions, np.float32)


def _central_rows(Z: Floats, weight: Floats, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return positions of at most ``k`` of the rows ``Z``, most uncertain first: the central row of each cluster."""
    if len(Z) <= k:
        return np.arange(len(Z))
    weight = weight + np.float32(1e-6)
    cluster = weighted_kmeans(Z, weight, k, rng)
    distances = _distances_to_center(Z, weight, cluster)
    order = np.lexsort((distances, cluster))
    _, first = np.unique(cluster[order], return_index=True)
    central = order[first]
    # Duplicates leave clusters empty: fill the page with the most uncertain of the rest.
    rest = np.setdiff1d(np.arange(len(Z)), central, assume_unique=True)
    return np.sort(np.concatenate([central, rest[: k - len(central)]]))


def _distances_to_center(Z: Floats, weight: Floats, cluster: NDArray[np.int64]) -> Floats:
    """Return the squared distance (n,) of each row to the weighted mean of its cluster."""
    member = np.zeros((int(cluster.max()) + 1, len(Z)), np.float32)
    member[cluster, np.arange(len(Z))] = weight
    total = member.sum(axis=1, keepdims=True)
    differences = Z - ((member @ Z) / np.where(total > 0, total, 1))[cluster]
    return np.asarray(np.einsum("ij,ij->i", differences, differences), np.float32)


def weighted_kmeans(Z: Floats, weight: Floats, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the cluster (n,), of at most ``k``, of each row of ``Z`` (n, d), for a few hundred rows.

    For so few rows this is faster than the setup of scikit-learn's k-means.
    """
    Z = Z - Z.mean(axis=0)
    lengths = np.einsum("ij,ij->i", Z, Z)
    centers = Z[_seeds(Z, lengths, weight, k, rng)]
    cluster = np.full(len(Z), -1)
    for _ in range(ITERATIONS):
        cost = np.einsum("ij,ij->i", centers, centers) - 2 * (Z @ centers.T)
        nearest = cost.argmin(axis=1)
        if np.array_equal(nearest, cluster):
            break
        cluster = nearest
        member = np.zeros((len(centers), len(Z)), np.float32)
        member[cluster, np.arange(len(Z))] = weight
        total = member.sum(axis=1, keepdims=True)
        moved = (member @ Z) / np.where(total > 0, total, 1)
        centers = np.where(total > 0, moved, centers)
    return cluster


def _seeds(Z: Floats, lengths: Floats, weight: Floats, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most ``k`` k-means++ seeds, each drawn by weight times squared distance to the previous ones."""
    probability = weight.astype(np.float64)
    nearest = np.full(len(Z), np.inf)
    seeds: list[int] = []
    while len(seeds) < k and probability.sum() > 0:
        at = int(np.searchsorted(np.cumsum(probability), rng.random() * probability.sum(), side="right"))
        at = min(at, len(Z) - 1)
        seeds.append(at)
        squared = lengths + lengths[at] - 2 * (Z @ Z[at])
        squared[squared < 1e-6 * (lengths + lengths[at])] = 0  # a duplicate, up to rounding
        nearest = np.minimum(nearest, squared)
        nearest[at] = 0
        probability = weight * nearest
    return np.array(seeds, np.int64)
