"""Test prediction-powered estimates against the formulas written out, and their coverage in simulations."""

from __future__ import annotations

import numpy as np
import pytest

from sampling.algorithms.estimates import collection_accuracy, wilson_continuous
from sampling.algorithms.prediction_powered import MIN_LABELS, powered_accuracy


def collection(seed: int, n: int, *, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each of ``n`` items is predicted correctly, and its confidence, calibrated at temperature 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(2, 1.5, n)
    return rng.random(n) < 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-logits / temperature))


def by_hand(
    right: np.ndarray, confidence: np.ndarray, is_audit: np.ndarray, unlabeled: np.ndarray
) -> tuple[float, float, float]:
    """Return value, λ and ρ from loops over draws and the pool of each."""
    n = len(right) + len(unlabeled)
    a = [rank for rank in range(len(right)) if is_audit[rank]]
    pools = [np.concatenate([confidence[rank:], unlabeled]) for rank in a]
    hits, sure = right[a].astype(float), confidence[a]
    tuned = np.cov(hits, sure, bias=True)[0, 1] / np.var(sure) / (1 + len(a) / len(unlabeled))
    power = min(1.0, max(0.0, (20 + len(a) * tuned) / (20 + len(a))))
    values = [
        (right[:rank].sum() + (n - rank) * (right[rank] - power * (confidence[rank] - pool.mean()))) / n
        for rank, pool in zip(a, pools, strict=True)
    ]
    everything = np.concatenate(pools)
    plain = everything.mean() * (1 - everything.mean())
    expected = (plain - 2 * power * everything.var() + power**2 * everything.var()) / plain
    observed = np.var(hits - power * sure) / np.var(hits)
    ratio = (20 * expected + len(a) * observed) / (20 + len(a))
    return float(np.mean(values)), power, min(1.0, max(0.3, ratio))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_estimate_against_the_formulas_written_out(seed: int, temperature: float) -> None:
    right, confidence = collection(seed, 900, temperature=temperature)
    is_audit = np.random.default_rng(seed).random(300) < 0.2
    got = powered_accuracy(right[:300], confidence[:300], is_audit, confidence[300:])
    value, power, ratio = by_hand(right[:300], confidence[:300], is_audit, confidence[300:])
    assert 0 < power <= 1
    effective = collection_accuracy(right[:300], is_audit, 900).n / ratio
    expected = wilson_continuous(value * effective, effective)
    assert (got.value, got.low, got.high) == pytest.approx((value, expected.low, expected.high))
    assert got.n == pytest.approx(effective)


def test_with_few_labels_the_value_is_corrected_but_not_the_width() -> None:
    right, confidence = collection(1, 1000)
    m = MIN_LABELS - 1
    is_audit = np.arange(m) % 5 == 0
    got = powered_accuracy(right[:m], confidence[:m], is_audit, confidence[m:])
    plain = collection_accuracy(right[:m], is_audit, 1000)
    assert got.value == pytest.approx(by_hand(right[:m], confidence[:m], is_audit, confidence[m:])[0])
    assert got.value != plain.value
    assert got.n == plain.n


@pytest.mark.parametrize("constant", [0.0, 0.7, 1.0])
def test_confidences_that_say_nothing_change_nothing(constant: float) -> None:
    right, _ = collection(2, 800)
    is_audit = np.arange(300) % 4 == 0
    got = powered_accuracy(right[:300], np.full(300, constant), is_audit, np.full(500, constant))
    plain = collection_accuracy(right[:300], is_audit, 800)
    assert (got.value, got.low, got.high, got.n) == pytest.approx((plain.value, plain.low, plain.high, plain.n))


def test_without_draws_without_unlabeled_items_and_without_mistakes() -> None:
    none = powered_accuracy(np.ones(3, bool), np.ones(3), np.zeros(3, bool), np.ones(5))
    assert np.isnan(none.value)
    assert (none.low, none.high, none.n) == (0, 1, 0)
    confidence = np.linspace(0.6, 1, 250)
    everything = powered_accuracy(np.ones(250, bool), confidence, np.ones(250, bool), np.empty(0))
    assert (everything.value, everything.high) == (pytest.approx(1, abs=0.01), 1)
    faultless = powered_accuracy(np.ones(250, bool), confidence, np.arange(250) % 5 == 0, np.full(500, 0.9))
    assert 0.9 < faultless.low < faultless.value <= faultless.high == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("slips", "least_gain"), [(0.0, 0.07), (0.02, 0.05)])
def test_coverage_while_hard_items_are_chosen_in_between(temperature: float, slips: float, least_gain: float) -> None:
    """Draw half of the labels at random and choose the least confident otherwise; 95 % intervals are narrower."""
    n, hits, widths, plain_widths = 1500, [], [], []
    for seed in range(200):
        right, confidence = collection(seed, n, temperature=temperature)
        rng = np.random.default_rng(10_000 + seed)
        judged = right & (rng.random(n) >= slips)
        is_audit = rng.random(MIN_LABELS) < 0.5
        by_confidence, rows = np.argsort(confidence).tolist(), []
        for is_random in is_audit:
            rows.append(by_confidence.pop(rng.integers(len(by_confidence)) if is_random else 0))
        got = powered_accuracy(judged[rows], confidence[rows], is_audit, confidence[by_confidence])
        plain = collection_accuracy(judged[rows], is_audit, n)
        hits.append(got.low <= judged.mean() <= got.high)
        widths.append(got.high - got.low)
        plain_widths.append(plain.high - plain.low)
    assert np.mean(hits) >= 0.94
    assert np.mean(widths) <= (1 - least_gain) * np.mean(plain_widths)
