"""Test clusters and gaps of a plane on simulated clouds and against slow definitions."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from sampling.algorithms.clusters import (
    CELL,
    LAST,
    MAX_CORNERS,
    MIN_POINTS,
    PAD,
    PROMINENCE,
    SIDE,
    _climb,
    _merge_basins,
    clusters,
    gaps,
    outline,
    simplify,
)
from sampling.algorithms.regions import points_in_polygon


def clouds(n: int, centers: list[tuple[float, float]], spread: float = 2000.0, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(centers), n)
    points = np.array(centers)[y] + rng.normal(size=(n, 2)) * spread
    return np.clip(np.rint(points), 0, LAST).astype(np.uint16), y


FOUR = [(10_000.0, 10_000.0), (50_000.0, 12_000.0), (14_000.0, 52_000.0), (48_000.0, 50_000.0)]


def members(points: np.ndarray, outlines: list[np.ndarray]) -> np.ndarray:
    cluster_of = np.full(len(points), -1)
    for number, corners in enumerate(outlines):
        cluster_of[points_in_polygon(points, corners.astype(float))] = number
    return cluster_of


@pytest.mark.parametrize("n", [200, 2000, 60_000])
def test_clouds_that_lie_apart_are_clusters(n: int) -> None:
    points, y = clouds(n, FOUR)
    outlines = clusters(points)
    assert len(outlines) == 4
    cluster_of = members(points, outlines)
    assert (cluster_of >= 0).mean() > 0.97
    assert adjusted_rand_score(y[cluster_of >= 0], cluster_of[cluster_of >= 0]) > 0.99
    sizes = [np.count_nonzero(cluster_of == number) for number in range(4)]
    assert sizes == sorted(sizes, reverse=True)
    assert all(len(corners) <= MAX_CORNERS for corners in outlines)


def test_a_million_points_are_the_same_clusters() -> None:
    points, y = clouds(1_000_000, FOUR)
    outlines = clusters(points)
    assert len(outlines) == 4
    cluster_of = members(points, outlines)
    assert adjusted_rand_score(y[cluster_of >= 0][::50], cluster_of[cluster_of >= 0][::50]) > 0.99


def test_one_cloud_is_one_cluster_and_even_ground_is_none_of_many() -> None:
    assert len(clusters(clouds(3000, [(30_000.0, 30_000.0)])[0])) == 1
    even = np.random.default_rng(0).integers(0, LAST, (20_000, 2)).astype(np.uint16)
    assert len(clusters(even)) == 1


def test_the_order_of_the_points_does_not_matter() -> None:
    points, _ = clouds(3000, FOUR, spread=5000)
    shuffled = points[np.random.default_rng(1).permutation(len(points))]
    for outline_, expected in zip(clusters(points), clusters(shuffled), strict=True):
        np.testing.assert_array_equal(outline_, expected)


@pytest.mark.parametrize("n", [0, 1, MIN_POINTS - 1])
def test_few_points_are_no_cluster(n: int) -> None:
    assert clusters(np.full((n, 2), 500, np.uint16)) == []
    assert gaps(np.full((n, 2), 500, np.uint16), np.zeros(n, bool)) == []


@pytest.mark.parametrize("at", [(0, 0), (LAST, LAST), (LAST, 0), (32_000, 32_000)])
def test_all_in_one_place_is_one_cluster_even_on_the_rim(at: tuple[int, int]) -> None:
    outlines = clusters(np.tile(np.array([at], np.uint16), (50, 1)))
    assert len(outlines) == 1
    across, down = (outlines[0] - np.array(at)).T
    reach = np.hypot(across, down)
    assert reach.min() > 0.7 * reach.max(), "the outline is round, and not cut at the edge"


# -- Slow definitions -------------------------------------------------------------------------------
def bumpy(seed: int) -> np.ndarray:
    """Return forty hills of random height, a flat floor, and one flat top."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    values = np.zeros((SIDE, SIDE))
    for top_y, top_x, height in zip(*rng.integers(0, SIDE, (2, 40)), rng.uniform(0.1, 1, 40), strict=True):
        values += height * np.exp(-((y - top_y) ** 2 + (x - top_x) ** 2) / (2 * 9**2))
    values[:40, :40] = 0
    values[100:104, 100:104] = values.max() * 1.1
    return values


def test_each_cell_climbs_to_the_peak_that_it_climbs_to_step_by_step() -> None:
    values = bumpy(0)
    peaks = _climb(values)
    for y, x in np.random.default_rng(1).integers(0, SIDE, (200, 2)).tolist():
        here = (y, x)
        while True:
            neighbors = [
                (here[0] + down, here[1] + right)
                for down in (-1, 0, 1)
                for right in (-1, 0, 1)
                if 0 <= here[0] + down < SIDE and 0 <= here[1] + right < SIDE
            ]
            best = max(values[cell] for cell in neighbors)
            further = next(cell for cell in neighbors if values[cell] == best)
            if further == here:
                break
            here = further
        assert peaks[y, x] == here[0] * SIDE + here[1]


def test_a_peak_stays_if_it_rises_enough_above_the_way_to_a_higher_one() -> None:
    """Check by flooding at each level: between any two remaining peaks every path descends far enough."""
    from scipy.ndimage import label

    values = bumpy(2)
    merged = _merge_basins(values, _climb(values))
    tops = [top for top in np.unique(merged).tolist() if values.flat[top] > 0]
    assert len(tops) > 3
    for low in tops:
        height = values.flat[low]
        flooded, _ = label(values >= (1 - PROMINENCE) * height, structure=np.ones((3, 3)))
        others = [top for top in tops if values.flat[top] > height and flooded.flat[top] == flooded.flat[low]]
        assert not others, "a higher peak is reached without descending"
    # No peak was merged wrongly: each original peak is in the basin of a peak that it reaches.
    for top in np.unique(_climb(values)).tolist():
        height, into = values.flat[top], merged.flat[top]
        if into != top and height > 0:
            flooded, _ = label(values >= (1 - PROMINENCE) * height, structure=np.ones((3, 3)))
            assert flooded.flat[into] == flooded.flat[top]


def test_an_outline_goes_around_its_cells() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    for mask in (
        (y - 90) ** 2 + (x - 120) ** 2 < 40**2,
        (abs(y - 30) < 10) & (x < 50),
        np.ones((SIDE, SIDE), bool),
        (y == 27) & (x == 27),
        (abs(np.hypot(y - 128, x - 128) - 60) < 12) & (x > 100),
    ):
        corners = outline(mask)
        assert 3 <= len(corners) <= MAX_CORNERS
        on_map = np.s_[PAD:-PAD, PAD:-PAD]
        cells, expected = np.stack([x[on_map], y[on_map]], axis=-1).reshape(-1, 2) - PAD, mask[on_map].reshape(-1)
        inside = np.zeros(len(cells), bool)
        inside[points_in_polygon((cells * CELL + CELL // 2).astype(np.uint16), corners.astype(float))] = True
        wrong = np.count_nonzero(inside != expected)
        assert inside[expected].mean() > 0.95
        assert wrong <= 0.05 * expected.sum() + 8


def test_a_simpler_line_stays_as_near_as_it_says() -> None:
    turns = np.linspace(0, 2 * np.pi, 400)
    radius = 50 + 8 * np.sin(5 * turns) + np.random.default_rng(0).normal(size=400) * 0.5
    line = radius[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    line[-1] = line[0]
    fewer = []
    for tolerance in (0.1, 1.0, 4.0):
        simple = simplify(line, tolerance)
        ends = np.vstack([simple, simple[:1]])
        nearest = np.full(len(line), np.inf)
        for start, end in pairwise(ends):
            steps = start + np.linspace(0, 1, 200)[:, None] * (end - start)
            nearest = np.minimum(nearest, np.hypot(*(line[:, None] - steps[None]).T).min(axis=0))
        assert nearest.max() <= tolerance + 0.06
        assert {tuple(point) for point in simple} <= {tuple(point) for point in line}
        fewer.append(len(simple))
    assert fewer == sorted(fewer, reverse=True)
    assert fewer[-1] < 30
    dot = np.ones((5, 2))
    assert len(simplify(dot, 0.1)) == 1


# -- Gaps -----------------------------------------------------------------------------------------
def test_a_cloud_without_labels_is_a_gap() -> None:
    points, y = clouds(4000, FOUR)
    is_decided = np.random.default_rng(3).random(len(points)) < 0.08
    is_decided[y == 2] = False
    outlines = gaps(points, is_decided)
    assert len(outlines) == 1
    inside = points_in_polygon(points, outlines[0].astype(float))
    assert (y[inside] == 2).mean() > 0.97
    assert len(inside) > 0.85 * np.count_nonzero(y == 2)


def test_half_a_cloud_without_labels_is_a_gap_in_a_cluster() -> None:
    points, _ = clouds(20_000, [(32_000.0, 32_000.0)], spread=9000)
    is_decided = np.random.default_rng(3).random(len(points)) < 0.1
    is_decided[points[:, 0] < 30_000] = False
    (outlines,) = gaps(points, is_decided)
    inside = points_in_polygon(points, outlines.astype(float))
    assert np.median(points[inside, 0]) < 30_000
    assert np.percentile(points[inside, 0], 99) < 34_000


@pytest.mark.parametrize("seed", range(8))
def test_labels_by_chance_leave_no_gap(seed: int) -> None:
    points, _ = clouds(3000, FOUR, spread=4000, seed=seed)
    rng = np.random.default_rng(seed)
    for share in (0.01, 0.1, 0.5):
        assert len(gaps(points, rng.random(len(points)) < share)) == 0


def test_without_labels_or_with_all_there_is_no_gap() -> None:
    points, _ = clouds(1000, FOUR)
    assert gaps(points, np.zeros(1000, bool)) == []
    assert gaps(points, np.ones(1000, bool)) == []
