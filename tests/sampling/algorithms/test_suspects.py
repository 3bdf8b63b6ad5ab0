"""Test confident learning against the published algorithm written as loops, and on planted mistakes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from sampling.algorithms.suspects import suspects


def slow_suspects(P: np.ndarray, y: np.ndarray) -> set[int]:
    """Return as many label issues as the confident joint counts, by self-confidence, item by item."""
    n, c = P.shape
    mean = [np.mean([P[i, k] for i in range(n) if y[i] == k]) if k in y else np.inf for k in range(c)]
    joint = np.zeros((c, c))
    for i in range(n):
        confident = [k for k in range(c) if P[i, k] >= mean[k] - 1e-6]
        if len(confident) == 1:
            joint[y[i], confident[0]] += 1
        elif confident:
            joint[y[i], int(np.argmax(P[i]))] += 1
    n_errors = 0
    for k in range(c):
        joint[k, k] = max(joint[k, k], 1)
        joint[k] *= sum(y == k) / joint[k].sum()
        n_errors += sum(round(joint[k, j]) for j in range(c) if j != k)
    least = sorted(range(n), key=lambda i: P[i, y[i]])[:n_errors]
    return {i for i in least if np.argmax(P[i]) != y[i]}


def planted(seed: int, n: int = 400, c: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of a fair model, labels of which a tenth are wrong, and which those are."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, c, n)
    logits = rng.standard_normal((n, c))
    logits[np.arange(n), truth] += 2.5
    P = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(n) < 0.1
    y = np.where(wrong, (truth + rng.integers(1, c, n)) % c, truth)
    return P.astype(np.float32), y, wrong


@pytest.mark.parametrize("seed", range(5))
def test_suspects_are_those_of_the_recipe(seed: int) -> None:
    P, y, _ = planted(seed)
    got = suspects(P, y)
    assert set(np.flatnonzero(got.is_suspect).tolist()) == slow_suspects(P.astype(np.float64), y)
    np.testing.assert_array_equal(got.suggested, P.argmax(axis=1))
    assert 0 < got.n_errors < 120


def test_self_confidence() -> None:
    P = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], np.float32)
    y = np.array([1, 1])
    np.testing.assert_allclose(suspects(P, y).self_confidence, [0.2, 0.6], rtol=1e-6)


def test_average_precision_on_planted_mistakes_in_digits() -> None:
    X, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    X, truth = X[:900] / 16, truth[:900]
    wrong = rng.random(900) < 0.05
    y = np.where(wrong, (truth + rng.integers(1, 10, 900)) % 10, truth)
    P = cross_val_predict(LogisticRegression(C=1), X, y, cv=3, method="predict_proba")
    got = suspects(P, y)
    assert average_precision_score(wrong, -got.self_confidence) > 0.85
    is_suspect = got.is_suspect
    assert is_suspect[wrong].mean() > 0.75
    assert wrong[is_suspect].mean() > 0.5


def test_rows_without_probabilities_are_never_suspect() -> None:
    P, y, _ = planted(1)
    P[::7] = np.nan
    got = suspects(P, y)
    assert not got.is_suspect[::7].any()
    assert np.isnan(got.self_confidence[::7]).all()
    np.testing.assert_array_equal(got.suggested[::7], y[::7])
    is_valid = ~np.isnan(P[:, 0])
    np.testing.assert_array_equal(got.is_suspect[is_valid], suspects(P[is_valid], y[is_valid]).is_suspect)


def test_edges() -> None:
    empty = suspects(np.empty((0, 3), np.float32), np.empty(0, np.int64))
    assert empty.self_confidence.shape == empty.is_suspect.shape == (0,)
    single_class = suspects(np.ones((5, 1), np.float32), np.zeros(5, np.int64))
    assert single_class.self_confidence.tolist() == [1] * 5
    assert not single_class.is_suspect.any()
    P, _, _ = planted(2)
    alone = suspects(P, np.full(len(P), 2))
    assert not alone.is_suspect.any()
    with pytest.raises(IndexError):
        suspects(P, np.full(len(P), 4))
