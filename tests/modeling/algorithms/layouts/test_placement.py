"""Test the placement of points that a map was not fitted to."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from modeling.algorithms.ivf_neighbors import approximate_nearest
from modeling.algorithms.layouts.initialization import initial_layout
from modeling.algorithms.layouts.placement import memberships, place_points
from modeling.algorithms.neighbors import knn_graph, project
from modeling.backends import umap_learn


@pytest.mark.parametrize(("n", "m"), [(2000, 700), (5, 3), (1, 2)])
def test_nearest_by_cells_finds_nearly_all_that_the_slow_loop_finds(n: int, m: int) -> None:
    rng = np.random.default_rng(2)
    centers = rng.standard_normal((20, 8)) * 4
    X, points = (
        (centers[rng.integers(20, size=size)] + rng.standard_normal((size, 8))).astype(np.float32) for size in (n, m)
    )
    seen: list[tuple[int, int]] = []
    got = approximate_nearest(points, X, 6, rng=rng, on_progress=lambda *at: seen.append(at))
    distances = np.linalg.norm(points[:, None] - X[None], axis=2)
    k = min(6, n)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :k]
    recalls = [len(set(a) & set(b)) / k for a, b in zip(got.indices[:, :k].tolist(), expected.tolist(), strict=True)]
    assert np.mean(recalls) >= 0.95
    np.testing.assert_allclose(
        got.distances[:, :k], np.take_along_axis(distances, got.indices[:, :k].astype(int), axis=1), rtol=1e-4
    )
    assert (got.indices[:, k:] == -1).all()
    assert seen[-1] == (m, m)


def test_a_copy_lies_where_the_fitted_one_does() -> None:
    X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    places = np.random.default_rng(1).standard_normal((50, 2)).astype(np.float32)
    np.testing.assert_allclose(
        place_points(X[[7, 3]], X, places, rng=np.random.default_rng(0)), places[[7, 3]], atol=1e-5
    )


def test_between_two_clusters_it_joins_the_nearer_and_not_the_void() -> None:
    X = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [1.5], [1.6]], np.float32)
    places = np.array([[0, 0]] * 5 + [[100, 0]] * 2, np.float32)
    assert place_points(np.array([[0.7]], np.float32), X, places, rng=np.random.default_rng(0))[0, 0] < 5


@pytest.mark.slow
def test_placed_digits_are_as_true_as_fitted_ones() -> None:
    X = load_digits().data.astype(np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    fitted, rest = order[:900], order[900:]
    weights = umap_learn.fuzzy_graph(knn_graph(X[fitted], 15), 15)
    start = initial_layout(project(X[fitted], rng=np.random.default_rng(0), dims=2), 0)
    places = umap_learn.lay_out(weights, start, min_dist=0.1, seed=0, n_epochs=200)
    got = place_points(X[rest], X[fitted], places, rng=np.random.default_rng(0))
    of_fitted = trustworthiness(X[fitted], places, n_neighbors=15)
    assert trustworthiness(X[rest], got, n_neighbors=15) >= 0.97 * of_fitted


@pytest.mark.slow
@pytest.mark.parametrize("n_copies", [1, 20])
def test_memberships_are_those_of_umap_learn(n_copies: int) -> None:
    X = np.repeat(load_digits().data[:200].astype(np.float32), n_copies, axis=0)[:400]
    graph = knn_graph(X, 15)
    symmetric = umap_learn.fuzzy_graph(graph, 16).toarray()  # 16 includes the row itself
    directed = np.zeros(symmetric.shape)
    np.put_along_axis(directed, graph.indices.astype(int), memberships(graph.distances), axis=1)
    np.testing.assert_allclose(directed + directed.T - directed * directed.T, symmetric, atol=2e-4)
