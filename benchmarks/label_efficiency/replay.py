"""Replay a labeling: label batches chosen by a strategy, train after each, and measure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.label_efficiency.data import Floats, Rows, Split
from modeling.algorithms.calibration import choose_folds, softmax
from modeling.algorithms.head import Head, fit_head
from modeling.algorithms.neighbors import Graph, Search, knn_graph, project
from modeling.algorithms.smoothing import BANDWIDTH, DEFAULT_STEPS, Smoothing, smoothed_rows
from modeling.algorithms.smoothing import N_NEIGHBORS as N_SMOOTHED
from modeling.algorithms.train import choose_steps
from sampling.algorithms.auto import choose
from sampling.algorithms.diversify import diversify
from sampling.algorithms.outliers import local_outlier_factor
from sampling.algorithms.ranking import shuffled, top
from sampling.algorithms.uncertainty import margin

# As in modeling/encoders/neighbor_cache.py, which needs Django.
N_NEIGHBORS = 30
MORE_LABELS = 1.1


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


@dataclass(frozen=True)
class Shared:
    """Hold what the product computes once per embedding set: projection, outlier scores and k-NN graph."""

    Z: Floats
    oddness: Floats
    graph: Graph


def shared_of(X: Floats, cache_file: Path) -> Shared:
    """Return what all replays of a pool share, kept in a file."""
    if not cache_file.exists():
        Z = project(X, rng=np.random.default_rng(0))
        graph = knn_graph(Z, N_NEIGHBORS)
        oddness = local_outlier_factor(graph)
        np.savez(cache_file, Z=Z, oddness=oddness, indices=graph.indices, distances=graph.distances)
    with np.load(cache_file) as arrays:
        return Shared(arrays["Z"], arrays["oddness"], Graph(arrays["indices"], arrays["distances"]))


class Classifier:
    """Fit the head to raw rows."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.head: Head | None = None

    def fit(self, labeled: Rows, labels: Rows) -> None:
        self.head = fit_head(self.split.X[labeled], labels, n_classes=self.split.n_classes, start=self.head)

    def logits(self) -> tuple[Floats, Floats]:
        """Return the logits of the pool and of the held-out rows."""
        assert self.head is not None
        return self.head.logits(self.split.X), self.head.logits(self.split.held_out_X)


@dataclass(frozen=True)
class NewRows:
    """Hold the neighbors in the pool of rows that its graph does not contain, and their weights: both (m, k)."""

    near: Rows
    weights: Floats

    @classmethod
    def of(cls, X: Floats, new: Floats) -> NewRows:
        search = Search(np.asarray(X), N_SMOOTHED)
        near, distances = search.nearest_to(np.asarray(new), search.columns, np.arange(len(X)))
        weights = np.exp(-np.square(distances / (BANDWIDTH * distances[:, -1:])))
        return cls(near, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))

    def smooth(self, smoothing: Smoothing, pool: Floats, own: Floats, steps: int) -> tuple[Floats, Floats]:
        """Return the smoothed logits of the pool and of the new rows, given both before smoothing."""
        smoothed, pool = own, pool.copy()
        for _ in range(steps):
            smoothed = (smoothed + np.einsum("ij,ijk->ik", self.weights, pool[self.near])) / 2
            smoothing.smooth(pool, 1)
        return pool, np.asarray((own + smoothed) / 2, np.float32)


class SmoothedClassifier(Classifier):
    """Fit the head to rows smoothed over the graph of the pool, which held-out rows are no part of.

    The logits of a held-out row are the mean of its own and of those that it has after smoothing with its neighbors in
    the pool.
    """

    def __init__(self, split: Split, graph: Graph) -> None:
        super().__init__(split)
        self.smoothing = Smoothing.of(graph)
        self.heads: dict[int, Head] = {}
        self.new_rows = NewRows.of(split.X, split.held_out_X)
        self.steps, self.n_chosen = DEFAULT_STEPS, 0

    def fit(self, labeled: Rows, labels: Rows) -> None:
        smoothed = smoothed_rows(self.smoothing, self.split.X, labeled)
        if len(labels) >= MORE_LABELS * self.n_chosen:  # as often as the product retrains
            self.steps, self.n_chosen = choose_steps(smoothed, labels, choose_folds(labels).fold), len(labels)
        start = self.heads.get(self.steps)
        self.head = fit_head(smoothed(self.steps), labels, n_classes=self.split.n_classes, start=start)
        self.heads[self.steps] = self.head

    def logits(self) -> tuple[Floats, Floats]:
        pool, own = super().logits()
        return self.new_rows.smooth(self.smoothing, pool, own, self.steps)


def replay(
    strategy: Strategy,
    split: Split,
    shared: Shared,
    *,
    batch: int,
    budget: int,
    seed: int,
    is_smoothed: bool = False,
    patience: float = float("inf"),
) -> Curve:
    """Label ``budget`` rows of the pool in batches, chosen by a strategy, and train a classifier after each.

    A strategy whose queries have taken more than ``patience`` seconds is stopped: its curve ends early.
    """
    rng = np.random.default_rng(seed)
    y = split.y
    is_left = np.ones(len(y), bool)
    labeled = np.empty(0, np.int64)
    classifier = SmoothedClassifier(split, shared.graph) if is_smoothed else Classifier(split)
    probabilities: Floats | None = None
    curve = Curve()
    while len(labeled) < budget and sum(curve.query_seconds) <= patience:
        now = Situation(
            split.X,
            shared.Z,
            shared.oddness,
            split.n_classes,
            labeled,
            y[labeled],
            np.flatnonzero(is_left),
            classifier.head,
            probabilities,
            rng,
        )
        started = time.process_time()
        picks = np.asarray(strategy(now, min(batch, budget - len(labeled))))
        curve.query_seconds.append(time.process_time() - started)
        assert is_left[picks].all()
        assert len(set(picks.tolist())) == len(picks) > 0
        is_left[picks] = False
        labeled = np.concatenate([labeled, picks])
        if len(np.unique(y[labeled])) < 2:
            continue
        classifier.fit(labeled, y[labeled])
        pool, held_out = classifier.logits()
        probabilities = softmax(pool)
        measure(curve, split, probabilities, held_out.argmax(axis=1), len(labeled))
    return curve


def measure(curve: Curve, split: Split, probabilities: Floats, predicted: NDArray[np.intp], n_labels: int) -> None:
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
