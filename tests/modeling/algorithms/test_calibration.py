"""Test temperatures against a slow search, and that out-of-fold logits are really out-of-fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from modeling.algorithms.calibration import choose_folds, cross_fit, out_of_fold_logits, softmax
from modeling.algorithms.fit_scaling import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature, logit_log_loss
from modeling.algorithms.folds import stratified_folds
from modeling.algorithms.head import ABSENT_LOGIT, fit_head
from modeling.algorithms.scaling import Calibration
from tests.modeling.algorithms.examples import blobs, digits


def slow_loss(logits: np.ndarray, y: np.ndarray, temperature: float) -> float:
    rows = log_softmax(logits.astype(float) / temperature, axis=1)
    return float(-np.mean([row[truth] for row, truth in zip(rows, y, strict=True)]))


def miscalibrated_logits(temperature: float, n: int = 2000, c: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are calibrated when divided by the temperature."""
    rng = np.random.default_rng(seed)
    right = 2 * rng.normal(size=(n, c))
    y = np.array([rng.choice(c, p=row) for row in scipy_softmax(right, axis=1)])
    return (right * temperature).astype(np.float32), y


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_temperature_is_that_of_a_slow_search(temperature: float) -> None:
    logits, y = miscalibrated_logits(temperature)
    temperature_found = fit_temperature(logits, y)
    slow = minimize(lambda t: slow_loss(logits, y, float(np.exp(t[0]))), [0.0], method="Nelder-Mead")
    assert temperature_found == pytest.approx(float(np.exp(slow.x[0])), rel=5e-3)
    assert temperature_found == pytest.approx(temperature, rel=0.1)
    assert logit_log_loss(logits, y, temperature_found) == pytest.approx(
        slow_loss(logits, y, temperature_found), rel=1e-5
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(2, 5), st.booleans(), st.data())
def test_temperature_never_makes_its_own_log_loss_worse(n: int, c: int, with_prior: bool, data: st.DataObject) -> None:
    logits = data.draw(arrays(np.float32, (n, c), elements=st.floats(-1e4, 1e4, width=32)))
    y = data.draw(arrays(np.int64, n, elements=st.integers(0, c - 1)))
    temperature = fit_temperature(logits, y, prior_sd=0.5 if with_prior else None)
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE
    assert logit_log_loss(logits, y, temperature) <= logit_log_loss(logits, y) * (1 + 1e-6) + 1e-9


def test_temperature_of_degenerate_logits() -> None:
    assert fit_temperature(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 1.0
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0
    always_right = np.eye(3)
    assert fit_temperature(always_right, np.arange(3)) == pytest.approx(MIN_TEMPERATURE, rel=0.01)
    assert fit_temperature(always_right, np.array([1, 2, 0])) == pytest.approx(MAX_TEMPERATURE, rel=0.01)
    with pytest.raises(ValueError, match="are NaN"):
        fit_temperature(np.array([[np.nan, 0]]), np.array([0]))
    with pytest.raises(ValueError, match="true classes"):
        fit_temperature(np.zeros((2, 2)), np.array([0]))


@pytest.mark.parametrize("never", [-np.inf, ABSENT_LOGIT])
def test_rows_without_a_chance_do_not_move_the_temperature(never: float) -> None:
    logits, y = miscalibrated_logits(2.0, n=500)
    wide = np.hstack([logits, np.full((500, 1), never, np.float32)])
    impossible = wide[:40].copy()
    more = fit_temperature(np.vstack([wide, impossible]), np.concatenate([y, np.full(40, 5)]))
    assert more == pytest.approx(fit_temperature(logits, y), rel=1e-3)


def test_a_prior_keeps_a_few_right_rows_from_certainty() -> None:
    logits = np.eye(3)[np.arange(30) % 3] * 2
    y = np.arange(30) % 3
    plain, guarded = fit_temperature(logits, y), fit_temperature(logits, y, prior_sd=0.5)
    assert plain < 0.1
    assert 0.25 < guarded < 1


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, (7, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)), st.floats(0.05, 20))
def test_softmax_is_that_of_scipy(logits: np.ndarray, temperature: float) -> None:
    probabilities = softmax(logits, temperature)
    assert probabilities.dtype == np.float32
    assert probabilities == pytest.approx(scipy_softmax(logits.astype(float) / temperature, axis=1), abs=2e-5)


def test_softmax_of_infinite_logits() -> None:
    probabilities = softmax(np.array([[-np.inf, 0.0, 0.0], [np.nan, 0.0, 0.0], [-np.inf] * 3]))
    assert probabilities[0].tolist() == [0, 0.5, 0.5]
    assert np.isnan(probabilities[1:]).all()
    with pytest.raises(ValueError, match="above 0"):
        softmax(np.zeros((1, 2)), 0.0)


def test_softmax_leaves_its_input_alone() -> None:
    logits = np.ones((2, 2), np.float32)
    softmax(logits, 2.0)
    assert (logits == 1).all()


def test_out_of_fold_logits_are_those_of_heads_fitted_without_the_fold() -> None:
    X, y = blobs(150, 8, 3, spread=3.0)
    folds = stratified_folds(y, 5)
    full = fit_head(X, y, n_classes=3)
    held = out_of_fold_logits(X, y, n_classes=3, folds=folds, start=full)
    assert held.is_scored.all()
    for fold in range(5):
        inside = folds == fold
        # Weight 0 leaves a row out but keeps the common standardization.
        alone = fit_head(X, y, n_classes=3, sample_weight=~inside, tol=1e-8)
        difference = softmax(held.logits[inside]) - softmax(alone.logits(X[inside]))
        assert np.abs(difference).max() < 0.05
    slow_start = out_of_fold_logits(X, y, n_classes=3, folds=folds)
    assert np.abs(softmax(slow_start.logits) - softmax(held.logits)).max() < 0.05


def test_held_out_labels_do_not_leak_from_the_warm_start() -> None:
    # Random labels: a model trained on them is correct far more often than one in two.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60)).astype(np.float32)
    y = rng.integers(0, 2, 300)
    full = fit_head(X, y, n_classes=2)
    assert (full.logits(X).argmax(axis=1) == y).mean() > 0.65
    held = out_of_fold_logits(X, y, n_classes=2, folds=stratified_folds(y, 5), start=full)
    assert (held.logits.argmax(axis=1) == y).mean() < 0.57


def test_a_class_with_one_example_is_unknown_to_the_fold_that_holds_it() -> None:
    X, y = blobs(80, 5, 2)
    y[17] = 2
    held = out_of_fold_logits(X, y, n_classes=4, folds=stratified_folds(y, 5))
    assert np.flatnonzero(~held.is_scored).tolist() == [17]
    assert held.logits[17, 2] == ABSENT_LOGIT
    assert (held.logits[:, 3] == ABSENT_LOGIT).all()


@pytest.mark.parametrize(
    ("y", "n_folds", "reason"),
    [
        ([0, 1] * 4, 0, "uncalibrated, too few labels (8 of the 20 needed)"),
        ([0] * 9 + list(range(1, 13)), 0, "at least two (9 of the 10 needed)"),
        ([0] * 19 + [1], 0, "only one class has at least two labels"),
        ([0, 1] * 5 + list(range(2, 12)), 20, ""),
        ([0] * 30 + [1, 2, 3], 0, "only one class has at least two labels"),
        ([0, 1] * 10, 20, ""),
        ([0, 1] * 249 + [2], 20, ""),
        ([0, 1] * 250, 10, ""),
        ([0, 1] * 999 + [2], 10, ""),
        ([0, 1] * 1000, 5, ""),
    ],
)
def test_folds_fit_the_number_of_labels_or_say_why_not(y: list[int], n_folds: int, reason: str) -> None:
    folds = choose_folds(np.array(y))
    assert folds.n_folds == n_folds
    assert reason in folds.reason
    assert bool(reason) == (folds.fold is None)


def test_what_is_cross_fitted_never_sees_its_own_fold() -> None:
    logits, y = miscalibrated_logits(3.0, n=200)
    folds, is_random = stratified_folds(y, 4), np.ones(200, bool)

    def fit(logits: np.ndarray, y: np.ndarray, is_random: np.ndarray) -> Calibration:
        return Calibration("temperature", fit_temperature(logits, y))

    before = cross_fit(logits, y, folds, is_random, fit)
    assert (logits / before).mean() == pytest.approx(3.0, rel=0.3)
    for fold in range(4):
        changed = y.copy()
        changed[folds == fold] = (changed[folds == fold] + 1) % 5
        after = cross_fit(logits, changed, folds, is_random, fit)
        assert (after[folds == fold] == before[folds == fold]).all()
        assert (after[folds != fold] != before[folds != fold]).all()


def test_temperature_helps_on_rows_that_nobody_saw() -> None:
    (X, y), (more, truth) = digits(300)
    # A penalty far too weak makes the head overconfident.
    head = fit_head(X, y, n_classes=10, C=5000.0)
    held = out_of_fold_logits(X, y, n_classes=10, folds=stratified_folds(y, 5), start=head, C=5000.0)
    temperature = fit_temperature(held.logits, y)
    assert temperature > 1.1
    logits = head.logits(more)
    assert logit_log_loss(logits, truth, temperature) < logit_log_loss(logits, truth)
