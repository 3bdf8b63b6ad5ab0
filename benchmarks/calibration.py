"""Measure calibration on held-out images, over seeds and numbers of labels.

    python -m benchmarks.calibration [temperature penalty methods active weights]
        [--data digits fashion stamps] [--seeds 20] [--processes 2] [--vectors FOLDER]

*temperature*: the product's training on randomly sampled labels: uncalibrated, calibrated, and with the temperature
that is best on the held-out images (an oracle). *penalty*: the chosen penalty against the default. *methods*: Platt and
vector scaling against the temperature. *active*: most labels are selected by uncertainty, a tenth at random;
temperatures fitted to all labels, or led by the random ones. *weights*: one class is rare; labels or classes have equal
weight.

Vectors are computed once and cached in the folder; those of MobileNetV2 need its weights (AL_WEIGHTS_DIR). Prints
Markdown tables. Held-out images of classes without a label are left out: no calibration can give them a probability.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import gettempdir

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.label_efficiency.data import fashion_mobilenet, stamps
from modeling.algorithms.calibration import softmax
from modeling.algorithms.fit_scaling import fit_temperature
from modeling.algorithms.head import DEFAULT_C, Head, fit_head
from modeling.algorithms.metrics import brier, expected_calibration_error, log_loss
from modeling.algorithms.scaling import Method
from modeling.algorithms.train import ClassWeights, Trained, train
from modeling.backends.hog import HogEncoder
from modeling.backends.plugins import LoadedEncoder

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Numbers = dict[str, float]

HELD_OUT = 10_000
# Numbers of labels, and the size of the pool they are selected from.
SIZES = {"digits": (20, 100, 500, 1300), "fashion": (20, 100, 500, 2000), "stamps": (20, 100, 250)}
ACTIVE = {"digits": (200, 500, 900), "fashion": (300, 600, 1000), "stamps": (100, 200)}
POOL = {"digits": 1300, "fashion": 10_000, "stamps": 261}
AUDIT_SHARE = 0.1
RARE, RARE_SHARE = 3, 0.02


def digits(cache: Path) -> tuple[Floats, Rows]:
    """Return HOG vectors of scikit-learn's digits, enlarged from 8 x 8 pixels."""
    data, file = load_digits(), cache / "digits-hog.npy"
    if not file.exists():
        large = [
            Image.fromarray(np.uint8(digit * 15.9)).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
            for digit in data.images
        ]
        np.save(file, LoadedEncoder(HogEncoder()).encode_prepared(np.stack([np.asarray(image) for image in large])))
    return np.load(file), data.target.astype(np.int64)


LOAD: dict[str, Callable[[Path], tuple[Floats, Rows]]] = {
    "digits": digits,
    "fashion": fashion_mobilenet,
    "stamps": stamps,
}
TITLES = {
    "digits": "digits, HOG",
    "fashion": "Fashion-MNIST, MobileNetV2",
    "stamps": "Tux Paint stamps, MobileNetV2",
    "digits 2": "digits, one against all others",
    "fashion 2": "Fashion-MNIST, one against all others",
    "stamps 2": "Tux Paint stamps, one against all others",
}


@dataclass(frozen=True)
class Task:
    part: str
    name: str
    seed: int


_shared: dict[str, tuple[Floats, Rows]] = {}


def limit_worker() -> None:
    """Limit a worker process to one thread at low priority."""
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(limits=1)


def run(task: Task) -> list[tuple[str, int, Numbers]]:
    """Return the results of one seed: (collection, labels, numbers) each."""
    X, y = _shared[task.name]
    order = np.random.default_rng(1000 + task.seed).permutation(len(X))
    return PARTS[task.part](task, X, y, order)


def measured(predictions: dict[str, Floats], truth: Rows) -> Numbers:
    """Return log loss, calibration error and Brier score of each set of probabilities."""
    numbers = {}
    for name, P in predictions.items():
        numbers[f"{name} loss"] = log_loss(P, truth)
        numbers[f"{name} ece"] = expected_calibration_error(P, truth)
        numbers[f"{name} brier"] = brier(P, truth)
    return numbers


def by_temperature(trained: Trained, X: Floats, y: Rows) -> Numbers:
    """Measure uncalibrated, calibrated as in the product, and with the best temperature for the held-out rows."""
    has_labels = np.isin(y, np.flatnonzero(trained.metrics["n_per_class"]))
    logits, truth = trained.head.logits(X[has_labels]), y[has_labels]
    best = fit_temperature(logits, truth)
    predictions = {
        "before": softmax(logits),
        "after": softmax(trained.calibration.logits(logits)),
        "best": softmax(logits, best),
    }
    accuracy = float((logits.argmax(axis=1) == truth).mean())
    return measured(predictions, truth) | {"accuracy": accuracy, "T": trained.temperature, "best T": best}


def split_rows(order: Rows, name: str, n: int) -> tuple[Rows, Rows]:
    """Return the training rows, ascending as in the product, and the held-out rows."""
    return np.sort(order[:n]), order[max(n, SIZES[name][-1] if name != "stamps" else 0) :][:HELD_OUT]


def temperature_part(task: Task, X: Floats, y: Rows, order: Rows) -> list[tuple[str, int, Numbers]]:
    results = []
    for n in SIZES[task.name]:
        mine, other = split_rows(order, task.name, n)
        trained = train(X[mine], y[mine], n_classes=int(y.max()) + 1)
        results.append((task.name, n, by_temperature(trained, X[other], y[other]) | {"C": trained.metrics["C"]}))
    return results


def penalty_part(task: Task, X: Floats, y: Rows, order: Rows) -> list[tuple[str, int, Numbers]]:
    """Compare the chosen penalty with the default, each with the best temperature for the held-out rows."""
    results = []
    for n in SIZES[task.name]:
        mine, other = split_rows(order, task.name, n)
        n_classes = int(y.max()) + 1
        trained = train(X[mine], y[mine], n_classes=n_classes)
        chosen = by_temperature(trained, X[other], y[other])
        plain = replace(trained, head=fit_head(X[mine], y[mine], n_classes=n_classes))
        fixed = by_temperature(plain, X[other], y[other])
        numbers = {f"chosen {key}": chosen[key] for key in ("accuracy", "best loss")}
        numbers |= {f"default {key}": fixed[key] for key in ("accuracy", "best loss")}
        results.append((task.name, n, numbers | {"C": trained.metrics["C"] / DEFAULT_C}))
    return results


def methods_part(task: Task, X: Floats, y: Rows, order: Rows) -> list[tuple[str, int, Numbers]]:
    results = []
    methods: tuple[Method, ...] = ("temperature", "platt", "vector")
    for n in SIZES[task.name]:
        mine, other = split_rows(order, task.name, n)
        numbers: Numbers = {}
        for method in methods:
            trained = train(X[mine], y[mine], n_classes=int(y.max()) + 1, method=method)
            measures = by_temperature(trained, X[other], y[other])
            numbers |= {f"{method} {key.split()[1]}": measures[key] for key in ("after loss", "after ece")}
            numbers |= {f"{method} kept": float(trained.calibration.method == method)}
            numbers |= {key: measures[key] for key in ("before loss", "before ece")}
        results.append((task.name, n, numbers))
    return results


def active_part(task: Task, X: Floats, y: Rows, order: Rows) -> list[tuple[str, int, Numbers]]:
    pool, other = order[: POOL[task.name]], order[POOL[task.name] :][: HELD_OUT // 2]
    results = []
    for rows, is_audit in label_actively(X[pool], y[pool], int(y.max()) + 1, ACTIVE[task.name], seed=task.seed):
        mine, is_random = pool[rows], is_audit
        rest = np.setdiff1d(pool, mine)
        numbers: Numbers = {"audit": float(is_random.sum())}
        for labels, flags in (("all", None), ("audit", is_random)):
            trained = train(X[mine], y[mine], n_classes=int(y.max()) + 1, is_audit=flags)
            for where, seen in (("held out", other), ("unlabeled", rest)):
                measures = by_temperature(trained, X[seen], y[seen])
                numbers |= {f"{labels} {where} {key.split()[1]}": measures[key] for key in ("after loss", "after ece")}
                if where == "held out":
                    numbers |= {
                        key: measures[key] for key in ("before loss", "before ece", "best loss", "best ece", "best T")
                    }
                    numbers |= {f"{labels} T": measures["T"]}
        results.append((task.name, len(mine), numbers))
    return results


def label_actively(
    X: Floats, y: Rows, n_classes: int, sizes: Sequence[int], *, seed: int
) -> Iterable[tuple[Rows, NDArray[np.bool_]]]:
    """Yield rows (ascending) and which of them are random at each size: smallest margin, and a tenth at random."""
    rng = np.random.default_rng(seed)
    labeled = rng.choice(len(X), 20, replace=False)
    is_audit = np.ones(20, bool)
    head: Head | None = None
    for size in sizes:
        while len(labeled) < size:
            head = fit_head(X[labeled], y[labeled], n_classes=n_classes, start=head)
            P = np.sort(softmax(head.logits(X)), axis=1)
            left = np.setdiff1d(np.arange(len(X)), labeled)
            k = min(max(20, len(labeled) // 10), size - len(labeled))
            n_chance = int(rng.binomial(k, AUDIT_SHARE))
            random_rows = rng.choice(left, n_chance, replace=False)
            rest = np.setdiff1d(left, random_rows)
            uncertain = rest[np.argsort(P[rest, -1] - P[rest, -2], kind="stable")[: k - n_chance]]
            labeled = np.concatenate([labeled, uncertain, random_rows])
            is_audit = np.concatenate([is_audit, np.zeros(len(uncertain), bool), np.ones(n_chance, bool)])
        ascending = np.argsort(labeled)
        yield labeled[ascending], is_audit[ascending]


def weights_part(task: Task, X: Floats, y: Rows, order: Rows) -> list[tuple[str, int, Numbers]]:
    """Measure with one class at one in fifty labels, here and in held-out rows.

    Once among all classes, once against all others.
    """
    others = order[y[order] != RARE]
    few = order[y[order] == RARE][: round(len(others) * RARE_SHARE)]
    order = np.random.default_rng(task.seed).permutation(np.concatenate([others, few]))
    results = []
    for n in SIZES[task.name][1:]:
        mine, other = split_rows(order, task.name, n)
        results.append((task.name, n, compare_weights(X, y, mine, other, RARE)))
        if (y[mine] == RARE).sum() > 1:
            results.append((f"{task.name} 2", n, compare_weights(X, (y == RARE).astype(np.int64), mine, other, 1)))
    return results


def compare_weights(X: Floats, y: Rows, mine: Rows, other: Rows, rare: int) -> Numbers:
    numbers: Numbers = {}
    weightings: tuple[ClassWeights, ...] = ("equal", "balanced")
    for weighting in weightings:
        trained = train(X[mine], y[mine], n_classes=int(y.max()) + 1, class_weights=weighting)
        measures = by_temperature(trained, X[other], y[other])
        has_labels = np.isin(y[other], np.flatnonzero(trained.metrics["n_per_class"]))
        truth = y[other][has_labels]
        right = trained.head.logits(X[other][has_labels]).argmax(axis=1) == truth
        recalls = [right[truth == label].mean() for label in np.unique(truth)]
        numbers |= {f"{weighting} {key}": measures[key] for key in ("accuracy", "after loss", "after ece")}
        numbers |= {f"{weighting} recall": float(np.mean(recalls))}
        if (truth == rare).any():
            numbers |= {f"{weighting} rare": float(right[truth == rare].mean())}
    return numbers


PARTS = {
    "temperature": temperature_part,
    "penalty": penalty_part,
    "methods": methods_part,
    "active": active_part,
    "weights": weights_part,
}


# -- Tables --------------------------------------------------------------------------------------------
def mean(runs: list[Numbers], key: str) -> float:
    return float(np.mean([run[key] for run in runs if key in run]))


def difference(runs: list[Numbers], key: str, other: str) -> str:
    """Return the mean of the differences and its standard error."""
    gaps = np.array([run[key] - run[other] for run in runs])
    return f"{gaps.mean():+.4f} ± {gaps.std(ddof=1) / np.sqrt(len(gaps)):.4f}"


def temperature_line(runs: list[Numbers]) -> list[str]:
    loss, ece = (([mean(runs, f"{way} {of}") for way in ("before", "after", "best")]) for of in ("loss", "ece"))
    shares = np.log([run["T"] / run["best T"] for run in runs])
    return [
        f"{100 * mean(runs, 'accuracy'):.1f} %",
        f"{loss[0]:.4f} | {loss[1]:.4f} | {loss[2]:.4f}",
        difference(runs, "after loss", "before loss"),
        f"{loss[1] / loss[2]:.3f}",
        f"{ece[0]:.3f} | {ece[1]:.3f} | {ece[2]:.3f}",
        f"{ece[1] / ece[0]:.2f}",
        f"{ece[1] / ece[2]:.2f}",
        f"{mean(runs, 'before brier'):.4f} | {mean(runs, 'after brier'):.4f}",
        f"{np.median([run['T'] for run in runs]):.2f}",
        f"{shares.mean():+.2f} ± {shares.std(ddof=1):.2f}",
        f"{np.exp(np.mean(np.log([run['C'] for run in runs]))):.0f}",
    ]


def penalty_line(runs: list[Numbers]) -> list[str]:
    ways = ("default", "chosen")
    return [
        f"{np.exp(np.mean(np.log([run['C'] for run in runs]))):.2g}",
        *(f"{100 * mean(runs, f'{way} accuracy'):.1f} %" for way in ways),
        *(f"{mean(runs, f'{way} best loss'):.4f}" for way in ways),
        difference(runs, "chosen best loss", "default best loss"),
    ]


def methods_line(runs: list[Numbers]) -> list[str]:
    ways = ("temperature", "platt", "vector")
    return [
        f"{mean(runs, 'before loss'):.4f}",
        *(f"{mean(runs, f'{way} loss'):.4f}" for way in ways),
        f"{mean(runs, 'before ece'):.3f}",
        *(f"{mean(runs, f'{way} ece'):.3f}" for way in ways),
        *(f"{100 * mean(runs, f'{way} kept'):.0f} %" for way in ways),
    ]


def active_line(runs: list[Numbers]) -> list[str]:
    line = [
        f"{mean(runs, 'audit'):.0f}",
        " | ".join(f"{mean(runs, f'{way} T'):.2f}" for way in ("all", "audit", "best")),
    ]
    for where in ("held out", "unlabeled"):
        keys = f"audit {where} loss", f"all {where} loss"
        line += [" | ".join(f"{mean(runs, key):.4f}" for key in reversed(keys)), difference(runs, *keys)]
        line += [" | ".join(f"{mean(runs, f'{way} {where} ece'):.4f}" for way in ("all", "audit"))]
    return line


def weights_line(runs: list[Numbers]) -> list[str]:
    cells = []
    for key, digits_ in (("accuracy", 3), ("recall", 3), ("rare", 3), ("after loss", 4), ("after ece", 3)):
        cells.append(" | ".join(f"{mean(runs, f'{way} {key}'):.{digits_}f}" for way in ("equal", "balanced")))
    return cells


LINES: dict[str, tuple[str, Callable[[list[Numbers]], list[str]]]] = {
    "temperature": (
        "accuracy | log loss before | after | best T | after - before | x best T | ECE before | after | best T | "
        "x before | x best T | Brier before | after | T | log T - log best T | C",
        temperature_line,
    ),
    "penalty": (
        "C / default | accuracy, default | chosen | log loss at its best T, default | chosen | difference",
        penalty_line,
    ),
    "methods": (
        "log loss before | temperature | Platt | vector | ECE before | temperature | Platt | vector | "
        "kept: temperature | Platt | vector",
        methods_line,
    ),
    "active": (
        "by chance | T of all | led by chance | best | held out: log loss, T of all | led by chance | difference | "
        "ECE | led | unlabeled: log loss, T of all | led by chance | difference | ECE | led",
        active_line,
    ),
    "weights": (
        "accuracy, equal | balanced | mean recall, equal | balanced | recall of the rare, equal | balanced | "
        "log loss, equal | balanced | ECE, equal | balanced",
        weights_line,
    ),
}


def report(part: str, results: list[tuple[str, int, Numbers]]) -> None:
    head, line = LINES[part]
    print(f"\n### {part}\n\n| collection | labels | {head} |")
    print("|---|" + "---:|" * (head.count("|") + 2))
    for name, n in dict.fromkeys((name, n) for name, n, _ in results):
        runs = [numbers for collection, size, numbers in results if (collection, size) == (name, n)]
        print(f"| {TITLES[name]} | {n:,} | " + " | ".join(line(runs)) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", nargs="+", choices=list(LOAD), default=list(LOAD))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--vectors", type=Path, default=Path(gettempdir()) / "hoshina-calibration")
    options = parser.parse_args()
    options.vectors.mkdir(parents=True, exist_ok=True)
    for name in options.data:
        _shared[name] = LOAD[name](options.vectors)
    for part in options.parts or PARTS:
        started = time.perf_counter()
        tasks = [Task(part, name, seed) for name in options.data for seed in range(options.seeds)]
        results: list[tuple[str, int, Numbers]] = []
        # Fork, so that the processes share the vectors.
        with get_context("fork").Pool(options.processes, initializer=limit_worker) as workers:
            for done, batch in enumerate(workers.imap(run, tasks), start=1):
                results += batch
                print(f"\r{part}: {done} of {len(tasks)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        report(part, results)
        print(f"\n{options.seeds} seeds, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
