"""Does the honest accuracy's interval hold the truth while Auto, not chance, chooses most of the labels?

    python -m benchmarks.audit [--data digits fashion] [--replays 200] [--processes 2] [--vectors FILE.npz]

Labelling replayed with the true labels: Auto chooses with its audit share, the model is trained as the product does,
and after every retrain three estimates are compared with three truths. ``--vectors`` takes an .npz with ``X`` (n, d)
and ``y`` (n,) in place of the HOG vectors of Fashion-MNIST. Each replay draws its own collection, its own images held
out and its own seed.
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
    forecast,
    lure_estimate,
    wilson,
)
from sampling.algorithms.mixing import AUDIT
from sampling.algorithms.outliers import local_outlier_factor

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
FASHION = Path("/usr/share/datasets/fashion-mnist")
TRUTHS = ("collection", "held out", "not labelled")
ESTIMATES = ("of the collection", "… plain Wilson", "share, plain Wilson", "LURE, plain Wilson")
# The product's own: retrain after so many new labels, or this share of them.
MIN_NEW, SHARE_NEW = 20, 0.1


@dataclass
class Snapshot:
    """One version of the model: what is estimated of it and what is true."""

    n_labels: int
    n_audit: int
    estimates: list[Estimate]  # as ESTIMATES
    truths: list[float]  # as TRUTHS


@dataclass
class Collection:
    """What one replay labels, and other images of the same kind."""

    X: Floats
    y: Rows
    other_X: Floats
    other_y: Rows


def digits(seed: int) -> Collection:
    """Pixels of scikit-learn's digits: three quarters are the collection."""
    X, y = load_digits(return_X_y=True)
    return split(X.astype(np.float32) / 16, y.astype(np.int64), len(X) * 3 // 4, len(X), seed)


def split(X: Floats, y: Rows, n: int, n_all: int, seed: int) -> Collection:
    order = np.random.default_rng(1000 + seed).permutation(len(X))[:n_all]
    mine, other = order[:n], order[n:]
    return Collection(X[mine], y[mine], X[other], y[other])


def fashion(n: int) -> tuple[Floats, Rows]:
    """HOG vectors of the first ``n`` training images of Fashion-MNIST."""
    from PIL import Image

    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pictures = np.frombuffer(stream.read(16 + n * 784)[16:], np.uint8).reshape(n, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        y = np.frombuffer(stream.read(8 + n)[8:], np.uint8).astype(np.int64)
    large = [Image.fromarray(one).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR) for one in pictures]
    return HogEncoder("").encode_prepared(np.stack([np.asarray(one) for one in large])), y


def components(X: Floats, n: int) -> Floats:
    """(len(X), n) the vectors on their first principal components."""
    centred = X - X.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred / len(X))
    return np.asarray(centred @ axes[:, ::-1][:, :n], np.float32)


def replay(data: Collection, *, budget: int, seed: int) -> list[Snapshot]:
    """Label ``budget`` items as Auto deals them, retraining when the product would."""
    rng = np.random.default_rng(seed)
    n_classes = int(max(data.y.max(), data.other_y.max())) + 1
    Z = project(data.X, rng=np.random.default_rng(0))
    oddness = local_outlier_factor(knn_graph(Z, 20))
    labelled = np.empty(0, np.int64)
    is_audit = np.empty(0, bool)
    chances = np.empty(0)
    P: Floats | None = None
    snapshots = []
    while len(labelled) < budget:
        left = np.setdiff1d(np.arange(len(data.X)), labelled)
        k = min(max(MIN_NEW, round(SHARE_NEW * len(labelled))), budget - len(labelled))
        dealt = choose(Z, left, labelled, data.y[labelled], P, k, rng=rng, oddness=oddness)
        labelled = np.concatenate([labelled, dealt.rows])
        is_audit = np.concatenate([is_audit, np.array(dealt.sources) == AUDIT])
        chances = np.concatenate([chances, dealt.probabilities])
        if len(np.unique(data.y[labelled])) < 2:
            continue
        # As the product reads them: by row.
        rows = np.sort(labelled)
        trained = train(data.X[rows], data.y[rows], n_classes=n_classes)
        P = softmax(trained.head.logits(data.X), trained.temperature)
        if trained.held_out is not None:
            place = np.searchsorted(rows, labelled)
            right = trained.held_out[place].argmax(axis=1) == data.y[labelled]
            snapshots.append(measured(data, trained, labelled, right, is_audit, chances))
    return snapshots


def measured(
    data: Collection, trained: Trained, labelled: Rows, right: NDArray[np.bool_], is_audit: NDArray[np.bool_],
    chances: NDArray[np.float64],
) -> Snapshot:  # fmt: skip
    hits = trained.head.logits(data.X).argmax(axis=1) == data.y
    rest = np.delete(hits, labelled)
    other = trained.head.logits(data.other_X).argmax(axis=1) == data.other_y
    n, n_audit = len(data.X), int(is_audit.sum())
    told = collection_accuracy(right, is_audit, n)
    return Snapshot(
        len(labelled),
        n_audit,
        [
            told,
            replace(wilson(told.value * told.n, told.n), value=told.value) if told.n else told,
            wilson(int(right[is_audit].sum()), n_audit),
            lure_estimate(right, np.clip(chances, 0, 1), n),
        ],
        [float((rest.sum() + right.sum()) / n), float(other.mean()), float(rest.mean())],
    )


def forecasts_hold(snapshots: list[Snapshot]) -> bool | None:
    """Whether the forecast made when half was labelled holds the truth at the end; None where none could be made."""
    end = snapshots[-1]
    early = [one for one in snapshots if one.n_labels <= end.n_labels / 2 and one.n_audit]
    if len({one.n_labels for one in early}) < 3:
        return None
    told = forecast(
        [one.n_labels for one in early], [one.estimates[0].value for one in early],
        [one.estimates[0].n for one in early], [end.n_labels], rng=np.random.default_rng(0),
    )  # fmt: skip
    return bool(told.low[0] <= end.truths[0] <= told.high[0])


_shared: dict[str, tuple[Floats, Rows]] = {}


def quietly() -> None:
    """Processes beside each other: one thread each, behind everything else."""
    os.nice(15)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the run where the replays are counted
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
        at = [next(one for one in run if one.n_labels >= size) for run in runs]
        for which, title in enumerate(ESTIMATES):
            told = [one.estimates[which] for one in at]
            half = np.mean([(one.high - one.low) / 2 for one in told])
            bias = np.nanmean([one.value - snap.truths[0] for one, snap in zip(told, at, strict=True)])
            covers = [
                np.mean([one.low <= snap.truths[t] <= one.high for one, snap in zip(told, at, strict=True)])
                for t in range(len(TRUTHS))
            ]
            print(
                f"{size:>7}{np.mean([s.n_audit for s in at]):7.1f}{np.mean([s.truths[0] for s in at]):9.4f}  "
                f"{title:<20}{half:7.3f}{bias:+8.4f}  " + "  ".join(f"{100 * share:5.1f} %" for share in covers)
            )
    held = [one for one in map(forecasts_hold, runs) if one is not None]
    if held:
        print(f"forecast at half the labels holds the last accuracy: {100 * np.mean(held):.1f} % of {len(held)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=["digits", "fashion"], default=["digits", "fashion"])
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--items", type=int, default=6000, help="images of Fashion-MNIST in a collection")
    parser.add_argument("--images", type=int, default=12_000, help="of which a replay draws them and those held out")
    parser.add_argument("--components", type=int, help="take so many principal components of the HOG vectors")
    parser.add_argument("--budget", type=int, help="labels a replay (default 500)", default=500)
    parser.add_argument("--vectors", type=Path, help="an .npz with X and y in place of Fashion-MNIST's HOG")
    given = parser.parse_args()
    for name in given.data:
        if name == "fashion":
            if given.vectors:
                with np.load(given.vectors) as kept:
                    _shared["fashion"] = kept["X"].astype(np.float32), kept["y"].astype(np.int64)
            else:
                X, y = fashion(given.images)
                _shared["fashion"] = components(X, given.components) if given.components else X, y
        tasks = [(name, seed, given.items, given.budget) for seed in range(given.replays)]
        started = time.perf_counter()
        # Forked, so that the processes share the vectors.
        runs: list[list[Snapshot]] = []
        with get_context("fork").Pool(given.processes, initializer=quietly) as workers:
            try:
                for run in workers.imap_unordered(one_replay, tasks):
                    runs.append(run)
                    print(f"\r{name}: {len(runs)} of {given.replays}", end="", file=sys.stderr, flush=True)
            except KeyboardInterrupt:
                print("\nstopped; what was replayed so far:", file=sys.stderr)
        if runs:
            report(name, runs, sorted({given.budget // 5, given.budget // 2, given.budget}))
        print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
