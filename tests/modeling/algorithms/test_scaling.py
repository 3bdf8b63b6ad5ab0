"""Test calibration methods: their effect on heads and logits, their fits, and when they are used."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from scipy.special import softmax as scipy_softmax

from modeling.algorithms.calibration import MIN_AUDIT, OutOfFold, calibrate, softmax
from modeling.algorithms.fit_scaling import VECTOR_PRIOR_SD, fit_platt, fit_temperature, fit_vector, logit_log_loss
from modeling.algorithms.folds import stratified_folds
from modeling.algorithms.head import ABSENT_LOGIT, Head, predict_in_blocks
from modeling.algorithms.scaling import Calibration, Method, log_odds

SCALE, SHIFT = np.array([0.5, 1.5, 1.0, 2.0], np.float32), np.array([0.3, -0.2, 0.0, 1.0], np.float32)


def logits_of(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated logits (n, 4) and classes drawn from their softmax; shuffled, of unequal size."""
    rng = np.random.default_rng(seed)
    logits = (2 * rng.normal(size=(n, 4)) + [1.0, 0.0, -1.0, 0.5]).astype(np.float32)
    return logits, np.array([rng.choice(4, p=row) for row in scipy_softmax(logits.astype(float), axis=1)])


def held_out(logits: np.ndarray, y: np.ndarray) -> tuple[OutOfFold, np.ndarray, np.ndarray]:
    return OutOfFold(logits, np.ones(y.size, bool)), y, stratified_folds(y, 5)


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(),
        Calibration("temperature", 2.5),
        Calibration("vector", scale=SCALE, shift=SHIFT),
        Calibration("platt", scale=SCALE, shift=SHIFT),
    ],
)
def test_blocks_of_rows_get_the_probabilities_of_their_corrected_logits(calibration: Calibration) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(37, 6)).astype(np.float32)
    head = Head(rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, ABSENT_LOGIT, 2], np.float32), 0, True)
    out = np.empty((37, 4), np.float32)
    predict_in_blocks(X, head, calibration, out, block_rows=10)
    np.testing.assert_allclose(out, softmax(calibration.logits(head.logits(X))), atol=1e-6)
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)
    assert (out[:, 2] == 0).all()
    again = Calibration.of(
        calibration.method, calibration.temperature, json.loads(json.dumps(calibration.params, allow_nan=False))
    )
    np.testing.assert_array_equal(again.logits(head.logits(X)), calibration.logits(head.logits(X)))


def test_each_way_does_what_its_formula_says() -> None:
    logits, _ = logits_of(50)
    wide = logits.astype(float)
    P = scipy_softmax(wide, axis=1)
    np.testing.assert_allclose(log_odds(logits), np.log(P / (1 - P)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(Calibration("temperature", 2.0).logits(logits), wide / 2, rtol=1e-6)
    vector = Calibration("vector", scale=SCALE, shift=SHIFT)
    np.testing.assert_allclose(vector.logits(logits), wide * SCALE + SHIFT, rtol=1e-5, atol=1e-6)
    sigmoids = expit(SCALE * np.log(P / (1 - P)) + SHIFT)
    platt = Calibration("platt", scale=SCALE, shift=SHIFT)
    expected = sigmoids / sigmoids.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(platt.logits(logits)), expected, rtol=1e-4, atol=1e-6)


def test_odds_of_what_is_all_but_certain_are_numbers() -> None:
    odds = log_odds(np.array([[200, 0, 0], [30, 0, 0], [0, ABSENT_LOGIT, 0]], np.float32))
    assert np.isfinite(odds).all()
    assert odds[1, 0] == pytest.approx(30 - np.log(2), rel=1e-5)
    assert odds[2] == pytest.approx([0, ABSENT_LOGIT, 0])


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration method called"):
        Calibration("isotonic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="above 0"):
        Calibration("temperature", 0.0)


# -- Fits against slow ones ---------------------------------------------------------------------------
def test_platts_sigmoids_are_those_of_a_slow_search() -> None:
    logits, y = logits_of()
    calibration = fit_platt(2 * logits, y)
    P = scipy_softmax(2 * logits.astype(float), axis=1)
    for k in range(4):
        odds, n = np.log(P[:, k] / (1 - P[:, k])), int((y == k).sum())
        target = np.where(y == k, (n + 1) / (n + 2), 1 / (y.size - n + 2))

        def cost(line: np.ndarray, odds: np.ndarray = odds, target: np.ndarray = target) -> float:
            probability = np.clip(expit(line[0] * odds + line[1]), 1e-12, 1 - 1e-12)
            return float(-(target * np.log(probability) + (1 - target) * np.log(1 - probability)).sum())

        slow = minimize(cost, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
        assert [calibration.scale[k], calibration.shift[k]] == pytest.approx(slow.x, rel=0.01, abs=0.01)


def test_vector_scaling_is_that_of_a_slow_search() -> None:
    logits, y = logits_of(120)

    def cost(values: np.ndarray) -> float:
        factor, shift = values.reshape(2, 4)
        rows = log_softmax(logits.astype(float) / 1.3 * factor + shift, axis=1)
        prior = (np.square(factor - 1) + np.square(shift)).sum() / (2 * VECTOR_PRIOR_SD**2)
        return float(-rows[np.arange(120), y].sum() + prior)

    slow = minimize(cost, [1.0] * 4 + [0.0] * 4, method="Powell", options={"xtol": 1e-8, "ftol": 1e-12})
    calibration = fit_vector(logits, y, 1.3)
    assert [*(1.3 * calibration.scale), *calibration.shift] == pytest.approx(slow.x, rel=0.01, abs=0.01)


@pytest.mark.parametrize("method", ["platt", "vector"])
def test_a_class_without_rows_stays_as_it_was(method: Method) -> None:
    logits, y = logits_of()
    logits[:, 2] = ABSENT_LOGIT
    y[y == 2] = 0
    calibration = fit_platt(logits, y) if method == "platt" else fit_vector(logits, y, 2.0)
    assert calibration.scale[2] == pytest.approx(1.0 if method == "platt" else 0.5)
    assert calibration.shift[2] == 0
    assert (softmax(calibration.logits(logits))[:, 2] == 0).all()


def test_few_rows_of_a_class_hardly_move_vector_scaling() -> None:
    logits, y = logits_of(6, seed=3)
    calibration = fit_vector(logits, y, 2.0)
    assert np.abs(2 * calibration.scale - 1).max() < 0.3
    assert np.abs(calibration.shift).max() < 0.3


def test_a_prior_can_stand_at_another_temperature() -> None:
    logits, y = logits_of(30)
    near, far = (fit_temperature(logits, y, prior=4.0, prior_sd=sd) for sd in (0.01, 100.0))
    assert near == pytest.approx(4.0, rel=0.02)
    assert far == pytest.approx(fit_temperature(logits, y), rel=0.01)
    assert fit_temperature(np.zeros((4, 3)), np.arange(4) % 3, prior=2.0, prior_sd=0.1) == pytest.approx(2, rel=0.01)


def test_many_rows_overcome_a_prior_that_few_do_not() -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(800, 2)), rng.integers(0, 2, 800)
    assert fit_temperature(logits[:10], y[:10], prior_sd=0.15) < 1.5
    assert fit_temperature(logits, y, prior_sd=0.15) > 3


# -- When it is kept ----------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["temperature", "platt", "vector"])
def test_what_helps_is_kept_and_cross_fitted(method: Method) -> None:
    logits, y = logits_of()
    result = calibrate(*held_out(3 * logits, y), method=method)
    assert result.calibration.method == method
    assert "calibrated on 300 held-out labels in 5 folds" in result.note
    assert logit_log_loss(result.logits, y) < logit_log_loss(3 * logits, y)
    assert not np.allclose(result.logits, result.calibration.logits(3 * logits), rtol=1e-5)


@pytest.mark.parametrize("method", ["temperature", "platt", "vector"])
def test_what_does_not_help_is_not_kept_and_that_is_said(method: Method) -> None:
    y = np.random.default_rng(0).permutation(np.arange(400) % 2)
    # The logits are correctly uninformative, so every correction fits noise.
    result = calibrate(*held_out(np.zeros((400, 2), np.float32), y), method=method)
    assert result.calibration.method == "none"
    assert "needed no correction" in result.note
    assert (result.logits == 0).all()


def test_a_way_that_does_not_help_gives_place_to_a_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, y = logits_of()
    wrong = Calibration("vector", scale=SCALE, shift=10 * SHIFT)
    monkeypatch.setattr("modeling.algorithms.calibration.fit_vector", lambda *args: wrong)
    result = calibrate(*held_out(3 * logits, y), method="vector")
    assert result.calibration.method == "temperature"
    assert "vector scaling would not lower the log loss" in result.note


def test_none_changes_nothing() -> None:
    logits, y = logits_of()
    result = calibrate(*held_out(3 * logits, y), method="none")
    assert result.calibration.method == "none"
    np.testing.assert_array_equal(result.logits, 3 * logits)
    assert "correction" not in result.note


def test_labels_drawn_by_chance_lead_the_temperature_once_there_are_enough() -> None:
    logits, y = logits_of(800)
    is_random = np.random.default_rng(1).permutation(800) < MIN_AUDIT + 50
    # The logits are twice overconfident for the random sample, and three times for the rest.
    mixed = np.where(is_random[:, None], 2 * logits, 3 * logits)
    of_all = calibrate(*held_out(mixed, y))
    with_audit = calibrate(*held_out(mixed, y), is_audit=is_random)
    assert 2.0 < with_audit.calibration.temperature < of_all.calibration.temperature - 0.2
    assert "fitted to the 100 randomly sampled labels among them" in with_audit.note
    few = is_random & (np.cumsum(is_random) < MIN_AUDIT)
    assert calibrate(*held_out(mixed, y), is_audit=few).calibration.temperature == of_all.calibration.temperature
    all_random = calibrate(*held_out(mixed, y), is_audit=np.ones(800, bool))
    assert (all_random.calibration.temperature, all_random.note) == (of_all.calibration.temperature, of_all.note)


def test_rows_that_nothing_knew_take_no_part() -> None:
    logits, y = logits_of()
    held = OutOfFold(3 * logits, np.arange(300) > 4)
    held.logits[:5] = ABSENT_LOGIT
    folds = stratified_folds(y, 5)
    result = calibrate(held, y, folds)
    alone = calibrate(OutOfFold(held.logits[5:], held.is_scored[5:]), y[5:], folds[5:])
    assert result.calibration.temperature == alone.calibration.temperature
    assert "5 left out as the only label of their class" in result.note
    np.testing.assert_array_equal(result.logits[5:], alone.logits)
