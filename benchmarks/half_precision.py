"""Compare components of joined encoders stored as float16 with float32: accuracy, rankings, and time of products.

    python -m benchmarks.half_precision [COLLECTION ...] [--seeds 5] [--rows 200000]

The head is trained as in the product on random labels and smoothed. Agreement is the share of equal members: of the
predicted classes, of the 400 images that are most uncertain, of the 40 most similar to each of 40 images, and of 15
nearest neighbors. Times are of one core, processor seconds: all products of a prediction (10 classes) and of Similar
over as many rows, float16 converted block by block.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import CACHE, COLLECTIONS, Floats, Rows, Split
from benchmarks.label_efficiency.replay import N_NEIGHBORS
from modeling.algorithms.calibration import softmax
from modeling.algorithms.neighbors import Graph, knn_graph, project
from modeling.algorithms.rows import blocks
from modeling.algorithms.smoothing import N_NEIGHBORS as N_SMOOTHED
from modeling.algorithms.smoothing import Smoothing, smoothed_rows
from modeling.algorithms.train import train
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.ranking import top
from sampling.algorithms.uncertainty import margin

LIMIT = 9000
N_LABELS, N_UNCERTAIN, N_SIMILAR = 240, 400, 40
N_CLASSES, DIMS = 10, 256
REPEATS = 5


class Derived:
    """Compute what the product derives from stored vectors."""

    def __init__(self, X: Floats, split: Split, labeled: Rows) -> None:
        self.X, self.Z = X, project(X, rng=np.random.default_rng(0))
        self.graph: Graph = knn_graph(self.Z, N_NEIGHBORS)
        self.oddness = local_outlier_factor(self.graph)
        smoothing = Smoothing.of(self.graph)
        trained = train(
            X[labeled], split.y[labeled], n_classes=split.n_classes, smoothed=smoothed_rows(smoothing, X, labeled)
        )
        logits = trained.head.logits(X)
        smoothing.smooth(logits, trained.steps)
        self.P = softmax(logits, trained.temperature)
        self.predicted = self.P.argmax(axis=1)
        self.unlabeled = np.setdiff1d(np.arange(len(X)), labeled)
        self.accuracy = float((self.predicted == split.y)[self.unlabeled].mean())

    def uncertain(self) -> Rows:
        return self.unlabeled[top(margin(self.P[self.unlabeled]), N_UNCERTAIN)]

    def similar(self, row: int) -> Rows:
        X = self.X - self.X.mean(axis=0)
        cosine = X @ X[row] / np.maximum(np.linalg.norm(X, axis=1), 1e-12)
        return np.asarray(top(cosine, N_SIMILAR))


def overlap(a: Rows, b: Rows) -> float:
    return len(np.intersect1d(a, b)) / len(a)


def compare(split: Split, seed: int) -> list[float]:
    """Return the accuracy with float32, its change, and the agreements."""
    labeled = np.sort(np.random.default_rng(seed).permutation(len(split.X))[: min(N_LABELS, len(split.X) // 2)])
    full = Derived(split.X, split, labeled)
    half = Derived(split.X.astype(np.float16).astype(np.float32), split, labeled)
    k = slice(0, N_SMOOTHED)
    rows = np.random.default_rng(seed).permutation(len(split.X))[:N_SIMILAR]
    near = zip(full.graph.indices[:, k], half.graph.indices[:, k], strict=True)
    return [
        full.accuracy,
        half.accuracy - full.accuracy,
        float((full.predicted == half.predicted).mean()),
        overlap(full.uncertain(), half.uncertain()),
        float(np.mean([overlap(full.similar(row), half.similar(row)) for row in rows])),
        float(np.mean([overlap(a, b) for a, b in near])),
        float(np.corrcoef(full.oddness.argsort().argsort(), half.oddness.argsort().argsort())[0, 1]),
    ]


def seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of some calls."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def products(X: NDArray[np.floating], W: Floats) -> None:
    """Multiply all rows, converted to float32 where necessary."""
    for part in blocks(len(X)):
        X[part].astype(np.float32, copy=False) @ W


def take(X: NDArray[np.floating], rows: Rows) -> Floats:
    return X[rows].astype(np.float32, copy=False)


def report_times(n_rows: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, DIMS), dtype=np.float32)
    half, chosen = X.astype(np.float16), rng.permutation(n_rows)[:4000]
    for title, W in (("prediction", rng.standard_normal((DIMS, N_CLASSES), dtype=np.float32)), ("similar", X[0])):
        slow, fast = seconds(partial(products, half, W)), seconds(partial(products, X, W))
        print(f"{title}: float16 {slow:.3f} s, float32 {fast:.3f} s: {slow / fast:.2f} ×")
    slow, fast = (seconds(partial(take, Y, chosen)) for Y in (half, X))
    print(f"4,000 rows at random: float16 {1e3 * slow:.1f} ms, float32 {1e3 * fast:.1f} ms: {slow / fast:.2f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["fashion-joined", "drawings-two-networks", "astrophotos-two-networks"]
    parser.add_argument("collections", nargs="*", default=names, metavar="COLLECTION")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of cached vectors")
    options = parser.parse_args()
    print("| collection | accuracy | change | same class | same uncertain | same similar | same neighbors | oddness |")
    print("|---|---|---|---|---|---|---|---|")
    with threadpool_limits(1):
        for name in options.collections:
            each = [compare(COLLECTIONS[name].draw(options.cache, seed, LIMIT), seed) for seed in range(options.seeds)]
            mean, changes = np.mean(each, axis=0), [values[1] for values in each]
            shares = " | ".join(f"{100 * value:.2f} %" for value in mean[2:6])
            print(
                f"| {name} | {100 * mean[0]:.2f} % | {100 * mean[1]:+.3f} ({100 * min(changes):+.2f} to "
                f"{100 * max(changes):+.2f}) | {shares} | {mean[6]:.6f} |",
                flush=True,
            )
        report_times(options.rows)


if __name__ == "__main__":
    main()
