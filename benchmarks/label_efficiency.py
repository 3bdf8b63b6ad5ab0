"""How many labels each way of choosing needs: labelling replayed with the true labels, nobody at the keys.

    uv run python -m benchmarks.label_efficiency [--seeds 5] [--batch 20] [--share 0.2]

Paired seeds: for each, every strategy has the same pool, the same held-out rows and the same classifier (the
product's own). A ratio is the labels at which the mean curve of a strategy reaches random's last point, over
random's labels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import Head, fit_head
from sampling.algorithms.auto import choose
from sampling.algorithms.diversify import diversified
from sampling.algorithms.neighbours import knn_graph, project
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.ranking import shuffled, top
from sampling.algorithms.uncertainty import margin

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass
class Situation:
    """What a strategy may look at: everything but the labels not yet given."""

    X: Floats
    Z: Floats  # its projection
    oddness: Floats
    n_classes: int
    labelled: Rows
    labels: Rows
    candidates: Rows
    probabilities: Floats | None
    rng: np.random.Generator


@dataclass
class Curve:
    """What a replay measured after each batch."""

    sizes: list[int] = field(default_factory=list)
    pool: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    macro_f1: list[float] = field(default_factory=list)
    query_seconds: float = 0.0


Strategy = Callable[[Situation, int], Rows]


def by_chance(now: Situation, k: int) -> Rows:
    return now.candidates[shuffled(len(now.candidates), k, now.rng)]


def by_margin(now: Situation, k: int) -> Rows:
    if now.probabilities is None:
        return by_chance(now, k)
    return now.candidates[top(margin(now.probabilities[now.candidates]), k)]


def by_spread_margin(now: Situation, k: int) -> Rows:
    if now.probabilities is None:
        return by_chance(now, k)
    scores = margin(now.probabilities[now.candidates])
    return diversified(now.Z, now.candidates, scores, k, rng=now.rng, batch=k)


def by_auto(now: Situation, k: int) -> Rows:
    return choose(
        now.Z,
        now.candidates,
        now.labelled,
        now.labels,
        now.probabilities,
        k,
        rng=now.rng,
        oddness=now.oddness,
        batch=k,
    ).rows


STRATEGIES: dict[str, Strategy] = {
    "random": by_chance,
    "margin": by_margin,
    "spread margin": by_spread_margin,
    "auto": by_auto,
}


def prepared(X: Floats) -> tuple[Floats, Floats]:
    """The projection of a pool and how odd each row is: what the product makes once per embedding."""
    Z = project(X, rng=np.random.default_rng(0))
    return Z, local_outlier_factor(knn_graph(Z, 20))


def replay(
    strategy: Strategy,
    X: Floats,
    y: Rows,
    held_out: tuple[Floats, Rows],
    shared: tuple[Floats, Floats],
    *,
    batch: int,
    budget: int,
    seed: int,
) -> Curve:
    """Label ``budget`` rows of the pool ``X`` (n, d), ``y`` (n,) in batches; train after each and measure.

    ``shared`` is what `prepared` makes of the pool, to be given again to the next replay on it.
    """
    rng = np.random.default_rng(seed)
    n_classes = int(max(y.max(), held_out[1].max())) + 1
    Z, oddness = shared
    is_left = np.ones(len(X), bool)
    labelled = np.empty(0, np.int64)
    head: Head | None = None
    probabilities: Floats | None = None
    curve = Curve()
    while len(labelled) < budget:
        now = Situation(X, Z, oddness, n_classes, labelled, y[labelled], np.flatnonzero(is_left), probabilities, rng)
        started = time.perf_counter()
        picks = strategy(now, min(batch, budget - len(labelled)))
        curve.query_seconds += time.perf_counter() - started
        assert is_left[picks].all()
        assert len(set(picks.tolist())) == len(picks)
        is_left[picks] = False
        labelled = np.concatenate([labelled, picks])
        if len(np.unique(y[labelled])) < 2:
            continue
        head = fit_head(X[labelled], y[labelled], n_classes=n_classes, start=head)
        probabilities = softmax(head.logits(X))
        predicted = head.logits(held_out[0]).argmax(axis=1)
        curve.sizes.append(len(labelled))
        curve.pool.append(float((probabilities.argmax(axis=1) == y).mean()))
        curve.held_out.append(float((predicted == held_out[1]).mean()))
        curve.macro_f1.append(macro_f1(held_out[1], predicted, n_classes))
    return curve


def macro_f1(truth: Rows, predicted: NDArray[np.intp], n_classes: int) -> float:
    table = np.zeros((n_classes, n_classes))
    np.add.at(table, (truth, predicted), 1)
    return float((2 * table.diagonal() / np.maximum(table.sum(0) + table.sum(1), 1)).mean())


def labels_needed(sizes: list[int], values: NDArray[np.float64], goal: float) -> float:
    """Where a curve first reaches ``goal``, between its points by a straight line; infinity if never."""
    reached = np.flatnonzero(values >= goal)
    if not len(reached):
        return float("inf")
    at = int(reached[0])
    if at == 0:
        return float(sizes[0])
    part = (goal - values[at - 1]) / (values[at] - values[at - 1])
    return float(sizes[at - 1] + part * (sizes[at] - sizes[at - 1]))


def ratio(curves: dict[str, list[Curve]], name: str, measure: str, some: NDArray[np.int64]) -> float:
    """Labels that ``name`` needs to reach random's last point, over random's, on the mean curves of seeds."""
    mean = {
        who: np.mean(
            [
                np.interp(curves["random"][0].sizes, curves[who][s].sizes, getattr(curves[who][s], measure))
                for s in some
            ],
            axis=0,
        )
        for who in ("random", name)
    }
    sizes = curves["random"][0].sizes
    return labels_needed(sizes, mean[name], float(mean["random"][-1])) / sizes[-1]


def report(curves: dict[str, list[Curve]], rng: np.random.Generator) -> None:
    n_seeds = len(curves["random"])
    for measure in ("pool", "held_out", "macro_f1"):
        print(f"\n{measure}")
        for name, runs in curves.items():
            grid = curves["random"][0].sizes
            values = np.array([np.interp(grid, run.sizes, getattr(run, measure)) for run in runs])
            again = [ratio(curves, name, measure, rng.integers(n_seeds, size=n_seeds)) for _ in range(200)]
            low, high = np.quantile(again, [0.025, 0.975])
            gap = values.mean(0) / np.mean(
                [np.interp(grid, r.sizes, getattr(r, measure)) for r in curves["random"]], axis=0
            )
            print(
                f"{name:<16} labels / random's {ratio(curves, name, measure, np.arange(n_seeds)):5.3f} "
                f"[{low:5.3f}, {high:5.3f}]   area {values.mean():.4f}   last {values[:, -1].mean():.4f}   "
                f"worst against random {gap.min():.3f}   query {np.mean([r.query_seconds for r in runs]):.2f} s"
            )


def digits(seed: int) -> tuple[Floats, Rows, tuple[Floats, Rows]]:
    """Pixels of scikit-learn's digits: three quarters are the pool, the rest is held out."""
    X, y = load_digits(return_X_y=True)
    X, y = X.astype(np.float32) / 16, y.astype(np.int64)
    order = np.random.default_rng(1000 + seed).permutation(len(X))
    cut = len(X) * 3 // 4
    return X[order[:cut]], y[order[:cut]], (X[order[cut:]], y[order[cut:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.2, help="of the pool that random labels")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    given = parser.parse_args()
    curves: dict[str, list[Curve]] = {}
    for seed in range(given.seeds):
        X, y, held_out = digits(seed)
        shared = prepared(X)
        budget = int(given.share * len(X))
        for name in dict.fromkeys(["random", *given.strategies]):
            run = replay(STRATEGIES[name], X, y, held_out, shared, batch=given.batch, budget=budget, seed=seed)
            curves.setdefault(name, []).append(run)
    report(curves, np.random.default_rng(0))


if __name__ == "__main__":
    main()
