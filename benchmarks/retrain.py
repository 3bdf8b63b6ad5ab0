"""Time a whole retrain against scikit-learn's cold fit and one plain matrix product, in the same run.

    python -m benchmarks.retrain [--labels 1000] [--rows 100000] [--dim 1280] [--classes 10]
        [--folder FOLDER] [--smoothed] [--runs 5]

The vectors imitate a pooled MobileNetV2 layer: non-negative, capped at 6, correlated. With a folder they are
memory-mapped from a file there, as in the product (a million rows: 5.1 GB, removed at the end); labeled rows are spread
over all of it, and probabilities are written to another file. Every round times all parts in turn, so that other load
affects them alike. Prints medians over the rounds; a ratio is the median of the rounds' ratios. *Warm start* starts
from a classifier of nine tenths of the labels, as a retrain in the product does. With --smoothed, the number of
smoothing steps is chosen as well, and four are taken for the predictions, over neighbors at random: the slowest for
the memory.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from hoshina.core.storage import PageReleaser
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import fit_head, predict_in_blocks
from modeling.algorithms.neighbors import Graph
from modeling.algorithms.smoothing import N_NEIGHBORS, Smoothing, smoothed_rows
from modeling.algorithms.train import Trained, train

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]


def likely_vectors(n: int, dim: int, n_classes: int, seed: int, file: Path | None = None) -> tuple[Float32, Labels]:
    """Return (n, dim) vectors of overlapping classes with a few dozen latent factors, and their classes."""
    rng = np.random.default_rng(seed)
    n_factors = min(60, dim)
    mixing = (rng.normal(size=(n_factors, dim)) / np.sqrt(n_factors)).astype(np.float32)
    centers = (0.5 * rng.normal(size=(n_classes, n_factors))).astype(np.float32)
    offset = rng.normal(-0.5, 0.7, dim).astype(np.float32)
    y = rng.integers(0, n_classes, n)
    X = empty((n, dim), file)
    for begin in range(0, n, 10_000):
        part = y[begin : begin + 10_000]
        factors = centers[part] + rng.standard_normal((part.size, n_factors), np.float32)
        noise = 0.3 * rng.standard_normal((part.size, dim), np.float32)
        np.clip(factors @ mixing + offset + noise, 0, 6, out=X[begin : begin + 10_000])
    if file is None:
        return X, y
    X.flush()  # type: ignore[attr-defined]
    del X
    return np.load(file, mmap_mode="r"), y


def empty(shape: tuple[int, int], file: Path | None) -> Float32:
    if file is None:
        return np.empty(shape, np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(file, "w+", np.float32, shape)


def random_smoothing(n: int) -> Smoothing:
    """Return a smoothing over 15 neighbors at random of each of ``n`` rows."""
    rng = np.random.default_rng(3)
    indices = rng.integers(0, n, (n, N_NEIGHBORS), dtype=np.int32)
    distances = np.sort(rng.random((n, N_NEIGHBORS), dtype=np.float32), axis=1)
    begun = time.perf_counter()
    smoothing = Smoothing.of(Graph(indices, distances))
    print(f"weights of the graph, once for all embeddings: {time.perf_counter() - begun:.1f} s")
    return smoothing


@contextmanager
def memory() -> Iterator[list[float]]:
    """Yield the increase in peak memory of this process, in MB: private, and with mapped files."""
    process, peak, ended = psutil.Process(), [0.0, 0.0], threading.Event()

    def now() -> tuple[int, int]:
        info = process.memory_info()
        return info.rss - getattr(info, "shared", 0), info.rss

    first = now()

    def watch() -> None:
        while not ended.wait(0.02):
            for index, (size, start) in enumerate(zip(now(), first, strict=True)):
                peak[index] = max(peak[index], (size - start) / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="memory-map vectors and probabilities in files in this folder")
    parser.add_argument("--smoothed", action="store_true", help="with smoothing over a k-NN graph")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    file = arguments.folder / "vectors.npy" if arguments.folder else None
    written = arguments.folder / "probabilities.npy" if arguments.folder else None
    try:
        measure(arguments, file, written)
    finally:
        for left in (file, written):
            if left is not None:
                left.unlink(missing_ok=True)


def measure(arguments: argparse.Namespace, file: Path | None, written: Path | None) -> None:
    X, y = likely_vectors(arguments.rows, arguments.dim, arguments.classes, arguments.seed, file)
    order = np.random.default_rng(2).permutation(arguments.rows)
    chosen, unseen = np.sort(order[: arguments.labels]), np.sort(order[arguments.labels :][:10_000])
    labeled, labels = np.ascontiguousarray(X[chosen]), y[chosen]
    weights = np.random.default_rng(1).standard_normal((arguments.dim, arguments.classes), np.float32)
    rounds: dict[str, list[float]] = {"cold": [], "plain": [], "train": [], "predict": [], "warm": []}
    before = fit_head(labeled[::10], labels[::10], n_classes=arguments.classes)
    earlier = np.arange(arguments.labels) % 10 > 0
    start = train(labeled[earlier], labels[earlier], n_classes=arguments.classes, start=before).head
    smoothing = random_smoothing(arguments.rows) if arguments.smoothed else None
    trained: Trained | None = None
    needed = [0.0, 0.0]
    cold = LogisticRegression(max_iter=1000)
    for _ in range(arguments.runs):
        # Use a new classifier each time, so that nothing is left from the last fit.
        cold = LogisticRegression(max_iter=1000)
        rounds["cold"].append(seconds(lambda: cold.fit(labeled, labels)))  # noqa: B023
        rounds["plain"].append(seconds(lambda: X @ weights))
        # Map the file again, as another process would: the rows read by the plain product may be in the system's cache.
        mapped = X if file is None else np.load(file, mmap_mode="r")
        with memory() as peak:
            begun = time.perf_counter()
            trained = train(
                np.ascontiguousarray(mapped[chosen]),
                labels,
                n_classes=arguments.classes,
                seed=0,
                smoothed=None if smoothing is None else smoothed_rows(smoothing, mapped, chosen),
            )
            rounds["train"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            out = empty((arguments.rows, arguments.classes), written)
            releaser = PageReleaser(mapped)
            predict_in_blocks(
                mapped,
                trained.head,
                trained.calibration,
                out,
                smoothing=smoothing,
                steps=4,
                on_progress=lambda done, _: releaser.release(done),  # noqa: B023
            )
            rounds["predict"].append(time.perf_counter() - begun)
        needed = [max(pair) for pair in zip(needed, peak, strict=True)]
        rounds["warm"].append(seconds(lambda: train(labeled, labels, n_classes=arguments.classes, seed=0, start=start)))
    if trained is None:
        raise SystemExit("--runs must be at least 1")
    report(rounds, arguments)
    print(f"\nadditional memory of a retrain: {needed[0]:.0f} MB private, {needed[1]:.0f} MB with mapped files")
    if unseen.size:
        ours = softmax(trained.calibration.logits(trained.head.logits(X[unseen])))
        theirs = cold.predict_proba(X[unseen])
        print("\non unlabeled rows                    hoshina   scikit-learn")
        print(f"accuracy                            {(ours.argmax(1) == y[unseen]).mean():8.4f}", end="")
        print(f"   {(theirs.argmax(1) == y[unseen]).mean():12.4f}")
        classes = np.arange(arguments.classes)
        print(f"log loss                            {log_loss(y[unseen], ours, labels=classes):8.4f}", end="")
        print(f"   {log_loss(y[unseen], theirs, labels=classes):12.4f}")
        print(f"out-of-fold estimates: accuracy {trained.metrics['accuracy']:.4f}, ", end="")
        print(f"log loss {trained.metrics['log_loss_after']:.4f}, C {trained.metrics['C']:g}")


def report(rounds: dict[str, list[float]], arguments: argparse.Namespace) -> None:
    median = {name: float(np.median(times)) for name, times in rounds.items()}
    cold, plain = np.array(rounds["cold"]), np.array(rounds["plain"])
    whole = np.array(rounds["train"]) + np.array(rounds["predict"])
    print(
        f"{arguments.labels} labels of {arguments.classes} classes, {arguments.rows} x {arguments.dim} rows, "
        f"medians of {arguments.runs} rounds\n"
    )
    print(f"{'cold LogisticRegression.fit':48}{median['cold']:8.3f} s")
    print(f"{'plain X @ W':48}{median['plain']:8.3f} s")
    print(f"{'ours: fit, folds, choice of C, calibration':48}{median['train']:8.3f} s")
    print(f"{'ours: the same, warm start':48}{median['warm']:8.3f} s")
    print(f"{'ours: probabilities of every row':48}{median['predict']:8.3f} s\n")
    rows = (
        ("training / cold fit", np.array(rounds["train"]) / cold),
        ("prediction / plain product", np.array(rounds["predict"]) / plain),
        ("whole retrain / (cold fit + plain product)", whole / (cold + plain)),
        ("whole retrain / (2 cold fits + 1.1 products)", whole / (2 * cold + 1.1 * plain)),
    )
    for name, ratio in rows:
        print(f"{name:48}{np.median(ratio):8.2f}   ({ratio.min():.2f} to {ratio.max():.2f})")


if __name__ == "__main__":
    main()
