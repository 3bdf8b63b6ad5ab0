"""Test that clusters with most of a map's points are divided, and that noise is not."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from sampling.algorithms.clusters import LAST, MAX_CORNERS, clusters
from sampling.algorithms.regions import points_in_polygon
from sampling.algorithms.subclusters import MAX_SHARE, divided_clusters


def on_grid(places: np.ndarray) -> np.ndarray:
    low, high = places.min(axis=0), places.max(axis=0)
    return np.rint((places - low) / (high - low).max() * LAST).astype(np.uint16)


def one_big_and_two_small(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points of which 90 % lie in one place, where six hills run into each other, and their hills."""
    rng = np.random.default_rng(seed)
    hills = np.array([[0, 0], [3.2, 0], [6.4, 0.5], [0.5, 3.2], [3.5, 3.4], [6.5, 3.6]])
    y = rng.integers(0, 6, n)
    places = hills[y] + rng.normal(size=(n, 2))
    is_small = rng.random(n) < 0.1
    y[is_small] = 6 + rng.integers(0, 2, np.count_nonzero(is_small))
    places[is_small] = np.array([[30, 0], [0, 30]])[y[is_small] - 6] + rng.normal(size=(np.count_nonzero(is_small), 2))
    return on_grid(places), y


def members(points: np.ndarray, outlines: list[np.ndarray]) -> np.ndarray:
    cluster_of = np.full(len(points), -1)
    for number, corners in enumerate(outlines):
        cluster_of[points_in_polygon(points, corners.astype(float))] = number
    return cluster_of


@pytest.mark.parametrize(("n", "expected", "largest"), [(10_000, 7, MAX_SHARE), (100_000, 8, MAX_SHARE)])
def test_a_cluster_with_most_points_is_divided(n: int, expected: int, largest: float) -> None:
    """With fewer points, noise explains some of the hills."""
    points, y = one_big_and_two_small(n)
    whole = members(points, clusters(points))
    assert np.bincount(whole[whole >= 0]).max() > 0.85 * n
    outlines = divided_clusters(points)
    cluster_of = members(points, outlines)
    assert len(outlines) == expected
    assert np.bincount(cluster_of[cluster_of >= 0]).max() <= largest * n
    assert (cluster_of >= 0).mean() > 0.95
    is_in = cluster_of >= 0
    assert adjusted_rand_score(y[is_in], cluster_of[is_in]) > 0.4
    assert all(3 <= len(corners) <= MAX_CORNERS for corners in outlines)
    sizes = [len(points_in_polygon(points, corners.astype(float))) for corners in outlines]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("n", [60, 200, 500, 2000, 9000])
@pytest.mark.parametrize("seed", range(4))
def test_noise_is_not_divided(n: int, seed: int) -> None:
    points = on_grid(np.random.default_rng(seed).normal(size=(n, 2)))
    for found, expected in zip(divided_clusters(points), clusters(points), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [20_000, 60_000, 200_000])
@pytest.mark.parametrize("seed", range(3))
def test_even_ground_is_not_divided(n: int, seed: int) -> None:
    """The most places where noise may look like a peak."""
    rng = np.random.default_rng(seed)
    turns = rng.uniform(0, 2 * np.pi, n)
    disc = np.sqrt(rng.random((n, 1))) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    assert len(divided_clusters(on_grid(disc))) == len(clusters(on_grid(disc))) == 1


def test_small_clusters_stay_as_they_are() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 9, 5000)
    points = on_grid(12 * np.stack([y % 3, y // 3], axis=1) + rng.normal(size=(5000, 2)))
    outlines = divided_clusters(points)
    assert len(outlines) == 9
    for found, expected in zip(outlines, clusters(points), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [0, 5, 50])
def test_few_points_and_points_in_one_place(n: int) -> None:
    points = np.full((n, 2), 700, np.uint16)
    assert len(divided_clusters(points)) == len(clusters(points))


def test_the_order_of_the_points_does_not_matter() -> None:
    points, _ = one_big_and_two_small(4000)
    shuffled = points[np.random.default_rng(1).permutation(len(points))]
    for found, expected in zip(divided_clusters(points), divided_clusters(shuffled), strict=True):
        np.testing.assert_array_equal(found, expected)
