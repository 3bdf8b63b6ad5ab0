"""Test the options of renderings, their checks and their keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.images.rendering import CURVES, DEFAULT, PLANES, RANGES, STRETCHES, Rendering


def renderings() -> st.SearchStrategy[Rendering]:
    numbers = st.floats(-1e20, 1e20)
    return st.builds(
        Rendering,
        hdu=st.none() | st.integers(0, 99),
        plane=st.sampled_from(PLANES) | st.integers(0, 99),
        stretch=st.sampled_from(STRETCHES),
        is_inverted=st.booleans(),
        background=st.integers(0, 2**24 - 1).map(lambda number: f"#{number:06x}"),
    ) | st.builds(
        Rendering, stretch=st.sampled_from(CURVES), low=numbers, high=numbers.map(lambda number: abs(number) + 2e20)
    )


@given(renderings())
def test_choices_survive_being_written_down(rendering: Rendering) -> None:
    again = Rendering.from_params(rendering.as_params())
    assert again == rendering
    assert again.key == rendering.key
    assert (rendering.key == "") == (rendering == DEFAULT) == (rendering.summary == "")


@given(renderings(), renderings())
def test_two_ways_have_two_names(first: Rendering, second: Rendering) -> None:
    assert (first.key == second.key) == (first == second)
    assert len(first.key) in (0, 10)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hdu": -1}, "HDU must be a whole number from 0"),
        ({"hdu": True}, "HDU must be a whole number from 0"),
        ({"plane": "last"}, "one of first, max"),
        ({"plane": -2}, "one of first, max"),
        ({"stretch": "histogram"}, "one of usual, zscale"),
        ({"stretch": ["zscale"]}, "one of usual, zscale"),
        ({"low": float("nan"), "stretch": "linear"}, "must be a number"),
        ({"low": "3", "stretch": "linear"}, "must be a number"),
        ({"high": 1e300, "stretch": "linear"}, "must be a number"),
        ({"low": 3, "high": 3, "stretch": "log"}, "greater than the lower"),
        ({"low": 3, "stretch": "zscale"}, "zscale determines the limits from each image"),
        ({"high": 3}, "usual determines the limits"),
        ({"background": "red"}, "#rrggbb"),
        ({"background": 7}, "#rrggbb"),
        ({"is_inverted": 1}, "yes or no"),
        ({"gamma": 2}, "Unknown: gamma"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(params: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rendering.from_params(params)


def test_another_stretch_takes_limits_along_only_where_it_can() -> None:
    rendering = Rendering(stretch="log", low=1, high=9, is_inverted=True, plane="max")
    assert rendering.stretched("asinh") == Rendering(stretch="asinh", low=1, high=9, is_inverted=True, plane="max")
    for name in ("usual", *RANGES):
        assert rendering.stretched(name) == Rendering(stretch=name, is_inverted=True, plane="max")


def test_summary() -> None:
    rendering = Rendering(hdu=2, plane=3, stretch="asinh", low=0, high=4000, is_inverted=True, background="#000000")
    assert rendering.summary == "HDU 2, plane 3, asinh 0…4000, inverted, on #000000"
    assert Rendering(stretch="log", high=7).summary == "log …7"
