"""Uncertain without repeating itself: the middle of each of k clusters of the least sure.

Fedor Zhdanov, *Diverse mini-batch active learning*, arXiv:1901.05954 (2019). The clustering is Lloyd's with seeds
by k-means++ (Arthur and Vassilvitskii, SODA 2007), weighted by how unsure the model is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.rows import Floats, Rows, as_rows, one_thread, usable
from sampling.algorithms.ranking import top

CANDIDATES_PER_PICK = 10
ROUNDS = 10
NARROW = 64


def diversified(
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
    """Rank ``k`` candidates so that each batch of the ranking is unsure and without near-copies.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row; a projection will do and is quicker.
    candidates
        (m,) rows to rank.
    scores
        (m,) how unsure the model is about each, 0 or more; NaN is never taken.
    k
        How many; more than there are gives all.
    rng
        Seeds the clusters.
    batch
        A page. For each, the ``per_pick * batch`` least sure of what is left are cut into ``batch`` clusters
        and the row nearest to the middle of each is taken, doubts weighing; within a page the least sure come
        first. (The least sure of each cluster instead needed a seventh more labels on scikit-learn's digits.)
    diverse
        Only so many of the ranking are spread (default all); the rest follow by score alone.

    Returns
    -------
    (k,) rows. A candidate whose vector is not all finite is never taken. A page of identical vectors comes in
    order of score, then position.

    Notes
    -----
    O(m) for the scores and O(batch^2 per_pick d) a page.
    """
    rows, scores = as_rows(candidates), np.asarray(scores, np.float32)
    diverse = k if diverse is None else min(diverse, k)
    pages = -(-diverse // batch)
    # No page looks beyond this many of the least sure.
    reach = top(scores, max(k, pages * batch + per_pick * batch))
    reach = reach[np.isin(rows[reach], usable(X, rows[reach]))]
    chosen: list[NDArray[np.int64]] = []
    for page in range(pages):
        if not len(reach):
            break
        size = min(batch, diverse - page * batch)
        near = reach[: per_pick * batch]
        with one_thread():
            picks = near[_one_of_each(np.asarray(X[rows[near]], np.float32), scores[near], size, rng)]
        chosen.append(picks)
        reach = reach[~np.isin(reach, picks)]
    order = np.concatenate([*chosen, reach]) if chosen else reach
    return rows[order[: max(k, 0)]]


def narrowed(X: Floats, rng: np.random.Generator) -> Floats:
    """(n, <= 64) rows whose distances are about those of ``X`` (n, d): clusters of a page need no more; O(n d).

    A random projection (William Johnson and Joram Lindenstrauss, 1984), for when there is no time to learn one.
    """
    if X.shape[1] <= NARROW:
        return X
    directions = rng.standard_normal((X.shape[1], NARROW), dtype=np.float32) / np.float32(np.sqrt(NARROW))
    return np.asarray(X @ directions, np.float32)


def _one_of_each(Z: Floats, weight: Floats, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of at most ``k`` of the rows ``Z``, which come least sure first: the middle one of each cluster."""
    if len(Z) <= k:
        return np.arange(len(Z))
    weight = weight + np.float32(1e-6)
    cluster = weighted_means(Z, weight, k, rng)
    off_middle = _off_middle(Z, weight, cluster)
    order = np.lexsort((off_middle, cluster))
    _, first = np.unique(cluster[order], return_index=True)
    middle = order[first]
    # Copies leave clusters empty: fill the page with the least sure of the rest.
    rest = np.setdiff1d(np.arange(len(Z)), middle, assume_unique=True)
    return np.sort(np.concatenate([middle, rest[: k - len(middle)]]))


def _off_middle(Z: Floats, weight: Floats, cluster: NDArray[np.int64]) -> Floats:
    """(n,) squared distance of each row to the weighted mean of its cluster."""
    member = np.zeros((int(cluster.max()) + 1, len(Z)), np.float32)
    member[cluster, np.arange(len(Z))] = weight
    total = member.sum(axis=1, keepdims=True)
    apart = Z - ((member @ Z) / np.where(total > 0, total, 1))[cluster]
    return np.asarray(np.einsum("ij,ij->i", apart, apart), np.float32)


def weighted_means(Z: Floats, weight: Floats, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) the cluster of each row of ``Z`` (n, d), at most ``k``: k-means for a few hundred rows at once.

    scikit-learn's takes longer to start than these take to cluster.
    """
    Z = Z - Z.mean(axis=0)
    lengths = np.einsum("ij,ij->i", Z, Z)
    centres = Z[_spread(Z, lengths, weight, k, rng)]
    cluster = np.full(len(Z), -1)
    for _ in range(ROUNDS):
        cost = np.einsum("ij,ij->i", centres, centres) - 2 * (Z @ centres.T)
        nearest = cost.argmin(axis=1)
        if np.array_equal(nearest, cluster):
            break
        cluster = nearest
        member = np.zeros((len(centres), len(Z)), np.float32)
        member[cluster, np.arange(len(Z))] = weight
        total = member.sum(axis=1, keepdims=True)
        moved = (member @ Z) / np.where(total > 0, total, 1)
        centres = np.where(total > 0, moved, centres)
    return cluster


def _spread(Z: Floats, lengths: Floats, weight: Floats, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most ``k`` seeds by k-means++: each drawn by weight times squared distance to those before."""
    chance = weight.astype(np.float64)
    nearest = np.full(len(Z), np.inf)
    seeds: list[int] = []
    while len(seeds) < k and chance.sum() > 0:
        at = int(np.searchsorted(np.cumsum(chance), rng.random() * chance.sum(), side="right"))
        at = min(at, len(Z) - 1)
        seeds.append(at)
        apart = lengths + lengths[at] - 2 * (Z @ Z[at])
        apart[apart < 1e-6 * (lengths + lengths[at])] = 0  # a copy, but for rounding
        nearest = np.minimum(nearest, apart)
        nearest[at] = 0
        chance = weight * nearest
    return np.array(seeds, np.int64)
