"""Time a whole retrain against scikit-learn's cold fit and one plain matrix product, in the same run.

    python -m benchmarks.retrain [--labels 1000] [--rows 100000] [--dim 1280] [--classes 10] [--threads 1 2]
        [--folder FOLDER [--cold]] [--smoothed] [--runs 5]

The vectors imitate a pooled MobileNetV2 layer: non-negative, capped at 6, correlated. With a folder they are
memory-mapped from a file there, as in the product (a million rows: 5.1 GB, removed at the end); labeled rows are spread
over all of it, and probabilities are written to another file. With --cold, the file is dropped from the system's cache
before each part that reads it. Every round times all parts in turn, so that other load affects them alike. Prints
medians over the rounds; a ratio is the median of the rounds' ratios. *Warm start* starts from a classifier of nine
tenths of the labels, as a retrain in the product does. With --smoothed, the number of smoothing steps is chosen as
well, and four are taken for the predictions, over the approximate k-NN graph of the rows.

There are two baselines. The *bare minimum* is one cold fit and one product, neither of which chooses a penalty, holds
labels out or calibrates. The *same work* is scikit-learn's choice of the penalty by held-out log loss among three
(``LogisticRegressionCV``), out-of-fold predictions of every label, which calibration needs, and ``predict_proba`` of
every row. Each part is timed with every number of BLAS threads in --threads: with two threads on cores that others use,
a fit of a thousand labels spends most of its time waiting for the second thread: it took 0.1 s with one thread, 3 s
with two, and 10 s with two on busy cores. HOSHINA limits threads where products are small.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from hoshina.core.storage import PageReleaser
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import fit_head, predict_in_blocks
from modeling.algorithms.ivf_neighbors import approximate_knn_graph
from modeling.algorithms.neighbors import project
from modeling.algorithms.smoothing import N_NEIGHBORS, Smoothing, smoothed_rows
from modeling.algorithms.train import Trained, train

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]
# Seconds of each part, one for each round.
Times = defaultdict[str, list[float]]

# Cells searched for the neighbors of a row: fewer than the product searches, since only their places matter here.
PROBES = 4
# Penalties between which scikit-learn chooses: as many as HOSHINA tries if the first is the best.
PENALTIES = (0.1, 1.0, 10.0)
PARTS = {
    "cold": "cold LogisticRegression.fit",
    "plain": "plain X @ W",
    "same": "the same work by scikit-learn",
    "train": "ours: fit, folds, choice of C, calibration",
    "warm": "ours: the same, warm start",
    "predict": "ours: probabilities of every row",
}


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


def smoothing_of(X: Float32) -> Smoothing:
    """Return the smoothing over the approximate neighbors of each row of ``X`` (n, d)."""
    begun = time.perf_counter()
    rng = np.random.default_rng(3)
    graph = approximate_knn_graph(project(X, rng=rng), N_NEIGHBORS, rng=rng, most_probes=PROBES).graph
    found = time.perf_counter()
    smoothing = Smoothing.of(graph)
    print(f"once for all embeddings: graph {found - begun:.1f} s, its weights {time.perf_counter() - found:.1f} s")
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


def scikit_learn(labeled: Float32, labels: Labels, X: Float32, n_folds: int) -> None:
    """Do a retrain's work with scikit-learn: penalty, fit, out-of-fold predictions, probabilities of every row."""
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    search = LogisticRegressionCV(
        Cs=PENALTIES, l1_ratios=(0,), cv=folds, scoring="neg_log_loss", max_iter=1000, use_legacy_attributes=False
    ).fit(labeled, labels)
    chosen = LogisticRegression(C=search.C_, max_iter=1000)
    cross_val_predict(chosen, labeled, labels, cv=folds, method="decision_function")
    search.predict_proba(X)


def drop_from_cache(file: Path | None) -> None:
    """Drop a file from the system's page cache."""
    if file is not None:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of BLAS, each timed in turn")
    parser.add_argument("--folder", type=Path, help="memory-map vectors and probabilities in files in this folder")
    parser.add_argument("--cold", action="store_true", help="drop the file of vectors from the cache before each part")
    parser.add_argument("--smoothed", action="store_true", help="with smoothing over a k-NN graph")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.cold and not arguments.folder:
        parser.error("--cold needs --folder.")

    file = arguments.folder / "vectors.npy" if arguments.folder else None
    written = arguments.folder / "probabilities.npy" if arguments.folder else None
    try:
        Retrain(arguments, file, written).measure()
    finally:
        for left in (file, written):
            if left is not None:
                left.unlink(missing_ok=True)


class Retrain:
    """Hold the data of one run, and the parts that are timed."""

    def __init__(self, arguments: argparse.Namespace, file: Path | None, written: Path | None) -> None:
        self.arguments, self.file, self.written = arguments, file, written
        self.X, self.y = likely_vectors(arguments.rows, arguments.dim, arguments.classes, arguments.seed, file)
        order = np.random.default_rng(2).permutation(arguments.rows)
        self.chosen = np.sort(order[: arguments.labels])
        self.unseen = np.sort(order[arguments.labels :][:10_000])
        self.labeled, self.labels = np.ascontiguousarray(self.X[self.chosen]), self.y[self.chosen]
        self.weights = np.random.default_rng(1).standard_normal((arguments.dim, arguments.classes), np.float32)
        before = fit_head(self.labeled[::10], self.labels[::10], n_classes=arguments.classes)
        earlier = np.arange(arguments.labels) % 10 > 0
        first = train(self.labeled[earlier], self.labels[earlier], n_classes=arguments.classes, start=before)
        self.start, self.n_folds = first.head, first.metrics["n_folds"] or 5
        self.smoothing = smoothing_of(self.X) if arguments.smoothed else None
        self.needed = [0.0, 0.0]

    def measure(self) -> None:
        rounds: dict[int, Times] = {threads: defaultdict(list) for threads in self.arguments.threads}
        for _ in range(self.arguments.runs):
            for threads, times in rounds.items():
                with threadpool_limits(threads):
                    self.theirs(times)
                    self.ours(times)
        print(
            f"{self.arguments.labels} labels of {self.arguments.classes} classes, {self.arguments.rows} x "
            f"{self.arguments.dim} rows, medians of {self.arguments.runs} rounds, load average {os.getloadavg()[0]:.1f}"
        )
        for threads, times in rounds.items():
            report(times, threads)
        print(f"\nadditional memory of a retrain: {self.needed[0]:.0f} MB private, {self.needed[1]:.0f} MB with mapped")
        self.quality()

    def theirs(self, times: Times) -> None:
        # Use a new classifier each time, so that nothing is left from the last fit.
        self.cold = LogisticRegression(max_iter=1000)
        times["cold"].append(seconds(lambda: self.cold.fit(self.labeled, self.labels)))
        self.drop()
        times["plain"].append(seconds(lambda: self.X @ self.weights))
        self.drop()
        if not times["same"]:  # once: with two threads on a busy machine it takes minutes
            times["same"].append(seconds(lambda: scikit_learn(self.labeled, self.labels, self.X, self.n_folds)))
            self.drop()

    def drop(self) -> None:
        if self.arguments.cold:
            PageReleaser(self.X).release(len(self.X))  # the system keeps pages that are mapped
            drop_from_cache(self.file)

    def ours(self, times: Times) -> None:
        # Map the file again, as another process would: the rows read by the plain product may be in the system's cache.
        mapped = self.X if self.file is None else np.load(self.file, mmap_mode="r")
        n_classes = self.arguments.classes
        with memory() as peak:
            begun = time.perf_counter()
            smoothed = None if self.smoothing is None else smoothed_rows(self.smoothing, mapped, self.chosen)
            rows = np.ascontiguousarray(mapped[self.chosen])
            self.trained = train(rows, self.labels, n_classes=n_classes, seed=0, smoothed=smoothed)
            times["train"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            self.predict(mapped, self.trained)
            times["predict"].append(time.perf_counter() - begun)
        self.needed = [max(pair) for pair in zip(self.needed, peak, strict=True)]
        begun = time.perf_counter()
        train(self.labeled, self.labels, n_classes=n_classes, seed=0, start=self.start)
        times["warm"].append(time.perf_counter() - begun)

    def predict(self, mapped: Float32, trained: Trained) -> None:
        releaser = PageReleaser(mapped)
        predict_in_blocks(
            mapped,
            trained.head,
            trained.calibration,
            empty((self.arguments.rows, self.arguments.classes), self.written),
            smoothing=self.smoothing,
            steps=4,
            on_progress=lambda done, _: releaser.release(done),
        )

    def quality(self) -> None:
        """Print how good both classifiers are on unlabeled rows."""
        if not self.unseen.size:
            return
        X, y = self.X[self.unseen], self.y[self.unseen]
        ours = softmax(self.trained.calibration.logits(self.trained.head.logits(X)))
        theirs = self.cold.predict_proba(X)
        print("\non unlabeled rows                    hoshina   scikit-learn")
        print(f"accuracy                            {(ours.argmax(1) == y).mean():8.4f}", end="")
        print(f"   {(theirs.argmax(1) == y).mean():12.4f}")
        classes = np.arange(self.arguments.classes)
        print(f"log loss                            {log_loss(y, ours, labels=classes):8.4f}", end="")
        print(f"   {log_loss(y, theirs, labels=classes):12.4f}")
        metrics = self.trained.metrics
        print(f"out-of-fold estimates: accuracy {metrics['accuracy']:.4f}, ", end="")
        print(f"log loss {metrics['log_loss_after']:.4f}, C {metrics['C']:g}")


def report(times: Times, threads: int) -> None:
    cold, plain, same = (np.array(times[name]) for name in ("cold", "plain", "same"))
    whole = np.array(times["train"]) + np.array(times["predict"])
    print(f"\nBLAS threads: {threads}")
    for name, title in PARTS.items():
        values = times[name]
        print(f"{title:56}{np.median(values):8.3f} s   ({min(values):.3f} to {max(values):.3f})")
    rows = (
        ("training / cold fit", np.array(times["train"]) / cold),
        ("prediction / plain product", np.array(times["predict"]) / plain),
        ("whole retrain / bare minimum (cold fit + product)", whole / (cold + plain)),
        ("whole retrain / (2 cold fits + 1.1 products)", whole / (2 * cold + 1.1 * plain)),
        ("whole retrain / the same work by scikit-learn", whole / same),
    )
    for name, ratio in rows:
        print(f"{name:56}{np.median(ratio):8.2f}     ({ratio.min():.2f} to {ratio.max():.2f})")


if __name__ == "__main__":
    main()
