"""Provide the compiled inner loops of t-SNE, see ``modeling.algorithms.layouts.tsne``."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# The grid interpolation of t-SNE is quadratic: this many nodes per box and direction.
NODES = 3


@njit(nogil=True, fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def pulls(
    first: int,
    last: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float64],
    places: NDArray[np.float64],
    pull: NDArray[np.float64],
) -> None:
    """Write the attraction on rows ``first`` … ``last - 1``: sums of weight * kernel * difference over edges (CSR)."""
    for row in range(first, last):
        x, y = places[row, 0], places[row, 1]
        along, across = 0.0, 0.0
        for edge in range(indptr[row], indptr[row + 1]):
            dx, dy = x - places[indices[edge], 0], y - places[indices[edge], 1]
            strength = weights[edge] / (1.0 + dx * dx + dy * dy)
            along += strength * dx
            across += strength * dy
        pull[row, 0], pull[row, 1] = along, across


@njit(nogil=True, fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def pushes_of_all(
    first: int, last: int, places: NDArray[np.float64], push: NDArray[np.float64], total: NDArray[np.float64]
) -> None:
    """Write sums over all other points for rows ``first`` … ``last - 1``: kernel^2 * difference, and kernel."""
    for row in range(first, last):
        x, y = places[row, 0], places[row, 1]
        along, across, near = 0.0, 0.0, 0.0
        for other in range(len(places)):
            dx, dy = x - places[other, 0], y - places[other, 1]
            nearness = 1.0 / (1.0 + dx * dx + dy * dy)
            near += nearness
            along += nearness * nearness * dx
            across += nearness * nearness * dy
        push[row, 0], push[row, 1] = along, across
        total[row] = near - 1.0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _parabolas(inside: float, shares: NDArray[np.float64]) -> None:
    """Compute the three Lagrange weights of a position ``inside`` a box, from 0 to 1."""
    left, middle, right = inside - 1 / 6, inside - 1 / 2, inside - 5 / 6
    shares[0] = middle * right * 4.5
    shares[1] = left * right * -9.0
    shares[2] = left * middle * 4.5


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def spread(
    places: NDArray[np.float64],
    low: NDArray[np.float64],
    box: float,
    n_boxes: int,
    charges: NDArray[np.float64],
) -> None:
    """Add the charges 1, x and y of each point to the grids (3, m, m)."""
    across, down = np.empty(NODES), np.empty(NODES)
    for row in range(len(places)):
        x, y = (places[row, 0] - low[0]) / box, (places[row, 1] - low[1]) / box
        column, line = min(int(x), n_boxes - 1), min(int(y), n_boxes - 1)
        _parabolas(x - column, across)
        _parabolas(y - line, down)
        for i in range(NODES):
            for j in range(NODES):
                share = across[i] * down[j]
                charges[0, column * NODES + i, line * NODES + j] += share
                charges[1, column * NODES + i, line * NODES + j] += share * places[row, 0]
                charges[2, column * NODES + i, line * NODES + j] += share * places[row, 1]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def gather(
    places: NDArray[np.float64],
    low: NDArray[np.float64],
    box: float,
    n_boxes: int,
    potentials: NDArray[np.float64],
    felt: NDArray[np.float64],
) -> None:
    """Interpolate the potentials of the grids (3, m, m) at each point, into ``felt`` (n, 3)."""
    across, down = np.empty(NODES), np.empty(NODES)
    for row in range(len(places)):
        x, y = (places[row, 0] - low[0]) / box, (places[row, 1] - low[1]) / box
        column, line = min(int(x), n_boxes - 1), min(int(y), n_boxes - 1)
        _parabolas(x - column, across)
        _parabolas(y - line, down)
        for kind in range(3):
            total = 0.0
            for i in range(NODES):
                for j in range(NODES):
                    total += across[i] * down[j] * potentials[kind, column * NODES + i, line * NODES + j]
            felt[row, kind] = total
