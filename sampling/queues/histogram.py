"""Compute the histogram of probabilities behind the slider of the queue Band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labeling.models import Dataset
from sampling.queues.pull import Filters, gather
from sampling.queues.registry import STRATEGIES, BandParams, band_chances

# One bar for each step of the slider.
BARS = 100


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: its height in percent of the tallest, its count, and whether it lies in the band."""

    height: float
    n: int
    is_inside: bool


@dataclass(frozen=True)
class Spread:
    """The histogram over [0, 1] and the number of items in the band."""

    bars: list[Bar]
    n_inside: int


def spread_of(dataset: Dataset, params: BandParams, filters: Filters) -> Spread:
    """Return the histogram of the probability of the band's class over the filtered items; O(n).

    Raises what :func:`~sampling.queues.pull.gather` and :func:`~sampling.queues.registry.band_chances` raise.
    """
    inputs = gather(dataset, STRATEGIES["band"], filters, seed=0)
    _, chances = band_chances(inputs, params.of)
    counts, edges = np.histogram(chances, bins=BARS, range=(0, 1))
    # For a rare class nearly all items are in the first bar: the square root keeps the others visible.
    heights = np.sqrt(counts) / np.sqrt(max(1, counts.max()))
    inside = (edges[1:] > params.low) & (edges[:-1] < params.high)
    bars = [
        Bar(round(100 * float(height), 1), int(n), bool(is_inside))
        for height, n, is_inside in zip(heights, counts, inside, strict=True)
    ]
    return Spread(bars, int(np.count_nonzero((chances >= params.low) & (chances <= params.high))))
