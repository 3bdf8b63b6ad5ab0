"""Test the classifier against scikit-learn's optimum, and on degenerate rows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from modeling.algorithms.features import standardization, standardize
from modeling.algorithms.head import ABSENT_LOGIT, Head, fit_head, predict_in_blocks
from tests.modeling.algorithms.examples import blobs, digits


def objective(head: Head, X: np.ndarray, y: np.ndarray, C: float, weight: np.ndarray) -> float:
    """Return the objective of `fit_head`, computed from the fitted head in double precision."""
    _, scale = standardization(X)
    logits = X.astype(float) @ head.weights.astype(float) + head.bias
    losses = -log_softmax(logits, axis=1)[np.arange(y.size), y]
    V = head.weights.astype(float) * scale[:, None]
    return float(C * (weight * losses).sum() + 0.5 * np.square(V).sum())


def best_objective(X: np.ndarray, y: np.ndarray, C: float, weight: np.ndarray) -> float:
    """Return the objective at scikit-learn's optimum."""
    mean, scale = standardization(X)
    Z = (X.astype(float) - mean) / scale
    two = np.unique(y).size == 2
    # With two classes scikit-learn fits one weight vector, the difference of ours. Its halves are our optimum, so its
    # penalty is twice ours.
    model = LogisticRegression(C=C / 2 if two else C, tol=1e-8, max_iter=20_000)
    model.fit(Z, y, sample_weight=weight)
    losses = -model.predict_log_proba(Z)[np.arange(y.size), np.searchsorted(model.classes_, y)]
    penalty = np.square(model.coef_).sum() * (0.25 if two else 0.5)
    return float(C * (weight * losses).sum() + penalty)


@pytest.mark.parametrize(("n", "d", "n_classes"), [(300, 12, 4), (40, 90, 3), (200, 30, 2)])
@pytest.mark.parametrize("C", [0.5, 20.0])
def test_fit_reaches_the_optimum_of_scikit_learn(n: int, d: int, n_classes: int, C: float) -> None:
    X, y = blobs(n, d, n_classes, seed=n, spread=2.0)
    weight = np.ones(n)
    head = fit_head(X, y, n_classes=n_classes, C=C, tol=1e-8)
    assert head.converged
    best = best_objective(X, y, C, weight)
    assert objective(head, X, y, C, weight) <= best * (1 + 1e-4) + 1e-6
    quick = fit_head(X, y, n_classes=n_classes, C=C)
    assert objective(quick, X, y, C, weight) <= best * 1.005


def test_fit_with_weights_reaches_the_optimum_of_scikit_learn() -> None:
    X, y = blobs(250, 8, 3, seed=5, spread=2.0)
    weight = np.random.default_rng(0).uniform(0.1, 3, y.size)
    factors = {0: 4.0, 2: 0.5}
    head = fit_head(X, y, n_classes=3, C=2.0, sample_weight=weight, class_weight=factors, tol=1e-8)
    combined = weight * np.array([factors.get(int(k), 1.0) for k in y])
    assert objective(head, X, y, 2.0, combined) <= best_objective(X, y, 2.0, combined) * (1 + 1e-4)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    X, y = blobs(200, 6, 3, seed=6, spread=2.0)
    counts = np.bincount(y)
    by_hand = {k: y.size / (3 * int(counts[k])) for k in range(3)}
    balanced = fit_head(X, y, n_classes=3, class_weight="balanced")
    assert np.array_equal(balanced.weights, fit_head(X, y, n_classes=3, class_weight=by_hand).weights)
    assert not np.array_equal(balanced.weights, fit_head(X, y, n_classes=3).weights)


def test_rows_of_weight_zero_are_as_good_as_absent() -> None:
    X, y = blobs(120, 5, 3, seed=7)
    weight = np.zeros(120)
    weight[::2] = 1
    head = fit_head(X, y, n_classes=3, sample_weight=weight, tol=1e-8)
    assert objective(head, X, y, 20.0, weight) == pytest.approx(best_objective(X, y, 20.0, weight), rel=1e-4)


def test_head_is_one_plain_product() -> None:
    X, y = blobs(90, 7, 3)
    head = fit_head(X, y, n_classes=3)
    assert (head.weights.shape, head.bias.shape) == ((7, 3), (3,))
    assert head.weights.dtype == head.bias.dtype == head.logits(X).dtype == np.float32
    assert head.logits(X) == pytest.approx(X @ head.weights + head.bias)


def test_standard_rows_have_unit_mean_square_and_weights_come_back() -> None:
    X, y = blobs(80, 9, 3)
    rows = standardize(X)
    assert rows.Z.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert np.square(rows.Z).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    head = fit_head(X, y, n_classes=3)
    V, bias = rows.standardize_weights(head.weights, head.bias)
    assert rows.Z @ V + bias == pytest.approx(head.logits(X), abs=1e-3)
    weights, raw_bias = rows.unstandardize_weights(V, bias)
    assert weights == pytest.approx(head.weights, rel=1e-5)
    assert raw_bias == pytest.approx(head.bias, abs=1e-3)


def test_a_feature_that_hardly_varies_is_not_blown_up() -> None:
    X, _ = blobs(50, 4, 2)
    X[:, 0] = 5 + 1e-4 * X[:, 1]
    _, scale = standardization(X)
    assert scale[0] > 0.3 * np.sqrt(X.var(axis=0).mean())


def test_classes_without_examples_get_no_probability() -> None:
    X, y = blobs(60, 5, 3)
    spread = np.array([1, 3, 4])[y]
    head = fit_head(X, spread, n_classes=6)
    assert (head.bias[[0, 2, 5]] == ABSENT_LOGIT).all()
    assert not head.weights[:, [0, 2, 5]].any()
    plain = fit_head(X, y, n_classes=3)
    assert head.logits(X)[:, [1, 3, 4]] == pytest.approx(plain.logits(X), abs=1e-4)
    out = np.empty((60, 6), np.float32)
    predict_in_blocks(X, head, 20.0, out)
    assert not out[:, [0, 2, 5]].any()
    assert out.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_two_labels_in_two_classes_are_enough() -> None:
    X = np.array([[0, 1, 5], [1, 1, 0]], np.float32)
    head = fit_head(X, [1, 0], n_classes=2)
    assert head.logits(X).argmax(axis=1).tolist() == [1, 0]
    assert np.isfinite(head.weights).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3e30, 0.1])
def test_identical_rows_leave_the_shares_of_the_classes(value: float) -> None:
    X = np.full((12, 4), value, np.float32)
    y = np.array([0, 1, 1] * 4)
    head = fit_head(X, y, n_classes=2)
    out = np.empty((12, 2), np.float32)
    predict_in_blocks(X, head, 1.0, out)
    assert out == pytest.approx(np.tile([1 / 3, 2 / 3], (12, 1)), abs=1e-3)


def test_constant_features_do_not_matter() -> None:
    X, y = blobs(70, 4, 3)
    padded = np.hstack([X, np.full((70, 3), 7.3, np.float32)])
    head = fit_head(padded, y, n_classes=3)
    assert head.weights[4:] == pytest.approx(0, abs=1e-6)
    assert head.logits(padded) == pytest.approx(fit_head(X, y, n_classes=3).logits(X), abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_numbers_are_refused(bad: float) -> None:
    X, y = blobs(20, 3, 2)
    X[7, 1] = bad
    with pytest.raises(ValueError, match="first is row 7"):
        fit_head(X, y, n_classes=2)


@pytest.mark.parametrize(
    ("y", "n_classes", "message"),
    [
        ([0, 0, 0], 2, "one class"), ([0, 1, 2], 2, "outside"), ([0, -1, 1], 2, "outside"), ([0, 1], 2, "n labels"),
        ([0.0, 1.0, 1.0], 2, "must be integers"),
    ],
)  # fmt: skip
def test_invalid_labels_are_refused(y: list[float], n_classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_head(np.eye(3, dtype=np.float32), y, n_classes=n_classes)


def test_no_labels_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="Label at least one image"):
        fit_head(np.empty((0, 3), np.float32), np.empty(0, int), n_classes=2)


@pytest.mark.parametrize("weight", [[1.0], [1.0, -1.0, 1.0], [1.0, np.nan, 1.0]])
def test_weights_that_do_not_fit_are_refused(weight: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        fit_head(np.eye(3, dtype=np.float32), [0, 1, 1], n_classes=2, sample_weight=weight)


def test_a_class_of_weight_zero_is_absent() -> None:
    X, y = blobs(60, 4, 3)
    head = fit_head(X, y, n_classes=3, class_weight={1: 0.0})
    assert head.bias[1] == ABSENT_LOGIT
    with pytest.raises(ValueError, match="Every class"):
        fit_head(X, y, n_classes=3, class_weight={1: -1.0})


def test_a_warm_start_takes_fewer_steps_to_the_same_place() -> None:
    (X, y), _ = digits(400)
    cold = fit_head(X, y, n_classes=10)
    before = fit_head(X[:380], y[:380], n_classes=10)
    warm = fit_head(X, y, n_classes=10, start=before)
    assert warm.n_iter < cold.n_iter
    weight = np.ones(400)
    assert objective(warm, X, y, 20.0, weight) == pytest.approx(objective(cold, X, y, 20.0, weight), rel=2e-3)


def test_a_start_without_a_class_still_learns_it() -> None:
    X, y = blobs(90, 6, 3)
    first = fit_head(X[y < 2], y[y < 2], n_classes=3)
    assert first.bias[2] == ABSENT_LOGIT
    head = fit_head(X, y, n_classes=3, start=first)
    assert (head.logits(X).argmax(axis=1)[y == 2] == 2).mean() > 0.8


def test_a_start_of_another_shape_is_refused() -> None:
    X, y = blobs(30, 4, 3)
    start = fit_head(X, y, n_classes=3)
    with pytest.raises(ValueError, match="shape"):
        fit_head(X, y, n_classes=4, start=start)


def test_the_fit_is_deterministic_and_says_when_it_was_cut_short() -> None:
    X, y = blobs(200, 10, 4, spread=3.0)
    first, second = (fit_head(X, y, n_classes=4) for _ in range(2))
    assert np.array_equal(first.weights, second.weights)
    assert first.converged
    assert not fit_head(X, y, n_classes=4, max_iter=2).converged


def test_a_new_order_of_classes_gives_the_same_classifier() -> None:
    X, y = blobs(150, 6, 4, spread=2.0)
    order = np.array([2, 0, 3, 1])
    head = fit_head(X, y, n_classes=4, tol=1e-8)
    turned = fit_head(X, order[y], n_classes=4, tol=1e-8)
    assert turned.logits(X)[:, order] == pytest.approx(head.logits(X), abs=0.02)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 20), st.floats(0.05, 20), st.integers(0, 100))
def test_blocks_give_the_probabilities_of_every_row(n: int, block_rows: int, temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    head = Head(rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32), 1, True)
    valid = rng.random(n) < 0.7
    X[~valid] = np.nan
    out = np.full((n, 3), -1, np.float32)
    seen: list[tuple[int, int]] = []
    predict_in_blocks(
        X, head, temperature, out, valid=valid, block_rows=block_rows,
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    for row in range(n):
        if not valid[row]:
            assert np.isnan(out[row]).all()
            continue
        logits = [float(X[row] @ head.weights[:, k] + head.bias[k]) / temperature for k in range(3)]
        powers = [np.exp(value - max(logits)) for value in logits]
        assert out[row] == pytest.approx([power / sum(powers) for power in powers], abs=2e-5)
    assert [done for done, _ in seen] == [*range(block_rows, n, block_rows), n]
    assert {total for _, total in seen} == {n}


def test_blocks_work_from_file_to_file_and_can_be_stopped(tmp_path: Path) -> None:
    X, y = blobs(100, 6, 3)
    head = fit_head(X, y, n_classes=3)
    np.save(tmp_path / "vectors.npy", X)
    rows = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=np.float32, shape=(100, 3))
    predict_in_blocks(rows, head, 1.5, out, block_rows=33)
    expected = np.empty((100, 3), np.float32)
    predict_in_blocks(X, head, 1.5, expected)
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, abs=1e-6)

    def stop(done: int, total: int) -> None:
        raise InterruptedError(f"{done} of {total}")

    with pytest.raises(InterruptedError, match="33 of 100"):
        predict_in_blocks(rows, head, 1.0, out, block_rows=33, on_progress=stop)


def test_huge_logits_stay_probabilities() -> None:
    head = Head(np.array([[1e30, -1e30]], np.float32), np.zeros(2, np.float32), 1, True)
    out = np.empty((2, 2), np.float32)
    predict_in_blocks(np.array([[1.0], [-1.0]], np.float32), head, 1.0, out)
    assert out.tolist() == [[1, 0], [0, 1]]


def test_blocks_refuse_what_does_not_fit() -> None:
    head = Head(np.zeros((2, 3), np.float32), np.zeros(3, np.float32), 1, True)
    X, out = np.zeros((4, 2), np.float32), np.empty((4, 3), np.float32)
    with pytest.raises(ValueError, match="matching shapes"):
        predict_in_blocks(X, head, 1.0, out[:3])
    with pytest.raises(ValueError, match="matching shapes"):
        predict_in_blocks(X[:, :1], head, 1.0, out)
    with pytest.raises(ValueError, match="valid"):
        predict_in_blocks(X, head, 1.0, out, valid=np.ones(3, bool))
    with pytest.raises(ValueError, match="temperature"):
        predict_in_blocks(X, head, 0.0, out)


# -- Few rows in fewer coordinates ------------------------------------------------------------------
def test_few_rows_are_fitted_in_the_space_that_they_span_to_the_same_optimum() -> None:
    X, y = blobs(60, 200, 3, seed=11, spread=4.0)
    rows = standardize(X)
    assert rows.basis is not None
    assert rows.Z.shape[1] <= 60
    np.testing.assert_allclose(rows.basis.T @ rows.basis, np.eye(rows.Z.shape[1]), atol=1e-4)
    mean, scale = standardization(X)
    np.testing.assert_allclose(rows.Z @ rows.basis.T, (X - mean) / scale, atol=1e-3)
    head = fit_head(X, y, n_classes=3, tol=1e-8)
    weight = np.ones(60)
    assert objective(head, X, y, 20.0, weight) <= best_objective(X, y, 20.0, weight) * (1 + 1e-4) + 1e-6


@pytest.mark.parametrize(("n", "d"), [(60, 200), (60, 30)])
def test_a_head_comes_back_as_the_point_that_it_was_made_from(n: int, d: int) -> None:
    X, _ = blobs(n, d, 3, seed=12)
    rows = standardize(X)
    assert (rows.basis is not None) == (2 * n <= d)
    rng = np.random.default_rng(0)
    V = rng.normal(size=(rows.Z.shape[1], 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    weights, raw_bias = rows.unstandardize_weights(V, bias)
    np.testing.assert_allclose(X @ weights + raw_bias, rows.Z @ V + bias, rtol=1e-2, atol=2e-2)
    back, back_bias = rows.standardize_weights(weights, raw_bias)
    np.testing.assert_allclose(back, V, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(back_bias, bias, rtol=1e-2, atol=1e-2)


def test_identical_rows_span_nothing() -> None:
    X, y = np.ones((10, 50), np.float32), np.arange(10) % 2
    assert standardize(X).basis is None
    head = fit_head(X, y, n_classes=2)
    np.testing.assert_allclose(head.logits(X)[:, 0], head.logits(X)[:, 1], atol=1e-3)
