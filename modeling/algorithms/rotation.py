"""Labelled rows in their own principal directions, where a linear model is quick to fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Rows = NDArray[np.floating[Any]]

# Directions holding less than this share of the largest variance are rounding error in float32.
NEGLIGIBLE = 1e-6
# The principal directions of more rows than this are found from a part of them: any rotation is exact, the
# directions only serve speed.
ROWS_FOR_DIRECTIONS = 20_000


@dataclass(frozen=True)
class Rotation:
    """n standardised rows of d features as n rows of r <= min(n, d) coordinates with the same dot products.

    A penalised linear model fitted on ``Z`` is the model fitted on the standardised rows (the representer
    theorem; Schölkopf and Smola, "Learning with kernels", 2002, section 4.2). Folds and penalties share it.
    """

    Z: Float32  # (n, r)
    mean: Float32  # (d,)
    scale: Float32  # (d,)
    rows: Float32 | None  # (n, d) standardised rows when n <= d, else None
    mix: Float32  # (n, r) rows to directions when n <= d, else (d, r) features to directions

    def weights(self, V: Float32, bias: Float32) -> tuple[Float32, Float32]:
        """Weights (d, c) and bias (c,) on plain features, of a model (r, c), (c,) on the coordinates."""
        mixed = self.mix @ V
        standard = mixed if self.rows is None else self.rows.T @ mixed
        weights = standard / self.scale[:, None]
        shift = self.mean.astype(np.float64) @ weights
        return np.ascontiguousarray(weights, np.float32), (bias - shift).astype(np.float32)

    def coordinates(self, weights: Float32, bias: Float32) -> tuple[Float32, Float32]:
        """The model on the coordinates that does on these rows what the given one does: undoes `weights`."""
        standard = weights * self.scale[:, None]
        seen = standard if self.rows is None else self.rows @ standard
        shift = self.mean.astype(np.float64) @ weights
        return (self.mix.T @ seen).astype(np.float32), (bias + shift).astype(np.float32)


def standardisation(X: Rows) -> tuple[Float32, Float32]:
    """Mean and scale (both (d,)) that centre the rows, even out the features and give rows unit mean square.

    A feature's scale is ``sqrt(var + pooled)`` with ``pooled`` the mean variance over features: dividing by
    the plain deviation would blow up features that hardly vary among few labelled rows (the same guard as in
    Tibshirani et al., "nearest shrunken centroids", 2002). Constant features keep a harmless scale.
    """
    mean = X.mean(axis=0, dtype=np.float64)
    variance = X.var(axis=0, dtype=np.float64)
    # What is left of a constant column after rounding is no variance.
    variance[variance <= (1e-6 * np.abs(mean)) ** 2] = 0.0
    pooled = variance.mean()
    if pooled == 0:
        return mean.astype(np.float32), np.ones(mean.shape, np.float32)
    evened = variance / (variance + pooled)
    scale = np.sqrt((variance + pooled) * evened.sum())
    return mean.astype(np.float32), scale.astype(np.float32)


def rotate(X: Rows) -> Rotation:
    """Standardise (n, d) rows and turn them to their principal directions.

    O(n d min(n, d)) and one symmetric eigenproblem of size min(n, d). Identical rows have no direction at
    all: r is 0.
    """
    mean, scale = standardisation(X)
    standard = np.subtract(X, mean, dtype=np.float32)
    standard /= scale
    n, d = standard.shape
    if n <= d:
        variances, vectors = np.linalg.eigh(standard @ standard.T)
        kept = variances > max(float(variances[-1]) * NEGLIGIBLE, float(np.finfo(np.float32).tiny))
        lengths = np.sqrt(variances[kept])
        vectors = vectors[:, kept]
        return Rotation(vectors * lengths, mean, scale, standard, vectors / lengths)
    part = standard[:: -(-n // ROWS_FOR_DIRECTIONS)]
    variances, vectors = np.linalg.eigh(part.T @ part)
    if part is standard:
        vectors = vectors[:, variances > float(variances[-1]) * NEGLIGIBLE]
    return Rotation(standard @ vectors, mean, scale, None, vectors)
