"""Plots: every point lies inside, ticks are round numbers, and whatever the values there is something to see."""

import math
import re

import pytest
from django.template.loader import render_to_string
from hypothesis import example, given
from hypothesis import strategies as st

from hoshina.core.charts import Axis, Plot, Point, Series, nice_step, plot, scale
from tests.factories import assert_contains, said

X, Y = Axis("version", is_whole=True, is_tight=True), Axis("accuracy", high=1)


def drawn(*values: float, interval: float = 0.1, **more: object) -> Plot:
    points = [Point(x, y, (y - interval, y + interval), f"Model {x}") for x, y in enumerate(values, 1)]
    return plot("one", "Accuracy", [Series("on its labels", points)], x=X, y=Y, **more)  # type: ignore[arg-type]


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]


def test_points_go_from_left_to_right_and_larger_values_are_higher() -> None:
    (curve,) = drawn(0.5, 0.7, 0.9).curves
    assert [dot.x for dot in curve.dots] == ["0", "50", "100"]
    tops = [float(dot.y) for dot in curve.dots]
    assert tops == sorted(tops, reverse=True)
    assert numbers(curve.line) == [float(value) for dot in curve.dots for value in (dot.x, dot.y)]


def test_a_point_is_where_its_ticks_say() -> None:
    made = drawn(0.6, 0.8)
    at = {tick.text: float(tick.at) for tick in made.y_ticks}
    (curve,) = made.curves
    assert float(curve.dots[0].y) == pytest.approx(at["0.6"], abs=0.01)
    assert float(curve.dots[1].y) == pytest.approx(at["0.8"], abs=0.01)
    assert [tick.text for tick in made.x_ticks] == ["1", "2"]


def test_first_intervals_may_end_at_the_edge_but_the_last_one_is_shown_whole() -> None:
    points = [Point(1, 0.6, (0.1, 0.9)), Point(2, 0.8, (0.75, 0.85))]
    made = plot("one", "", [Series("", points, interval="bars")], x=X, y=Y)
    first, last = (numbers(dot.bar) for dot in made.curves[0].dots)
    assert first[2] == 100, "it would have reached far below"
    assert 0 < last[1] < last[2] < 100
    assert (made.is_cut, drawn(0.6, 0.6).is_cut) == (True, False)


@example([0.9999999999999999], 0.0)
@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 0.5))
def test_everything_lies_inside(values: list[float], interval: float) -> None:
    made = drawn(*values, interval=interval)
    (curve,) = made.curves
    for number in [*numbers(curve.line), *numbers(curve.band)]:
        assert 0 <= number <= 100
    assert all(0 <= float(tick.at) <= 100 for tick in made.x_ticks + made.y_ticks)
    assert len({tick.text for tick in made.y_ticks}) == len(made.y_ticks) >= 2
    assert len(made.rows) == len(values)


@given(st.floats(1e-6, 1e9), st.integers(2, 10))
def test_steps_are_round_and_not_too_many(span: float, n: int) -> None:
    step = nice_step(span, n)
    assert span / step <= n * (1 + 1e-6)
    assert span / step > n / 2.6, "no coarser than needed"
    assert step / 10 ** math.floor(math.log10(step) + 1e-9) == pytest.approx(
        round(step / 10 ** math.floor(math.log10(step) + 1e-9))
    )


@pytest.mark.parametrize("values", [[], [0.0], [7.0], [1e6], [3.0, 3.0], [1, 2], [0, 120_000]])
def test_whole_numbers_have_whole_ticks(values: list[float]) -> None:
    made = scale(values, Axis("labels", low=0, is_whole=True), 5)
    assert made.low == 0
    assert made.high >= max(values, default=0)
    texts = [text for _, text in made.ticks]
    assert len(set(texts)) == len(texts)
    assert not any("." in text for text in texts)


def test_the_sole_version_is_in_the_middle_with_its_interval_as_a_bar() -> None:
    (curve,) = drawn(0.7).curves
    assert (curve.dots[0].x, curve.line, curve.band) == ("50", "", "")
    assert curve.dots[0].bar


def test_what_is_no_number_is_left_out() -> None:
    made = plot(
        "loss", "", [Series("loss", [Point(1, 0.5), Point(2, math.nan), Point(3, math.inf)])], x=X, y=Axis("loss")
    )
    assert len(made.curves[0].dots) == len(made.rows) == 1


def test_heavier_dots_are_larger_and_very_many_are_small() -> None:
    heavy = plot("one", "", [Series("", [Point(1, 1, weight=1.0), Point(2, 1, weight=0.25)])], x=X, y=Axis(""))
    large, small = (float(dot.size) for dot in heavy.curves[0].dots)
    assert large == pytest.approx(2 * small, abs=0.02), "the area tells"
    many = drawn(*[0.5] * 200)
    assert float(many.curves[0].dots[0].size) < float(drawn(0.5).curves[0].dots[0].size)


def test_the_page_has_the_numbers_as_a_table_and_escapes_words() -> None:
    points = [Point(1, 0.5, (0.25, 0.75), 'Model 1 "<b>"', "/d/x/model/1/"), Point(2, 0.75)]
    other = Series("<i>estimated</i>", [Point(2, 0.625)], interval="")
    made = plot("one", "Accuracy <here>", [Series("on its labels", points), other], x=X, y=Y)
    html = render_to_string("charts/_plot.html", {"plot": made})
    assert_contains(html, lacks=["<b>", "<i>est", "<here>"])
    table = said(html[html.index("<tbody>") :])
    assert_contains(table, "on its labels 1 0.500 0.250 to 0.750", "&lt;i&gt;estimated&lt;/i&gt; 2 0.625")
    assert html.count('class="plot-key ') == 2
    assert 'href="/d/x/model/1/"' in html


def test_a_single_point_waits_for_a_second_one() -> None:
    alone = drawn(0.5, waiting="Soon.")
    assert alone.waiting == "Soon."
    assert drawn(0.5, 0.7, waiting="Soon.").waiting == ""
    assert drawn(0.5, math.nan, waiting="Soon.").waiting == "Soon.", "not finite, so not drawn"
    html = render_to_string("charts/_plot.html", {"plot": alone})
    assert_contains(html, "0.500", "Soon.", lacks=["plot-area"])
