"""Test t-SNE: forces against all pairs, affinities against their definition, maps against scikit-learn's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE, trustworthiness

from modeling.algorithms.layouts import tsne
from modeling.algorithms.layouts.initialization import initial_layout
from modeling.algorithms.neighbors import knn_graph, project
from tests.factories import interrupt_at

N, PERPLEXITY = 400, 20


def flat(X: np.ndarray) -> np.ndarray:
    return project(X, rng=np.random.default_rng(0), dims=2)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_digits().data[:N].astype(np.float32)


@pytest.fixture(scope="module")
def weights(digits: np.ndarray) -> csr_array:
    return tsne.affinities(knn_graph(digits, 3 * PERPLEXITY), PERPLEXITY)


def slow_repulsion(places: np.ndarray) -> np.ndarray:
    differences = places[:, None] - places[None]
    kernel = 1 / (1 + (differences**2).sum(axis=2))
    np.fill_diagonal(kernel, 0)
    return (kernel[..., None] ** 2 * differences).sum(axis=1) / kernel.sum()


def divergence(weights: csr_array, places: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence over pairs with a positive affinity."""
    kernel = 1 / (1 + ((places[:, None].astype(float) - places[None]) ** 2).sum(axis=2))
    np.fill_diagonal(kernel, 0)
    pairs = weights.tocoo()
    q = (kernel / kernel.sum())[pairs.row, pairs.col]
    return float((pairs.data * np.log(pairs.data / q)).sum())


@pytest.mark.parametrize(("width", "error"), [(1e-4, 1e-6), (3.0, 0.01), (20.0, 0.04)])
def test_pushes_are_those_of_all_pairs(width: float, error: float) -> None:
    places = np.random.default_rng(0).normal((7, -3), width, size=(300, 2))
    expected = slow_repulsion(places)
    with ThreadPoolExecutor(2) as threads:
        np.testing.assert_allclose(tsne.exact_repulsion(places, threads), expected, rtol=1e-6, atol=1e-15)
    assert np.abs(tsne.grid_repulsion(places) - expected).max() <= error * np.abs(expected).max()


def test_a_finer_grid_comes_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.random.default_rng(0).normal(scale=10, size=(300, 2))
    errors = []
    for boxes in (50, 200):
        monkeypatch.setattr(tsne, "MIN_BOXES", boxes)
        monkeypatch.setattr(tsne, "MAX_BOXES", boxes)
        errors.append(np.abs(tsne.grid_repulsion(places) - slow_repulsion(places)).max())
    assert errors[1] < errors[0] / 10


def test_affinities_are_symmetric_sum_to_1_and_have_the_perplexity(digits: np.ndarray, weights: csr_array) -> None:
    assert weights.sum() == pytest.approx(1)
    assert abs(weights - weights.T).max() == 0
    squared = knn_graph(digits, 60).distances.astype(float) ** 2
    rows = tsne._conditional(squared, PERPLEXITY)
    np.testing.assert_allclose(np.exp(-(rows * np.log(rows + 1e-300)).sum(axis=1)), PERPLEXITY, rtol=1e-4)
    assert np.isfinite(tsne._conditional(np.zeros((3, 9)), 4)).all(), "copies"


@pytest.fixture(scope="module")
def theirs(digits: np.ndarray) -> np.ndarray:
    layout = TSNE(perplexity=PERPLEXITY, random_state=0, n_jobs=1, max_iter=500).fit_transform(digits)
    return np.asarray(layout)


@pytest.mark.slow
@pytest.mark.parametrize("exact_limit", [5000, 0])
def test_maps_are_as_good_as_those_of_scikit_learn(
    digits: np.ndarray, weights: csr_array, theirs: np.ndarray, exact_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tsne, "EXACT_LIMIT", exact_limit)
    mine = tsne.lay_out(weights, initial_layout(flat(digits), 0), n_iterations=500)
    assert divergence(weights, mine) <= 1.05 * divergence(weights, theirs)
    assert trustworthiness(digits, mine) >= 0.98 * trustworthiness(digits, theirs)


def test_it_is_the_same_every_time_and_on_any_number_of_cores(
    digits: np.ndarray, weights: csr_array, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts = []
    for cores in (1, 3):
        monkeypatch.setattr(tsne, "cores", lambda cores=cores: cores)
        for exact_limit in (5000, 0):
            monkeypatch.setattr(tsne, "EXACT_LIMIT", exact_limit)
            layouts.append(tsne.lay_out(weights, initial_layout(flat(digits), 0), n_iterations=20))
    assert layouts[1].tobytes() == layouts[3].tobytes()
    assert layouts[0].tobytes() == layouts[2].tobytes()


def test_on_iteration_can_stop_the_layout(digits: np.ndarray, weights: csr_array) -> None:
    with pytest.raises(InterruptedError):
        tsne.lay_out(weights, initial_layout(flat(digits), 0), on_iteration=interrupt_at(3, InterruptedError))
