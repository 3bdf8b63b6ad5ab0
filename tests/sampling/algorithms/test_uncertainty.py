"""Test uncertainty scores and rankings against slow and simple implementations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sampling.algorithms.ranking import shuffled, top
from sampling.algorithms.uncertainty import MEASURES, largest, margin, two_largest
from sampling.queues import strategy
from sampling.queues.strategy import Inputs


def probabilities(n: int, c: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(c, 0.4), size=n).astype(np.float32)


def slow(measure: str, p: list[float]) -> float:
    c = len(p)
    if measure == "margin":
        first, second = sorted(p, reverse=True)[:2]
        return 1 - (first - second)
    if measure == "entropy":
        return -sum(x * math.log(x) for x in p if x > 0) / math.log(c)
    return (1 - max(p)) / (1 - 1 / c)


@pytest.mark.parametrize("measure", sorted(MEASURES))
@pytest.mark.parametrize("c", [2, 3, 11])
def test_measures_equal_the_obvious_loop(measure: str, c: int) -> None:
    P = probabilities(200, c, seed=c)
    P[5] = np.eye(c)[0]
    P[6] = 1 / c
    got = MEASURES[measure](P)  # type: ignore[index]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [slow(measure, row.tolist()) for row in P], atol=2e-5)
    assert got[5] == pytest.approx(0, abs=1e-6)
    assert got[6] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_nan_rows_stay_nan_and_one_class_is_sure(measure: str) -> None:
    P = probabilities(4, 3, seed=1)
    P[2] = np.nan
    assert np.isnan(MEASURES[measure](P)).tolist() == [False, False, True, False]  # type: ignore[index]
    single = np.array([[1.0], [np.nan]], dtype=np.float32)
    got = MEASURES[measure](single)  # type: ignore[index]
    assert got[0] == 0
    assert np.isnan(got[1])


@given(st.integers(2, 9), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_two_largest_equals_a_sort(c: int, seed: int) -> None:
    P = probabilities(37, c, seed)
    best, second = two_largest(P)
    ordered = np.sort(P, axis=1)
    np.testing.assert_array_equal(best, ordered[:, -1])
    np.testing.assert_array_equal(second, ordered[:, -2])


@given(arrays(np.float32, st.integers(0, 60), elements=st.sampled_from([0, 0.25, 0.5, 1, np.nan])), st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_top_equals_a_stable_sort_without_nan(scores: np.ndarray, k: int) -> None:
    usable = [position for position in range(len(scores)) if not np.isnan(scores[position])]
    expected = sorted(usable, key=lambda position: (-scores[position], position))[:k]
    assert top(scores, k).tolist() == expected


def test_shuffled_is_a_seeded_draw_without_replacement() -> None:
    draw = shuffled(50, 20, np.random.default_rng(3))
    assert len(set(draw.tolist())) == 20
    assert draw.tolist() == shuffled(50, 20, np.random.default_rng(3)).tolist()
    assert sorted(shuffled(5, 9, np.random.default_rng(0)).tolist()) == [0, 1, 2, 3, 4]
    assert shuffled(0, 3, np.random.default_rng(0)).tolist() == []


def test_shuffled_is_uniform() -> None:
    rng = np.random.default_rng(0)
    first = np.bincount([shuffled(10, 3, rng)[0] for _ in range(5000)], minlength=10)
    assert first.min() > 400
    assert first.max() < 600


@pytest.mark.parametrize("n_tied", [0, 3, 40])
@pytest.mark.parametrize("k", [0, 1, 7, 25, 60, 99])
def test_top_is_a_stable_sort_without_nan(n_tied: int, k: int) -> None:
    scores = np.random.default_rng(k).random(60).astype(np.float32)
    scores[:n_tied] = 0.5
    scores[::9] = np.nan
    expected = sorted(np.flatnonzero(~np.isnan(scores)).tolist(), key=lambda at: (-scores[at], at))[:k]
    assert top(scores, k).tolist() == expected
    assert top(scores[:0], k).tolist() == []


@pytest.mark.parametrize("n_left_out", [0, 5, 900])
def test_scores_of_candidates_are_those_of_all_rows(n_left_out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use contiguous rows, small gaps and sparse rows; rows newer than the model have no scores."""
    monkeypatch.setattr(strategy, "SCORED_AT_ONCE", 64)
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(4), 1000).astype(np.float32)
    P[17] = np.nan
    rows = np.sort(rng.choice(1010, 1010 - n_left_out, replace=False))
    for measure in (margin, largest):
        scored_rows, scores = Inputs(rows, rng, probabilities=P).scored(rows, measure)
        assert scored_rows.tolist() == [row for row in rows.tolist() if row < 1000 and row != 17]
        np.testing.assert_array_equal(scores, measure(P)[scored_rows])
    np.testing.assert_array_equal(largest(P), P.max(axis=1))
