"""Measure whether Auto should prefer images that are decided quickly: accuracy against minutes instead of labels.

    python -m benchmarks.decision_times [COLLECTION ...] [--seeds 10] [--minutes 12] [--slowdowns 1.5 3]
        [--results FILE.jsonl] [--only-report]

Replays the labeling with the true labels and simulated times. The time of a decision is log-normal, as response times
are (Luce, *Response times*, 1986): 1.5 s times 1 + (slowdown - 1) * difficulty, with a standard deviation of 0.5 of its
logarithm. The difficulty of an image is one minus its margin by a model that has the labels of four fifths of the pool
without it: 0 for a clear image and 1 on a boundary between classes. Slowdown and difficulty are assumptions.

Auto divides the uncertainty of an image by the time expected for it: as estimated from the times so far (ridge
regression of their logarithm on the model's doubt and the principal components), or as it truly is, which nobody knows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import CACHE, COLLECTIONS, Floats, Rows, Split
from benchmarks.label_efficiency.replay import N_NEIGHBORS, SmoothedClassifier
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import fit_head
from modeling.algorithms.neighbors import knn_graph, project
from sampling.algorithms import auto
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.uncertainty import margin

Doubles = NDArray[np.float64]
SECONDS, SPREAD = 1.5, 0.5
N_FOLDS = 5
BATCH = 20
# Images of a replay: two thirds of Fashion-MNIST's are the pool.
LIMIT = 6000
# Fewer timed decisions with a known doubt say nothing about the time of others.
MIN_TIMED = 40
PENALTIES = np.logspace(0, 4, 9)
RESAMPLES = 1000
PLAIN, ESTIMATED, TRUE = "Auto", "by estimated time", "by true time"
MEASURES = ("pool", "held_out")


@dataclass
class Curve:
    """Hold the measurements of a replay after each batch."""

    collection: str
    strategy: str
    slowdown: float
    seed: int
    minutes: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    pool: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, float, int]:
        return self.collection, self.strategy, self.slowdown, self.seed


@dataclass(frozen=True)
class Pool:
    """Hold what the replays of a seed share: the split, its projection, and the difficulty of each image (n,)."""

    split: Split
    Z: Floats
    difficulty: Doubles

    @classmethod
    def of(cls, split: Split) -> Pool:
        return cls(split, project(split.X, rng=np.random.default_rng(0)), difficulty(split))


def difficulty(split: Split) -> Doubles:
    """Return one minus the margin of each image (n,) by a model trained on the labels of other folds."""
    fold = np.random.default_rng(0).permutation(len(split.X)) % N_FOLDS
    result = np.empty(len(split.X))
    for position in range(N_FOLDS):
        train, test = fold != position, fold == position
        head = fit_head(split.X[train], split.y[train], n_classes=split.n_classes)
        result[test] = margin(softmax(head.logits(split.X[test])))
    return result


@dataclass
class Clock:
    """Time decisions, and estimate the time of others from them.

    ``expected`` (n,) are the true expected seconds of each image, ``seconds`` (n,) those that its decision takes.
    """

    Z: Floats
    expected: Doubles
    seconds: Doubles
    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    doubt: Floats = field(default_factory=lambda: np.empty(0, np.float32))

    def record(self, rows: Rows, P: Floats | None) -> None:
        """Record the decisions of a page, with the doubt of the model that ranked it."""
        if P is not None:
            self.rows = np.concatenate([self.rows, rows])
            self.doubt = np.concatenate([self.doubt, margin(P[rows])])

    def estimate(self, rows: Rows, P: Floats) -> Doubles:
        """Return the seconds expected for each row (m,), up to a factor; ones while too few decisions were timed."""
        if len(self.rows) < MIN_TIMED:
            return np.ones(len(rows))
        scale = self.Z.std()

        def features(rows: Rows, doubt: Floats) -> Floats:
            return np.column_stack([doubt / 0.3, self.Z[rows] / scale]).astype(np.float32)

        fitted = RidgeCV(PENALTIES).fit(features(self.rows, self.doubt), np.log(self.seconds[self.rows]))
        return np.asarray(np.exp(fitted.predict(features(rows, margin(P[rows])))), np.float64)


def replay(pool: Pool, curve: Curve, minutes: float) -> Curve:
    """Label pages of Auto until the time is up, train after each, and measure."""
    split, rng = pool.split, np.random.default_rng(curve.seed)
    expected = SECONDS * (1 + (curve.slowdown - 1) * pool.difficulty)
    noise = np.random.default_rng(7000 + curve.seed).standard_normal(len(split.X))
    clock = Clock(pool.Z, expected, expected * np.exp(SPREAD * noise))
    graph = knn_graph(pool.Z, N_NEIGHBORS)
    oddness, classifier = local_outlier_factor(graph), SmoothedClassifier(split, graph)
    labeled, P, spent = np.empty(0, np.int64), None, 0.0
    while spent < 60 * minutes and len(labeled) < len(split.X):
        candidates = np.setdiff1d(np.arange(len(split.X)), labeled)
        with patch.object(auto, "margin", scores(curve.strategy, clock, candidates, P)):
            page = auto.choose(
                pool.Z, candidates, labeled, split.y[labeled], P, BATCH, rng=rng, oddness=oddness, batch=BATCH
            ).rows
        clock.record(page, P)
        spent += float(clock.seconds[page].sum())
        labeled = np.concatenate([labeled, page])
        if len(np.unique(split.y[labeled])) < 2:
            continue
        classifier.fit(labeled, split.y[labeled])
        logits, held_out = classifier.logits()
        P = softmax(logits)
        curve.minutes.append(spent / 60)
        curve.labels.append(len(labeled))
        curve.pool.append(float((P.argmax(axis=1) == split.y).mean()))
        curve.held_out.append(float((held_out.argmax(axis=1) == split.held_out_y).mean()))
    return curve


def scores(strategy: str, clock: Clock, candidates: Rows, P: Floats | None) -> Callable[[Floats], Floats]:
    """Return the function that replaces Auto's score of the candidates."""
    if strategy == PLAIN or P is None:
        return margin
    seconds = clock.expected[candidates] if strategy == TRUE else clock.estimate(candidates, P)
    return lambda probabilities: np.asarray(margin(probabilities) * (seconds.min() / seconds), np.float32)


def report(curves: list[Curve]) -> str:
    """Compare the strategies with Auto on the same seeds, as a Markdown table."""
    lines = [
        "| collection | slowdown | Auto's score | labels a minute | mean accuracy against Auto's: pool | held out | "
        "minutes to Auto's accuracy at three quarters of its time: pool | held out | seeds |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, slowdown in dict.fromkeys((curve.collection, curve.slowdown) for curve in curves):
        by_strategy = {
            strategy: {
                c.seed: c for c in curves if (c.collection, c.strategy, c.slowdown) == (name, strategy, slowdown)
            }
            for strategy in (PLAIN, ESTIMATED, TRUE)
        }
        seeds = sorted(set.intersection(*map(set, by_strategy.values())))
        if len(seeds) < 3:
            continue
        for strategy, found in by_strategy.items():
            mine, plain = [found[seed] for seed in seeds], [by_strategy[PLAIN][seed] for seed in seeds]
            rate = np.mean([curve.labels[-1] / curve.minutes[-1] for curve in mine])
            figures = [figure(mine, plain, measure) for figure in (lead, time_ratio) for measure in MEASURES]
            cells = [name, f"{slowdown:g}", strategy, f"{rate:.1f}", *figures, str(len(seeds))]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def heights(curves: list[Curve], measure: str) -> tuple[Doubles, Doubles]:
    """Return times in minutes that all curves cover, and their accuracies at them (curves, times)."""
    start = max(curve.minutes[0] for curve in curves)
    grid = np.linspace(start, min(curve.minutes[-1] for curve in curves), 200)
    return grid, np.array([np.interp(grid, curve.minutes, getattr(curve, measure)) for curve in curves])


def lead(mine: list[Curve], plain: list[Curve], measure: str) -> str:
    _, values = heights([*mine, *plain], measure)
    leads = 100 * (values[: len(mine)] - values[len(mine) :]).mean(axis=1)
    samples = np.random.default_rng(0).integers(len(leads), size=(RESAMPLES, len(leads)))
    low, high = np.quantile(leads[samples].mean(axis=1), [0.025, 0.975])
    return f"{leads.mean():+.2f} [{low:+.2f}, {high:+.2f}]"


def time_ratio(mine: list[Curve], plain: list[Curve], measure: str) -> str:
    """Return the minutes to reach Auto's mean accuracy at three quarters of its time, over the minutes of Auto."""
    grid, values = heights([*mine, *plain], measure)
    n, at = len(mine), int(0.75 * len(grid))

    def ratio(rows: Rows) -> float:
        reached = np.flatnonzero(values[rows].mean(axis=0) >= values[n + rows].mean(axis=0)[at])
        first = np.flatnonzero(values[n + rows].mean(axis=0) >= values[n + rows].mean(axis=0)[at])[0]
        return float(grid[reached[0]] / grid[first]) if len(reached) else float("inf")

    samples = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile([ratio(rows) for rows in samples], [0.025, 0.975], method="nearest")
    return f"{ratio(np.arange(n)):.2f} [{low:.2f}, {high:.2f}]"


def read(file: Path) -> list[Curve]:
    return [Curve(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["fashion-joined", "drawings-two-networks"]
    parser.add_argument("collections", nargs="*", default=names, metavar="COLLECTION", help=", ".join(COLLECTIONS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument(
        "--slowdowns", type=float, nargs="+", default=[1.5, 3.0], help="time on a boundary / clear image"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of cached vectors")
    parser.add_argument("--results", type=Path, help="default: decision-times.jsonl in the cache")
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.collections) - set(COLLECTIONS):
        parser.error(f"There is no collection {', '.join(sorted(unknown))}; choose from {', '.join(COLLECTIONS)}.")
    results = options.results or options.cache / "decision-times.jsonl"
    todo = (
        [] if options.only_report else [(seed, name) for seed in range(options.seeds) for name in options.collections]
    )
    with threadpool_limits(1):
        for seed, name in todo:
            pool = Pool.of(COLLECTIONS[name].draw(options.cache, seed, LIMIT))
            done = {curve.key for curve in read(results)}
            for slowdown in options.slowdowns:
                for strategy in (PLAIN, ESTIMATED, TRUE):
                    curve = Curve(name, strategy, slowdown, seed)
                    if curve.key in done:
                        continue
                    replay(pool, curve, options.minutes)
                    with results.open("a") as lines:
                        lines.write(json.dumps(asdict(curve)) + "\n")
                    print(f"{name} {seed} {slowdown:g} {strategy}: {curve.labels[-1]} labels", flush=True)
    print(report(read(results)))


if __name__ == "__main__":
    main()
