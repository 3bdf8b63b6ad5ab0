"""Test the risk model of sweeps against slow and simple implementations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling.algorithms.estimates import weighted_share
from sampling.algorithms.risk import (
    MAX_MISS,
    Carryover,
    Page,
    Risk,
    draw_checks,
    estimate_doubt,
    miss_rate,
    most_confident,
    plan_page,
    predicted_classes,
    with_overlooked,
)

descending_probabilities = st.lists(st.floats(0, 1, width=32), max_size=60).map(lambda p: sorted(p, reverse=True))


def slow_page(p: list[float], risk: Risk, at_most: float, largest: int, carryover: Carryover) -> int:
    """Try every length."""
    allowed_in_the_end = at_most * (carryover.labels + carryover.left)
    planned_share = 1 - min(1 / 3, 2 / allowed_in_the_end**0.5) if allowed_in_the_end else 2 / 3
    longest = 0
    for n in range(1, min(len(p), largest) + 1):
        wrong = min(n, risk.doubt * sum(1 - value for value in p[:n]))
        labels = carryover.labels + n
        planned = min(at_most * labels, at_most * (planned_share * labels + 0.05 * carryover.left))
        allowed = max(planned - carryover.wrong, planned_share * at_most * n)
        if risk.miss * wrong > allowed or wrong / n > 1 / 2 or wrong > 24:
            break
        longest = n
    return longest


@given(
    descending_probabilities,
    st.floats(0.005, 0.5),
    st.floats(1, 4),
    st.floats(0.001, 0.3),
    st.integers(0, 70),
    st.sampled_from(
        [Carryover(), Carryover(100, 0.2), Carryover(50, 40), Carryover(30, 0.2, 900), Carryover(0, 0, 40)]
    ),
)
def test_page_is_the_longest_that_keeps_the_promise(
    p: list[float], miss: float, doubt: float, at_most: float, largest: int, carryover: Carryover
) -> None:
    risk = Risk(miss, doubt)
    page = plan_page(p, risk, at_most=at_most, largest=largest, carryover=carryover)
    # If a bound is met to the last digit, the order of summation decides.
    assert page.n in {slow_page(p, risk, at_most * (1 + e), largest, carryover) for e in (-1e-9, 0, 1e-9)}
    if page.n:
        slack = max(0, at_most * carryover.labels - carryover.wrong)
        assert page.promised_error * page.n <= (at_most * page.n + slack) * 1.0001
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


def test_the_promise_holds_in_95_of_100_cases_for_the_person_that_it_assumes() -> None:
    """Simulate 20 pages each with calibrated probabilities and a user with the assumed miss rate."""
    rng, risk, broken = np.random.default_rng(0), Risk(miss=0.2), 0
    for _ in range(200):
        labels, wrong, carryover = 0, 0, Carryover(left=1600)
        for _ in range(20):
            p = np.sort(rng.beta(8, 1, 80))[::-1]
            page = plan_page(p, risk, at_most=0.02, largest=80, carryover=carryover)
            is_other = rng.random(page.n) > p[: page.n]
            wrong += int((is_other & (rng.random(page.n) < risk.miss)).sum())
            labels += page.n
            carryover = Carryover(labels, carryover.wrong + page.n * page.promised_error, 1600 - labels)
        broken += wrong > 0.02 * labels
        assert 600 < labels <= 1600
    assert broken <= 10


@pytest.mark.parametrize(
    ("carryover", "n"),
    [
        (Carryover(left=1600), 100),  # the first page may use all of the promise
        (Carryover(), 0),  # 0.8 % are more than planned
        (Carryover(800, 800 * 0.008, left=10_000), 100),
        (Carryover(800, 800 * 0.008, left=1000), 0),  # too few images are left to make up for it
        (Carryover(800, 800 * 0.002, left=1000), 100),  # less was used than planned
        (Carryover(800, 800 * 0.02, left=30_000), 100),  # of 308 wrong labels 11 % are reserved, so 0.8 % is as planned
    ],
)
def test_the_reserve_is_used_only_while_many_images_are_left(carryover: Carryover, n: int) -> None:
    assert plan_page([0.92] * 100, Risk(), at_most=0.01, largest=100, carryover=carryover).n == n
    assert plan_page([0.95] * 100, Risk(), at_most=0.01, largest=100, carryover=carryover).n == 100, "as planned"


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
    assert miss_rate(0, [0.0] * 90) == MAX_MISS, "images certainly of another class were overlooked"
    assert miss_rate(0, [1.0] * 90) == pytest.approx(0.1), "a certain image means that the check was a slip"
    # By hand: 0.1 * 0.2 = 0.02 for overlooked, 0.02 * 0.8 = 0.016 for a slip.
    weight = 0.02 / 0.036
    miss = miss_rate(3, [0.8], slip=0.02)
    overlooked = weight / (1 - miss)  # as many as were found, and those overlooked twice
    assert miss == pytest.approx((1 + overlooked) / (10 + overlooked + 3))


def test_miss_rate_counts_what_is_overlooked_twice() -> None:
    """A share of 0.3 overlooked on both pages: of 1,000 wrong checks 700 are caught at once and 210 later."""
    assert miss_rate(700, [0.0] * 210) == pytest.approx(0.3, abs=0.005)
    found = weighted_share([1.0] * 10_000, [True] * 210 + [False] * 9790)
    assert with_overlooked(found, 700, [0.0] * 210).value == pytest.approx(0.03, rel=0.01)


@pytest.mark.parametrize("miss", [0.02, 0.1, 0.3])
def test_the_interval_holds_the_wrong_labels_though_checks_overlook_some(miss: float) -> None:
    """2,000 labels, the model wrong in 15 %: checks of one in five, on pages on which the same share is overlooked."""
    rng, covered, values, truths = np.random.default_rng(7), 0, [], []
    for _ in range(200):
        is_wrong = rng.random(2000) < 0.15
        is_left = is_wrong & (rng.random(2000) < miss)
        is_check = rng.permutation(np.arange(2000) < 400)
        n_caught = int((is_check & is_wrong & ~is_left).sum())
        is_found = (is_left & (rng.random(2000) >= miss))[is_check & ~(is_wrong & ~is_left)]
        share = weighted_share(np.full(len(is_found), 5.0), is_found)
        share = with_overlooked(share, n_caught, [0.0] * int(is_found.sum()))
        truth = is_left.sum() / (2000 - (is_wrong & ~is_left).sum())
        covered += share.low <= truth <= share.high
        values.append(share.value)
        truths.append(truth)
    assert covered >= 190
    assert np.mean(values) == pytest.approx(np.mean(truths), rel=0.25)


def test_doubt_grows_with_marks_and_never_flatters() -> None:
    assert estimate_doubt(0, 0) == estimate_doubt(0, 50) == estimate_doubt(5, 5) == 1
    assert estimate_doubt(40, 16) == pytest.approx(44 / 20)


def test_predicted_class_of_merged_and_deleted_columns() -> None:
    P = np.array([[0.3, 0.3, 0.4], [0.1, 0.1, 0.8], [0.5, 0.0, 0.5], [np.nan] * 3], np.float32)
    ids, probability = predicted_classes(P, {7: [0, 1], 9: [2]})
    assert ids.tolist() == [7, 9, 7, 0]
    assert probability == pytest.approx([0.6, 0.8, 0.5, 0])
    alone, _ = predicted_classes(P, {9: [2]})
    assert alone.tolist() == [9, 9, 9, 0]
    assert predicted_classes(P, {})[0].tolist() == [0, 0, 0, 0]
