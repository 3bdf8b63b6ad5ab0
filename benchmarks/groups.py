"""How far too high is accuracy where neighbours leak, and do folds of whole groups tell the truth?

    python -m benchmarks.groups [--data digits fashion] [--copies 8] [--originals 40 100] [--replays 100]
    python -m benchmarks.groups --intervals

Each replay draws originals, gives each ``--copies`` slightly shifted and turned copies (group = original), labels all
of them and trains as the product does: once with folds that know nothing of groups, once with folds of whole groups.
Both give the same classifier, but for its penalty. The truth is how right it is about copies, one each, of originals
that it has never seen. Printed: the estimates, the truths, and how often each 95 % interval holds its truth.
``--intervals`` tries the interval alone, on made-up labels that are right or wrong in groups.
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
# Shifts by this share of the side, turns by so many degrees, and brightness by this share, at most.
SHIFT, TURN, BRIGHT = 0.06, 8.0, 0.1


@dataclass(frozen=True)
class Told:
    """One replay: what folds said, between what, and what is true."""

    estimate: float
    low: float
    high: float
    truth: float
    temperature: float


def digits() -> tuple[Pictures, Rows]:
    """scikit-learn's digits, 8 by 8."""
    data = load_digits()
    return data.images.astype(np.float32) / 16, data.target.astype(np.int64)


def fashion(n: int = 6000) -> tuple[Pictures, Rows]:
    """The first training images of Fashion-MNIST, 28 by 28."""
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pictures = np.frombuffer(stream.read(16 + n * 784)[16:], np.uint8).reshape(n, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        y = np.frombuffer(stream.read(8 + n)[8:], np.uint8)
    return pictures.astype(np.float32) / 255, y.astype(np.int64)


def copied(picture: Pictures, rng: np.random.Generator) -> Pictures:
    """A copy, shifted, turned and brightened a little."""
    side = picture.shape[0]
    angle = np.deg2rad(rng.uniform(-TURN, TURN))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.full(2, (side - 1) / 2)
    offset = middle - turn @ middle + rng.uniform(-SHIFT, SHIFT, 2) * side
    moved = affine_transform(picture, turn, offset, order=1)
    return np.asarray(moved * rng.uniform(1 - BRIGHT, 1 + BRIGHT), np.float32)


def vectors(pictures: Pictures, originals: Rows, copies: int, rng: np.random.Generator) -> Floats:
    """(len(originals) * copies, d) pixels of the copies, those of one original side by side."""
    made = [copied(pictures[one], rng) for one in originals.tolist() for _ in range(copies)]
    return np.stack(made).reshape(len(made), -1)


def replay(pictures: Pictures, y: Rows, n: int, copies: int, seed: int) -> tuple[Told, Told]:
    """What plain folds and folds of groups tell, for ``n`` originals, and the truth for each of the classifiers."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pictures))
    mine, fresh = order[:n], order[n : n + 2000]
    # People label in no order.
    shuffled = rng.permutation(n * copies)
    X = vectors(pictures, mine, copies, rng)[shuffled]
    groups = np.repeat(np.arange(n), copies)[shuffled]
    others = vectors(pictures, fresh, 1, rng)
    n_classes = int(y.max()) + 1

    def told(trained: Trained) -> Told:
        truth = float((trained.head.logits(others).argmax(axis=1) == y[fresh]).mean())
        metrics = trained.metrics
        return Told(metrics["accuracy"], *metrics["accuracy_interval"], truth, trained.temperature)

    labels = y[mine][groups]
    return (
        told(train(X, labels, n_classes=n_classes)),
        told(train(X, labels, n_classes=n_classes, groups=groups)),
    )


def line(name: str, n: int, copies: int, words: str, tolds: list[Told]) -> str:
    estimate, truth = (np.mean([getattr(one, what) for one in tolds]) for what in ("estimate", "truth"))
    half = np.mean([one.high - one.low for one in tolds]) / 2
    holds = np.mean([one.low <= one.truth <= one.high for one in tolds])
    temperature = np.mean([one.temperature for one in tolds])
    return (
        f"| {name} | {n} | {n * copies} | {words} | {estimate:.1%} | {truth:.1%} | {100 * (estimate - truth):+.1f} "
        f"| {100 * half:.1f} | {holds:.0%} | {temperature:.2f} |"
    )


def held(n_groups: int, size: int, share: float, alike: float, draws: int) -> tuple[float, float]:
    """How often the interval of groups, and the plain one, hold the share; ``alike`` is the correlation in a group."""
    rng = np.random.default_rng(0)
    strength = 1 / alike - 1
    count = np.zeros(2)
    for _ in range(draws):
        groups = np.repeat(np.arange(n_groups), rng.integers(1, 2 * size, n_groups))
        own = rng.beta(share * strength, (1 - share) * strength, n_groups)
        right = rng.random(groups.size) < own[groups]
        for place, some in enumerate((groups, None)):
            low, high = grouped_interval(right, some)
            count[place] += low <= share <= high
    return float(count[0] / draws), float(count[1] / draws)


def try_intervals(draws: int = 500) -> None:
    print("| groups | correlation | holds, mean | worst | plain, mean |")
    print("|---:|---:|---:|---:|---:|")
    for n_groups in (5, 10, 20, 50, 150):
        for alike in (0.2, 0.6, 0.95):
            told = [held(n_groups, size, p, alike, draws) for p in (0.6, 0.8, 0.9, 0.97) for size in (3, 8, 20)]
            grouped, plain = zip(*told, strict=True)
            words = f"{np.mean(grouped):.0%} | {min(grouped):.0%} | {np.mean(plain):.0%}"
            print(f"| {n_groups} | {alike} | {words} |", flush=True)


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
    print("| images | originals | labels | folds | accuracy told | true | too high | half the interval | holds | T |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---:|---:|")
    for name in arguments.data:
        pictures, y = {"digits": digits, "fashion": fashion}[name]()
        for n in arguments.originals:
            with threadpool_limits(1):
                pairs = [replay(pictures, y, n, arguments.copies, seed) for seed in range(arguments.replays)]
            for words, tolds in zip(("plain", "of groups"), zip(*pairs, strict=True), strict=True):
                print(line(name, n, arguments.copies, words, list(tolds)), flush=True)


if __name__ == "__main__":
    main()
