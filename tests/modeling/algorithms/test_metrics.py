"""Test each metric against a slow computation in plain Python, or against scikit-learn."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.metrics import log_loss as sklearn_log_loss

from modeling.algorithms.metrics import (
    brier,
    confusion,
    expected_calibration_error,
    log_loss,
    reliability,
    suitable_bins,
)


def random_probabilities(n: int, c: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(c, 0.7), n).astype(np.float32)
    y = np.array([rng.choice(c, p=row / row.sum()) for row in probabilities.astype(np.float64)])
    return probabilities, y


def ece_by_hand(probabilities: np.ndarray, y: np.ndarray, n_bins: int) -> float:
    predictions = zip(probabilities.tolist(), y.tolist(), strict=True)
    rows = sorted((max(row), row.index(max(row)) == truth) for row, truth in predictions)
    bins: dict[int, list[tuple[float, bool]]] = {}
    first = {}
    for rank, (confidence, _) in enumerate(rows):
        first.setdefault(confidence, rank)
    for confidence, right in rows:
        bins.setdefault(first[confidence] * n_bins // len(rows), []).append((confidence, right))
    total = 0.0
    for members in bins.values():
        gap = sum(c for c, _ in members) / len(members) - sum(r for _, r in members) / len(members)
        total += abs(gap) * len(members)
    return total / len(rows)


@pytest.mark.parametrize(("n", "c", "n_bins"), [(1, 2, 15), (7, 3, 15), (200, 4, 15), (513, 10, 7), (50, 2, 1)])
def test_ece_is_the_mean_gap_over_bins(n: int, c: int, n_bins: int) -> None:
    probabilities, y = random_probabilities(n, c, seed=n)
    expected = ece_by_hand(probabilities, y, n_bins)
    assert expected_calibration_error(probabilities, y, n_bins=n_bins) == pytest.approx(expected, abs=1e-9)


def test_ece_of_known_cases() -> None:
    sure = np.tile([1.0, 0.0], (10, 1))
    assert expected_calibration_error(sure, np.zeros(10, int)) == 0.0
    assert expected_calibration_error(sure, np.ones(10, int)) == 1.0
    half = np.array([0, 1] * 5)
    assert expected_calibration_error(sure, half) == pytest.approx(0.5)


def test_equal_confidences_make_the_order_of_rows_irrelevant() -> None:
    probabilities, y = random_probabilities(300, 3, seed=1)
    probabilities = np.round(probabilities, 1)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = expected_calibration_error(probabilities, y)
    order = np.random.default_rng(2).permutation(300)
    assert expected_calibration_error(probabilities[order], y[order]) == pytest.approx(expected, abs=1e-12)


def test_reliability_bins_have_equal_mass_and_can_be_stored() -> None:
    probabilities, y = random_probabilities(150, 5, seed=3)
    bars = reliability(probabilities, y, n_bins=15)
    assert bars.count.tolist() == [10] * 15
    assert (np.diff(bars.confidence) > 0).all()
    assert (bars.lower <= bars.accuracy).all()
    assert (bars.accuracy <= bars.upper).all()
    rows = json.loads(json.dumps(bars.as_rows()))
    assert sum(row["count"] for row in rows) == 150
    assert set(rows[0]) == {"confidence", "accuracy", "lower", "upper", "count"}


def test_log_loss_is_that_of_scikit_learn() -> None:
    probabilities, y = random_probabilities(400, 6, seed=4)
    wide = probabilities.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    assert log_loss(wide, y) == pytest.approx(sklearn_log_loss(y, wide, labels=range(6)), rel=1e-6)


def test_log_loss_of_an_impossible_truth_is_finite() -> None:
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(np.finfo(np.float32).eps))


def test_brier_is_the_squared_distance() -> None:
    probabilities, y = random_probabilities(60, 4, seed=5)
    by_hand = 0.0
    for row, truth in zip(probabilities.astype(float), y, strict=True):
        by_hand += sum((p - (k == truth)) ** 2 for k, p in enumerate(row))
    assert brier(probabilities, y) == pytest.approx(by_hand / 60, abs=1e-9)


def test_confusion_precision_and_recall_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    y, predicted = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    table = confusion(y, predicted, 6)
    assert (table.counts == confusion_matrix(y, predicted, labels=range(6))).all()
    precision, recall, _, _ = precision_recall_fscore_support(y, predicted, labels=range(4), zero_division=0)
    assert table.precision[:4] == pytest.approx(precision)
    assert table.recall[:4] == pytest.approx(recall)
    assert table.recall[4] == 0
    assert np.isnan(table.precision[4:]).all()
    assert np.isnan(table.recall[5])


@pytest.mark.parametrize(
    ("probabilities", "y", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "no rows"),
        (np.full((1, 2), np.nan), np.zeros(1, int), "are NaN"),
        (np.full((2, 2), 0.5), np.zeros(1, int), "true classes"),
        (np.full((1, 2), 0.5), np.array([2]), "outside"),
    ],
)
def test_measures_refuse_what_cannot_be_measured(probabilities: np.ndarray, y: np.ndarray, message: str) -> None:
    for measure in (expected_calibration_error, log_loss, brier):
        with pytest.raises(ValueError, match=message):
            measure(probabilities, y)


def test_confusion_and_bins_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="same length"):
        confusion(np.array([0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="outside"):
        confusion(np.array([0]), np.array([2]), 2)
    with pytest.raises(ValueError, match="n_bins"):
        reliability(np.full((1, 2), 0.5), np.array([0]), n_bins=0)


@pytest.mark.parametrize(("n", "bins"), [(1, 1), (23, 1), (24, 2), (40, 3), (179, 14), (180, 15), (10_000, 15)])
def test_few_rows_are_worth_few_bins(n: int, bins: int) -> None:
    assert suitable_bins(n) == bins
