"""Where a layout begins: the first two principal components, for UMAP smoothed along its graph.

A start that has the large arrangement right makes the final map keep it: Dmitry Kobak and George Linderman,
*Initialization is critical for preserving global data structure in both t-SNE and UMAP*, Nature Biotechnology 39
(2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from modeling.algorithms.rows import Doubles, Floats

SMOOTHINGS = 100


def smoothed(plane: Floats, weights: csr_array) -> Floats:
    """Places (n, 2) after each went half the way to the mean of its neighbours, many times: from ``plane`` (n, 2).

    Towards the slowest waves on the graph of ``weights``, which a spectral start would find exactly: neighbours begin
    side by side, and what the principal components cover up comes apart.
    """
    degree = np.maximum(np.asarray(weights.sum(axis=1), np.float64).reshape(-1), np.finfo(np.float32).tiny)
    places, exact = plane.astype(np.float64), weights.astype(np.float64)
    for _ in range(SMOOTHINGS):
        places = (places + exact @ places / degree[:, None]) / 2
        places -= (degree[:, None] * places).sum(axis=0) / degree.sum()
        # The second direction would turn into the first, and both fade.
        x = _unit(places[:, 0], degree)
        y = places[:, 1] - (degree * places[:, 1] * x).sum() * x
        places = np.stack([x, _unit(y, degree)], axis=1)
    return places.astype(np.float32)


def _unit(values: Doubles, degree: Doubles) -> Doubles:
    length = float(np.sqrt((degree * values * values).sum()))
    return values / length if length > 0 else values


def start_from(plane: Floats, seed: int) -> NDArray[np.float32]:
    """(n, 2) to begin with: two principal components (n, 2), scaled, with a little noise that parts copies."""
    rng = np.random.default_rng(seed)
    largest = float(np.abs(plane).max(initial=0)) or 1.0
    return (plane * np.float64(10 / largest) + rng.normal(scale=1e-4, size=plane.shape)).astype(np.float32)
