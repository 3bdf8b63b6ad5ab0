"""Test the reduction of blocks of features to components."""

from __future__ import annotations

import numpy as np
import pytest

from modeling.algorithms.reduction import Reduction


def blocks(n: int, seed: int = 0) -> np.ndarray:
    """Return two blocks of 30 and 50 features on very different scales, each of rank 10."""
    rng = np.random.default_rng(seed)
    mixes = np.random.default_rng(99)
    first = rng.normal(size=(n, 10)) @ mixes.normal(size=(10, 30)) * 1000 + 500
    second = rng.normal(size=(n, 10)) @ mixes.normal(size=(10, 50)) * 0.01
    return np.hstack([first, second]).astype(np.float32)


def fit(X: np.ndarray, dims: int) -> Reduction:
    return Reduction.fit(X, (30, 50), dims, rng=np.random.default_rng(1))


def test_blocks_weigh_the_same_and_distances_are_kept() -> None:
    X = blocks(400)
    reduction = fit(X, 20)
    features, left_out = reduction.apply(X)
    assert features.shape == (400, 20)
    scaled = (X - reduction.mean) / reduction.scale
    np.testing.assert_allclose(np.square(scaled[:, :30]).sum(axis=1).mean(), 1, rtol=0.1)
    np.testing.assert_allclose(np.square(scaled[:, 30:]).sum(axis=1).mean(), 1, rtol=0.1)
    np.testing.assert_allclose(features @ features.T, scaled @ scaled.T, atol=0.02)
    assert left_out.max() < 0.01


def test_no_feature_stands_out() -> None:
    """The classifier scales features by their variance, which must not amplify components of little variance."""
    X = blocks(2000)
    X[:, :30] += np.random.default_rng(5).normal(size=(2000, 1)) * 20_000  # one direction dominates
    features, _ = fit(X, 16).apply(X)
    deviations = features.std(axis=0)
    assert deviations.max() / np.median(deviations) < 4


def test_what_components_leave_out_is_measured_on_other_rows() -> None:
    X = np.random.default_rng(0).normal(size=(200, 80)).astype(np.float32)  # no structure at all
    reduction = fit(X, 60)
    _, of_fitted = reduction.apply(X)
    assert 0.2 < reduction.left_out < 0.7
    assert of_fitted.mean() < reduction.left_out
    _, of_others = reduction.apply(X + np.random.default_rng(1).normal(size=80).astype(np.float32) * 5)
    assert of_others.mean() != pytest.approx(reduction.left_out, abs=0.001)


def test_the_same_sample_gives_the_same_components() -> None:
    X = blocks(100)
    np.testing.assert_array_equal(fit(X, 8).axes, fit(X, 8).axes)


@pytest.mark.parametrize("n", [2, 3, 12])
def test_few_rows_have_fewer_components(n: int) -> None:
    reduction = fit(blocks(n), 64)
    assert reduction.dim == n - 1 - (n >= 10)
    assert np.isfinite(reduction.apply(blocks(5, seed=7))[0]).all()


def test_equal_rows_and_constant_features() -> None:
    X = np.ones((20, 80), np.float32)
    features, left_out = fit(X, 8).apply(X)
    assert not features.any()
    assert np.isfinite(left_out).all()


def test_a_single_row_is_refused() -> None:
    with pytest.raises(ValueError, match="two rows"):
        fit(blocks(1), 8)
