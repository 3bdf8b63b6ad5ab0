"""Test smoothing over the k-NN graph against dense matrices, and the choice of its strength."""

from __future__ import annotations

import numpy as np
import pytest

from modeling.algorithms.calibration import choose_folds, softmax
from modeling.algorithms.head import fit_head, predict_in_blocks
from modeling.algorithms.neighbors import Graph, knn_graph
from modeling.algorithms.smoothing import Smoothing, smoothed_rows
from modeling.algorithms.train import choose_steps, train


def dense_step(graph: Graph, k: int) -> np.ndarray:
    """Return (I + P) / 2, computed pair by pair as in the paper."""
    n = len(graph.indices)
    W = np.zeros((n, n))
    for row in range(n):
        near = [(i, d) for i, d in zip(graph.indices[row, :k], graph.distances[row, :k], strict=True) if i >= 0]
        for neighbor, distance in near:
            W[row, neighbor] = np.exp(-((distance / (0.7 * near[-1][1])) ** 2))
    W = np.maximum(W, W.T)
    S = np.eye(n)
    for row in range(n):
        if W[row].sum():
            S[row] = (np.eye(n)[row] + W[row] / W[row].sum()) / 2
    return S


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)


def test_a_step_is_half_a_row_and_half_its_neighbors(rows: np.ndarray) -> None:
    rows[7] = np.nan  # without an embedding
    graph = knn_graph(rows, 30)
    smoothing = Smoothing.of(graph, 15)
    step = np.zeros((60, 60), np.float32)
    step[np.ix_(smoothing.order, smoothing.order)] = smoothing.step.toarray()
    np.testing.assert_allclose(step, dense_step(graph, 15), atol=1e-6)
    np.testing.assert_allclose(step.sum(axis=1), 1, atol=1e-6)
    assert step[7, 7] == 1


def test_neighbors_are_close_in_the_order_of_the_weights() -> None:
    """Shuffle rows on a line: in the order of the weights, neighbors lie next to each other again."""
    X = np.random.default_rng(2).permutation(2000).astype(np.float32)[:, None]
    smoothing = Smoothing.of(knn_graph(X, 4))
    rows, columns = smoothing.step.nonzero()
    assert np.abs(rows - columns).max() < 20


@pytest.mark.parametrize("steps", [0, 1, 2, 8])
def test_rows_and_logits_are_smoothed_alike(rows: np.ndarray, steps: int) -> None:
    graph = knn_graph(rows, 15)
    smoothing = Smoothing.of(graph)
    S = np.linalg.matrix_power(dense_step(graph, 15), steps)
    values = rows.copy()
    smoothing.smooth(values, steps)
    np.testing.assert_allclose(values, S @ rows, atol=1e-5)
    chosen = np.array([3, 50, 8])
    np.testing.assert_allclose(smoothed_rows(smoothing, rows, chosen)(steps), (S @ rows)[chosen], atol=0.05)


def test_more_columns_than_are_smoothed_at_once() -> None:
    values = np.random.default_rng(1).normal(size=(40, 37)).astype(np.float32)
    graph = knn_graph(values[:, :4], 10)
    expected = np.linalg.matrix_power(dense_step(graph, 10), 2) @ values
    Smoothing.of(graph).smooth(values, 2)
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_equal_rows_are_each_others_neighbors() -> None:
    smoothing = Smoothing.of(knn_graph(np.zeros((5, 3), np.float32), 15))
    assert np.isfinite(smoothing.step.data).all()
    np.testing.assert_allclose(smoothing.step.sum(axis=1), 1, atol=1e-6)


def test_predictions_are_those_of_smoothed_rows(rows: np.ndarray) -> None:
    """The head is linear: smoothing its logits is the same as smoothing the rows, whatever the blocks."""
    y = np.arange(60) % 3
    smoothing = Smoothing.of(knn_graph(rows, 15))
    smoothed = rows.copy()
    smoothing.smooth(smoothed, 2)
    head = fit_head(smoothed, y, n_classes=3)
    valid = np.arange(60) != 9
    out = np.empty((60, 3), np.float32)
    predict_in_blocks(rows, head, 1.3, out, valid=valid, smoothing=smoothing, steps=2, block_rows=7)
    np.testing.assert_allclose(out[valid], softmax(head.logits(smoothed), 1.3)[valid], atol=1e-5)
    assert np.isnan(out[9]).all()


def ten_clusters(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return five clusters of each of two classes, which a line through few labels does not tell apart well."""
    y = rng.integers(2, size=n)
    cluster = rng.integers(5, size=n)
    centers = rng.normal(size=(2, 5, 20)) * 2
    return (centers[y, cluster] + rng.normal(size=(n, 20))).astype(np.float32), y


def test_unlabeled_neighbors_help_few_labels() -> None:
    rng = np.random.default_rng(2)
    X, y = ten_clusters(1500, rng)
    smoothing = Smoothing.of(knn_graph(X, 15))
    labeled = rng.permutation(1500)[:60]
    smoothed = smoothed_rows(smoothing, X, labeled)
    assert choose_steps(smoothed, y[labeled], choose_folds(y[labeled]).fold) >= 1
    trained = train(X[labeled], y[labeled], n_classes=2, smoothed=smoothed)
    assert trained.steps == trained.metrics["steps"] >= 1
    out = np.empty((1500, 2), np.float32)
    predict_in_blocks(X, trained.head, trained.calibration, out, smoothing=smoothing, steps=trained.steps)
    plain = train(X[labeled], y[labeled], n_classes=2).head.logits(X).argmax(axis=1)
    assert (out.argmax(axis=1) == y).mean() > (plain == y).mean() + 0.02


def test_a_graph_that_says_nothing_about_classes_is_not_used() -> None:
    rng = np.random.default_rng(3)
    X, y = ten_clusters(800, rng)
    unrelated = knn_graph(rng.normal(size=(800, 5)).astype(np.float32), 15)
    labeled = rng.permutation(800)[:400]
    smoothed = smoothed_rows(Smoothing.of(unrelated), X, labeled)
    assert choose_steps(smoothed, y[labeled], choose_folds(y[labeled]).fold) == 0


def test_too_few_labels_to_choose_take_one_step(rows: np.ndarray) -> None:
    smoothed = smoothed_rows(Smoothing.of(knn_graph(rows, 15)), rows, np.arange(6))
    trained = train(rows[:6], np.arange(6) % 2, n_classes=2, smoothed=smoothed)
    assert (trained.steps, trained.is_calibrated) == (1, False)


def test_a_class_whose_labels_fall_into_one_fold(rows: np.ndarray) -> None:
    """Without that fold there is a single class to fit: the fold cannot decide."""
    y = np.array([0] * 30 + [1, 1])
    folds = np.arange(32) % 20
    folds[30:] = (3, 8)  # the same of five folds
    smoothed = smoothed_rows(Smoothing.of(knn_graph(rows, 15)), rows, np.arange(32))
    assert choose_steps(smoothed, y, folds) in (0, 1, 2, 4, 8)
    assert choose_steps(smoothed, y, np.where(y == 1, 0, 5)) == 1


def test_a_sample_of_many_labels_decides(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeling.algorithms.train.LABELS_FOR_STEPS", 25)
    seen = []
    smoothed = smoothed_rows(Smoothing.of(knn_graph(rows, 15)), rows, np.arange(60))

    def counted(steps: int, positions: np.ndarray | None = None) -> np.ndarray:
        found = smoothed(steps, positions)
        seen.append(len(found))
        return found

    trained = train(rows, np.arange(60) % 2, n_classes=2, smoothed=counted)
    assert seen[:-1] == [25] * (len(seen) - 1)
    assert seen[-1] == 60
    assert trained.metrics["n_labels"] == 60


def test_bands_of_rows_are_smoothed_in_threads(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    smoothing = Smoothing.of(knn_graph(rows, 15))
    whole, banded = rows.copy(), rows.copy()
    smoothing.smooth(whole, 3)
    monkeypatch.setattr("modeling.algorithms.smoothing.BAND", 7)
    smoothing.smooth(banded, 3)
    np.testing.assert_array_equal(banded, whole)
