"""Measure the coverage of the audited accuracy's interval while Auto selects most of the labels.

    python -m benchmarks.audit [--data digits fashion] [--replays 200] [--processes 2] [--vectors FILE.npz]

Replays the labeling with the true labels: Auto selects with its audit share, the model is trained as in the product,
and after every retrain three estimates are compared with three truths. ``--vectors`` is an .npz with ``X`` (n, d) and
``y`` (n,) to use instead of the HOG vectors of Fashion-MNIST. Each replay draws its own collection, its own held-out
images and its own seed.
"""

from __future__ import annotations

import argparse
import gzip
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from modeling.algorithms.calibration import softmax
from modeling.algorithms.neighbors import knn_graph, project
from modeling.algorithms.train import Trained, train
from modeling.backends.hog import HogEncoder
from sampling.algorithms.auto import choose
from sampling.algorithms.estimates import (
    Estimate,
    collection_accuracy,
    lure_estimate,
    wilson,
)
from sampling.algorithms.learning_curves import forecast
from sampling.algorithms.mixing import AUDIT
from sampling.algorithms.outliers import local_outlier_factor

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
FASHION = Path("/usr/share/datasets/fashion-mnist")
TRUTHS = ("collection", "held out", "unlabeled")
ESTIMATES = ("of the collection", "… uncorrected Wilson", "share, Wilson", "LURE, Wilson")
# The product's policy: retrain after this many new labels, or this share of them.
MIN_NEW, SHARE_NEW = 20, 0.1


@dataclass
class Snapshot:
    """Hold a version of the model: its estimates and the true values."""

    n_labels: int
    n_audit: int
    estimates: list[Estimate]  # as ESTIMATES
    truths: list[float]  # as TRUTHS


@dataclass
class Collection:
    """Hold the items that a replay labels, and other images of the same kind."""

    X: Floats
    y: Rows
    other_X: Floats
    other_y: Rows


def digits(seed: int) -> Collection:
    """Return pixels of scikit-learn's digits, three quarters of them as the collection."""
    X, y = load_digits(return_X_y=True)
    return split(X.astype(np.float32) / 16, y.astype(np.int64), len(X) * 3 // 4, len(X), seed)


def split(X: Floats, y: Rows, n: int, n_all: int, seed: int) -> Collection:
    order = np.random.default_rng(1000 + seed).permutation(len(X))[:n_all]
    mine, other = order[:n], order[n:]
    return Collection(X[mine], y[mine], X[other], y[other])


def fashion(n: int) -> tuple[Floats, Rows]:
    """Return HOG vectors of the first ``n`` training images of Fashion-MNIST."""
    from PIL import Image

    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pictures = np.frombuffer(stream.read(16 + n * 784)[16:], np.uint8).reshape(n, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        y = np.frombuffer(stream.read(8 + n)[8:], np.uint8).astype(np.int64)
    large = [Image.fromarray(image).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR) for image in pictures]
    return HogEncoder("").encode_prepared(np.stack([np.asarray(image) for image in large])), y


def components(X: Floats, n: int) -> Floats:
    """Project the vectors on their first principal components: (len(X), n)."""
    centered = X - X.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered / len(X))
    return np.asarray(centered @ axes[:, ::-1][:, :n], np.float32)


def replay(data: Collection, *, budget: int, seed: int) -> list[Snapshot]:
    """Label ``budget`` items in Auto's order, retraining when the product would."""
    rng = np.random.default_rng(seed)
    n_classes = int(max(data.y.max(), data.other_y.max())) + 1
    Z = project(data.X, rng=np.random.default_rng(0))
    oddness = local_outlier_factor(knn_graph(Z, 20))
    labeled = np.empty(0, np.int64)
    is_audit = np.empty(0, bool)
    probabilities = np.empty(0)
    P: Floats | None = None
    snapshots = []
    while len(labeled) < budget:
        left = np.setdiff1d(np.arange(len(data.X)), labeled)
        k = min(max(MIN_NEW, round(SHARE_NEW * len(labeled))), budget - len(labeled))
        selection = choose(Z, left, labeled, data.y[labeled], P, k, rng=rng, oddness=oddness)
        labeled = np.concatenate([labeled, selection.rows])
        is_audit = np.concatenate([is_audit, np.array(selection.sources) == AUDIT])
        probabilities = np.concatenate([probabilities, selection.probabilities])
        if len(np.unique(data.y[labeled])) < 2:
            continue
        # In the product's order: by row.
        rows = np.sort(labeled)
        trained = train(data.X[rows], data.y[rows], n_classes=n_classes)
        P = softmax(trained.head.logits(data.X), trained.temperature)
        if trained.held_out is not None:
            place = np.searchsorted(rows, labeled)
            right = trained.held_out[place].argmax(axis=1) == data.y[labeled]
            snapshots.append(measured(data, trained, labeled, right, is_audit, probabilities))
    return snapshots


def measured(
    data: Collection, trained: Trained, labeled: Rows, right: NDArray[np.bool_], is_audit: NDArray[np.bool_],
    probabilities: NDArray[np.float64],
) -> Snapshot:  # fmt: skip
    hits = trained.head.logits(data.X).argmax(axis=1) == data.y
    rest = np.delete(hits, labeled)
    other = trained.head.logits(data.other_X).argmax(axis=1) == data.other_y
    n, n_audit = len(data.X), int(is_audit.sum())
    estimate = collection_accuracy(right, is_audit, n)
    return Snapshot(
        len(labeled),
        n_audit,
        [
            estimate,
            replace(wilson(estimate.value * estimate.n, estimate.n), value=estimate.value) if estimate.n else estimate,
            wilson(int(right[is_audit].sum()), n_audit),
            lure_estimate(right, np.clip(probabilities, 0, 1), n),
        ],
        [float((rest.sum() + right.sum()) / n), float(other.mean()), float(rest.mean())],
    )


def is_forecast_covered(snapshots: list[Snapshot]) -> bool | None:
    """Return whether the forecast at half of the labels covers the final truth, or None without a forecast."""
    end = snapshots[-1]
    early = [item for item in snapshots if item.n_labels <= end.n_labels / 2 and item.n_audit]
    if len({item.n_labels for item in early}) < 3:
        return None
    curve = forecast(
        [item.n_labels for item in early], [item.estimates[0].value for item in early],
        [item.estimates[0].n for item in early], [end.n_labels], rng=np.random.default_rng(0),
    )  # fmt: skip
    return bool(curve.low[0] <= end.truths[0] <= curve.high[0])


_shared: dict[str, tuple[Floats, Rows]] = {}


def limit_worker() -> None:
    """Limit a worker process to one thread at low priority."""
    os.nice(15)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    threadpool_limits(limits=1)


def one_replay(task: tuple[str, int, int, int]) -> list[Snapshot]:
    name, seed, n, budget = task
    if name == "digits":
        data = digits(seed)
    else:
        X, y = _shared["fashion"]
        data = split(X, y, n, min(len(X), n + n // 2), seed)
    return replay(data, budget=budget, seed=seed)


def report(name: str, runs: list[list[Snapshot]], sizes: Iterable[int]) -> None:
    print(f"\n{name}: {len(runs)} replays")
    print(
        f"{'labels':>7}{'audit':>7}{'accuracy':>9}  {'estimate':<20}{'half':>7}{'bias':>8}  covers " + ", ".join(TRUTHS)
    )
    for size in sizes:
        at = [next(item for item in run if item.n_labels >= size) for run in runs]
        for which, title in enumerate(ESTIMATES):
            estimates = [item.estimates[which] for item in at]
            half = np.mean([(estimate.high - estimate.low) / 2 for estimate in estimates])
            pairs = list(zip(estimates, at, strict=True))
            bias = np.nanmean([estimate.value - snap.truths[0] for estimate, snap in pairs])
            covers = [
                np.mean([estimate.low <= snap.truths[t] <= estimate.high for estimate, snap in pairs])
                for t in range(len(TRUTHS))
            ]
            print(
                f"{size:>7}{np.mean([s.n_audit for s in at]):7.1f}{np.mean([s.truths[0] for s in at]):9.4f}  "
                f"{title:<20}{half:7.3f}{bias:+8.4f}  " + "  ".join(f"{100 * share:5.1f} %" for share in covers)
            )
    covered = [result for result in map(is_forecast_covered, runs) if result is not None]
    if covered:
        print(f"coverage of forecasts at half the labels: {100 * np.mean(covered):.1f} % of {len(covered)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=["digits", "fashion"], default=["digits", "fashion"])
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--items", type=int, default=6000, help="images of Fashion-MNIST per collection")
    parser.add_argument(
        "--images", type=int, default=12_000, help="images from which a replay draws its collection and held-out images"
    )
    parser.add_argument("--components", type=int, help="use this many principal components of the HOG vectors")
    parser.add_argument("--budget", type=int, help="labels per replay (default 500)", default=500)
    parser.add_argument("--vectors", type=Path, help="an .npz with X and y instead of Fashion-MNIST's HOG vectors")
    options = parser.parse_args()
    for name in options.data:
        if name == "fashion":
            if options.vectors:
                with np.load(options.vectors) as arrays:
                    _shared["fashion"] = arrays["X"].astype(np.float32), arrays["y"].astype(np.int64)
            else:
                X, y = fashion(options.images)
                _shared["fashion"] = components(X, options.components) if options.components else X, y
        tasks = [(name, seed, options.items, options.budget) for seed in range(options.replays)]
        started = time.perf_counter()
        # Fork, so that the processes share the vectors.
        runs: list[list[Snapshot]] = []
        with get_context("fork").Pool(options.processes, initializer=limit_worker) as workers:
            try:
                for run in workers.imap_unordered(one_replay, tasks):
                    runs.append(run)
                    print(f"\r{name}: {len(runs)} of {options.replays}", end="", file=sys.stderr, flush=True)
            except KeyboardInterrupt:
                print("\nstopped; results so far:", file=sys.stderr)
        if runs:
            report(name, runs, sorted({options.budget // 5, options.budget // 2, options.budget}))
        print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
