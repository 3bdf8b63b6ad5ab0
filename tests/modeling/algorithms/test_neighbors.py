"""Test principal components and k-NN graphs against computations one row at a time."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from modeling.algorithms import neighbors
from modeling.algorithms.ivf_neighbors import approximate_knn_graph
from modeling.algorithms.neighbors import knn_graph, project, subgraph
from tests.factories import interrupt_at


def vectors(n: int = 300, d: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def slow_graph(X: np.ndarray, k: int) -> tuple[list[list[int]], list[list[float]]]:
    indices, distances = [], []
    for row in range(len(X)):
        distances_to = sorted(
            (float(np.linalg.norm(X[row].astype(float) - X[other])), other)
            for other in range(len(X))
            if other != row and np.isfinite(X[other]).all()
        )[:k]
        indices.append([other for _, other in distances_to])
        distances.append([distance for distance, _ in distances_to])
    return indices, distances


@pytest.mark.parametrize("tile", [8192, 40])
def test_graph_is_the_slow_loop(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "COLUMNS", tile)
    monkeypatch.setattr(neighbors, "QUERIES", 64)
    X = vectors(200, 6, seed=3) + 50
    graph = knn_graph(X, 9)
    indices, distances = slow_graph(X, 9)
    assert graph.indices.tolist() == indices
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-5)


def test_graph_leaves_out_rows_without_numbers_and_pads() -> None:
    X = np.array([[0.0], [1.0], [np.nan], [5.0]], np.float32)
    graph = knn_graph(X, 4)
    assert graph.indices.tolist() == [[1, 3, -1, -1], [0, 3, -1, -1], [-1] * 4, [1, 0, -1, -1]]
    assert np.isnan(graph.distances[2]).all()
    np.testing.assert_allclose(graph.distances[3, :2], [4, 5])
    assert knn_graph(X[:0], 3).indices.shape == (0, 3)
    assert (knn_graph(X[:1], 3).indices == -1).all()
    assert knn_graph(X, 0).indices.shape == (4, 0)


def test_graph_of_identical_rows_has_distance_0_and_never_the_row_itself() -> None:
    graph = knn_graph(np.full((100, 5), 0.7, np.float32), 6)
    assert (graph.distances == 0).all()
    assert (graph.indices != np.arange(100)[:, None]).all()
    assert all(len(set(row)) == 6 for row in graph.indices.tolist())


def test_graph_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    knn_graph(vectors(30), 3, on_progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)


def test_projection_is_the_principal_components() -> None:
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((400, 5)) @ rng.standard_normal((5, 90)) + 3).astype(np.float32)
    X[7] = np.nan
    Z = project(X, rng=np.random.default_rng(1), dims=5)
    is_finite = np.arange(400) != 7
    expected = PCA(5).fit_transform(X[is_finite])
    np.testing.assert_allclose(np.abs(Z[is_finite]), np.abs(expected), atol=2e-3)
    assert np.isnan(Z[7]).all()
    np.testing.assert_array_equal(Z, project(X, rng=np.random.default_rng(1), dims=5))


def test_projection_of_little() -> None:
    X = vectors(4, 90)
    X[1, 3] = np.inf
    Z = project(X, rng=np.random.default_rng(0), dims=8)
    assert Z.shape == (4, 8)
    assert np.isfinite(Z[[0, 2, 3]]).all()
    np.testing.assert_allclose(np.linalg.norm(Z[0] - Z[2]), np.linalg.norm(X[0] - X[2]), rtol=1e-3)
    narrow = project(X[:, :4], rng=np.random.default_rng(0), dims=8)
    np.testing.assert_array_equal(narrow[[0, 2, 3]], X[[0, 2, 3], :4])
    assert np.isnan(narrow[1]).all()
    assert project(X[:1], rng=np.random.default_rng(0), dims=8).shape == (1, 8)
    assert project(X[:0], rng=np.random.default_rng(0), dims=8).shape == (0, 8)


@pytest.mark.parametrize("k", [5, 20])
def test_approximate_graph_reaches_its_recall(k: int) -> None:
    rng = np.random.default_rng(4)
    X = (rng.standard_normal((30, 12))[rng.integers(30, size=4000)] * 4 + rng.standard_normal((4000, 12))).astype("f4")
    X[[7, 1900]] = np.nan
    exact = knn_graph(X, k)
    seen: list[tuple[int, int]] = []
    approximate = approximate_knn_graph(X, k, rng=rng, recall=0.95, on_progress=lambda *at: seen.append(at))
    is_finite = np.isfinite(X[:, 0])
    recalls = [
        len(set(a) & set(b)) / k
        for a, b in zip(exact.indices.tolist(), approximate.graph.indices.tolist(), strict=True)
    ]
    recall = float(np.mean(np.array(recalls)[is_finite]))
    assert recall >= 0.93
    assert abs(recall - approximate.recall) < 0.03, "the recall measured on a sample holds for all rows"
    assert approximate.recall >= 0.95
    assert (approximate.graph.indices[~is_finite] == -1).all()
    assert np.isnan(approximate.graph.distances[~is_finite]).all()
    row, place = 1234, k - 1
    other = approximate.graph.indices[row, place]
    assert approximate.graph.distances[row, place] == pytest.approx(np.linalg.norm(X[row] - X[other]), rel=1e-5)
    assert (approximate.graph.indices != np.arange(4000)[:, None]).all()
    assert seen[-1] == (3998, 3998)
    everything = approximate_knn_graph(X, k, rng=np.random.default_rng(0), recall=1.0)
    assert (everything.graph.indices == exact.indices).mean() > 0.999
    again = approximate_knn_graph(X, k, rng=np.random.default_rng(0), recall=1.0)
    np.testing.assert_array_equal(again.graph.indices, everything.graph.indices)


def test_approximate_graph_of_few_identical_and_no_rows() -> None:
    rng = np.random.default_rng(0)
    few = vectors(6, 3)
    assert approximate_knn_graph(few, 4, rng=rng).graph.indices.tolist() == knn_graph(few, 4).indices.tolist()
    padded = approximate_knn_graph(few, 9, rng=rng).graph.indices
    assert (padded[:, 5:] == -1).all()
    assert (padded[:, :5] >= 0).all()
    same = approximate_knn_graph(np.full((700, 5), 0.7, np.float32), 6, rng=rng).graph
    assert (same.distances == 0).all()
    assert (same.indices != np.arange(700)[:, None]).all()
    assert approximate_knn_graph(few[:1], 3, rng=rng).graph.indices.tolist() == [[-1] * 3]
    assert approximate_knn_graph(few[:0], 3, rng=rng).graph.indices.shape == (0, 3)


def test_approximate_graph_can_be_stopped() -> None:
    stop = interrupt_at(1, InterruptedError)
    with pytest.raises(InterruptedError):
        approximate_knn_graph(vectors(900), 3, rng=np.random.default_rng(0), on_progress=stop)


def test_a_graph_among_some_rows_counts_by_their_positions() -> None:
    X = np.array([[0], [1], [np.nan], [5]], np.float32)
    selected = subgraph(knn_graph(X, 3), np.array([0, 1, 3]), 3)
    assert selected.indices.tolist() == [[1, 2, -1], [0, 2, -1], [1, 0, -1]]
    assert selected.distances[2, :2].tolist() == [4, 5]
