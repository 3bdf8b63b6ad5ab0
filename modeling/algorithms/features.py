"""Labelled rows on a common scale, and back again for the weights fitted on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Standardised:
    """n rows of d features, centred and scaled as `standardisation` says."""

    Z: Float32  # (n, d)
    mean: Float32  # (d,)
    scale: Float32  # (d,)

    def plain(self, V: Float32, bias: Float32) -> tuple[Float32, Float32]:
        """Weights (d, c) and bias (c,) for plain rows, of those fitted on ``Z``."""
        weights = V / self.scale[:, None]
        shift = self.mean.astype(np.float64) @ weights
        return weights, (bias - shift).astype(np.float32)

    def standard(self, weights: Float32, bias: Float32) -> tuple[Float32, Float32]:
        """Weights (d, c) and bias (c,) for ``Z``, of those for plain rows: undoes `plain`."""
        shift = self.mean.astype(np.float64) @ weights
        return weights * self.scale[:, None], (bias + shift).astype(np.float32)


def standardisation(X: Rows) -> tuple[Float32, Float32]:
    """Mean and scale (both (d,)) that centre the rows, even out the features and give rows unit mean square.

    A feature's scale is proportional to ``sqrt(var + pooled)`` with ``pooled`` the mean variance of the
    features that vary: dividing by the plain deviation would blow up features that hardly vary among few
    labelled rows (the guard of Tibshirani et al., "nearest shrunken centroids", 2002). A constant feature
    changes nothing for the others. Rows of unit mean square give the penalty one meaning for every encoder.
    """
    mean = X.mean(axis=0, dtype=np.float64)
    variance = X.var(axis=0, dtype=np.float64)
    # What rounding leaves of a constant feature is no variance.
    variance[variance <= (1e-6 * np.abs(mean)) ** 2] = 0.0
    varying = variance > 0
    if not varying.any():
        return mean.astype(np.float32), np.ones(mean.shape, np.float32)
    even = variance + variance[varying].mean()
    scale = np.sqrt(even * (variance / even).sum())
    return mean.astype(np.float32), scale.astype(np.float32)


def standardise(X: Rows) -> Standardised:
    """Centre and scale (n, d) finite rows; O(n d)."""
    mean, scale = standardisation(X)
    Z: Float32 = np.subtract(X, mean, dtype=np.float32)
    Z /= scale
    return Standardised(Z, mean, scale)
