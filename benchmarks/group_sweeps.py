"""Measure whether images offered as a group share a class, by replaying group sweeps with the true labels.

    python -m benchmarks.group_sweeps [--data digits fashion bursts] [--replays 20] [--labels 100 300 600]

A pool of images, of which some have their true label, given one by one at random. Groups are formed as in the product
(``sampling.algorithms.components`` and ``groups``) and labeled with their majority class until none is left; images
labeled by one key press are no evidence for later groups. Printed for reliable groups and for looser ones: their number
and size, and the share of correct labels, on average and in the worst group.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import shift
from threadpoolctl import threadpool_limits

from benchmarks.groups import digits, fashion
from modeling.algorithms.neighbors import Graph, knn_graph, project
from sampling.algorithms.components import largest_component, reliable_components
from sampling.algorithms.groups import default_radius, densest_group

LARGEST, MAX_GROUPS = 60, 40
# The setting of the slider for looser groups where it is often left.
LOOSER = 1.5
# As in modeling.encoders.neighbor_cache.
N_NEIGHBORS = 15


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


def bursts(n_bursts: int, longest: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return bursts of 2 to ``longest`` pictures (n, 28, 28) of Fashion-MNIST, and the class of each picture.

    The pictures of a burst are shifted by up to a pixel, up to 5 % brighter or darker, and noisy.
    """
    pictures, y = fashion(6000)
    rows = np.repeat(rng.choice(len(y), n_bursts, replace=False), rng.integers(2, longest + 1, n_bursts))
    burst = [shift(pictures[row], rng.uniform(-1, 1, 2), order=1) * rng.uniform(0.95, 1.05) for row in rows.tolist()]
    return (np.stack(burst) + rng.normal(0, 0.02, (len(rows), 28, 28))).astype(np.float32), y[rows]


def replay(
    Z: np.ndarray, graph: Graph, y: np.ndarray, n_labels: int, *, strict: bool, seed: int, results: GroupResults
) -> None:
    """Label groups until none is offered, or 40 were."""
    rng = np.random.default_rng(seed)
    labels = np.full(len(Z), -1)
    pressed = -1 - np.arange(len(Z))
    start = rng.choice(len(Z), n_labels, replace=False)
    labels[start] = y[start]
    for number in range(MAX_GROUPS):
        labeled, pool = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        if strict:
            components = reliable_components(
                graph, labeled, labels[labeled], rng=rng, pressed=lambda rows: pressed[rows]
            )
            if components is None:
                return
            group = largest_component(Z, components, pool, LARGEST)
        else:
            group = densest_group(Z, pool, LOOSER * default_radius(Z, pool, rng=rng), LARGEST, rng=rng)
        if not len(group.rows):
            return
        counts = np.bincount(y[group.rows])
        results.sizes.append(len(group.rows))
        results.pure.append(float(counts.max() / counts.sum()))
        results.replays_with += number == 0
        labels[group.rows], pressed[group.rows] = counts.argmax(), number


def images_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of a collection and their classes."""
    if name == "bursts":
        return bursts(500, 8, np.random.default_rng(1))
    return digits() if name == "digits" else fashion(3000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits"], choices=["digits", "fashion", "bursts"])
    parser.add_argument("--replays", type=int, default=20)
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 300, 600])
    options = parser.parse_args()
    for name in options.data:
        pictures, y = images_of(name)
        Z = project(pictures.reshape(len(pictures), -1), dims=32, rng=np.random.default_rng(0))
        graph = knn_graph(Z, N_NEIGHBORS)
        for n_labels in options.labels:
            print(f"{name}, {n_labels} of {len(Z)} labeled at random")
            print("| groups | replays with any | groups | images each | labels right | worst group |")
            for kind, strict in (("reliable", True), ("looser", False)):
                results = GroupResults()
                for seed in range(options.replays):
                    replay(Z, graph, y, n_labels, strict=strict, seed=seed, results=results)
                print(results.line(kind, options.replays), flush=True)


if __name__ == "__main__":
    with threadpool_limits(2):
        main()
