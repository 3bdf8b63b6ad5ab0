"""Time the algorithms against the simple way or the best library, in turn in one run.

    python -m benchmarks.algorithms [k-center graph outliers similar uncertain spread suspects typical mix cells]
        [--items 30000] [--dims 256] [--picks 300] [--repeats 5] [--vectors FILE.npy]
    python -m benchmarks.algorithms --targets

Prints the median of the ratios, and the median time of each side. ``--targets`` runs those with a target, at the size
the target is defined for, and prints the target beside the ratio. ``--vectors`` uses vectors of real images instead of
synthetic ones. Needs a quiet machine: multithreaded products wait for the slowest thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsTransformer, LocalOutlierFactor, NearestNeighbors

from benchmarks.audit import FASHION, fashion
from modeling.algorithms.ivf_neighbors import approximate_knn_graph
from modeling.algorithms.neighbors import knn_graph, project
from modeling.algorithms.train import train
from sampling.algorithms.coreset import k_center
from sampling.algorithms.diversify import diversify, weighted_kmeans
from sampling.algorithms.mixing import Part, mix
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.ranking import top
from sampling.algorithms.similar import inverse_lengths, similar
from sampling.algorithms.suspects import suspects
from sampling.algorithms.typicality import typical
from sampling.algorithms.uncertainty import margin

Size = argparse.Namespace


def vectors(n: int, d: int, *, seed: int = 0) -> np.ndarray:
    """Return vectors like a network's output: non-negative, fifty clusters in 32 latent dimensions, with noise."""
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal((32, d)).astype(np.float32) / 5
    centers = 2 * rng.standard_normal((50, 32)).astype(np.float32)
    X = np.empty((n, d), np.float32)
    for begin in range(0, n, 10_000):
        part = X[begin : begin + 10_000]
        inner = centers[rng.integers(50, size=len(part))] + rng.standard_normal((len(part), 32), np.float32)
        part[:] = np.maximum(inner @ spread + 0.3 * rng.standard_normal(part.shape, np.float32), 0)
    return X


def random_probabilities(n: int, c: int = 10) -> np.ndarray:
    P = np.random.default_rng(1).random((n, c), np.float32) ** 4
    return np.asarray(P / P.sum(axis=1, keepdims=True), np.float32)


def vectors_of_size(size: Size) -> np.ndarray:
    """Return a random subset of the vectors in the given file, or synthetic vectors."""
    if size.vectors is None:
        return vectors(size.items, size.dims)
    X = np.load(size.vectors, mmap_mode="r")
    return np.asarray(X[np.sort(np.random.default_rng(0).permutation(len(X))[: size.items])], np.float32)


def compare(
    name: str, ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, target: float | None = None
) -> tuple[Any, Any]:
    """Run both in turn, print both medians and the median of the ratios of the pairs, and return both last results."""
    mine, other, results = [], [], (None, None)
    for _ in range(repeats):
        begin = time.perf_counter()
        first = ours()
        between = time.perf_counter()
        second = theirs()
        mine.append(between - begin)
        other.append(time.perf_counter() - between)
        results = first, second
    ratios = [a / b for a, b in zip(mine, other, strict=True)]
    print(
        f"{name:<58} {statistics.median(ratios):7.3f} x   ({1000 * statistics.median(mine):.1f} ms against "
        f"{1000 * statistics.median(other):.1f} ms, {repeats} runs, {min(ratios):.3f} to {max(ratios):.3f})"
        f"{'' if target is None else target_note(statistics.median(ratios), target)}",
        flush=True,
    )
    return results


def target_note(ratio: float, target: float) -> str:
    return f"   target: at most {target:g} x, {'reached' if ratio <= target else 'MISSED'}"


def incremental(X: np.ndarray, lengths: np.ndarray, labeled: np.ndarray, k: int) -> np.ndarray:
    """Select by the simple loop: one matrix-vector product per center."""
    nearest = np.full(len(X), np.inf, X.dtype)
    picks = np.empty(k, np.int64)

    def add(row: int) -> None:
        squared = X @ X[row]
        squared *= -2
        squared += lengths
        squared += lengths[row]
        np.minimum(nearest, squared, out=nearest)
        nearest[row] = -np.inf

    for row in labeled:
        add(int(row))
    for at in range(k):
        picks[at] = nearest.argmax()
        add(int(picks[at]))
    return picks


def bench_k_center(size: Size) -> None:
    X = vectors_of_size(size)
    n = len(X)
    order = np.random.default_rng(2).permutation(n)
    labeled, candidates = order[:20], np.sort(order[20:])
    lengths = np.einsum("ij,ij->i", X, X)
    got, expected = compare(
        f"k-center, {size.picks} of {n} x {X.shape[1]}: lazy / incremental",
        lambda: k_center(X, candidates, labeled, size.picks),
        lambda: incremental(X, lengths, labeled, size.picks),
        size.repeats,
        0.25,
    )
    same = int((got.rows == expected).sum())
    print(f"    same rows as the loop, in the same order: {same} of {size.picks}")
    # In float32 the loop itself confuses rows equally far to seven digits; in float64 it does not.
    exact = X.astype(np.float64)
    truth = incremental(exact, np.einsum("ij,ij->i", exact, exact), labeled, size.picks)
    print(f"    as the loop in float64: {int((got.rows == truth).sum())} of {size.picks}")


def bench_graph(size: Size) -> None:
    Z = project(vectors_of_size(size), rng=np.random.default_rng(0))
    graph, (_, indices) = compare(
        f"k-NN graph, {len(Z)} x {Z.shape[1]}: ours / scikit-learn",
        lambda: knn_graph(Z, 20),
        lambda: NearestNeighbors(n_neighbors=20, algorithm="brute").fit(Z).kneighbors(),
        min(size.repeats, 3),
    )
    print(f"    same neighbors: {(graph.indices == indices).mean():.5f}")


def bench_cells(size: Size) -> None:
    """Compare the approximate graph of very many rows with the exact one: time, recall, and the top outliers."""
    Z = project(vectors_of_size(size), rng=np.random.default_rng(0))
    near, exact = compare(
        f"k-NN graph, {len(Z)} x {Z.shape[1]}: by cells / all pairs",
        lambda: approximate_knn_graph(Z, 30, rng=np.random.default_rng(0)),
        lambda: knn_graph(Z, 30),
        min(size.repeats, 3),
    )
    pairs = zip(near.graph.indices.tolist(), exact.indices.tolist(), strict=True)
    recall = statistics.fmean(len(set(mine) & set(other)) / 30 for mine, other in pairs)
    print(f"    recall {recall:.4f}, as measured on its sample {near.recall:.4f}; target: at least 0.95")
    ours, theirs = local_outlier_factor(near.graph), local_outlier_factor(exact)
    hundred = len(set(top(ours, 100).tolist()) & set(top(theirs, 100).tolist()))
    print(f"    Local Outlier Factor: Spearman {spearmanr(ours, theirs).statistic:.5f}, {hundred} of the oddest 100")


def bench_outliers(size: Size) -> None:
    """Compare the Local Outlier Factor with scikit-learn's: with the k-NN graph on both sides, and without on both.

    HOSHINA shares one graph between its queues, so a queue usually finds it made: the third ratio.
    """
    X = vectors_of_size(size)
    Z = project(X, rng=np.random.default_rng(0))
    graph = knn_graph(Z, 20)
    repeats = min(size.repeats, 3)
    title = f"Local Outlier Factor, {len(X)} items"
    ours, theirs = compare(
        f"{title}, graph included / scikit-learn's fit",
        lambda: local_outlier_factor(knn_graph(Z, 20)),
        lambda: -LocalOutlierFactor(n_neighbors=20).fit(Z).negative_outlier_factor_,
        repeats,
    )
    print(f"    Spearman: {spearmanr(ours, theirs).statistic:.5f}; target: at least 0.98")
    given = KNeighborsTransformer(n_neighbors=20, algorithm="brute").fit_transform(Z)
    compare(
        f"{title}, from a graph / scikit-learn's from a graph",
        lambda: local_outlier_factor(graph),
        lambda: -LocalOutlierFactor(n_neighbors=20, metric="precomputed").fit(given).negative_outlier_factor_,
        repeats,
    )
    compare(
        f"{title}, from the shared graph / scikit-learn's fit",
        lambda: local_outlier_factor(graph),
        lambda: -LocalOutlierFactor(n_neighbors=20).fit(Z).negative_outlier_factor_,
        repeats,
        0.05,
    )
    whole = -LocalOutlierFactor(n_neighbors=20).fit(X).negative_outlier_factor_
    print(f"    Spearman with the factor of all {X.shape[1]} dimensions: {spearmanr(ours, whole).statistic:.5f}")


def bench_similar(size: Size) -> None:
    X = vectors_of_size(size)
    inverse, query = inverse_lengths(X), X[7].copy()
    compare(
        f"similar, {len(X)} x {X.shape[1]}: search / one product",
        lambda: similar(X, [7], 200, inverse=inverse),
        lambda: X @ query,
        4 * size.repeats,
        1.2,
    )


def bench_uncertain(size: Size) -> None:
    """Use the queues' own functions without vectors, as a page does."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    django.setup()
    from sampling.queues.registry import BandParams, UncertainParams, band, uncertain
    from sampling.queues.strategy import Inputs

    P = random_probabilities(size.items)
    scores = margin(P)
    all_rows = np.arange(size.items)
    most = np.flatnonzero(np.random.default_rng(0).random(size.items) < 0.99)
    for share, rows in (("all", all_rows), ("99 %", most)):
        inputs = Inputs(rows, np.random.default_rng(0), probabilities=P, columns={5: [2]})
        queues: dict[str, Callable[[], Any]] = {
            "uncertain": lambda inputs=inputs: uncertain(inputs, UncertainParams(), 2000),
            "band of the likeliest": lambda inputs=inputs: band(inputs, BandParams(), 2000),
            "band of a class": lambda inputs=inputs: band(inputs, BandParams(of=5), 2000),
        }
        for name, rank in queues.items():
            compare(
                f"{name}, {share} of {size.items} items, 10 classes / argpartition",
                rank,
                lambda: np.argpartition(scores, 2000),
                4 * size.repeats,
                10,
            )


def bench_spread(size: Size) -> None:
    n = size.items
    scores = margin(random_probabilities(n))
    Z = np.random.default_rng(0).standard_normal((n, 64), np.float32)
    compare(
        f"spread, {n} items: a page of 40 / argpartition",
        lambda: diversify(Z, np.arange(n), scores, 40, rng=np.random.default_rng(0)),
        lambda: np.argpartition(scores, 2000),
        4 * size.repeats,
    )
    page, weight = Z[:400], scores[:400]
    compare(
        "clusters of 400 x 64 into 40: ours / scikit-learn's",
        lambda: weighted_kmeans(page, weight, 40, np.random.default_rng(0)),
        lambda: KMeans(40, n_init=1, random_state=0).fit(page, sample_weight=weight),
        4 * size.repeats,
    )


def bench_suspects(size: Size) -> None:
    """Compare with cleanlab on the out-of-fold predictions of the product's training."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("suspects: not measured. Install cleanlab to compare with it: uv sync --group bench")
        return
    images = {"digits": load_digits(return_X_y=True)}
    if FASHION.exists():
        images["Fashion-MNIST"] = fashion(6000)
    for name, (X, truth) in images.items():
        ratios = []
        for seed in range(size.repeats):
            rng = np.random.default_rng(seed)
            wrong = rng.random(len(truth)) < 0.05
            y = np.where(wrong, (truth + rng.integers(1, 10, len(truth))) % 10, truth)
            P = train(np.asarray(X, np.float32), y, n_classes=10, seed=seed).held_out
            assert P is not None
            got = suspects(P, y)
            rankings = {
                method: -get_label_quality_scores(y, P, method=method)
                for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
            }
            issues = find_label_issues(y, P, n_jobs=1)
            rankings["issues first"] = issues + rankings["self_confidence"]
            theirs = {method: average_precision_score(wrong, doubt) for method, doubt in rankings.items()}
            ours = average_precision_score(wrong, -got.self_confidence)
            best = max(theirs, key=lambda method: theirs[method])
            ratios.append(ours / theirs[best])
            print(
                f"    {name}, seed {seed}: average precision {ours:.4f}, cleanlab's best {theirs[best]:.4f} ({best}); "
                f"of {int(wrong.sum())} planted, {int((got.is_suspect & wrong).sum())} are among our "
                f"{int(got.is_suspect.sum())} suspects, {int((issues & wrong).sum())} among its {int(issues.sum())}"
            )
        print(f"suspects, {name}: {min(ratios):.3f} to {max(ratios):.3f} x cleanlab's best average precision")
        compare(
            f"suspects, {len(y)} labels: ours / cleanlab's find_label_issues",
            lambda P=P, y=y: suspects(P, y),
            lambda P=P, y=y: find_label_issues(y, P, n_jobs=1),
            size.repeats,
        )


def bench_typical(size: Size) -> None:
    Z = project(vectors(size.items, size.dims), rng=np.random.default_rng(0))
    compare(
        f"typical, 40 of {size.items} x {Z.shape[1]}: all / k-means alone",
        lambda: typical(Z, np.arange(len(Z)), [], 40, rng=np.random.default_rng(0)),
        lambda: KMeans(40, n_init=1, random_state=0).fit(Z),
        min(size.repeats, 3),
    )


def bench_mix(size: Size) -> None:
    pool = np.arange(size.items)
    order = np.random.default_rng(0).permutation(size.items)
    parts = [Part("unsure", order[:2000], 0.8), Part("rare", order[1000:3000], 0.2)]
    compare(
        f"mix, 2000 of {size.items}: mix / one shuffle",
        lambda: mix(parts, pool, 2000, rng=np.random.default_rng(0)),
        lambda: np.random.default_rng(0).permutation(size.items),
        size.repeats,
    )


BENCHMARKS: dict[str, Callable[[Size], None]] = {
    "k-center": bench_k_center,
    "graph": bench_graph,
    "cells": bench_cells,
    "outliers": bench_outliers,
    "similar": bench_similar,
    "uncertain": bench_uncertain,
    "spread": bench_spread,
    "suspects": bench_suspects,
    "typical": bench_typical,
    "mix": bench_mix,
}

# The sizes at which targets are defined.
TARGETS: dict[str, dict[str, int]] = {
    "uncertain": {"items": 1_000_000},
    "similar": {"items": 100_000, "dims": 1280},
    "outliers": {"items": 30_000, "dims": 1280},
    "cells": {"items": 60_000, "dims": 1280},
    "suspects": {},
    "k-center": {"items": 100_000, "dims": 1280, "picks": 1000, "repeats": 3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help=f"any of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--items", type=int, default=30_000)
    parser.add_argument("--dims", type=int, default=256)
    parser.add_argument("--picks", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vectors", metavar="FILE.npy", help="real vectors, (n, d) float32, instead of synthetic ones")
    parser.add_argument("--targets", action="store_true", help="run at the sizes at which targets are defined")
    options = parser.parse_args()
    unknown = set(options.which) - set(BENCHMARKS)
    if unknown:
        parser.error(f"Unknown: {', '.join(sorted(unknown))}. Choose from {', '.join(BENCHMARKS)}.")
    for name in options.which or (TARGETS if options.targets else BENCHMARKS):
        BENCHMARKS[name](Size(**{**vars(options), **(TARGETS.get(name, {}) if options.targets else {})}))


if __name__ == "__main__":
    main()
