"""Find groups of images that short edges of the k-NN graph join, and measure how far labels agree within them.

Without the edges longer than a radius, the graph falls apart into connected components: single-linkage clusters (Gower
and Ross, *Minimum spanning trees and single linkage cluster analysis*, Applied Statistics 18, 1969). In a burst or a
time series every image resembles the next, though the first may differ from the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from modeling.algorithms.intervals import exact_interval
from modeling.algorithms.neighbors import Graph
from modeling.algorithms.rows import Floats, Rows, as_rows
from sampling.algorithms.groups import AGREEMENT, Agreement, Group, empty_group

# Shares of the graph's edges that are as short as the radii to choose from, and how many radii.
SHORTEST_SHARE, LONGEST_SHARE, RADII = 0.002, 0.9, 40
# Edges from which the radii are computed, and labels by which the agreement is measured.
SAMPLED_EDGES, LABELED_SAMPLE = 1_000_000, 10_000


@dataclass(frozen=True)
class Components:
    """The component of each row (n,), how far labels within components agree, and which components (c,) are mixed."""

    of_row: Rows
    agreement: Agreement
    is_mixed: NDArray[np.bool_]


def components_within(graph: Graph, radius: float) -> Rows:
    """Return the number of the component (n,) of each row, joined by edges of at most ``radius``."""
    is_near = graph.distances <= radius
    starts = np.concatenate([[0], np.cumsum(is_near.sum(axis=1))])
    links = csr_array((np.ones(starts[-1], np.int8), graph.indices[is_near], starts), shape=(len(is_near),) * 2)
    _, of_row = connected_components(links, directed=False)
    return np.asarray(of_row, np.int64)


def reliable_components(
    graph: Graph,
    labeled: ArrayLike,
    labels: ArrayLike,
    *,
    rng: np.random.Generator,
    pressed: Callable[[Rows], Rows] | None = None,
) -> Components | None:
    """Return the components of the largest radius at which labels within components reliably agree, or None.

    Parameters
    ----------
    graph
        The k-NN graph of n rows.
    labeled, labels
        Rows (m,) that have a label, and their classes. Agreement is measured on a random sample of 10,000.
    pressed
        Returns an integer for each row, equal for rows labeled by one key press. In a component they count as one
        label, because they agree by construction.

    Notes
    -----
    k labels of a component are k - 1 comparisons, of which those with the most frequent class agree. At least 95 % of
    all comparisons have to agree, by the lower bound of the interval of Clopper and Pearson. Radii from the first one
    on at which they reliably do not are left out. About ten radii of 40 are tried: O(n k) each.
    """
    rows, classes = as_rows(labeled), np.unique(as_rows(labels), return_inverse=True)[1]
    sample = np.arange(len(rows))
    if len(rows) > LABELED_SAMPLE:
        sample = np.sort(rng.choice(sample, LABELED_SAMPLE, replace=False))
    presses = -1 - rows[sample] if pressed is None else pressed(rows[sample])
    edges = graph.distances[:: max(1, graph.distances.size // SAMPLED_EDGES)]
    edges = edges[np.isfinite(edges)]
    if len(rows) < 2 or not len(edges):
        return None
    radii = np.unique(np.quantile(edges, np.geomspace(SHORTEST_SHARE, LONGEST_SHARE, RADII)))

    def at(position: int) -> Components:
        radius = float(radii[position])
        of_row = components_within(graph, radius)
        agreement = _agreement(of_row[rows[sample]], classes[sample], presses, radius)
        return Components(of_row, agreement, _is_mixed(of_row, rows, classes))

    first, last = 0, len(radii)  # the first radius at which labels reliably differ is searched in this range
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if at(middle).agreement.high < AGREEMENT else (middle + 1, last)
    for position in range(first - 1, -1, -1):
        components = at(position)
        if components.agreement.is_reliable:
            return components
        if not components.agreement.n_pairs:
            return None
    return None


def _agreement(own: Rows, classes: Rows, presses: Rows, radius: float) -> Agreement:
    """Return how far labels agree within components, given the component of each label (m,)."""
    _, once = np.unique(np.stack([own, presses, classes]), axis=1, return_index=True)
    pairs, counts = np.unique(np.stack([own[once], classes[once]]), axis=1, return_counts=True)
    starts = np.flatnonzero(np.diff(pairs[0], prepend=-1))  # of the components, which are sorted
    n_labels, most = np.add.reduceat(counts, starts), np.maximum.reduceat(counts, starts)
    n, n_agreeing = float((n_labels - 1).sum()), float((most - 1).sum())
    if not n:
        return Agreement(radius)
    low, high = exact_interval(np.array([n_agreeing]), np.array([n]))
    return Agreement(radius, n_agreeing / n, float(low[0]), float(high[0]), int(n))


def _is_mixed(of_row: Rows, rows: Rows, classes: Rows) -> NDArray[np.bool_]:
    """Return for each component whether its labels are of several classes."""
    pairs = np.unique(np.stack([of_row[rows], classes]), axis=1)
    return np.bincount(pairs[0], minlength=int(of_row.max()) + 1) > 1


def largest_component(X: Floats, components: Components, candidates: ArrayLike, most: int) -> Group:
    """Return the candidates of the component with most of them, whose labels are of one class at most.

    At most ``most`` of them: those nearest to the one in the middle, which comes first. Fewer than two give an empty
    group. Ties go to the component of the first row.
    """
    rows = as_rows(candidates)
    rows = rows[~components.is_mixed[components.of_row[rows]]]
    if len(rows) < 2 or most < 2:
        return empty_group()
    n = np.bincount(components.of_row[rows])
    own = rows[components.of_row[rows] == np.argmax(n)]
    if len(own) < 2:
        return empty_group()
    Z = np.asarray(X[own], np.float64)
    center = Z[np.argmin(((Z - np.median(Z, axis=0)) ** 2).sum(axis=1))]
    distances = np.sqrt(((Z - center) ** 2).sum(axis=1)).astype(np.float32)
    order = np.argsort(distances, kind="stable")[:most]
    return Group(own[order], distances[order])
