"""Do groups that are offered as alike share a class? Group sweeps replayed with the true labels.

    python -m benchmarks.group_sweeps [--data digits fashion] [--replays 20] [--labels 100 300 600]

A pool of images, of which some have their true label, given one by one at random. Groups are taken as the product
offers them (``sampling.algorithms.groups``) and given the class of most of their images, until none is left; what one
key labeled is no evidence for later groups. Printed for groups that are known to agree and for looser ones: how many,
how large, and which share of their labels is right, on average and in the worst group.
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

LARGEST, MOST_GROUPS = 60, 40
# The slider of looser groups, where it is often left.
LOOSER = 1.5


@dataclass
class Told:
    """Groups of one kind over all replays: sizes, and the share of each that is of its main class."""

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


def replay(Z: np.ndarray, y: np.ndarray, n_labels: int, *, strict: bool, seed: int, told: Told) -> None:
    """Label groups until none is offered, or 40 were."""
    rng = np.random.default_rng(seed)
    given = np.full(len(Z), -1)
    pressed = -1 - np.arange(len(Z))
    start = rng.choice(len(Z), n_labels, replace=False)
    given[start] = y[start]
    for number in range(MOST_GROUPS):
        labeled, pool = np.flatnonzero(given >= 0), np.flatnonzero(given < 0)
        pairs = LabeledPairs(Z, labeled, given[labeled], rng=rng, pressed=lambda rows: pressed[rows])
        known = pairs.largest_reliable()
        if strict and known is None:
            return
        if strict:
            assert known is not None
            radius = min(known.radius, default_radius(Z, pool, rng=rng))
            avoid = partial(pairs.is_mixed, radius=radius)
            group = densest_group(Z, pool, radius, LARGEST, rng=rng, avoid=avoid)
        else:
            group = densest_group(Z, pool, LOOSER * default_radius(Z, pool, rng=rng), LARGEST, rng=rng)
        if not len(group.rows):
            return
        counts = np.bincount(y[group.rows])
        told.sizes.append(len(group.rows))
        told.pure.append(float(counts.max() / counts.sum()))
        told.replays_with += number == 0
        given[group.rows], pressed[group.rows] = counts.argmax(), number


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
            for words, strict in (("known to agree", True), ("looser", False)):
                told = Told()
                for seed in range(options.replays):
                    replay(Z, y, n_labels, strict=strict, seed=seed, told=told)
                print(told.line(words, options.replays))


if __name__ == "__main__":
    with threadpool_limits(2):
        main()
