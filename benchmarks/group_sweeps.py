"""Measure whether images offered as a group share a class, by replaying group sweeps with the true labels.

    python -m benchmarks.group_sweeps [--data digits fashion] [--replays 20] [--labels 100 300 600]

A pool of images, of which some have their true label, given one by one at random. Groups are formed as in the product
(``sampling.algorithms.groups``) and labeled with their majority class until none is left; images labeled by one key
press are no evidence for later groups. Printed for reliable groups and for looser ones: their number and size, and the
share of correct labels, on average and in the worst group.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.groups import digits, fashion
from modeling.algorithms.neighbors import project
from sampling.algorithms.groups import LabeledPairs, default_radius, densest_group

LARGEST, MAX_GROUPS = 60, 40
# The setting of the slider for looser groups where it is often left.
LOOSER = 1.5


@dataclass
class GroupResults:
    """Groups of one kind over all replays: sizes, and the share of each that is of its majority class."""

    sizes: list[int] = field(default_factory=list)
    pure: list[float] = field(default_factory=list)
    replays_with: int = 0

    def line(self, name: str, replays: int) -> str:
        if not self.sizes:
            return f"| {name} | 0 of {replays} | – | – | – | – |"
        sizes, pure = np.array(self.sizes), np.array(self.pure)
        right = float((sizes * pure).sum() / sizes.sum())
        return (
            f"| {name} | {self.replays_with} of {replays} | {len(sizes)} | {sizes.mean():.1f} | {right:.1%} | "
            f"{pure.min():.0%} |"
        )


def replay(Z: np.ndarray, y: np.ndarray, n_labels: int, *, strict: bool, seed: int, results: GroupResults) -> None:
    """Label groups until none is offered, or 40 were."""
    rng = np.random.default_rng(seed)
    labels = np.full(len(Z), -1)
    pressed = -1 - np.arange(len(Z))
    start = rng.choice(len(Z), n_labels, replace=False)
    labels[start] = y[start]
    for number in range(MAX_GROUPS):
        labeled, pool = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        pairs = LabeledPairs(Z, labeled, labels[labeled], rng=rng, pressed=lambda rows: pressed[rows])
        reliable = pairs.largest_reliable()
        if strict and reliable is None:
            return
        if strict:
            assert reliable is not None
            radius = min(reliable.radius, default_radius(Z, pool, rng=rng))
            avoid = partial(pairs.is_mixed, radius=radius)
            group = densest_group(Z, pool, radius, LARGEST, rng=rng, avoid=avoid)
        else:
            group = densest_group(Z, pool, LOOSER * default_radius(Z, pool, rng=rng), LARGEST, rng=rng)
        if not len(group.rows):
            return
        counts = np.bincount(y[group.rows])
        results.sizes.append(len(group.rows))
        results.pure.append(float(counts.max() / counts.sum()))
        results.replays_with += number == 0
        labels[group.rows], pressed[group.rows] = counts.argmax(), number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits"], choices=["digits", "fashion"])
    parser.add_argument("--replays", type=int, default=20)
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 300, 600])
    options = parser.parse_args()
    for name in options.data:
        pictures, y = digits() if name == "digits" else fashion(3000)
        Z = project(pictures.reshape(len(pictures), -1), dims=32, rng=np.random.default_rng(0))
        for n_labels in options.labels:
            print(f"{name}, {n_labels} of {len(Z)} labeled at random")
            print("| groups | replays with any | groups | images each | labels right | worst group |")
            for kind, strict in (("reliable", True), ("looser", False)):
                results = GroupResults()
                for seed in range(options.replays):
                    replay(Z, y, n_labels, strict=strict, seed=seed, results=results)
                print(results.line(kind, options.replays))


if __name__ == "__main__":
    with threadpool_limits(2):
        main()
