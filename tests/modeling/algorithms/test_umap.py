"""UMAP against umap-learn: the graph number by number, the layout by how true it is."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from modeling.algorithms import umap
from modeling.algorithms.neighbours import Graph, among, knn_graph, project

N, K = 500, 15


def flat(X: np.ndarray) -> np.ndarray:
    return project(X, rng=np.random.default_rng(0), dims=2)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_digits().data[:N].astype(np.float32)


@pytest.fixture(scope="module")
def graph(digits: np.ndarray) -> Graph:
    return knn_graph(digits, K + 5)


@pytest.fixture(scope="module")
def theirs() -> Iterator[ModuleType]:
    """umap-learn, without the TensorFlow that it would load for what is not compared here."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "tensorflow" not in sys.modules:
            patch.setitem(sys.modules, "tensorflow", None)
        import umap.umap_ as module

        yield module


def their_graph(theirs: ModuleType, graph: Graph, n: int) -> csr_array:
    # umap-learn counts the row itself as its first neighbour.
    indices = np.hstack([np.arange(n)[:, None], graph.indices[:, : K - 1]]).astype(np.int32)
    distances = np.hstack([np.zeros((n, 1)), graph.distances[:, : K - 1]]).astype(np.float32)
    rng = np.random.RandomState(0)
    made, _, _ = theirs.fuzzy_simplicial_set(np.zeros((n, 1)), K, rng, "euclidean", {}, indices, distances)
    return csr_array(made)


def test_the_fuzzy_graph_is_that_of_umap_learn(digits: np.ndarray, graph: Graph, theirs: ModuleType) -> None:
    mine = umap.fuzzy_graph(graph, K)
    np.testing.assert_allclose(mine.toarray(), their_graph(theirs, graph, N).toarray(), atol=2e-4)
    assert abs(mine - mine.T).max() == 0


def test_copies_are_neighbours_for_sure(digits: np.ndarray, theirs: ModuleType) -> None:
    rows = np.concatenate([np.repeat(digits[:10], 20, axis=0), digits[10:110]])
    graph = knn_graph(rows, K)
    mine = umap.fuzzy_graph(graph, K)
    np.testing.assert_allclose(mine.toarray(), their_graph(theirs, graph, len(rows)).toarray(), atol=2e-4)


def test_labels_have_the_say_that_umap_learn_gives_them(graph: Graph, theirs: ModuleType) -> None:
    y = load_digits().target[:N].astype(np.int64)
    y[::3] = -1
    mine = umap.with_labels(umap.fuzzy_graph(graph, K), y)
    expected = theirs.discrete_metric_simplicial_set_intersection(their_graph(theirs, graph, N), y)
    np.testing.assert_allclose(mine.toarray(), expected.toarray(), atol=1e-3)


@pytest.mark.parametrize("min_dist", [0.0, 0.1, 0.5, 0.99])
def test_the_curve_is_that_of_umap_learn(min_dist: float, theirs: ModuleType) -> None:
    np.testing.assert_allclose(umap.curve(min_dist), theirs.find_ab_params(1.0, min_dist), rtol=1e-3)


def test_the_layout_is_as_true_as_that_of_umap_learn(digits: np.ndarray, graph: Graph, theirs: ModuleType) -> None:
    weights = umap.fuzzy_graph(graph, K)
    start = umap.start_from(umap.smoothed(flat(digits), weights), 0)
    mine = umap.lay_out(weights, start, min_dist=0.1, seed=0)
    other = theirs.UMAP(n_neighbors=K, random_state=0, n_jobs=1).fit_transform(digits)
    true = trustworthiness(digits, mine, n_neighbors=K)
    assert true >= 0.98 * trustworthiness(digits, other, n_neighbors=K)
    assert true > 0.95


def test_a_smoothed_start_is_near_the_slowest_waves_of_the_graph(digits: np.ndarray, graph: Graph) -> None:
    weights = umap.fuzzy_graph(graph, K).astype(np.float64)
    degree = np.asarray(weights.sum(axis=1)).reshape(-1)

    def roughness(places: np.ndarray) -> float:
        """Squared steps along the edges, for a spread of one."""
        centred = places - (degree[:, None] * places).sum(axis=0) / degree.sum()
        steps = (centred * (degree[:, None] * centred - weights @ centred)).sum(axis=0)
        return float((steps / (degree[:, None] * centred**2).sum(axis=0)).max())

    start = flat(digits).astype(np.float64)
    smooth = umap.smoothed(flat(digits), umap.fuzzy_graph(graph, K)).astype(np.float64)
    exact = np.linalg.eigvalsh(np.eye(N) - (weights / np.sqrt(np.outer(degree, degree))))[2]
    assert exact <= roughness(smooth) + 1e-6
    assert roughness(smooth) < roughness(start) / 5
    assert abs((degree * smooth[:, 0] * smooth[:, 1]).sum()) < 1e-4, "two directions, not one twice"
    assert np.isfinite(umap.smoothed(np.zeros((N, 2), np.float32), umap.fuzzy_graph(graph, K))).all()


def test_labels_pull_classes_apart(digits: np.ndarray, graph: Graph) -> None:
    y = load_digits().target[:N].astype(np.int64)
    weights = umap.fuzzy_graph(graph, K)

    def share_of_own_class(weights: csr_array) -> float:
        places = umap.lay_out(weights, umap.start_from(flat(digits), 0), min_dist=0.1, seed=0, n_epochs=100)
        return float((y[knn_graph(places, 10).indices] == y[:, None]).mean())

    assert share_of_own_class(umap.with_labels(weights, y)) > share_of_own_class(weights)


_AGAIN = """
import sys, numpy as np
from sklearn.datasets import load_digits
from modeling.algorithms import umap
from modeling.algorithms.neighbours import knn_graph, project
umap.cores = lambda: int(sys.argv[1])
X = load_digits().data[:200].astype(np.float32)
start = umap.start_from(project(X, rng=np.random.default_rng(0), dims=2), 3)
places = umap.lay_out(umap.fuzzy_graph(knn_graph(X, 15), 15), start, min_dist=0.1, seed=3)
sys.stdout.buffer.write(places.tobytes())
"""


def test_a_seed_gives_the_same_bytes_in_two_processes_on_one_core_and_on_three() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", _AGAIN, cores], check=True, capture_output=True).stdout
        for cores in ("1", "3")
    ]
    assert len(runs[0]) == 200 * 8
    assert runs[0] == runs[1]


def test_another_seed_makes_another_map(digits: np.ndarray, graph: Graph) -> None:
    weights, start = umap.fuzzy_graph(graph, K), umap.start_from(flat(digits), 0)
    maps = [umap.lay_out(weights, start, min_dist=0.1, seed=seed, n_epochs=5) for seed in (0, 0, 1)]
    assert (maps[0] == maps[1]).all()
    assert (maps[0] != maps[2]).any()


def test_it_stops_when_it_is_told_to(digits: np.ndarray, graph: Graph) -> None:
    class Enough(Exception):
        pass

    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise Enough

    with pytest.raises(Enough):
        umap.lay_out(umap.fuzzy_graph(graph, K), digits[:, :2], min_dist=0.1, seed=0, on_epoch=stop)
    assert seen == [(1, 500), (2, 500), (3, 500)]


def test_few_and_flat_rows_get_finite_places() -> None:
    X = np.array([[0, 0], [1, 0], [2, 0], [9, 0]], np.float32)
    places = umap.lay_out(umap.fuzzy_graph(knn_graph(X, 1), 2), umap.start_from(X, 0), min_dist=0.1, seed=0)
    assert places.shape == (4, 2)
    assert np.isfinite(places).all()


def test_a_graph_among_some_rows_counts_by_their_positions() -> None:
    X = np.array([[0], [1], [np.nan], [5]], np.float32)
    some = among(knn_graph(X, 3), np.array([0, 1, 3]), 3)
    assert some.indices.tolist() == [[1, 2, -1], [0, 2, -1], [1, 0, -1]]
    assert some.distances[2, :2].tolist() == [4, 5]
