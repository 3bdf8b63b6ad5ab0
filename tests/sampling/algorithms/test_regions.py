"""Test points in polygons against the definition, one point and one edge at a time, in exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling.algorithms.regions import points_in_polygon


def slow_points_in_polygon(points: np.ndarray, corners: np.ndarray) -> list[int]:
    """Count how often a ray to the left crosses the boundary, exactly."""
    inside = []
    ends = list(zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True))
    for position, (x, y) in enumerate(points.tolist()):
        crossings = 0
        for (x0, y0), (x1, y1) in ends:
            if (y0 <= y) != (y1 <= y):
                at = Fraction(x0) + (Fraction(y) - Fraction(y0)) * (Fraction(x1) - Fraction(x0)) / (
                    Fraction(y1) - Fraction(y0)
                )
                crossings += at <= x
        if crossings % 2:
            inside.append(position)
    return inside


def check(points: np.ndarray, corners: np.ndarray) -> None:
    assert points_in_polygon(points, corners).tolist() == slow_points_in_polygon(points, corners)


SMALL = st.integers(0, 12)
CORNER = st.tuples(SMALL, SMALL)


@settings(max_examples=150, deadline=None)
@given(st.lists(CORNER, min_size=0, max_size=30), st.lists(CORNER, min_size=3, max_size=9))
def test_any_polygon_on_a_small_lattice(points: list[tuple[int, int]], corners: list[tuple[int, int]]) -> None:
    """Generate points on edges and corners, horizontal and crossing edges, and repeated corners."""
    check(np.array(points, np.uint16).reshape(-1, 2), np.array(corners, np.float64))


def test_large_numbers_stars_and_broken_corners() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 65535, (250, 2)).astype(np.uint16)
    turns = np.linspace(0, 4 * np.pi, 6)[:-1]
    star = np.stack([np.cos(turns), np.sin(turns)], axis=1) * 30_000 + 32_000
    check(points, star)  # winds around its center twice
    assert not set(points_in_polygon(points, star)) & set(
        np.flatnonzero(np.hypot(*(points - 32_000.0).T) < 5000).tolist()
    )
    check(points, rng.uniform(-20_000, 90_000, (120, 2)))
    check(points, rng.integers(0, 65535, (120, 2)).astype(float))


def test_touching_regions_share_no_point_and_leave_none_out() -> None:
    points = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2).astype(np.uint16)
    whole = [(0, 0), (8, 0), (8, 8), (0, 8)]
    inside = points_in_polygon(points, np.array(whole, np.float64))
    pieces = [
        points_in_polygon(points, np.array([*edge, (3, 5)], np.float64))
        for edge in zip(whole, whole[1:] + whole[:1], strict=True)
    ]
    assert sorted(np.concatenate(pieces).tolist()) == inside.tolist()
    assert len(inside) == 64


@pytest.mark.parametrize("corners", [[], [(1, 1)], [(0, 0), (9, 9)], [(0, 0), (4, 4), (9, 9)], [(3, 3)] * 5])
def test_what_encloses_nothing_holds_nothing(corners: list[tuple[int, int]]) -> None:
    points = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2).astype(np.uint16)
    assert points_in_polygon(points, np.array(corners, np.float64).reshape(-1, 2)).tolist() == []


def test_far_off_and_without_points() -> None:
    points = np.array([[1, 1], [65535, 65535]], np.uint16)
    far = np.array([[70_000, 70_000], [80_000, 70_000], [80_000, 80_000]], np.float64)
    assert points_in_polygon(points, far).tolist() == []
    assert points_in_polygon(points, -far).tolist() == []
    assert points_in_polygon(points[:0], far).tolist() == []
