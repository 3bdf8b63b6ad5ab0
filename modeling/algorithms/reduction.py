"""Reduce blocks of features, such as those of several encoders, to principal components of equal weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import Floats, sklearn_seed

# The share of the sample that measures how much the components leave out.
TEST_SHARE = 0.1


@dataclass(frozen=True)
class Reduction:
    """A linear map of rows (n, D) to d features of about equal variance, fitted to a sample.

    ``mean`` (D,) and ``scale`` (D,) center each block of features and give it unit mean square; ``axes`` (D, d) are
    orthonormal. ``left_out`` is the share of the squares that the components leave out, measured on other rows than
    those of the fit.
    """

    mean: Floats
    scale: Floats
    axes: Floats
    left_out: float

    @classmethod
    def fit(cls, X: Floats, widths: Sequence[int], dims: int, *, rng: np.random.Generator) -> Reduction:
        """Fit ``dims`` components, or fewer, to a sample (n, D) of blocks with these ``widths``.

        The components are rotated at random: the classifier scales features by their variances, which must not amplify
        those that hardly vary. Raises ValueError for fewer than two rows.
        """
        if len(X) < 2:
            raise ValueError("A reduction needs at least two rows.")
        order = rng.permutation(len(X))
        n_test = int(TEST_SHARE * len(X))
        test, fitted = X[order[:n_test]], X[order[n_test:]]
        mean, scale = fitted.mean(axis=0, dtype=np.float64), np.ones(X.shape[1])
        start = 0
        for width in widths:
            block = slice(start, start + width)
            squares = fitted[:, block].var(axis=0, dtype=np.float64).sum()
            scale[block] = np.sqrt(squares) if squares > 0 else 1
            start += width
        from sklearn.decomposition import PCA  # slow to import, and not needed to apply a reduction

        Z = ((fitted - mean) / scale).astype(np.float32)
        n_components = min(dims, len(fitted) - 1, X.shape[1])
        with np.errstate(invalid="ignore", divide="ignore"):  # if all rows are equal, the total variance is zero
            pca = PCA(n_components, svd_solver="randomized", random_state=sklearn_seed(rng)).fit(Z)
        rotation, _ = np.linalg.qr(rng.standard_normal((n_components, n_components)))
        axes = (pca.components_.T @ rotation).astype(np.float32)
        reduction = cls(mean.astype(np.float32), scale.astype(np.float32), axes, 0.0)
        if n_test:
            _, left_out = reduction.apply(test)
            reduction = cls(reduction.mean, reduction.scale, axes, float(left_out.mean()))
        return reduction

    @property
    def dim(self) -> int:
        return int(self.axes.shape[1])

    def apply(self, X: Floats) -> tuple[Floats, NDArray[np.float64]]:
        """Return the features (n, d) float32 of rows (n, D), and the share (n,) of each row's squares left out."""
        Z = ((X - self.mean) / self.scale).astype(np.float32)
        features: Floats = Z @ self.axes
        squares = np.einsum("ij,ij->i", Z, Z, dtype=np.float64)
        explained = np.einsum("ij,ij->i", features, features, dtype=np.float64)
        return features, np.maximum(0, 1 - explained / np.where(squares > 0, squares, 1))
