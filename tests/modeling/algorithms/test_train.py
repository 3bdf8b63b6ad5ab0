"""Test the whole training: out-of-fold metrics, reproducibility, and notes where metrics are missing."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modeling.algorithms.calibration import TEMPERATURE_PRIOR_SD, choose_folds, out_of_fold_logits, softmax
from modeling.algorithms.fit_scaling import fit_temperature, logit_log_loss
from modeling.algorithms.head import ABSENT_LOGIT, fit_head
from modeling.algorithms.metrics import log_loss
from modeling.algorithms.train import DEFAULT_C, train
from tests.factories import assert_contains, interrupt_at, not_none
from tests.modeling.algorithms.examples import blobs, digits

KEYS = {
    "n_labels", "n_folds", "C", "accuracy", "accuracy_interval", "ece_before", "ece_after", "log_loss_before",
    "log_loss_after", "brier_before", "brier_after", "confusion", "reliability", "precision", "recall",
    "n_iter", "converged", "n_per_class", "reliability_before", "f1", "calibration_method", "class_weights",
    "n_effective", "steps",
}  # fmt: skip


def test_held_out_numbers_agree_with_rows_that_nobody_saw() -> None:
    (X, y), (more, truth) = digits(600)
    trained = train(X, y, n_classes=10, seed=1)
    assert trained.is_calibrated
    metrics = trained.metrics
    logits = trained.head.logits(more)
    accuracy = (logits.argmax(axis=1) == truth).mean()
    low, high = metrics["accuracy_interval"]
    assert low < accuracy < high
    assert low < metrics["accuracy"] < high
    after = logit_log_loss(logits, truth, trained.temperature)
    # Held-out labels had fewer training labels, so their loss is somewhat higher.
    assert 0.8 * after < metrics["log_loss_after"] < 1.6 * after
    assert after <= logit_log_loss(logits, truth) + 0.005
    assert metrics["log_loss_after"] <= metrics["log_loss_before"]


def test_it_is_as_good_as_scikit_learn_with_its_penalty_searched_for() -> None:
    (X, y), (more, truth) = digits(500, seed=3)
    trained = train(X, y, n_classes=10)
    search = LogisticRegressionCV(
        Cs=[1e-3, 1e-2, 1e-1, 1.0], cv=5, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0,),
        use_legacy_attributes=False,
    )  # fmt: skip
    best = make_pipeline(StandardScaler(), search).fit(X, y)
    ours = softmax(trained.head.logits(more), trained.temperature)
    assert (ours.argmax(axis=1) == truth).mean() >= best.score(more, truth) - 0.005
    assert log_loss(ours, truth) <= log_loss(best.predict_proba(more), truth) * 1.02


def test_metrics_are_complete_consistent_and_can_be_stored() -> None:
    X, y = blobs(240, 10, 4, spread=2.0)
    trained = train(X, y, n_classes=5)
    metrics = json.loads(json.dumps(trained.metrics, allow_nan=False))
    assert set(metrics) == KEYS
    counts = np.array(metrics["confusion"])
    assert counts.shape == (5, 5)
    assert counts.sum(axis=1).tolist() == np.bincount(y, minlength=5).tolist()
    assert metrics["accuracy"] == pytest.approx(np.trace(counts) / 240)
    assert metrics["recall"][4] is None
    assert sum(bar["count"] for bar in metrics["reliability"]) == 240
    assert (metrics["n_labels"], metrics["n_folds"]) == (240, 20)
    assert f"{240} held-out labels in 20 folds" in trained.note


def test_the_same_labels_and_seed_give_the_same_model() -> None:
    X, y = blobs(120, 6, 3, spread=2.0)
    first, second, other = (train(X, y, n_classes=3, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.head.weights, second.head.weights)
    assert (first.temperature, first.metrics) == (second.temperature, second.metrics)
    assert first.metrics["log_loss_before"] != other.metrics["log_loss_before"]


def test_held_out_probabilities_are_what_the_numbers_were_made_from() -> None:
    X, y = blobs(150, 6, 3, spread=2.0, seed=4)
    trained = train(X, y, n_classes=3)
    P = not_none(trained.held_out)
    assert (P.shape, P.dtype) == ((150, 3), np.float32)
    assert (P.argmax(axis=1) == y).mean() == pytest.approx(trained.metrics["accuracy"])
    assert log_loss(P, y) == pytest.approx(trained.metrics["log_loss_after"], abs=1e-5)


def test_held_out_probabilities_do_not_know_their_own_label() -> None:
    """Use random labels: a model trained on them would agree with them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 200)).astype(np.float32), rng.integers(0, 2, 80)
    trained = train(X, y, n_classes=2)
    assert (trained.head.logits(X).argmax(axis=1) == y).mean() > 0.95
    assert trained.held_out is not None
    assert (trained.held_out.argmax(axis=1) == y).mean() < 0.7


def test_the_only_label_of_a_class_has_no_held_out_chance() -> None:
    X, y = blobs(60, 4, 2, seed=2)
    y[17] = 2
    trained = train(X, y, n_classes=3)
    assert trained.held_out is not None
    assert trained.held_out[17, 2] == 0
    np.testing.assert_allclose(trained.held_out.sum(axis=1), 1, atol=1e-5)


def test_two_labels_make_an_uncalibrated_model_that_says_so() -> None:
    X = np.array([[0, 1, 5], [1, 1, 0]], np.float32)
    trained = train(X, [1, 0], n_classes=2)
    assert (trained.is_calibrated, trained.temperature) == (False, 1.0)
    assert trained.note == "uncalibrated, too few labels (2 of the 20 needed)"
    assert trained.head.logits(X).argmax(axis=1).tolist() == [1, 0]
    assert set(trained.metrics) == KEYS
    assert trained.metrics["accuracy"] is None
    assert trained.metrics["n_labels"] == 2
    json.dumps(trained.metrics, allow_nan=False)


def test_labels_that_teach_nothing_are_refused_in_words() -> None:
    X, y = blobs(30, 4, 2)
    with pytest.raises(ValueError, match="one class"):
        train(X, np.zeros(30, int), n_classes=2)
    X[3, 0] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        train(X, y, n_classes=2)


def test_a_class_with_one_example_counts_as_missed_but_does_not_disturb_calibration() -> None:
    X, y = blobs(100, 6, 2, spread=3.0)
    y[31] = 2
    trained = train(X, y, n_classes=3)
    assert trained.is_calibrated
    assert "1 left out as the only label of their class" in trained.note
    assert trained.metrics["recall"][2] == 0
    assert sum(bar["count"] for bar in trained.metrics["reliability"]) == 99
    assert trained.metrics["log_loss_after"] < 2
    assert 0.2 < trained.temperature < 5
    # The final head is trained on it nevertheless.
    assert trained.head.bias[2] > ABSENT_LOGIT


def test_identical_rows_are_no_better_than_the_shares_of_the_classes() -> None:
    X, y = np.ones((40, 5), np.float32), np.array([0, 1, 1, 1] * 10)
    trained = train(X, y, n_classes=2)
    assert trained.metrics["accuracy"] == 0.75
    assert softmax(trained.head.logits(X), trained.temperature)[:, 1] == pytest.approx(0.75, abs=0.02)


def test_labels_by_chance_are_reported_as_chance() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 50)).astype(np.float32), rng.integers(0, 2, 400)
    trained = train(X, y, n_classes=2)
    low, high = trained.metrics["accuracy_interval"]
    assert low < 0.5 < high
    assert trained.temperature > 1.5
    assert trained.metrics["log_loss_after"] == pytest.approx(np.log(2), abs=0.03)


def test_the_penalty_follows_the_labels() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(300, 40)).astype(np.float32)
    assert train(noise, rng.integers(0, 2, 300), n_classes=2).metrics["C"] < DEFAULT_C
    X, y = blobs(400, 40, 4, spread=0.3)
    assert train(X, y, n_classes=4).metrics["C"] > DEFAULT_C


@pytest.mark.parametrize("n", [400, 60])
def test_a_start_changes_the_speed_and_not_the_result(n: int) -> None:
    (X, y), (more, _) = digits(n)
    X, more = np.tile(X, 3), np.tile(more, 3)
    before = fit_head(X[: n * 3 // 4], y[: n * 3 // 4], n_classes=10)
    cold, warm = train(X, y, n_classes=10), train(X, y, n_classes=10, start=before)
    assert cold.metrics["C"] == warm.metrics["C"]
    predictions = [softmax(model.calibration.logits(model.head.logits(more))) for model in (cold, warm)]
    assert np.abs(predictions[0] - predictions[1]).max() < 0.05


@pytest.mark.parametrize(("spread", "is_weak"), [(0.5, True), (4.0, False)])
def test_the_penalty_is_the_best_of_all_steps_on_the_way(spread: float, is_weak: bool) -> None:
    """Compare with a full search through all penalties without warm starts."""
    X, y = blobs(200, 40, 4, spread=spread)
    trained = train(X, y, n_classes=4)
    folds = not_none(choose_folds(y).fold)
    losses = {}
    for step in range(-3, 4):
        held = out_of_fold_logits(X, y, n_classes=4, folds=folds, C=DEFAULT_C * 3.0**step)
        temperature = fit_temperature(held.logits, y, prior_sd=TEMPERATURE_PRIOR_SD)
        losses[step] = logit_log_loss(held.logits, y, temperature)
    chosen = round(np.log(trained.metrics["C"] / DEFAULT_C) / np.log(3))
    assert (chosen > 0) == is_weak
    assert losses[chosen] <= min(losses.values()) * 1.02
    assert losses[chosen] < losses[0] * 0.98


def test_penalties_of_many_labels_are_tried_on_some_folds_and_all_are_fitted_with_the_best() -> None:
    (X, y), _ = digits(1500)
    seen: list[int] = []
    trained = train(X, y, n_classes=10, on_progress=lambda done, total: seen.append(done))
    folds = not_none(choose_folds(y).fold)
    alone = out_of_fold_logits(X, y, n_classes=10, folds=folds, C=trained.metrics["C"])
    assert trained.metrics["log_loss_before"] == pytest.approx(logit_log_loss(alone.logits, y), rel=0.05)
    assert len(seen) < 11 + 2 * 10


def test_balanced_classes_are_found_more_often_and_measured_as_they_are() -> None:
    rng = np.random.default_rng(2)
    y = (np.arange(400) % 20 == 0).astype(int)
    X = (rng.normal(size=(400, 10)) + 0.6 * y[:, None]).astype(np.float32)
    equal, balanced = (train(X, y, n_classes=2, class_weights=weights) for weights in ("equal", "balanced"))
    assert balanced.metrics["recall"][1] > equal.metrics["recall"][1] + 0.1
    assert balanced.metrics["n_per_class"] == [380, 20]
    # Log loss weights every label equally: overestimating the rare class is penalized.
    assert balanced.metrics["log_loss_before"] > equal.metrics["log_loss_before"]
    vector = train(X, y, n_classes=2, class_weights="balanced", method="vector")
    assert vector.metrics["calibration_method"] == "vector"
    assert vector.metrics["log_loss_after"] < balanced.metrics["log_loss_after"]


def test_twenty_labels_with_single_ones_among_them_are_calibrated() -> None:
    X, y = blobs(20, 30, 3, spread=2.0, seed=5)
    y[:3] = [3, 4, 5]
    trained = train(X, y, n_classes=6)
    assert trained.is_calibrated
    assert_contains(trained.note, "calibrated on 17 held-out labels in 20 folds; ", "3 left out")


def test_progress_counts_every_fit_and_can_stop_the_work() -> None:
    X, y = blobs(60, 5, 3, spread=2.0)
    seen: list[tuple[int, int]] = []
    train(X, y, n_classes=3, on_progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1] >= 11
    with pytest.raises(InterruptedError):
        train(X, y, n_classes=3, on_progress=interrupt_at(3, InterruptedError))


# -- Labels that belong together ------------------------------------------------------------------
def copies(n: int, size: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``n`` originals with random classes, each several times with little noise, shuffled, and their groups."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n), size))
    y = rng.permutation(np.arange(n) % 2)[groups]
    X = rng.normal(size=(n, 64))[groups] + 0.05 * rng.normal(size=(n * size, 64))
    return X.astype(np.float32), y, groups


def test_copies_leak_into_plain_folds_and_not_into_grouped_ones() -> None:
    X, y, groups = copies(60, 6)
    plain, grouped = train(X, y, n_classes=2), train(X, y, n_classes=2, groups=groups)
    assert plain.metrics["accuracy"] > 0.95, "each is recognized by its copies"
    low, high = grouped.metrics["accuracy_interval"]
    assert low < 0.5 < high, "the class of a new original is unpredictable"
    assert high - low > 1.5 * (plain.metrics["accuracy_interval"][1] - plain.metrics["accuracy_interval"][0])
    assert grouped.metrics["n_effective"] < 90
    assert (grouped.head.weights == train(X, y, n_classes=2, groups=groups).head.weights).all()


def test_groups_of_one_change_the_folds_but_not_what_they_tell() -> None:
    (X, y), _ = digits(600)
    plain, single = train(X, y, n_classes=10), train(X, y, n_classes=10, groups=np.arange(600) * 3)
    assert single.metrics["n_effective"] == 600
    assert abs(plain.metrics["accuracy"] - single.metrics["accuracy"]) < 0.02


@pytest.mark.parametrize(
    ("y", "groups", "reason"),
    [
        ([0, 1] * 20, [0] * 40, "too few labels in classes found in at least two groups (0 of the 10 needed)"),
        ([0] * 20 + [1] * 20, [0] * 20 + [1] * 20, "too few labels in classes found in at least two groups"),
        ([0] * 30 + [1] * 10, [0, 1] * 15 + [2] * 10, "only one class is in at least two groups"),
    ],
)
def test_why_groups_hold_nothing_out_is_said(y: list[int], groups: list[int], reason: str) -> None:
    X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    trained = train(X, np.array(y), n_classes=2, groups=np.array(groups))
    assert reason in trained.note
    assert not trained.is_calibrated
    assert trained.metrics["accuracy"] is None


def test_two_groups_make_two_folds_and_a_wide_interval() -> None:
    X, y = blobs(60, 5, 3, seed=1)
    trained = train(X, y, n_classes=3, groups=np.arange(60) % 2)
    assert trained.metrics["n_folds"] == 2
    low, high = trained.metrics["accuracy_interval"]
    assert high - low > 0.5


@pytest.mark.parametrize("n_groups", [2, 3, 5, 25])
@pytest.mark.parametrize("n", [24, 700])
def test_no_groups_are_too_odd_to_train_with(n: int, n_groups: int) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        # One group has nearly all rows, the others share the rest; classes depend on groups.
        groups = np.where(rng.random(n) < 0.85, 0, rng.integers(0, n_groups, n))
        y = np.where(rng.random(n) < 0.5, groups % 3, rng.integers(0, 3, n))
        y[:3] = [0, 1, 2]
        X = rng.normal(size=(n, 4)).astype(np.float32) + y[:, None]
        trained = train(X, y, n_classes=3, groups=groups, method="vector")
        json.dumps(trained.metrics, allow_nan=False)
        accuracy = trained.metrics["accuracy"]
        assert accuracy is not None or "uncalibrated" in trained.note
        if accuracy is not None:
            low, high = trained.metrics["accuracy_interval"]
            assert 0 <= low <= accuracy <= high <= 1


def test_a_class_of_one_group_is_left_out_of_the_calibration_in_words() -> None:
    X, y = blobs(80, 5, 3, seed=2)
    groups = np.where(y == 0, 99, np.arange(80) % 16)
    trained = train(X, y, n_classes=3, groups=groups)
    assert f"{(y == 0).sum()} left out whose class no other group has" in trained.note
