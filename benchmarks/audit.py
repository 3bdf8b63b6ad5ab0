"""Measure the coverage of the audited accuracy's interval while Auto selects most of the labels.

    python -m benchmarks.audit [--data digits fashion stamps-two-networks] [--replays 200] [--first-seed 0]
        [--processes 2] [--vectors FILE.npz] [--audit-share 0.5] [--slips 0.02] [--grouped] [--results FILE.jsonl]

Replays the labeling with the true labels: Auto selects with its audit share, the model is trained as in the product,
and after every retrain estimates are compared with three truths. The product's estimate is also made with confidences
of temperature 0.5 (overconfident) and 2 (underconfident). ``--grouped`` keeps clusters of about six similar images
together; held-out images are of other clusters. ``--vectors`` is an .npz with ``X`` (n, d) and
``y`` (n,) to use instead of the HOG vectors of Fashion-MNIST. Each replay draws its own collection, its own held-out
images and its own seed. The collections of ``benchmarks.label_efficiency`` with joined encoders are replayed with a
head smoothed over the k-NN graph, until at most half of a collection is labeled. ``--results`` appends each replay to a
file, skips those that it holds, and ends with a summary of all of them.
"""

from __future__ import annotations

import argparse
import gzip
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.audit_report import Snapshot, Task, append, by_size, read, summary
from benchmarks.label_efficiency.data import CACHE, COLLECTIONS
from benchmarks.label_efficiency.replay import N_NEIGHBORS, NewRows
from modeling.algorithms.calibration import softmax
from modeling.algorithms.neighbors import knn_graph, project
from modeling.algorithms.smoothing import Smoothing, smoothed_rows
from modeling.algorithms.train import Trained, train
from modeling.backends.hog import HogEncoder
from modeling.backends.plugins import LoadedEncoder
from sampling.algorithms.auto import choose
from sampling.algorithms.estimates import collection_accuracy, lure_estimate, wilson
from sampling.algorithms.mixing import AUDIT, AUDIT_SHARE
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.prediction_powered import powered_accuracy

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
FASHION = Path("/usr/share/datasets/fashion-mnist")
TEMPERATURES = (1.0, 0.5, 2.0)
JOINED = tuple(name for name, collection in COLLECTIONS.items() if collection.base and not collection.is_imbalanced)
# Beyond this share of labels, a collection is rarely labeled image by image.
MAX_LABELED = 0.5
GROUP_SIZE = 6
# The product's policy: retrain after this many new labels, or this share of them.
MIN_NEW, SHARE_NEW = 20, 0.1


@dataclass
class Collection:
    """Hold the items that a replay labels, and other images of the same kind.

    ``given`` are the labels as a person gives them, with slips; ``groups`` None without groups; ``is_smoothed`` whether
    the head is smoothed over the k-NN graph.
    """

    X: Floats
    y: Rows
    other_X: Floats
    other_y: Rows
    given: Rows
    groups: Rows | None = None
    is_smoothed: bool = False


def joined(name: str, seed: int, limit: int) -> Collection:
    """Return components of joined encoders for at most ``limit`` images, fitted to a sample of the collection."""
    drawn = COLLECTIONS[name].draw(CACHE, seed, limit)
    return Collection(drawn.X, drawn.y, drawn.held_out_X, drawn.held_out_y, drawn.y, is_smoothed=True)


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
    return LoadedEncoder(HogEncoder()).encode_prepared(np.stack([np.asarray(image) for image in large])), y


def components(X: Floats, n: int) -> Floats:
    """Project the vectors on their first principal components: (len(X), n)."""
    centered = X - X.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered / len(X))
    return np.asarray(centered @ axes[:, ::-1][:, :n], np.float32)


class Model:
    """Train and predict as the product does, with or without smoothing."""

    def __init__(self, data: Collection, smoothing: Smoothing | None) -> None:
        self.data, self.smoothing = data, smoothing
        self.n_classes = int(max(data.y.max(), data.other_y.max())) + 1
        self.new_rows = None if smoothing is None else NewRows.of(data.X, data.other_X)

    def fit(self, rows: Rows, is_audit: NDArray[np.bool_]) -> Trained:
        data = self.data
        return train(
            data.X[rows],
            data.given[rows],
            n_classes=self.n_classes,
            is_audit=is_audit,
            groups=None if data.groups is None else data.groups[rows],
            smoothed=None if self.smoothing is None else smoothed_rows(self.smoothing, data.X, rows),
        )

    def predict(self, trained: Trained) -> tuple[Floats, Rows]:
        """Return the probabilities of the collection, and the predicted classes of the other images."""
        logits, other = trained.head.logits(self.data.X), trained.head.logits(self.data.other_X)
        if self.smoothing is not None and self.new_rows is not None:
            logits, other = self.new_rows.smooth(self.smoothing, logits, other, trained.steps)
        return softmax(logits, trained.temperature), other.argmax(axis=1)


def replay(data: Collection, *, budget: int, seed: int, audit_share: float = AUDIT_SHARE) -> list[Snapshot]:
    """Label ``budget`` items in Auto's order, retraining when the product would."""
    rng = np.random.default_rng(seed)
    Z = project(data.X, rng=np.random.default_rng(0))
    graph = knn_graph(Z, N_NEIGHBORS)
    oddness = local_outlier_factor(graph)
    model = Model(data, Smoothing.of(graph) if data.is_smoothed else None)
    labeled = np.empty(0, np.int64)
    is_audit = np.empty(0, bool)
    probabilities = np.empty(0)
    P: Floats | None = None
    snapshots = []
    budget = min(budget, int(MAX_LABELED * len(data.X))) if data.is_smoothed else budget
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
        trained = model.fit(labeled[order], is_audit[order])
        P, other = model.predict(trained)
        if trained.held_out is not None:
            held_out = trained.held_out[np.argsort(order)]
            labels = Labels(labeled, is_audit, probabilities, held_out)
            snapshots.append(measured(data, labels, P, other))
    return snapshots


@dataclass
class Labels:
    """Hold the labeled rows in order, which were drawn at random, with what chance, and how they were predicted."""

    rows: Rows
    is_audit: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    held_out: Floats


def measured(data: Collection, labels: Labels, P: Floats, other: Rows) -> Snapshot:
    """Estimate the accuracy in every way, and measure it; ``other`` are the classes predicted for the other images."""
    n, is_audit = len(data.X), labels.is_audit
    predicted = labels.held_out.argmax(axis=1)
    right = predicted == data.given[labels.rows]
    rest = np.delete(P.argmax(axis=1) == data.y, labels.rows)
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
            float((other == data.other_y).mean()),
            float(rest.mean()),
        ],
    )


def confidence(P: Floats, temperature: float) -> NDArray[np.float64]:
    """Return the highest probability of each row after another temperature."""
    powers = np.power(np.maximum(P, 1e-12), 1 / temperature)
    return np.asarray(powers.max(axis=1) / powers.sum(axis=1), np.float64)


_shared: dict[str, tuple[Floats, Rows]] = {}


def limit_worker() -> None:
    """Limit a worker process to one thread at low priority."""
    os.nice(15)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    threadpool_limits(limits=1)


def one_replay(task: Task) -> tuple[Task, list[Snapshot]]:
    if task.name in JOINED:
        data = joined(task.name, task.seed, task.n + task.n // 2)
    elif task.name == "digits":
        data = digits(task.seed)
    else:
        X, y = _shared["fashion"]
        data = split(X, y, task.n, min(len(X), task.n + task.n // 2), task.seed)
    if task.is_grouped:
        data = in_groups(data, task.seed)
    if task.slips:
        data = with_slips(data, task.slips, task.seed)
    return task, replay(data, budget=task.budget, seed=task.seed, audit_share=task.audit_share)


def main() -> None:
    options = arguments().parse_args()
    if options.grouped and set(options.data) & set(JOINED):
        sys.exit("Groups are formed of the vectors of digits and fashion only; leave out the joined encoders.")
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
            for seed in range(options.first_seed, options.first_seed + options.replays)
        ]
        started = time.perf_counter()
        runs = replay_all(tasks, options.processes, options.results)
        if runs:
            by_size(name, runs, sorted({options.budget // 5, options.budget // 2, options.budget}))
        print(f"{time.perf_counter() - started:.0f} s")
    if options.results:
        print(summary(read(options.results)))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["digits", "fashion", *JOINED]
    parser.add_argument("--data", nargs="+", choices=names, default=["digits", "fashion"], metavar="COLLECTION",
                        help=", ".join(names))  # fmt: skip
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
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
    parser.add_argument("--results", type=Path, help="append replays to this file of JSON lines, and skip those in it")
    return parser


def replay_all(tasks: list[Task], processes: int, results: Path | None) -> list[list[Snapshot]]:
    """Return the replays, those in the file of results without running them again."""
    done = read(results) if results else {}
    runs = [done[task] for task in tasks if task in done]
    todo = [task for task in tasks if task not in done]
    # Fork, so that the processes share the vectors.
    with get_context("fork").Pool(processes, initializer=limit_worker) as workers:
        try:
            for task, run in workers.imap_unordered(one_replay, todo):
                runs.append(run)
                if results:
                    append(results, task, run)
                print(f"\r{task.name}: {len(runs)} of {len(tasks)}", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("\nstopped; results so far:", file=sys.stderr)
    return runs


if __name__ == "__main__":
    main()
