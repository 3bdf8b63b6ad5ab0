"""Test outlier scores against scikit-learn and on planted outliers."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.neighbors import LocalOutlierFactor

from modeling.algorithms.neighbors import knn_graph
from sampling.algorithms.outliers import isolation, local_outlier_factor


def data(n: int = 600, d: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.choice([0.2, 1.0, 3.0], size=(n, 1))
    return X.astype(np.float32)


@pytest.mark.parametrize("k", [5, 20])
def test_factor_is_that_of_scikit_learn(k: int) -> None:
    X = data()
    got = local_outlier_factor(knn_graph(X, 20), k)
    expected = -LocalOutlierFactor(k, algorithm="brute").fit(X.astype(np.float64)).negative_outlier_factor_
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert spearmanr(got, expected).statistic > 0.9999


def test_factor_follows_its_definition_with_few_rows_and_gaps() -> None:
    X = np.array([[0.0], [1.0], [np.nan], [3.0], [7.0]], np.float32)
    got = local_outlier_factor(knn_graph(X, 2), 20)
    # By hand, with two neighbors each: reach 3, 2, 3, 6; densities from the reachability distances.
    near = {0: (1, 3), 1: (0, 3), 3: (1, 0), 4: (3, 1)}
    reach = {0: 3.0, 1: 2.0, 3: 3.0, 4: 6.0}
    density = {p: 2 / sum(max(abs(X[p, 0] - X[o, 0]), reach[o]) for o in near[p]) for p in near}
    for p in near:
        assert got[p] == pytest.approx(sum(density[o] for o in near[p]) / 2 / density[p], rel=1e-5)
    assert np.isnan(got[2])


def test_factor_of_copies_stays_finite_and_of_nothing_is_nan() -> None:
    same = local_outlier_factor(knn_graph(np.ones((50, 3), np.float32), 5), 5)
    np.testing.assert_allclose(same, 1)
    assert np.isnan(local_outlier_factor(knn_graph(np.ones((1, 3), np.float32), 5))).all()
    assert local_outlier_factor(knn_graph(np.ones((0, 3), np.float32), 5)).shape == (0,)


def test_isolation_finds_the_planted_ones_and_skips_rows_without_numbers() -> None:
    X = np.random.default_rng(1).standard_normal((500, 4)).astype(np.float32)
    X[[7, 99]] += 12
    X[3] = np.nan
    got = isolation(X, rng=np.random.default_rng(0))
    assert set(np.argsort(-np.nan_to_num(got))[:2]) == {7, 99}
    assert np.isnan(got[3])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, isolation(X, rng=np.random.default_rng(0)))
    assert not np.array_equal(got, isolation(X, rng=np.random.default_rng(1)), equal_nan=True)


def test_isolation_of_little() -> None:
    assert isolation(np.ones((0, 2), np.float32), rng=np.random.default_rng(0)).shape == (0,)
    assert isolation(np.ones((1, 2), np.float32), rng=np.random.default_rng(0)).tolist() == [0.5]
    same = isolation(np.ones((40, 2), np.float32), rng=np.random.default_rng(0))
    assert len(set(same.tolist())) == 1
