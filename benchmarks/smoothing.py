"""Measure what smoothing over the k-NN graph does to wrong labels, calibration and groups, and what else was tried.

    python -m benchmarks.smoothing [noise] [groups] [others] [--collections fashion-joined ...] [--seeds 5]

The images and embeddings are those of ``benchmarks.label_efficiency``; labels are drawn at random from the pool, and
accuracy is that on the unlabeled rest of it. *noise*: a share of the labels is wrong; accuracy, expected calibration
error, log loss, and the average precision with which Suspects finds the wrong labels. *groups*: every image has four
near-duplicates (its embedding plus noise), labels come in whole groups, and folds hold whole groups out; the estimate
should agree with the accuracy on groups without labels. *others*: methods that were not adopted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array, eye_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import CACHE, COLLECTIONS, Floats, Rows, Split
from modeling.algorithms.calibration import choose_folds
from modeling.algorithms.fit_scaling import logit_log_loss
from modeling.algorithms.head import fit_head, predict_in_blocks
from modeling.algorithms.metrics import reliability
from modeling.algorithms.neighbors import knn_graph, project
from modeling.algorithms.smoothing import Smoothing, smoothed_rows
from modeling.algorithms.train import Trained, choose_steps, train
from sampling.algorithms.suspects import suspects

NOISE = (0.0, 0.02, 0.05, 0.1)
SIZES = (60, 240)
COPIES, SPREAD = 5, 0.3
N_ROWS = 6000


def smoothing_of(X: Floats) -> Smoothing:
    return Smoothing.of(knn_graph(project(X, rng=np.random.default_rng(0)), 15))


def step_of(smoothing: Smoothing) -> csr_array[Any]:
    """Return the weights of a step (n, n) in the order of the rows."""
    places = np.argsort(smoothing.order)
    return smoothing.step[places][:, places]


def pool_of(name: str, seed: int) -> Split:
    """Return a split whose pool has at most 6,000 rows."""
    split = COLLECTIONS[name].draw(CACHE, seed)
    rows = np.sort(np.random.default_rng(seed).permutation(len(split.X))[:N_ROWS])
    return Split(np.asarray(split.X[rows]), split.y[rows], split.held_out_X, split.held_out_y)


def probabilities(trained: Trained, X: Floats, smoothing: Smoothing | None) -> Floats:
    out = np.empty((len(X), trained.head.bias.size), np.float32)
    predict_in_blocks(X, trained.head, trained.calibration, out, smoothing=smoothing, steps=trained.steps)
    return out


def noise(name: str, seeds: int) -> None:
    print("| collection | labels | wrong | head | accuracy | ECE | log loss | Suspects: average precision |")
    print("|---|---|---|---|---|---|---|---|")
    for n in SIZES:
        for share in NOISE:
            measured: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
            for seed in range(seeds):
                split = pool_of(name, seed)
                smoothing = smoothing_of(split.X)
                rng = np.random.default_rng(seed)
                labeled = rng.permutation(len(split.y))[:n]
                is_wrong = rng.random(n) < share
                y = np.where(
                    is_wrong,
                    (split.y[labeled] + rng.integers(1, split.n_classes, n)) % split.n_classes,
                    split.y[labeled],
                )
                for is_smoothed, results in measured.items():
                    used = smoothing if is_smoothed else None
                    results.append(_quality(split, labeled, y, is_wrong, used))
            for is_smoothed, results in measured.items():
                accuracy, ece, loss, precision = np.array(results).mean(axis=0)
                head = "smoothed" if is_smoothed else "plain"
                found = "–" if np.isnan(precision) else f"{precision:.3f}"
                print(f"| {name} | {n} | {share:.0%} | {head} | {accuracy:.3f} | {ece:.3f} | {loss:.3f} | {found} |")


def _quality(
    split: Split, labeled: Rows, y: Rows, is_wrong: np.ndarray, smoothing: Smoothing | None
) -> tuple[float, float, float, float]:
    smoothed = None if smoothing is None else smoothed_rows(smoothing, split.X, labeled)
    trained = train(split.X[labeled], y, n_classes=split.n_classes, smoothed=smoothed)
    P = probabilities(trained, split.X, smoothing)
    rest = np.setdiff1d(np.arange(len(split.y)), labeled)
    truth = split.y[rest]
    accuracy = float((P[rest].argmax(axis=1) == truth).mean())
    loss = logit_log_loss(np.log(np.maximum(P[rest], 1e-12)), truth)
    precision = float("nan")
    if is_wrong.any() and trained.held_out is not None:
        precision = float(average_precision_score(is_wrong, -suspects(trained.held_out, y).self_confidence))
    return accuracy, reliability(P[rest], truth, n_bins=15).error, loss, precision


def groups(name: str, seeds: int) -> None:
    print("| collection | labeled groups | head | estimate | accuracy on other groups | difference |")
    print("|---|---|---|---|---|---|")
    for n in (20, 80):
        measured: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for seed in range(seeds):
            split = pool_of(name, seed)
            rng = np.random.default_rng(seed)
            originals = rng.permutation(len(split.y))[: N_ROWS // COPIES]
            X = np.repeat(split.X[originals], COPIES, axis=0)
            X += SPREAD * X.std(axis=0) * rng.standard_normal(X.shape).astype(np.float32)
            y, group = np.repeat(split.y[originals], COPIES), np.repeat(np.arange(len(originals)), COPIES)
            labeled = np.flatnonzero(group < n)
            smoothing = smoothing_of(X)
            for is_smoothed, results in measured.items():
                used = smoothing if is_smoothed else None
                smoothed = smoothed_rows(smoothing, X, labeled) if is_smoothed else None
                trained = train(
                    X[labeled], y[labeled], n_classes=split.n_classes, groups=group[labeled], smoothed=smoothed
                )
                P = probabilities(trained, X, used)
                others = group >= n
                results.append((trained.metrics["accuracy"], float((P[others].argmax(axis=1) == y[others]).mean())))
        for is_smoothed, results in measured.items():
            estimate, truth = np.mean(np.array(results, dtype=float), axis=0)
            head = "smoothed" if is_smoothed else "plain"
            print(f"| {name} | {n} | {head} | {estimate:.3f} | {truth:.3f} | {estimate - truth:+.3f} |")


def others(name: str, seeds: int) -> None:
    print(f"| {name} | {' labels | '.join(map(str, SIZES))} labels |")
    print(f"|---{'|---' * len(SIZES)}|")
    found: dict[str, dict[int, list[float]]] = {}
    for seed in range(seeds):
        split = pool_of(name, seed)
        smoothing = smoothing_of(split.X)
        order = np.random.default_rng(seed).permutation(len(split.y))
        for n in SIZES:
            for method, predict in METHODS.items():
                predicted = predict(split.X, split.y, order[:n], smoothing)
                right = float((predicted == split.y)[order[n:]].mean())
                found.setdefault(method, {}).setdefault(n, []).append(right)
    for method, by_size in found.items():
        print(f"| {method} | {' | '.join(f'{100 * np.mean(by_size[n]):.1f}' for n in SIZES)} |")


def _plain(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
    return fit_head(X[labeled], y[labeled], n_classes=int(y.max()) + 1).logits(X).argmax(axis=1)


def _smoothed(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
    smoothed = smoothed_rows(smoothing, X, labeled)
    steps = choose_steps(smoothed, y[labeled], choose_folds(y[labeled]).fold)
    logits = fit_head(smoothed(steps), y[labeled], n_classes=int(y.max()) + 1).logits(X)
    smoothing.smooth(logits, steps)
    return logits.argmax(axis=1)


def _spread(alpha: float) -> Callable[[Floats, Rows, Rows, Smoothing], np.ndarray]:
    """Return label spreading (Zhou et al., 2004) with this weight of the neighbors."""

    def predict(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
        P = 2 * step_of(smoothing) - eye_array(len(X))
        Y = np.zeros((len(X), int(y.max()) + 1))
        Y[labeled, y[labeled]] = 1
        F = Y
        for _ in range(200):
            F = alpha * (P @ F) + (1 - alpha) * Y
        return F.argmax(axis=1)

    return predict


def _poisson(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
    """Predict by Poisson learning (Calder et al., 2020), 150 iterations."""
    P = 2 * step_of(smoothing) - eye_array(len(X))
    B = np.zeros((len(X), int(y.max()) + 1))
    B[labeled, y[labeled]] = 1
    B[labeled] -= B[labeled].mean(axis=0)
    U = np.zeros_like(B)
    for _ in range(150):
        U = P @ U + B
    return U.argmax(axis=1)


def _kernel(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
    Z = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0).sum())
    return SVC(C=10, gamma=2.0).fit(Z[labeled], y[labeled]).predict(Z)


def _self_trained(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
    Z = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0).sum())
    known = np.full(len(y), -1)
    known[labeled] = y[labeled]
    return (
        SelfTrainingClassifier(LogisticRegression(C=20, max_iter=300), threshold=0.9, max_iter=5)
        .fit(Z, known)
        .predict(Z)
    )


def _whitened(X: Floats, y: Rows, labeled: Rows, smoothing: Smoothing) -> np.ndarray:
    Z = X @ np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2].T
    return _plain((Z - Z.mean(axis=0)) / Z.std(axis=0), y, labeled, smoothing)


METHODS = {
    "the head, plain": _plain,
    "the head, smoothed": _smoothed,
    "label spreading, weight of neighbors 0.9": _spread(0.9),
    "label spreading, weight of neighbors 0.99": _spread(0.99),
    "Poisson learning": _poisson,
    "kernel head (SVM, radial basis)": _kernel,
    "self-training above 0.9": _self_trained,
    "the head on whitened components": _whitened,
}
PARTS = {"noise": noise, "groups": groups, "others": others}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--collections", nargs="+", default=["fashion-joined", "astrophotos-joined"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with threadpool_limits(1):
        for part in options.parts or PARTS:
            for name in options.collections:
                print(f"\n{part}\n")
                PARTS[part](name, options.seeds)


if __name__ == "__main__":
    main()
