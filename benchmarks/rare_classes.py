"""Measure how many labels it takes to find a class with 5 of 20,000 images, and to split a class that was two.

    AL_WEIGHTS_DIR=… python -m benchmarks.rare_classes [find] [split] [--seeds 3] [--size 20000] [--time 100000]

``find``: Fashion-MNIST, each class in turn made rare in a pool of 20,000. Printed: labels until the first of its five
images with each queue, then until all five with *Find more* from the first, as medians with quartiles. Each of the
other classes has ten labels at the start. An image that a queue never shows counts as found with the last one.

``split``: two classes labeled as one, then split as the Classes page does: parts named after their typical images,
decisions about the least certain images, a classifier trained on these. Printed: decisions until 99 % of all labels are
right, against relabeling one by one, which needs 99 % of them.

``--time N`` only measures seconds of the queue Unlike and of a proposal to split with N rows.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.label_efficiency.data import CACHE, COLLECTIONS, SAMPLE, Collection, Floats, Rows
from benchmarks.label_efficiency.replay import N_NEIGHBORS
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import fit_head
from modeling.algorithms.neighbors import Graph, knn_graph, project
from modeling.algorithms.reduction import Reduction
from sampling.algorithms.auto import choose
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.parts import Parts, merged, open_items, typical
from sampling.algorithms.ranking import top
from sampling.algorithms.similar import inverse_lengths, similar
from sampling.algorithms.splitting import propose, refine
from sampling.algorithms.unlike import unlike

RARE, PER_CLASS, PAGE, MAX_AUTO = 5, 10, 40, 1000
# Images of each group that the queue Unlike shows, as in sampling/queues/registry.py.
SHOWN_OF_GROUP = 60
TARGET = 0.99
# Classes merged and split again.
PAIRS = (("fashion-joined", 6, 4), ("fashion-joined", 7, 9), ("digits-joined", 3, 8), ("digits-joined", 4, 9))
MAX_SPLIT, REVIEWED = 2000, 20


@dataclass
class Pool:
    """Hold a pool with a rare class: vectors, which rows are rare, the first labels, and outside examples of it."""

    X: Floats
    y: Rows
    rare: int
    labeled: Rows
    outside: Floats
    Z: Floats
    graph: Graph

    @property
    def is_rare(self) -> Rows:
        return np.flatnonzero(self.y == self.rare)

    @property
    def candidates(self) -> Rows:
        return np.setdiff1d(np.arange(len(self.y)), self.labeled)


def draw_pool(rare: int, seed: int, size: int) -> Pool:
    """Draw a pool in which one class has five images."""
    collection = COLLECTIONS["fashion-joined"]
    X, y = collection.load(CACHE)
    rng = np.random.default_rng(1000 * seed + rare)
    own, others = rng.permutation(np.flatnonzero(y == rare)), rng.permutation(np.flatnonzero(y != rare))
    rows = np.sort(np.concatenate([own[:RARE], others[: size - RARE]]))
    reduction = _reduction_of(collection, X, rows, rng)
    features = reduction.apply(np.asarray(X[rows]))[0]
    labels = y[rows]
    starts = [np.flatnonzero(labels == class_)[:PER_CLASS] for class_ in np.unique(labels) if class_ != rare]
    Z = project(features, rng=np.random.default_rng(0))
    outside = reduction.apply(np.asarray(X[np.sort(own[RARE : RARE + 3])]))[0]
    return Pool(features, labels, rare, np.sort(np.concatenate(starts)), outside, Z, knn_graph(Z, N_NEIGHBORS))


def _reduction_of(collection: Collection, X: Floats, rows: Rows, rng: np.random.Generator) -> Reduction:
    sample = np.sort(rng.permutation(rows)[:SAMPLE])
    return Reduction.fit(np.asarray(X[sample]), collection.widths, 256, rng=rng)


# -- The first image of the class ------------------------------------------------------------------
def first_in(order: Rows, pool: Pool) -> int:
    """Return the number of labels until the first image of the class, or the size of the pool if it never comes."""
    found = np.flatnonzero(pool.y[order] == pool.rare)
    return int(found[0]) + 1 if len(found) else len(pool.candidates)


def by_random(pool: Pool, rng: np.random.Generator) -> Iterator[int]:
    for _ in range(50):
        yield first_in(rng.permutation(pool.candidates), pool)


def by_oddities(pool: Pool) -> int:
    oddness = local_outlier_factor(pool.graph)
    return first_in(pool.candidates[top(oddness[pool.candidates], len(pool.candidates))], pool)


def by_unlike(pool: Pool) -> int:
    """Return the labels with Unlike: the groups are found anew after each page."""
    labeled, n = pool.labeled, 0
    while n < MAX_AUTO:
        candidates = np.setdiff1d(np.arange(len(pool.y)), labeled)
        rng = np.random.default_rng(0)
        found = unlike(pool.Z, pool.graph.distances, candidates, labeled, pool.y[labeled], rng)
        sizes = np.array(found.sizes, np.int64)
        place = np.arange(len(found.rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        page = found.rows[place < SHOWN_OF_GROUP][:PAGE]
        hits = np.flatnonzero(pool.y[page] == pool.rare)
        if len(hits):
            return n + int(hits[0]) + 1
        if not len(page):
            break
        labeled, n = np.union1d(labeled, page), n + len(page)
    return len(pool.candidates)


def by_auto(pool: Pool, rng: np.random.Generator) -> int:
    """Return the labels with Auto, retrained after each page."""
    labeled, n = pool.labeled, 0
    oddness = local_outlier_factor(pool.graph)
    classes = np.unique(pool.y[labeled])
    head = None
    while n < MAX_AUTO:
        column = np.searchsorted(classes, pool.y[labeled])
        head = fit_head(pool.X[labeled], column, n_classes=len(classes), start=head)
        P = softmax(head.logits(pool.X))
        candidates = np.setdiff1d(np.arange(len(pool.y)), labeled)
        page = choose(pool.Z, candidates, labeled, column, P, PAGE, rng=rng, oddness=oddness, batch=PAGE).rows
        hits = np.flatnonzero(pool.y[page] == pool.rare)
        if len(hits):
            return n + int(hits[0]) + 1
        labeled, n = np.union1d(labeled, page), n + len(page)
    return len(pool.candidates)


def by_outside(pool: Pool, *, is_contrasted: bool = False) -> Iterator[int]:
    for example in pool.outside:
        against = pool.labeled if is_contrasted else ()
        outside = example[None]
        found = similar(pool.X, [], len(pool.y), among=pool.candidates, outside=outside, against=against)
        yield first_in(found.rows, pool)


# -- All images of the class -----------------------------------------------------------------------
def find_all(pool: Pool, first: int, *, is_contrasted: bool) -> list[int]:
    """Return after how many labels each further image of the class was found, ranked anew after each page."""
    labeled, found, hits, n = np.append(pool.labeled, first), [first], [], 0
    inverse = inverse_lengths(pool.X)
    while len(found) < RARE:
        others = labeled[pool.y[labeled] != pool.rare] if is_contrasted else ()
        candidates = np.setdiff1d(np.arange(len(pool.y)), labeled)
        page = similar(pool.X, found, PAGE, inverse=inverse, among=candidates, against=others).rows
        for position, row in enumerate(page.tolist(), start=n + 1):
            if pool.y[row] == pool.rare:
                found.append(row)
                hits.append(position)
        labeled, n = np.concatenate([labeled, page]), n + len(page)
    return hits


def find(seeds: int, size: int) -> None:
    table: dict[str, list[int]] = defaultdict(list)
    for seed in range(seeds):
        for rare in range(10):
            pool = draw_pool(rare, seed, size)
            rng = np.random.default_rng(seed)
            table["first: random"] += by_random(pool, rng)
            table["first: Oddities"].append(by_oddities(pool))
            table["first: Auto"].append(by_auto(pool, rng))
            table["first: Unlike"].append(by_unlike(pool))
            table["first: an outside example"] += by_outside(pool)
            table["first: an outside example, other classes as counterexamples"] += by_outside(pool, is_contrasted=True)
            for first in pool.is_rare[:2].tolist():
                for is_contrasted in (False, True):
                    hits = find_all(pool, first, is_contrasted=is_contrasted)
                    name = "Find more" if is_contrasted else "Similar"
                    table[f"second: {name}"].append(hits[0])
                    table[f"all five: {name}"].append(hits[-1])
            print(f"seed {seed}, class {rare}: " + ", ".join(f"{name} {values[-1]}" for name, values in table.items()))
    print(f"\nLabels until found, {RARE} of {size:,}: median [quartiles]")
    for name, values in table.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        print(f"| {name} | {middle:,.0f} [{low:,.0f}, {high:,.0f}] | {len(values)} |")


# -- Splitting -------------------------------------------------------------------------------------
def split_again(collection: str, first: int, second: int, seed: int) -> tuple[int, float, int]:
    """Return the number of labels, the share that the proposal has right, and the decisions until 99 % are right."""
    split = COLLECTIONS[collection].draw(CACHE, seed)
    Z = project(split.X, rng=np.random.default_rng(0))
    rows = np.flatnonzero((split.y == first) | (split.y == second))
    rng = np.random.default_rng(seed)
    if len(rows) > MAX_SPLIT:
        rows = np.sort(rng.choice(rows, MAX_SPLIT, replace=False))
    truth = (split.y[rows] == second).astype(np.int64)
    proposal = propose(Z[rows], n_parts=2, rng=rng)
    parts = merged(proposal, _named(proposal, truth))
    right = float((parts.parts == truth).mean())
    is_decided, now = np.zeros(len(rows), bool), parts
    while True:
        labels = np.where(is_decided, truth, now.parts)
        if (labels == truth).mean() >= TARGET:
            return len(rows), right, int(is_decided.sum())
        is_decided[open_items(now.confidence, is_decided, len(rows))[:REVIEWED]] = True
        decided = np.flatnonzero(is_decided)
        now = refine(split.X, rows, parts, decided, truth[decided])


def _named(proposal: Parts, truth: Rows) -> list[int]:
    """Return the class that a person would give to each part: that of most of its typical images, each class once."""
    shares = [truth[typical(proposal, 12)[part]].mean() for part in range(2)]
    return [0, 1] if shares[0] <= shares[1] else [1, 0]


def split(seeds: int) -> None:
    for collection, first, second in PAIRS:
        results = [split_again(collection, first, second, seed) for seed in range(seeds)]
        n, right, decisions = (np.median([result[i] for result in results]) for i in range(3))
        low, high = np.percentile([result[2] for result in results], [25, 75])
        print(
            f"| {collection} {first} and {second} | {n:.0f} | {right:.1%} | {decisions:.0f} [{low:.0f}, {high:.0f}] | "
            f"{TARGET * n:.0f} | {decisions / (TARGET * n):.2f} |",
            flush=True,
        )


def measure_time(n: int) -> None:
    """Print the seconds of the queue Unlike, without the shared graph, and of a proposal, on rows drawn from clouds."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(40, 64)).astype(np.float32) * 3
    kind = rng.integers(0, 40, n)
    Z = centers[kind] + rng.normal(size=(n, 64)).astype(np.float32)
    labeled = np.flatnonzero(kind < 30)[:: max(1, n // 3000)]
    distances = np.full((n, 30), 10, np.float32)
    started = time.perf_counter()
    found = unlike(Z, distances, np.setdiff1d(np.arange(n), labeled), labeled, kind[labeled], rng)
    print(f"Unlike: {time.perf_counter() - started:.1f} s, {len(labeled):,} labels, {len(found.rows):,} in groups")
    started = time.perf_counter()
    propose(Z, rng=rng)
    print(f"A proposal to split: {time.perf_counter() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["find", "split"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--time", type=int, metavar="N")
    options = parser.parse_args()
    if options.time:
        measure_time(options.time)
        return
    if "find" in options.parts:
        find(options.seeds, options.size)
    if "split" in options.parts:
        split(options.seeds)


if __name__ == "__main__":
    main()
