"""Initialize a layout with the first two principal components, smoothed along the graph for UMAP.

An initialization with the right large-scale arrangement makes the final map keep it: Dmitry Kobak and George Linderman,
*Initialization is critical for preserving global data structure in both t-SNE and UMAP*, Nature Biotechnology 39
(2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from modeling.algorithms.rows import Doubles, Floats

SMOOTHINGS = 100


def smooth_along_graph(plane: Floats, weights: csr_array) -> Floats:
    """Move each row of ``plane`` (n, 2) halfway to the mean of its neighbors, many times. Return the places (n, 2).

    This approaches the lowest-frequency eigenvectors of the graph ``weights``, which a spectral initialization would
    find exactly: neighbors start close together, and clusters that overlap in the principal components separate.
    """
    degree = np.maximum(np.asarray(weights.sum(axis=1), np.float64).reshape(-1), np.finfo(np.float32).tiny)
    places, exact = plane.astype(np.float64), weights.astype(np.float64)
    for _ in range(SMOOTHINGS):
        places = (places + exact @ places / degree[:, None]) / 2
        places -= (degree[:, None] * places).sum(axis=0) / degree.sum()
        # Without orthonormalization the second direction would converge to the first, and both to zero.
        x = _unit(places[:, 0], degree)
        y = places[:, 1] - (degree * places[:, 1] * x).sum() * x
        places = np.stack([x, _unit(y, degree)], axis=1)
    return places.astype(np.float32)


def _unit(values: Doubles, degree: Doubles) -> Doubles:
    length = float(np.sqrt((degree * values * values).sum()))
    return values / length if length > 0 else values


def initial_layout(plane: Floats, seed: int) -> NDArray[np.float32]:
    """Scale two principal components (n, 2) to start from, with a little noise that separates duplicates."""
    rng = np.random.default_rng(seed)
    largest = float(np.abs(plane).max(initial=0)) or 1.0
    return (plane * np.float64(10 / largest) + rng.normal(scale=1e-4, size=plane.shape)).astype(np.float32)
