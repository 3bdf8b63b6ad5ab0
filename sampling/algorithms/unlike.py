"""Find groups of unlabeled rows that resemble each other and none of the labeled rows: candidates for new classes.

A row is far from the labels if its distance to the nearest of them is large compared with the distance to its own
neighbors, which leaves out rows that are far from everything (those are in `outliers`). The far rows are clustered by
k-means (Stuart Lloyd, *Least squares quantization in PCM*, IEEE Transactions on Information Theory 28, 1982), through
scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans

from modeling.algorithms.rows import Floats, Rows, as_rows, blocks, sklearn_seed, usable
from sampling.algorithms.ranking import top

# The neighbor whose distance measures how dense the surroundings of a row are.
NEIGHBOR = 10
# A row is far if its ratio exceeds this quantile of the same ratio of labeled rows, to the nearest other label.
# With a ratio of 1, the nearest label is as near as the 10th neighbor.
QUANTILE, MIN_RATIO = 0.9, 1.1
MIN_LABELS = 10
# Larger numbers hardly change the groups. The cost is proportional to the number of labels compared with.
MAX_LABELS, MAX_FAR = 2000, 20_000
GROUP_SIZE, MAX_GROUPS, MIN_GROUP = 60, 40, 8


@dataclass(frozen=True)
class Unlike:
    """Rows in groups, the group farthest from all labels first, the most typical row of each group first."""

    rows: Rows
    groups: Rows  # (n,) from 0, ascending
    scores: Floats  # (n,) the distance to the nearest label, in units of the distance to its own neighbors

    @property
    def sizes(self) -> list[int]:
        """Return the number of rows of each group."""
        return np.bincount(self.groups).tolist() if len(self.groups) else []


def unlike(
    Z: Floats, distances: Floats, candidates: ArrayLike, labeled: ArrayLike, labels: ArrayLike, rng: np.random.Generator
) -> Unlike:
    """Group the candidates that are unlike all labeled rows.

    Parameters
    ----------
    Z
        (n, d) float32 projected vectors by row.
    distances
        (n, k) distances of each row to its nearest neighbors, as in `Graph`.
    candidates, labeled
        Rows to group; rows with a label.
    labels
        (m,) class of each labeled row. Of many labels, equally many of each class are drawn.
    rng
        Draws these labels and seeds the k-means.

    Returns
    -------
    Unlike
        Groups of about 60 to some hundred rows. Rows without a finite vector or without neighbors are in no group;
        without labels, or if nothing is far from them, the result is empty.

    Notes
    -----
    O(n d m) for m labels, at most 2,000, and k-means of at most 20,000 rows.
    """
    scale = _scale(distances)
    rows, positions = usable(Z, candidates), as_rows(labeled)
    rows = rows[np.isfinite(scale[rows])]
    has_vector = np.isin(positions, usable(Z, positions))
    anchors = positions[has_vector]
    anchors = anchors[_balanced(as_rows(labels)[has_vector], rng)]
    if not len(rows) or not len(anchors):
        return Unlike(rows[:0], rows[:0], np.empty(0, np.float32))
    ratios = _nearest(Z[rows], Z[anchors]) / scale[rows]
    far = _far(ratios, _usual(Z, scale, anchors))
    if len(far) < MIN_GROUP:
        return Unlike(rows[:0], rows[:0], np.empty(0, np.float32))
    return _grouped(Z, rows[far], ratios[far], rng)


def _scale(distances: Floats) -> Floats:
    """Return for each row the distance to its 10th neighbor, or the farthest of fewer; NaN without a positive one."""
    near = distances[:, :NEIGHBOR]
    scale: Floats = np.where(np.isfinite(near), near, 0).max(axis=1, initial=0)
    return np.where(scale > 0, scale, np.nan).astype(np.float32)


def _balanced(labels: Rows, rng: np.random.Generator) -> Rows:
    """Return the positions, ascending, of at most 2,000 labels: of many, equally many of each class."""
    if len(labels) <= MAX_LABELS:
        return np.arange(len(labels))
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for class_ in np.unique(labels):
        own = order[labels[order] == class_]
        turn[own] = np.arange(len(own))
    return np.sort(order[np.argsort(turn[order], kind="stable")[:MAX_LABELS]])


def _nearest(points: Floats, anchors: Floats, *, is_same: bool = False) -> Floats:
    """Return the distance (n,) of each point to the nearest of the anchors; of those themselves, to another one."""
    lengths = np.einsum("ij,ij->i", anchors, anchors)
    nearest = np.empty(len(points), np.float32)
    for part in blocks(len(points)):
        block = points[part]
        squared = lengths - 2 * (block @ anchors.T)
        squared += np.einsum("ij,ij->i", block, block)[:, None]
        if is_same:
            squared[np.arange(len(block)), np.arange(part.start, part.start + len(block))] = np.inf
        nearest[part] = np.sqrt(np.maximum(squared.min(axis=1), 0))
    return nearest


def _usual(Z: Floats, scale: Floats, anchors: Rows) -> float | None:
    """Return the ratio that most labeled rows have to the nearest other one, or None if there are too few."""
    usual = anchors[np.isfinite(scale[anchors])]
    if len(usual) < MIN_LABELS:
        return None
    ratios = _nearest(Z[usual], Z[usual], is_same=True) / scale[usual]
    return float(np.quantile(ratios, QUANTILE))


def _far(ratios: Floats, usual: float | None) -> Rows:
    """Return the positions, ascending, of at most 20,000 rows that are farther from the labels than usual."""
    limit = max(float(np.quantile(ratios, QUANTILE)) if usual is None else usual, MIN_RATIO)
    return np.sort(top(np.where(ratios > limit, ratios, np.float32(np.nan)), MAX_FAR))


def _grouped(Z: Floats, rows: Rows, ratios: Floats, rng: np.random.Generator) -> Unlike:
    n_groups = int(np.clip(len(rows) // GROUP_SIZE, 1, MAX_GROUPS))
    points = np.asarray(Z[rows], np.float32)
    n_groups = min(n_groups, len(np.unique(points, axis=0)))
    kmeans = KMeans(n_groups, n_init=1, random_state=sklearn_seed(rng)).fit(points)
    cluster: NDArray[np.int64] = kmeans.labels_.astype(np.int64)
    sizes = np.bincount(cluster, minlength=n_groups)
    means = np.bincount(cluster, weights=ratios, minlength=n_groups) / np.maximum(sizes, 1)
    ranked = np.argsort(-np.where(sizes >= MIN_GROUP, means, -np.inf), kind="stable")[: int((sizes >= MIN_GROUP).sum())]
    place = np.full(n_groups, n_groups)
    place[ranked] = np.arange(len(ranked))
    to_center = np.linalg.norm(points - kmeans.cluster_centers_[cluster], axis=1)
    order = np.lexsort((rows, to_center, place[cluster]))
    order = order[place[cluster[order]] < len(ranked)]
    return Unlike(rows[order], place[cluster[order]], ratios[order])
