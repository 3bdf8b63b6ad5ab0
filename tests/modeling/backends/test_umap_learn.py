"""Test UMAP with umap-learn, one epoch at a time: the library's own bytes, reproducible and stoppable."""

import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from modeling.algorithms.layouts.initialization import initial_layout, smooth_along_graph
from modeling.algorithms.neighbors import Graph, knn_graph, project
from modeling.backends import umap_learn
from tests.processes import run_python

pytestmark = pytest.mark.slow

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
def weights(graph: Graph) -> csr_array:
    return umap_learn.fuzzy_graph(graph, K)


# -- UMAP ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [0, 7])
def test_a_layout_epoch_by_epoch_is_that_of_umap_learn(digits: np.ndarray, weights: csr_array, seed: int) -> None:
    umap_ = umap_learn._umap_()
    start = initial_layout(smooth_along_graph(flat(digits), weights), seed)
    a, b = umap_.find_ab_params(1.0, 0.1)
    expected, _ = umap_.simplicial_set_embedding(
        digits, weights.tocoo(), 2, 1.0, a, b, 1.0, 5, None, start, np.random.RandomState(seed), "euclidean", {},
        False, {}, False, tqdm_kwds={"disable": True},
    )  # fmt: skip
    mine = umap_learn.lay_out(weights, start, min_dist=0.1, seed=seed)
    np.testing.assert_array_equal(mine, expected)
    assert trustworthiness(digits, mine, n_neighbors=K) > 0.95


def test_the_graph_is_that_of_umap_learn_by_its_own_search() -> None:
    X = np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)
    expected, _, _ = umap_learn._umap_().fuzzy_simplicial_set(X, K, np.random.RandomState(0), "euclidean")
    mine = umap_learn.fuzzy_graph(knn_graph(X, K + 5), K)
    # Its search is approximate and misses a few neighbors.
    assert np.isclose(mine.toarray(), expected.toarray(), atol=2e-4).mean() > 0.999


def test_labels_pull_classes_apart(digits: np.ndarray, graph: Graph, weights: csr_array) -> None:
    y = load_digits().target[:N].astype(np.int64)

    def share_of_own_class(weights: csr_array) -> float:
        places = umap_learn.lay_out(weights, initial_layout(flat(digits), 0), min_dist=0.1, seed=0, n_epochs=100)
        return float((y[knn_graph(places, 10).indices] == y[:, None]).mean())

    assert share_of_own_class(umap_learn.fuzzy_graph(graph, K, y)) > share_of_own_class(weights)


def test_few_and_flat_rows_get_finite_places() -> None:
    X = np.array([[0, 0], [1, 0], [2, 0], [9, 0]], np.float32)
    places = umap_learn.lay_out(umap_learn.fuzzy_graph(knn_graph(X, 1), 2), initial_layout(X, 0), min_dist=0.1, seed=0)
    assert places.shape == (4, 2)
    assert np.isfinite(places).all()


def test_a_smoothed_start_is_near_the_slowest_waves_of_the_graph(digits: np.ndarray, weights: csr_array) -> None:
    exact = weights.astype(np.float64)
    degree = np.asarray(exact.sum(axis=1)).reshape(-1)

    def roughness(places: np.ndarray) -> float:
        """Return the Rayleigh quotient: squared differences along the edges at unit variance."""
        centered = places - (degree[:, None] * places).sum(axis=0) / degree.sum()
        steps = (centered * (degree[:, None] * centered - exact @ centered)).sum(axis=0)
        return float((steps / (degree[:, None] * centered**2).sum(axis=0)).max())

    smooth = smooth_along_graph(flat(digits), weights).astype(np.float64)
    least = np.linalg.eigvalsh(np.eye(N) - (exact / np.sqrt(np.outer(degree, degree))))[2]
    assert least <= roughness(smooth) + 1e-6
    assert roughness(smooth) < roughness(flat(digits).astype(np.float64)) / 5
    assert abs((degree * smooth[:, 0] * smooth[:, 1]).sum()) < 1e-4, "two distinct directions"
    assert np.isfinite(smooth_along_graph(np.zeros((N, 2), np.float32), weights)).all()


# -- Steps and seeds -------------------------------------------------------------------------------------
def test_it_reports_every_epoch_and_stops_when_asked(digits: np.ndarray, weights: csr_array) -> None:
    stop = Mock(side_effect=[None, None, InterruptedError])
    with pytest.raises(InterruptedError):
        umap_learn.lay_out(weights, initial_layout(flat(digits), 0), min_dist=0.1, seed=0, on_epoch=stop)
    assert [call.args for call in stop.call_args_list] == [(1, 500), (2, 500), (3, 500)]


_REPRODUCE = """
import sys, numba, numpy as np
from sklearn.datasets import load_digits
from modeling.algorithms.layouts.initialization import smooth_along_graph, initial_layout
from modeling.algorithms.neighbors import knn_graph, project
from modeling.backends import umap_learn
numba.set_num_threads(min(int(sys.argv[1]), numba.config.NUMBA_NUM_THREADS))
X = load_digits().data[:200].astype(np.float32)
weights = umap_learn.fuzzy_graph(knn_graph(X, 15), 15)
start = initial_layout(smooth_along_graph(project(X, rng=np.random.default_rng(0), dims=2), weights), 3)
sys.stdout.buffer.write(umap_learn.lay_out(weights, start, min_dist=0.1, seed=3).tobytes())
"""


def test_a_seed_gives_the_same_bytes_in_two_processes_on_one_core_and_on_two() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", _REPRODUCE, cores], check=True, capture_output=True).stdout
        for cores in ("1", "2")
    ]
    assert len(runs[0]) == 200 * 8
    assert runs[0] == runs[1]


def test_another_seed_makes_another_map(digits: np.ndarray, weights: csr_array) -> None:
    start = initial_layout(flat(digits), 0)
    maps = [umap_learn.lay_out(weights, start, min_dist=0.1, seed=seed, n_epochs=10) for seed in (0, 0, 1)]
    assert (maps[0] == maps[1]).all()
    assert (maps[0] != maps[2]).any()


def test_importing_umap_learn_does_not_import_tensorflow() -> None:
    program = (
        "import sys; from modeling.backends import umap_learn; umap_learn._umap_(); print('tensorflow' in sys.modules)"
    )
    assert run_python("-W", "ignore", "-c", program).stdout.strip() == "False"
