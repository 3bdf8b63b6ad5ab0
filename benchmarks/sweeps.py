"""Measure what sweeps save, and whether they keep their promise, with a simulated user on Fashion-MNIST.

    python -m benchmarks.sweeps [--replays 100] [--pool 2000] [--at-most 0.01] [--slips 0.02] [--rare] [--cache FOLDER]

The user labels 95 % of a pool, first with Auto, then with class sweeps. 2 % (``--slips``) of the images to mark are
overlooked; 2 % of the clicks hit a neighboring tile, 2 % of the key presses are another class's (labeling one by one,
with one key per label, this alone gives 2 % wrong labels). Checks are shown as pages of one class, on which the user
overlooks as many; what is marked there is labeled again one by one. With ``--rare`` one class, another in each replay,
has 1 % of the images. Pages, checks and their consequences use the product's functions, as does the calibrated model,
which is retrained after a fixed growth of the labels (``--retrain-after``).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import CACHE, COLLECTIONS, SAMPLE, Floats, Rows
from modeling.algorithms.calibration import softmax
from modeling.algorithms.neighbors import knn_graph, project
from modeling.algorithms.reduction import Reduction
from modeling.algorithms.smoothing import N_NEIGHBORS, Smoothing, smoothed_rows
from modeling.algorithms.train import train
from modeling.backends.joined import DIMS
from sampling.algorithms.auto import choose
from sampling.algorithms.estimates import weighted_share
from sampling.algorithms.ranking import top
from sampling.algorithms.risk import (
    Carryover,
    Page,
    Risk,
    draw_checks,
    estimate_doubt,
    miss_rate,
    most_confident,
    plan_page,
    predicted_classes,
    with_overlooked,
)
from sampling.sweeps.queues import MIN_CHECK_PAGE

SLIP = 0.02
GOAL = 0.95
AUTO_PAGE, LARGEST_PAGE = 40, 240
# A smaller page is not worth a sweep: a page of Auto improves the model more.
MIN_PAGE = 10
# As in the default policy of the product (modeling.models.RetrainPolicy).
MORE_LABELS = 0.1
RARE_SHARE = 0.01
RECENT_PAGES = 12


@dataclass
class ReplayResult:
    """The result of one replay."""

    seed: int
    n_labels: int
    actions_per_correct: float
    wrong: float  # share of all labels
    swept: int  # labels given by accepting pages (key A)
    swept_wrong: float  # share of those
    promised: float  # mean of the pages' promises over them
    measured: float
    measured_low: float
    measured_high: float
    n_checks: int
    miss: float
    pages: int
    model_error: float  # share of the images on accepted pages that are of another class: the bound of the cost
    actions: dict[str, int]
    seconds: float


@dataclass
class Person:
    """A simulated user who sees the true class and makes mistakes."""

    y: Rows
    n_classes: int
    rng: np.random.Generator
    slip: float = SLIP
    actions: Counter[str] = field(default_factory=Counter)

    def slips(self) -> bool:
        return bool(self.rng.random() < self.slip)

    def key(self, true: int, what: str) -> int:
        """Press the key of a class, or by mistake that of another."""
        self.actions[what] += 1
        if not self.slips():
            return true
        return int((true + self.rng.integers(1, self.n_classes)) % self.n_classes)

    def mark(self, rows: Rows, swept: int, what: str = "") -> dict[int, int]:
        """Click the tiles that are not of the swept class, class by class. Return the labels given to them.

        Actions are counted as ``what``, or as clicks and class keys.
        """
        marked: dict[int, int] = {}
        seen = [i for i, row in enumerate(rows.tolist()) if self.y[row] != swept and not self.slips()]
        for true in sorted({int(self.y[rows[i]]) for i in seen}):
            places = [i for i in seen if self.y[rows[i]] == true]
            self.actions[what or "clicks"] += len(places)
            hit = {min(i + 1, len(rows) - 1) if self.slips() else i for i in places}
            label = self.key(true, what or "class keys")
            marked.update({int(rows[i]): label for i in hit})
        return marked


class SimulatedLabeling:
    """A pool being labeled."""

    def __init__(
        self,
        X: Floats,
        Z: Floats,
        y: Rows,
        *,
        at_most: float,
        seed: int,
        slip: float = SLIP,
        more_labels: float = MORE_LABELS,
        smoothing: Smoothing | None = None,
    ) -> None:
        self.X, self.Z, self.y, self.at_most, self.smoothing = X, Z, y, at_most, smoothing
        self.more_labels = more_labels
        self.rng = np.random.default_rng(seed)
        self.n_classes = int(y.max()) + 1
        self.person = Person(y, self.n_classes, self.rng, slip)
        self.labels = np.full(len(y), -1, np.int64)
        self.P: Floats | None = None
        self.n_trained = 0
        self.is_swept = np.zeros(len(y), bool)
        self.promised = np.zeros(len(y))
        # By row: the swept class, its probability, and the number of labels that the check represents.
        self.waiting: dict[int, tuple[int, float, float]] = {}
        self.n_caught, self.disagreed = 0, list[float]()
        self.decided: list[tuple[float, bool]] = []  # weight of a check, and whether the sweep was wrong
        self.n_kept, self.wrong_kept = 0, 0.0
        self.pages: list[tuple[int, float]] = []  # marks, and how many the model expected
        self.n_wrong_predictions = 0  # on accepted pages

    @property
    def n_labeled(self) -> int:
        return int((self.labels >= 0).sum())

    def retrain_if_due(self) -> None:
        """Retrain once there are enough new labels."""
        labeled = np.flatnonzero(self.labels >= 0)
        if len(labeled) < (1 + self.more_labels) * self.n_trained or len(np.unique(self.labels[labeled])) < 2:
            return
        smoothed = None if self.smoothing is None else smoothed_rows(self.smoothing, self.X, labeled)
        model = train(self.X[labeled], self.labels[labeled], n_classes=self.n_classes, smoothed=smoothed)
        logits = model.head.logits(self.X)
        if self.smoothing is not None:
            self.smoothing.smooth(logits, model.steps)
        self.P = softmax(logits, model.temperature)
        self.n_trained = len(labeled)

    def one_by_one(self, rows: Rows, what: str) -> None:
        for row in rows.tolist():
            self.labels[row] = self.person.key(int(self.y[row]), what)

    def auto(self) -> None:
        """Label a page of Auto."""
        left = np.flatnonzero((self.labels < 0) & ~np.isin(np.arange(len(self.y)), list(self.waiting)))
        labeled = np.flatnonzero(self.labels >= 0)
        mix = choose(self.Z, left, labeled, self.labels[labeled], self.P, AUTO_PAGE, rng=self.rng)
        self.one_by_one(mix.rows, "one by one")

    def risk(self) -> Risk:
        recent = self.pages[-RECENT_PAGES:]
        doubt = estimate_doubt(sum(n for n, _ in recent), sum(expected for _, expected in recent))
        return Risk(miss_rate(self.n_caught, self.disagreed), doubt, len(self.decided))

    def sweep(self) -> bool:
        """Sweep one page of the most confident class. Return False if no page is worth it."""
        assert self.P is not None
        left = np.flatnonzero((self.labels < 0) & ~np.isin(np.arange(len(self.y)), list(self.waiting)))
        ids, chance = predicted_classes(self.P[left], {c + 1: [c] for c in range(self.n_classes)})
        risk = self.risk()
        candidates: list[tuple[Page, int, Rows, Floats]] = []
        for class_id in np.unique(ids).tolist():
            own = np.where(ids == class_id, chance, np.nan).astype(np.float32)
            order = top(own, LARGEST_PAGE)
            carryover = Carryover(float(self.n_kept), self.wrong_kept, len(left))
            page = plan_page(own[order], risk, at_most=self.at_most, largest=LARGEST_PAGE, carryover=carryover)
            candidates.append((page, class_id - 1, left[order[: page.n]], own[order[: page.n]]))
        best = candidates[most_confident([candidate[0] for candidate in candidates])]
        if best[0].n < MIN_PAGE:
            return False
        self.decide(*best)
        return True

    def decide(self, page: Page, swept: int, rows: Rows, chances: Floats) -> None:
        """Mark, label the marked images, and accept the rest, except for checks."""
        positions = draw_checks(page.n, self.rng, n_known=self.risk().n_known)
        checks = set(rows[positions].tolist())
        marked = self.person.mark(rows, swept)
        self.person.actions["accepts"] += 1 + self.person.slips()
        for row, chance in zip(rows.tolist(), chances.tolist(), strict=True):
            if row in marked:
                self.labels[row] = marked[row]
                self.n_caught += row in checks and marked[row] != swept
            elif row in checks:
                self.waiting[row] = swept, chance, page.n / len(checks)
            else:
                self.labels[row] = swept
                self.is_swept[row], self.promised[row] = True, page.promised_error
        self.n_wrong_predictions += int((self.y[rows] != swept).sum())
        self.n_kept += page.n
        self.wrong_kept += page.n * page.promised_error
        n_marked = sum(label != swept for label in marked.values())
        self.pages.append((n_marked, float((1 - chances).sum())))

    def look_again(self, at_least: int = 1) -> None:
        """Show the waiting checks as pages of one class, for each class with enough of them."""
        for swept in range(self.n_classes):
            rows = np.array([row for row, check in self.waiting.items() if check[0] == swept], np.int64)
            if len(rows) >= at_least:
                self.check_page(rows, swept)

    def check_page(self, rows: Rows, swept: int) -> None:
        """Mark checks of one class and accept the rest; label the marked ones again, one by one."""
        marked = self.person.mark(rows, swept, "checks")
        self.person.actions["checks"] += 1 + self.person.slips()
        for row in rows.tolist():
            _, chance, weight = self.waiting.pop(row)
            self.labels[row] = marked.get(row, swept)
            if self.labels[row] != swept:  # a second look, without the suggestion
                self.labels[row] = self.person.key(int(self.y[row]), "checks")
            self.decided.append((weight, bool(self.labels[row] != swept)))
            if self.labels[row] != swept:
                self.disagreed.append(chance)

    def run(self, start: int) -> None:
        while self.n_labeled < start:
            self.auto()
            self.retrain_if_due()
        while self.n_labeled < GOAL * len(self.y):
            if not self.sweep():
                self.auto()
            self.look_again(MIN_CHECK_PAGE)
            self.retrain_if_due()
        self.look_again()


def replay(
    X: Floats,
    y: Rows,
    *,
    at_most: float,
    start: int,
    seed: int,
    slip: float = SLIP,
    more_labels: float = MORE_LABELS,
    is_smoothed: bool = False,
) -> ReplayResult:
    """Run one replay on the pool ``X`` (n, d), ``y`` (n,)."""
    began = time.perf_counter()
    Z = project(X, rng=np.random.default_rng(0))
    smoothing = Smoothing.of(knn_graph(Z, N_NEIGHBORS)) if is_smoothed else None
    labeling = SimulatedLabeling(
        X, Z, y, at_most=at_most, seed=seed, slip=slip, more_labels=more_labels, smoothing=smoothing
    )
    labeling.run(start)
    labeled = labeling.labels >= 0
    right = int((labeling.labels[labeled] == y[labeled]).sum())
    swept = labeling.is_swept
    weights, is_wrong = np.array(labeling.decided, np.float64).reshape(-1, 2).T
    measured = with_overlooked(weighted_share(weights, is_wrong), labeling.n_caught, labeling.disagreed)
    return ReplayResult(
        seed, int(labeled.sum()),
        labeling.person.actions.total() / right, 1 - right / int(labeled.sum()), int(swept.sum()),
        float((labeling.labels[swept] != y[swept]).mean()), float(labeling.promised[swept].mean()),
        measured.value, measured.low, measured.high, len(labeling.decided), labeling.risk().miss, len(labeling.pages),
        labeling.n_wrong_predictions / max(labeling.n_kept, 1),
        dict(labeling.person.actions), time.perf_counter() - began,
    )  # fmt: skip


def draw_pool(y: Rows, n: int, seed: int, *, is_rare: bool) -> Rows:
    """Return rows (n,) of a pool; if ``is_rare``, one class has 1 % of them, another with each seed."""
    rng = np.random.default_rng(5000 + seed)
    if not is_rare:
        return rng.choice(len(y), min(n, len(y)), replace=False)
    rare = y == seed % (int(y.max()) + 1)
    n_rare = round(n * RARE_SHARE)
    few = rng.choice(np.flatnonzero(rare), n_rare, replace=False)
    return rng.permutation(np.concatenate([few, rng.choice(np.flatnonzero(~rare), n - n_rare, replace=False)]))


def report(results: list[ReplayResult], at_most: float, slip: float) -> str:
    """Return a Markdown table of the replays' means and of the promises kept."""
    n = len(results)
    n_kept = sum(result.swept_wrong <= at_most for result in results)
    covered = sum(result.measured_low <= result.swept_wrong <= result.measured_high for result in results)
    alone = 1 / (1 - slip)

    def mean(name: str) -> float:
        return float(np.mean([getattr(result, name) for result in results]))

    parts = sum((Counter(result.actions) for result in results), Counter[str]())
    shares = ", ".join(f"{what} {count / n / mean('n_labels'):.3f}" for what, count in parts.most_common())
    return "\n".join([
        f"| replays | {n} |",
        f"| labels per replay | {mean('n_labels'):,.0f} |",
        f"| actions per correct label, one by one | {alone:.3f} |",
        f"| actions per correct label, sweeps | {mean('actions_per_correct'):.3f} |",
        f"| of which, per label | {shares} |",
        f"| error of the model on accepted pages | {mean('model_error'):.3f} |",
        f"| wrong labels, one by one | {slip:.2%} |",
        f"| wrong labels, start and sweeps together | {mean('wrong'):.2%} |",
        f"| labels accepted by A | {mean('swept') / mean('n_labels'):.1%} |",
        f"| promised, at most | {at_most:.2%} |",
        f"| promised by pages, mean | {mean('promised'):.2%} |",
        f"| actually wrong among the accepted, mean; worst replay | {mean('swept_wrong'):.2%}; "
        f"{max(result.swept_wrong for result in results):.2%} |",
        f"| estimated by the checks, mean | {mean('measured'):.2%} on {mean('n_checks'):.0f} checks |",
        f"| replays whose interval covers the truth | {covered} of {n} |",
        f"| replays that keep the promise | {n_kept} of {n} |",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", choices=COLLECTIONS, default="fashion")
    parser.add_argument("--replays", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first replay")
    parser.add_argument("--pool", type=int, default=2000, help="images per replay")
    parser.add_argument(
        "--dims", type=int, default=64, help="principal components of the vectors; 0: the vectors themselves"
    )
    parser.add_argument("--start", type=int, default=100, help="labels before the first sweep")
    parser.add_argument("--slips", type=float, default=SLIP, help="share of slips, and of marks overlooked")
    parser.add_argument("--rare", action="store_true", help="thin one class to 1 %%")
    parser.add_argument(
        "--retrain-after", type=float, default=MORE_LABELS, help="growth of the labels that makes a model due"
    )
    parser.add_argument("--at-most", type=float, default=0.01)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of cached vectors")
    parser.add_argument("--results", type=Path, help="append the replays to this file of JSON lines")
    options = parser.parse_args()
    X, y = COLLECTIONS[options.collection].load(options.cache)
    widths = COLLECTIONS[options.collection].widths
    if widths:
        sample = np.sort(np.random.default_rng(0).permutation(len(X))[:SAMPLE])
        X = Reduction.fit(np.asarray(X[sample]), widths, DIMS, rng=np.random.default_rng(0)).apply(np.asarray(X))[0]
    elif options.dims:
        X = project(X, rng=np.random.default_rng(0), dims=options.dims)
    results: list[ReplayResult] = []
    with threadpool_limits(1):
        for seed in range(options.first, options.first + options.replays):
            mine = draw_pool(y, options.pool, seed, is_rare=options.rare)
            results.append(
                replay(
                    X[mine],
                    y[mine],
                    at_most=options.at_most,
                    start=options.start,
                    seed=seed,
                    slip=options.slips,
                    more_labels=options.retrain_after,
                    is_smoothed=bool(widths),
                )
            )
            if options.results:
                with options.results.open("a") as lines:
                    lines.write(json.dumps(asdict(results[-1])) + "\n")
    print(report(results, options.at_most, options.slips))


if __name__ == "__main__":
    main()
