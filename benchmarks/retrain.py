"""How long a whole retrain takes, against scikit-learn's cold fit and one plain product, in the same run.

    uv run --no-sync python -m benchmarks.retrain [--labels 1000] [--rows 100000] [--dim 1280] [--classes 10]

The vectors are made up in the likeness of a pooled MobileNetV2 layer: not negative, capped at 6, correlated.
Every round times all parts one after the other, so that other work on the machine meets them alike; printed
are medians over the rounds, and the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import predict_in_blocks
from modeling.algorithms.train import Trained, train

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]


def likely_vectors(n: int, dim: int, n_classes: int, seed: int) -> tuple[Float32, Labels]:
    """(n, dim) vectors of overlapping classes, a few dozen factors behind all features, and their classes."""
    rng = np.random.default_rng(seed)
    n_factors = min(60, dim)
    mixing = (rng.normal(size=(n_factors, dim)) / np.sqrt(n_factors)).astype(np.float32)
    centres = (0.5 * rng.normal(size=(n_classes, n_factors))).astype(np.float32)
    offset = rng.normal(-0.5, 0.7, dim).astype(np.float32)
    y = rng.integers(0, n_classes, n)
    X = np.empty((n, dim), np.float32)
    for begin in range(0, n, 10_000):
        part = y[begin : begin + 10_000]
        factors = centres[part] + rng.standard_normal((part.size, n_factors), np.float32)
        noise = 0.3 * rng.standard_normal((part.size, dim), np.float32)
        np.clip(factors @ mixing + offset + noise, 0, 6, out=X[begin : begin + 10_000])
    return X, y


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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    X, y = likely_vectors(arguments.rows, arguments.dim, arguments.classes, arguments.seed)
    labelled, labels = X[: arguments.labels].copy(), y[: arguments.labels]
    unseen = slice(arguments.labels, min(arguments.labels + 10_000, arguments.rows))
    weights = np.random.default_rng(1).standard_normal((arguments.dim, arguments.classes), np.float32)
    out = np.empty((arguments.rows, arguments.classes), np.float32)
    rounds: dict[str, list[float]] = {"cold": [], "plain": [], "train": [], "predict": []}
    trained: Trained | None = None
    cold = LogisticRegression(max_iter=1000)
    for _ in range(arguments.runs):
        # A new classifier each time: nothing is left over from the last fit.
        cold = LogisticRegression(max_iter=1000)
        rounds["cold"].append(seconds(lambda: cold.fit(labelled, labels)))  # noqa: B023
        rounds["plain"].append(seconds(lambda: X @ weights))
        start = time.perf_counter()
        trained = train(labelled, labels, n_classes=arguments.classes, seed=0)
        rounds["train"].append(time.perf_counter() - start)
        start = time.perf_counter()
        predict_in_blocks(X, trained.head, trained.temperature, out)
        rounds["predict"].append(time.perf_counter() - start)
    if trained is None:
        raise SystemExit("--runs must be at least 1")
    report(rounds, arguments)
    if unseen.start < unseen.stop:
        ours = softmax(trained.head.logits(X[unseen]), trained.temperature)
        theirs = cold.predict_proba(X[unseen])
        print("\non rows that were not labelled       hoshina   scikit-learn")
        print(f"accuracy                            {(ours.argmax(1) == y[unseen]).mean():8.4f}", end="")
        print(f"   {(theirs.argmax(1) == y[unseen]).mean():12.4f}")
        every = np.arange(arguments.classes)
        print(f"log loss                            {log_loss(y[unseen], ours, labels=every):8.4f}", end="")
        print(f"   {log_loss(y[unseen], theirs, labels=every):12.4f}")
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
