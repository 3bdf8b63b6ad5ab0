"""Test the benchmark of half precision: what it compares, and that float16 is converted."""

import numpy as np

from benchmarks.half_precision import compare, overlap, products, take
from benchmarks.label_efficiency.data import Split


def test_a_collection_agrees_with_its_rounding() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    X = (rng.normal(0, 2, (3, 16))[y] + rng.normal(0, 1, (300, 16))).astype(np.float32)
    accuracy, change, *agreements = compare(Split(X, y, X[:50], y[:50]), seed=1)
    assert accuracy > 0.8
    assert abs(change) < 0.02
    assert min(agreements) > 0.95


def test_half_precision_is_converted_before_products() -> None:
    X = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    assert take(X.astype(np.float16), np.array([3, 1])).dtype == np.float32
    products(X.astype(np.float16), X[0])
    assert overlap(np.array([1, 2, 3, 4]), np.array([4, 3, 9, 8])) == 0.5
