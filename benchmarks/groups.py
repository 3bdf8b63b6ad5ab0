"""Measure how much leaking neighbors inflate the accuracy, and whether folds of whole groups are unbiased.

    python -m benchmarks.groups [--data digits fashion] [--copies 8] [--originals 40 100] [--replays 100]
    python -m benchmarks.groups --intervals

Each replay draws originals, makes ``--copies`` slightly shifted and rotated copies of each (group = original), labels
all of them and trains as the product does: once with ordinary folds, once with folds of whole groups. Both give the
same classifier except for its penalty. The truth is its accuracy on one copy each of unseen originals. Printed:
estimates, truths, and the coverage of each 95 % interval. ``--intervals`` tests only the interval, on simulated labels
that are correct or not in groups.
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.audit import FASHION, Floats, Rows
from modeling.algorithms.intervals import grouped_interval
from modeling.algorithms.train import Trained, train

Pictures = NDArray[np.float32]
# Maximum shift (share of the side), rotation (degrees) and change of brightness (share).
SHIFT, TURN, BRIGHT = 0.06, 8.0, 0.1


@dataclass(frozen=True)
class FoldEstimate:
    """One replay: the estimate by folds, its interval, and the truth."""

    estimate: float
    low: float
    high: float
    truth: float
    temperature: float


def digits() -> tuple[Pictures, Rows]:
    """Return scikit-learn's digits, 8 x 8."""
    data = load_digits()
    return data.images.astype(np.float32) / 16, data.target.astype(np.int64)


def fashion(n: int = 6000) -> tuple[Pictures, Rows]:
    """Return the first training images of Fashion-MNIST, 28 x 28."""
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pictures = np.frombuffer(stream.read(16 + n * 784)[16:], np.uint8).reshape(n, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        y = np.frombuffer(stream.read(8 + n)[8:], np.uint8)
    return pictures.astype(np.float32) / 255, y.astype(np.int64)


def augmented_copy(picture: Pictures, rng: np.random.Generator) -> Pictures:
    """Return a copy, slightly shifted, rotated and brightened."""
    side = picture.shape[0]
    angle = np.deg2rad(rng.uniform(-TURN, TURN))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.full(2, (side - 1) / 2)
    offset = center - turn @ center + rng.uniform(-SHIFT, SHIFT, 2) * side
    moved = affine_transform(picture, turn, offset, order=1)
    return np.asarray(moved * rng.uniform(1 - BRIGHT, 1 + BRIGHT), np.float32)


def vectors(pictures: Pictures, originals: Rows, copies: int, rng: np.random.Generator) -> Floats:
    """Return (len(originals) * copies, d) pixels of the copies, grouped by original."""
    images = [augmented_copy(pictures[row], rng) for row in originals.tolist() for _ in range(copies)]
    return np.stack(images).reshape(len(images), -1)


def replay(pictures: Pictures, y: Rows, n: int, copies: int, seed: int) -> tuple[FoldEstimate, FoldEstimate]:
    """Return the estimates of ordinary and of grouped folds for ``n`` originals, with the truth of each classifier."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pictures))
    mine, fresh = order[:n], order[n : n + 2000]
    # Labels come in no particular order.
    shuffled = rng.permutation(n * copies)
    X = vectors(pictures, mine, copies, rng)[shuffled]
    groups = np.repeat(np.arange(n), copies)[shuffled]
    others = vectors(pictures, fresh, 1, rng)
    n_classes = int(y.max()) + 1

    def estimate(trained: Trained) -> FoldEstimate:
        truth = float((trained.head.logits(others).argmax(axis=1) == y[fresh]).mean())
        metrics = trained.metrics
        return FoldEstimate(metrics["accuracy"], *metrics["accuracy_interval"], truth, trained.temperature)

    labels = y[mine][groups]
    return (
        estimate(train(X, labels, n_classes=n_classes)),
        estimate(train(X, labels, n_classes=n_classes, groups=groups)),
    )


def line(name: str, n: int, copies: int, folds: str, replays: list[FoldEstimate]) -> str:
    estimate, truth = (np.mean([getattr(item, what) for item in replays]) for what in ("estimate", "truth"))
    half = np.mean([item.high - item.low for item in replays]) / 2
    holds = np.mean([item.low <= item.truth <= item.high for item in replays])
    temperature = np.mean([item.temperature for item in replays])
    return (
        f"| {name} | {n} | {n * copies} | {folds} | {estimate:.1%} | {truth:.1%} | {100 * (estimate - truth):+.1f} "
        f"| {100 * half:.1f} | {holds:.0%} | {temperature:.2f} |"
    )


def coverage(n_groups: int, size: int, share: float, alike: float, draws: int) -> tuple[float, float]:
    """Return the coverage of the grouped and the ordinary interval; ``alike`` is the intra-group correlation."""
    rng = np.random.default_rng(0)
    strength = 1 / alike - 1
    count = np.zeros(2)
    for _ in range(draws):
        groups = np.repeat(np.arange(n_groups), rng.integers(1, 2 * size, n_groups))
        own = rng.beta(share * strength, (1 - share) * strength, n_groups)
        right = rng.random(groups.size) < own[groups]
        for position, groups_or_none in enumerate((groups, None)):
            low, high = grouped_interval(right, groups_or_none)
            count[position] += low <= share <= high
    return float(count[0] / draws), float(count[1] / draws)


def try_intervals(draws: int = 500) -> None:
    print("| groups | correlation | coverage, mean | worst | ordinary, mean |")
    print("|---:|---:|---:|---:|---:|")
    for n_groups in (5, 10, 20, 50, 150):
        for alike in (0.2, 0.6, 0.95):
            rates = [coverage(n_groups, size, p, alike, draws) for p in (0.6, 0.8, 0.9, 0.97) for size in (3, 8, 20)]
            grouped, plain = zip(*rates, strict=True)
            cells = f"{np.mean(grouped):.0%} | {min(grouped):.0%} | {np.mean(plain):.0%}"
            print(f"| {n_groups} | {alike} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=["digits", "fashion"], default=["digits", "fashion"])
    parser.add_argument("--originals", nargs="+", type=int, default=[40, 100])
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--replays", type=int, default=100)
    parser.add_argument("--intervals", action="store_true")
    arguments = parser.parse_args()
    if arguments.intervals:
        try_intervals()
        return
    print("| images | originals | labels | folds | estimate | truth | bias | half the interval | coverage | T |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|---:|")
    for name in arguments.data:
        pictures, y = {"digits": digits, "fashion": fashion}[name]()
        for n in arguments.originals:
            with threadpool_limits(1):
                pairs = [replay(pictures, y, n, arguments.copies, seed) for seed in range(arguments.replays)]
            for folds, replays in zip(("ordinary", "of groups"), zip(*pairs, strict=True), strict=True):
                print(line(name, n, arguments.copies, folds, list(replays)), flush=True)


if __name__ == "__main__":
    main()
