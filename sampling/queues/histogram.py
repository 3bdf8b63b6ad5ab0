"""How the probabilities of unlabelled items are spread: the histogram behind the slider of Band."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labeling.models import Dataset
from sampling.queues.pull import Filters, gather
from sampling.queues.registry import STRATEGIES, BandParams, band_chances

# One for each stop of the slider.
BARS = 100


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram: its height in percent of the tallest, and whether it lies in the band."""

    height: float
    n: int
    is_inside: bool


@dataclass(frozen=True)
class Spread:
    """The histogram of [0, 1] and how many items lie in the band."""

    bars: list[Bar]
    n_inside: int


def spread_of(dataset: Dataset, params: BandParams, filters: Filters) -> Spread:
    """The spread of the probability of the band's class, of the items that the filters leave; O(n).

    Raises what :func:`~sampling.queues.pull.gather` and :func:`~sampling.queues.registry.band_chances` raise.
    """
    inputs = gather(dataset, STRATEGIES["band"], filters, seed=0)
    _, chances = band_chances(inputs, params.of)
    counts, edges = np.histogram(chances, bins=BARS, range=(0, 1))
    # A class that is nowhere likely would draw one bar at zero and nothing else: the root shows the rest too.
    heights = np.sqrt(counts) / np.sqrt(max(1, counts.max()))
    inside = (edges[1:] > params.low) & (edges[:-1] < params.high)
    bars = [
        Bar(round(100 * float(height), 1), int(n), bool(is_inside))
        for height, n, is_inside in zip(heights, counts, inside, strict=True)
    ]
    return Spread(bars, int(np.count_nonzero((chances >= params.low) & (chances <= params.high))))
