"""Replay a labeling: label batches chosen by a strategy, train after each, and measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.label_efficiency.data import Floats, Rows, Split
from modeling.algorithms.calibration import softmax
from modeling.algorithms.head import Head, fit_head
from modeling.algorithms.neighbors import knn_graph, project
from sampling.algorithms.auto import choose
from sampling.algorithms.diversify import diversify
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.ranking import shuffled, top
from sampling.algorithms.uncertainty import margin

# As in modeling/encoders/neighbor_cache.py, which needs Django.
N_NEIGHBORS = 30


@dataclass
class Situation:
    """What a strategy can use: everything except the labels not yet given."""

    X: Floats
    Z: Floats  # its projection
    oddness: Floats
    n_classes: int
    labeled: Rows
    labels: Rows
    candidates: Rows
    head: Head | None
    probabilities: Floats | None
    rng: np.random.Generator


@dataclass
class Curve:
    """The measurements of a replay after each batch."""

    sizes: list[int] = field(default_factory=list)
    pool: list[float] = field(default_factory=list)  # accuracy on the whole pool
    held_out: list[float] = field(default_factory=list)
    macro_f1: list[float] = field(default_factory=list)  # held out
    rare_f1: list[float] = field(default_factory=list)  # held out, of the class made rare
    query_seconds: list[float] = field(default_factory=list)  # CPU time


Strategy = Callable[[Situation, int], Rows]


def pick_at_random(now: Situation, k: int) -> Rows:
    return now.candidates[shuffled(len(now.candidates), k, now.rng)]


def by_margin(now: Situation, k: int) -> Rows:
    if now.probabilities is None:
        return pick_at_random(now, k)
    return now.candidates[top(margin(now.probabilities[now.candidates]), k)]


def by_spread_margin(now: Situation, k: int) -> Rows:
    if now.probabilities is None:
        return pick_at_random(now, k)
    scores = margin(now.probabilities[now.candidates])
    return diversify(now.Z, now.candidates, scores, k, rng=now.rng, batch=k)


def by_auto(now: Situation, k: int) -> Rows:
    return choose(
        now.Z,
        now.candidates,
        now.labeled,
        now.labels,
        now.probabilities,
        k,
        rng=now.rng,
        oddness=now.oddness,
        batch=k,
    ).rows


OURS: dict[str, Strategy] = {
    "random": pick_at_random,
    "margin": by_margin,
    "spread margin": by_spread_margin,
    "auto": by_auto,
}


def projection_and_oddness(X: Floats, cache_file: Path) -> tuple[Floats, Floats]:
    """Return the projection of a pool and its outlier scores, which the product computes once per embedding set."""
    if not cache_file.exists():
        Z = project(X, rng=np.random.default_rng(0))
        oddness = local_outlier_factor(knn_graph(Z, N_NEIGHBORS))
        np.savez(cache_file, Z=Z, oddness=oddness)
    with np.load(cache_file) as arrays:
        return arrays["Z"], arrays["oddness"]


def replay(
    strategy: Strategy,
    split: Split,
    shared: tuple[Floats, Floats],
    *,
    batch: int,
    budget: int,
    seed: int,
    patience: float = float("inf"),
) -> Curve:
    """Label ``budget`` rows of the pool in batches. ``shared`` is the result of `projection_and_oddness`.

    A strategy whose queries have taken more than ``patience`` seconds is stopped: its curve ends early.
    """
    rng = np.random.default_rng(seed)
    X, y = split.X, split.y
    Z, oddness = shared
    is_left = np.ones(len(X), bool)
    labeled = np.empty(0, np.int64)
    head: Head | None = None
    probabilities: Floats | None = None
    curve = Curve()
    while len(labeled) < budget and sum(curve.query_seconds) <= patience:
        left = np.flatnonzero(is_left)
        now = Situation(X, Z, oddness, split.n_classes, labeled, y[labeled], left, head, probabilities, rng)
        started = time.process_time()
        picks = np.asarray(strategy(now, min(batch, budget - len(labeled))))
        curve.query_seconds.append(time.process_time() - started)
        assert is_left[picks].all()
        assert len(set(picks.tolist())) == len(picks) > 0
        is_left[picks] = False
        labeled = np.concatenate([labeled, picks])
        if len(np.unique(y[labeled])) < 2:
            continue
        head = fit_head(X[labeled], y[labeled], n_classes=split.n_classes, start=head)
        probabilities = softmax(head.logits(X))
        measure(curve, split, head, probabilities, len(labeled))
    return curve


def measure(curve: Curve, split: Split, head: Head, probabilities: Floats, n_labels: int) -> None:
    predicted = head.logits(split.held_out_X).argmax(axis=1)
    each = f1(split.held_out_y, predicted, split.n_classes)
    curve.sizes.append(n_labels)
    curve.pool.append(float((probabilities.argmax(axis=1) == split.y).mean()))
    curve.held_out.append(float((predicted == split.held_out_y).mean()))
    curve.macro_f1.append(float(each.mean()))
    if split.rare is not None:
        curve.rare_f1.append(float(each[split.rare]))


def f1(truth: Rows, predicted: NDArray[np.intp], n_classes: int) -> NDArray[np.float64]:
    """Return the F1 score of each class (n_classes,); 0 for a class neither present nor predicted."""
    table = np.zeros((n_classes, n_classes))
    np.add.at(table, (truth, predicted), 1)
    return np.asarray(2 * table.diagonal() / np.maximum(table.sum(0) + table.sum(1), 1))
