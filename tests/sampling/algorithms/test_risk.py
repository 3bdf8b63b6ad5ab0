"""Test the risk model of sweeps against slow and simple implementations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling.algorithms.risk import (
    Carryover,
    Page,
    Risk,
    draw_checks,
    estimate_doubt,
    insertion_places,
    miss_rate,
    most_confident,
    plan_page,
    predicted_classes,
)

descending_probabilities = st.lists(st.floats(0, 1, width=32), max_size=60).map(lambda p: sorted(p, reverse=True))


def slow_page(p: list[float], risk: Risk, at_most: float, largest: int, carryover: Carryover) -> int:
    """Try every length."""
    slack = max(0.0, at_most * carryover.labels - carryover.wrong)
    longest = 0
    for n in range(1, min(len(p), largest) + 1):
        wrong = min(n, risk.doubt * sum(1 - value for value in p[:n]))
        if risk.miss * wrong > at_most * n + slack or wrong / n > 1 / 2 or wrong > 24:
            break
        longest = n
    return longest


@given(
    descending_probabilities,
    st.floats(0.005, 0.5),
    st.floats(1, 4),
    st.floats(0.001, 0.3),
    st.integers(0, 70),
    st.sampled_from([Carryover(), Carryover(100, 0.2), Carryover(50, 40)]),
)
def test_page_is_the_longest_that_keeps_the_promise(
    p: list[float], miss: float, doubt: float, at_most: float, largest: int, carryover: Carryover
) -> None:
    risk = Risk(miss, doubt)
    page = plan_page(p, risk, at_most=at_most, largest=largest, carryover=carryover)
    # If a bound is met to the last digit, the order of summation decides.
    assert page.n in {slow_page(p, risk, at_most * (1 + e), largest, carryover) for e in (-1e-9, 0, 1e-9)}
    if page.n:
        assert (
            page.promised_error * page.n
            <= (at_most * page.n + max(0, at_most * carryover.labels - carryover.wrong)) * 1.0001
        )
        assert page.expected_wrong == pytest.approx(min(page.n, doubt * sum(1 - value for value in p[: page.n])))


def test_page_stays_comfortable_when_little_is_overlooked() -> None:
    careful = Risk(miss=0.001)
    assert plan_page([0.45] * 90, careful, at_most=0.5, largest=90).n == 0, "no sweep if more than half is wrong"
    assert plan_page([0.75] * 200, careful, at_most=0.5, largest=200).n == 96, "24 marks"
    assert plan_page([], careful, at_most=0.01, largest=9).n == 0


@pytest.mark.parametrize("p", [[0.5, 0.6], [1.1], [-0.1], [float("nan")]])
def test_page_refuses_what_are_no_falling_probabilities(p: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        plan_page(p, Risk(), at_most=0.1, largest=5)


@pytest.mark.parametrize("at_most", [0, -1, 1.5])
def test_page_refuses_a_promise_that_is_none(at_most: float) -> None:
    with pytest.raises(ValueError, match="promised"):
        plan_page([0.9], Risk(), at_most=at_most, largest=5)


def test_the_promise_holds_on_average_for_the_person_that_it_assumes() -> None:
    """Simulate pages with calibrated probabilities and a user with the assumed miss rate."""
    rng = np.random.default_rng(0)
    risk, wrong, n = Risk(miss=0.2), 0, 0
    for _ in range(400):
        p = np.sort(rng.beta(8, 1, 80))[::-1]
        page = plan_page(p, risk, at_most=0.01, largest=80)
        is_other = rng.random(page.n) > p[: page.n]
        wrong += int((is_other & (rng.random(page.n) < risk.miss)).sum())
        n += page.n
    assert n > 2000
    assert wrong / n <= 0.012


def test_the_surest_of_the_long_pages_comes_first() -> None:
    pages = [Page(3, 0.0, 0.0), Page(100, 9.0, 0.01), Page(60, 3.0, 0.01), Page(49, 0.1, 0.0)]
    assert most_confident(pages) == 2
    assert most_confident([Page(0, 0.0, 0.0)] * 2) == 0


def test_checks_are_one_in_25_drawn_by_the_seed() -> None:
    assert len(draw_checks(9, np.random.default_rng(0))) == 0
    assert len(draw_checks(10, np.random.default_rng(0))) == 1
    assert len(draw_checks(100, np.random.default_rng(0))) == 4
    assert len(draw_checks(100, np.random.default_rng(0), n_known=200)) == 2, "a precise estimate needs fewer checks"
    assert len(draw_checks(100, np.random.default_rng(0), n_known=5000)) == 1
    first, again = (draw_checks(100, np.random.default_rng(3)).tolist() for _ in range(2))
    assert first == again == sorted(set(first))
    seen = np.bincount(np.concatenate([draw_checks(50, np.random.default_rng(s)) for s in range(3000)]), minlength=50)
    assert seen.min() > 70, "places are equally likely: 120 times each"


def test_miss_rate_learns_and_forgives_slips() -> None:
    assert miss_rate(0, []) == pytest.approx(0.1)
    assert miss_rate(90, []) == pytest.approx(0.01)
    assert miss_rate(0, [0.0] * 90) == pytest.approx(0.91), "an image certainly of another class was overlooked"
    assert miss_rate(0, [1.0] * 90) == pytest.approx(0.1), "a certain image means that the check was a slip"
    # By hand: 0.1 * 0.2 = 0.02 for overlooked, 0.02 * 0.8 = 0.016 for a slip.
    weight = 0.02 / 0.036
    assert miss_rate(3, [0.8], slip=0.02) == pytest.approx((1 + weight) / (10 + weight + 3))


def test_doubt_grows_with_marks_and_never_flatters() -> None:
    assert estimate_doubt(0, 0) == estimate_doubt(0, 50) == estimate_doubt(5, 5) == 1
    assert estimate_doubt(40, 16) == pytest.approx(44 / 20)


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 5))
def test_extra_places_are_one_in_ten(n: int, extra: int, seed: int) -> None:
    places = insertion_places(n, extra, np.random.default_rng(seed)).tolist()
    assert places == sorted(set(places))
    assert len(places) <= extra
    assert all(0 <= place < n + len(places) for place in places)
    if n:
        assert all(sum(10 * ten <= place < 10 * ten + 10 for place in places) <= 2 for ten in range(8))
    if extra:
        assert places, "at least one place is found"


def test_predicted_class_of_merged_and_deleted_columns() -> None:
    P = np.array([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8], [0.5, 0.0, 0.5], [np.nan] * 3], np.float32)
    ids, probability = predicted_classes(P, {7: [0, 1], 9: [2]})
    assert ids.tolist() == [7, 9, 7, 0]
    assert probability == pytest.approx([0.6, 0.8, 0.5, 0])
    alone, _ = predicted_classes(P, {9: [2]})
    assert alone.tolist() == [9, 9, 9, 0]
    assert predicted_classes(P, {})[0].tolist() == [0, 0, 0, 0]
