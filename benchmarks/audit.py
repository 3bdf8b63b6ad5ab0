"""Measure the coverage of the audited accuracy's interval while Auto selects most of the labels.

    python -m benchmarks.audit [--data digits fashion] [--replays 200] [--processes 2] [--vectors FILE.npz]
        [--audit-share 0.5] [--slips 0.02] [--grouped]

Replays the labeling with the true labels: Auto selects with its audit share, the model is trained as in the product,
and after every retrain estimates are compared with three truths. The product's estimate is also made with confidences
of temperature 0.5 (overconfident) and 2 (underconfident). ``--grouped`` keeps clusters of about six similar images
together; held-out images are of other clusters. ``--vectors`` is an .npz with ``X`` (n, d) and
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
from sampling.algorithms.learning_curves import forecast, forecast_gain
from sampling.algorithms.mixing import AUDIT, AUDIT_SHARE
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.prediction_powered import powered_accuracy

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
FASHION = Path("/usr/share/datasets/fashion-mnist")
TRUTHS = ("collection", "held out", "unlabeled")
ESTIMATES = (
    "in the product", "… overconfident", "… underconfident", "of the collection", "… uncorrected Wilson",
    "share, Wilson", "LURE, Wilson",
)  # fmt: skip
TEMPERATURES = (1.0, 0.5, 2.0)
GROUP_SIZE = 6
# The product's policy: retrain after this many new labels, or this share of them.
MIN_NEW, SHARE_NEW = 20, 0.1
# The product forecasts from this many audit labels on.
MIN_AUDIT = 20
FORECAST_AT = (0.3, 0.5, 0.7)


@dataclass
class Snapshot:
    """Hold a version of the model: its estimates and the true values."""

    n_labels: int
    n_audit: int
    estimates: list[Estimate]  # as ESTIMATES
    truths: list[float]  # as TRUTHS


@dataclass
class Collection:
    """Hold the items that a replay labels, and other images of the same kind.

    ``given`` are the labels as a person gives them, with slips; ``groups`` None without groups.
    """

    X: Floats
    y: Rows
    other_X: Floats
    other_y: Rows
    given: Rows
    groups: Rows | None = None


def digits(seed: int) -> Collection:
    """Return pixels of scikit-learn's digits, three quarters of them as the collection."""
    X, y = load_digits(return_X_y=True)
    return split(X.astype(np.float32) / 16, y.astype(np.int64), len(X) * 3 // 4, len(X), seed)


def split(X: Floats, y: Rows, n: int, n_all: int, seed: int) -> Collection:
    order = np.random.default_rng(1000 + seed).permutation(len(X))[:n_all]
    mine, other = order[:n], order[n:]
    return Collection(X[mine], y[mine], X[other], y[other], y[mine])


def with_slips(data: Collection, share: float, seed: int) -> Collection:
    """Give a random share of the labels as another class."""
    rng = np.random.default_rng(2000 + seed)
    n_classes, given = int(data.y.max()) + 1, data.y.copy()
    slips = rng.random(len(given)) < share
    given[slips] = (given[slips] + rng.integers(1, n_classes, int(slips.sum()))) % n_classes
    return replace(data, given=given)


def in_groups(data: Collection, seed: int) -> Collection:
    """Split all images again: three quarters of the clusters of similar images are the collection."""
    from sklearn.cluster import KMeans

    X, y = np.concatenate([data.X, data.other_X]), np.concatenate([data.y, data.other_y])
    clusters = KMeans(len(X) // GROUP_SIZE, n_init=1, max_iter=5, random_state=seed).fit_predict(X).astype(np.int64)
    rank = np.random.default_rng(3000 + seed).permutation(clusters.max() + 1)
    other = rank[clusters] < len(rank) / 4
    return Collection(X[~other], y[~other], X[other], y[other], y[~other], clusters[~other])


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


def replay(data: Collection, *, budget: int, seed: int, audit_share: float = AUDIT_SHARE) -> list[Snapshot]:
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
        selection = choose(
            Z, left, labeled, data.given[labeled], P, k, rng=rng, oddness=oddness, audit_share=audit_share
        )
        labeled = np.concatenate([labeled, selection.rows])
        is_audit = np.concatenate([is_audit, np.array(selection.sources) == AUDIT])
        probabilities = np.concatenate([probabilities, selection.probabilities])
        if len(np.unique(data.given[labeled])) < 2:
            continue
        # In the product's order: by row.
        order = np.argsort(labeled)
        rows = labeled[order]
        groups = None if data.groups is None else data.groups[rows]
        trained = train(data.X[rows], data.given[rows], n_classes=n_classes, is_audit=is_audit[order], groups=groups)
        P = softmax(trained.head.logits(data.X), trained.temperature)
        if trained.held_out is not None:
            held_out = trained.held_out[np.argsort(order)]
            snapshots.append(measured(data, trained, Labels(labeled, is_audit, probabilities, held_out), P))
    return snapshots


@dataclass
class Labels:
    """Hold the labeled rows in order, which were drawn at random, with what chance, and how they were predicted."""

    rows: Rows
    is_audit: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    held_out: Floats


def measured(data: Collection, trained: Trained, labels: Labels, P: Floats) -> Snapshot:
    """Estimate the accuracy in every way, and measure it."""
    n, is_audit = len(data.X), labels.is_audit
    predicted = labels.held_out.argmax(axis=1)
    right = predicted == data.given[labels.rows]
    rest = np.delete(P.argmax(axis=1) == data.y, labels.rows)
    other = trained.head.logits(data.other_X).argmax(axis=1) == data.other_y
    groups = None if data.groups is None else data.groups[labels.rows]
    unlabeled = np.delete(P, labels.rows, axis=0)
    plain = collection_accuracy(right, is_audit, n, groups)
    powered = [
        powered_accuracy(right, confidence(labels.held_out, t), is_audit, confidence(unlabeled, t))
        if groups is None
        else plain
        for t in TEMPERATURES
    ]
    return Snapshot(
        len(labels.rows),
        int(is_audit.sum()),
        [
            *powered,
            plain,
            replace(wilson(plain.value * plain.n, plain.n), value=plain.value) if plain.n else plain,
            wilson(int(right[is_audit].sum()), int(is_audit.sum())),
            lure_estimate(right, np.clip(labels.probabilities, 0, 1), n),
        ],
        [
            float((rest.sum() + (predicted == data.y[labels.rows]).sum()) / n),
            float(other.mean()),
            float(rest.mean()),
        ],
    )


def confidence(P: Floats, temperature: float) -> NDArray[np.float64]:
    """Return the highest probability of each row after another temperature."""
    powers = np.power(np.maximum(P, 1e-12), 1 / temperature)
    return np.asarray(powers.max(axis=1) / powers.sum(axis=1), np.float64)


def is_forecast_covered(snapshots: list[Snapshot], share: float = 0.5) -> tuple[bool, bool, float] | None:
    """Return whether forecasts at a share of the labels cover the later truths, or None without a forecast.

    The first is that of the final accuracy, the second that of its gain, the third the share of all gains until then.
    """
    end = snapshots[-1]
    early = [item for item in snapshots if item.n_labels <= share * end.n_labels and item.n_audit]
    if len({item.n_labels for item in early}) < 3 or early[-1].n_audit < MIN_AUDIT:
        return None
    now, later = early[-1], [item for item in snapshots if item.n_labels > early[-1].n_labels]
    points = (
        [item.n_labels for item in early], [item.estimates[0].value for item in early],
        [item.estimates[0].n for item in early], [item.n_labels for item in later],
    )  # fmt: skip
    truths = np.array([item.truths[0] for item in later])
    curve = forecast(*points, rng=np.random.default_rng(0))
    gain = forecast_gain(*points, rng=np.random.default_rng(0))
    is_in = (gain.low <= truths - now.truths[0]) & (truths - now.truths[0] <= gain.high)
    return bool(curve.low[-1] <= truths[-1] <= curve.high[-1]), bool(is_in[-1]), float(is_in.mean())


_shared: dict[str, tuple[Floats, Rows]] = {}


def limit_worker() -> None:
    """Limit a worker process to one thread at low priority."""
    os.nice(15)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    threadpool_limits(limits=1)


@dataclass(frozen=True)
class Task:
    """Describe a replay to run."""

    name: str
    seed: int
    n: int
    budget: int
    audit_share: float
    slips: float
    is_grouped: bool


def one_replay(task: Task) -> list[Snapshot]:
    if task.name == "digits":
        data = digits(task.seed)
    else:
        X, y = _shared["fashion"]
        data = split(X, y, task.n, min(len(X), task.n + task.n // 2), task.seed)
    if task.is_grouped:
        data = in_groups(data, task.seed)
    if task.slips:
        data = with_slips(data, task.slips, task.seed)
    return replay(data, budget=task.budget, seed=task.seed, audit_share=task.audit_share)


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
    for share in FORECAST_AT:
        covered = [result for run in runs if (result := is_forecast_covered(run, share)) is not None]
        if covered:
            end, gain, gains = 100 * np.mean(covered, axis=0)
            print(
                f"forecasts at {share:.0%} of the labels cover: final accuracy {end:.1f} %, its gain {gain:.1f} %, "
                f"all gains until then {gains:.1f} %, of {len(covered)}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=["digits", "fashion"], default=["digits", "fashion"])
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--items", type=int, default=6000, help="images of Fashion-MNIST per collection")
    parser.add_argument(
        "--images", type=int, default=12_000, help="images from which a replay draws its collection and held-out images"
    )
    parser.add_argument("--audit-share", type=float, default=AUDIT_SHARE, help="share of random draws in Auto's images")
    parser.add_argument("--slips", type=float, default=0.0, help="share of wrong labels")
    parser.add_argument("--grouped", action="store_true", help="keep clusters of similar images together")
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
        tasks = [
            Task(name, seed, options.items, options.budget, options.audit_share, options.slips, options.grouped)
            for seed in range(options.replays)
        ]
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
