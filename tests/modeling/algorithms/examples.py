"""Provide rows and labels for the tests of the classifier."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]


def blobs(n: int, d: int, n_classes: int, *, seed: int = 0, spread: float = 1.0) -> Arrays:
    """Return overlapping classes of unequal size in random order, with features of different mean and scale."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(n_classes, d))
    y = rng.choice(n_classes, n, p=np.arange(1, n_classes + 1) / sum(range(1, n_classes + 1)))
    X = centers[y] + spread * rng.normal(size=(n, d))
    X = X * rng.uniform(0.1, 20, d) + rng.normal(0, 30, d)
    return X.astype(np.float32), y


def digits(n: int, *, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return n shuffled digits for training, and all others."""
    data = load_digits()
    order = np.random.default_rng(seed).permutation(data.target.size)
    X, y = data.data[order].astype(np.float32), data.target[order].astype(np.int64)
    return (X[:n], y[:n]), (X[n:], y[n:])
