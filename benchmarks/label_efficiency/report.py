"""Turn replays into ratios with intervals and tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.label_efficiency.replay import Curve

Doubles = NDArray[np.float64]
MEASURES = {
    "pool": "accuracy on the whole pool",
    "held_out": "accuracy on held-out images",
    "macro_f1": "macro F1 on held-out images",
    "rare_f1": "F1 of the rare class on held-out images",
}
RESAMPLES = 1000
# With fewer seeds, an interval would be meaningless.
MIN_SEEDS = 3
# The endings of collections with vectors of joined encoders and a smoothed head, and the encoders.
JOINED = {"-joined": "MobileNetV2 + HOG", "-two-networks": "EfficientNet-Lite2 + MobileNetV2 + HOG"}
# The product's strategies come first.
ORDER = ("random", "margin", "spread margin", "auto")


@dataclass(frozen=True)
class Replay:
    """A line of the results."""

    collection: str
    strategy: str
    seed: int
    curve: Curve

    def line(self) -> str:
        values = {
            name: [round(value, 6) if isinstance(value, float) else value for value in series]
            for name, series in asdict(self.curve).items()
        }
        return json.dumps({"collection": self.collection, "strategy": self.strategy, "seed": self.seed} | values)


def read(file: Path) -> list[Replay]:
    if not file.exists():
        return []
    values: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    return [Replay(line.pop("collection"), line.pop("strategy"), line.pop("seed"), Curve(**line)) for line in values]


@dataclass(frozen=True)
class Row:
    """The results of one strategy compared with random on the same seeds."""

    strategy: str
    seeds: int
    ratio: float  # labels to reach random's last point, over random's labels
    low: float
    high: float
    area: float  # mean height of the curve
    lead: float  # Auto's area minus this, on common seeds; NaN without Auto
    lead_low: float
    lead_high: float
    worst: float  # the minimum of its mean curve divided by random's
    worst_at: int  # labels there
    needs: float  # the maximum, over sizes, of labels needed to match random, relative to the size
    ends: int | None  # the labels at which it ran out of time; results hold up to there
    query_seconds: float


def rows(replays: Sequence[Replay], measure: str) -> list[Row]:
    """Return one row for each strategy of one collection: the product's first, then by area."""
    by_seed: dict[str, dict[int, Curve]] = {}
    for item in replays:
        by_seed.setdefault(item.strategy, {})[item.seed] = item.curve
    grid = next(iter(by_seed["random"].values())).sizes
    heights = {
        name: {seed: np.interp(grid, run.sizes, getattr(run, measure)) for seed, run in runs.items()}
        for name, runs in by_seed.items()
    }
    results = []
    for name, runs in heights.items():
        common_seeds = sorted(set(runs) & set(heights["random"]))
        mine, random = (np.array([of[seed] for seed in common_seeds]) for of in (runs, heights["random"]))
        seconds = [s for seed in common_seeds for s in by_seed[name][seed].query_seconds]
        ends = min(by_seed[name][seed].sizes[-1] for seed in common_seeds)
        n_seen = int(np.searchsorted(grid, ends, side="right"))
        lead = _lead(heights.get("auto", {}), runs, n_seen)
        results.append(_row(name, grid, mine, random, n_seen, lead, float(np.mean(seconds))))
    return sorted(results, key=lambda row: (ORDER.index(row.strategy) if row.strategy in ORDER else 9, -row.area))


def _lead(auto: dict[int, Doubles], runs: dict[int, Doubles], seen: int) -> tuple[float, float, float]:
    """Return the mean over paired seeds and its interval."""
    common_seeds = sorted(set(auto) & set(runs))
    if not common_seeds:
        return float("nan"), float("nan"), float("nan")
    leads = np.array([auto[seed][:seen].mean() - runs[seed][:seen].mean() for seed in common_seeds])
    resampled = leads[np.random.default_rng(0).integers(len(common_seeds), size=(RESAMPLES, len(common_seeds)))].mean(
        axis=1
    )
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(leads.mean()), float(low), float(high)


def _row(
    name: str,
    grid: list[int],
    mine: Doubles,
    random: Doubles,
    seen: int,
    lead: tuple[float, float, float],
    seconds: float,
) -> Row:
    n, rng = len(mine), np.random.default_rng(0)
    resampled = [
        ratio(grid, mine[sample, :seen].mean(0), random[sample].mean(0))
        for sample in rng.integers(n, size=(RESAMPLES, n))
    ]
    low, high = np.quantile(resampled, [0.025, 0.975], method="nearest")
    mean, other = mine[:, :seen].mean(0), random.mean(0)
    gap = mean / np.maximum(other[:seen], 1e-9)
    sizes = zip(grid[:seen], other[:seen], strict=True)
    return Row(
        name,
        n,
        ratio(grid, mean, other),
        float(low),
        float(high),
        float(mean.mean()),
        *lead,
        float(gap.min()),
        grid[int(gap.argmin())],
        max(labels_needed(grid, mean, float(goal)) / size for size, goal in sizes),
        None if seen == len(grid) else grid[seen - 1],
        seconds,
    )


def ratio(grid: list[int], mean: Doubles, random: Doubles) -> float:
    """Return the labels at which the curve ``mean`` reaches the last point of ``random``, over the labels there."""
    return labels_needed(grid, mean, float(random[-1])) / grid[-1]


def labels_needed(grid: list[int], values: Doubles, goal: float) -> float:
    """Return where a curve first reaches ``goal``, linearly interpolated; infinity if never."""
    reached = np.flatnonzero(values >= goal)
    if not len(reached):
        return float("inf")
    at = int(reached[0])
    if at == 0:
        return float(grid[0])
    part = (goal - values[at - 1]) / (values[at] - values[at - 1])
    return float(grid[at - 1] + part * (grid[at] - grid[at - 1]))


def table(results: Sequence[Row]) -> str:
    """Format the rows as a Markdown table."""
    lines = [
        "| strategy | labels / random's | area | Auto's lead | worst / random | most labels | s per query | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results:
        area = f"{100 * row.area:.2f}" if row.ends is None else f"to {row.ends:,} labels"
        between = f" [{_times(row.low)}, {_times(row.high)}]" if row.seeds >= MIN_SEEDS else ""
        lines.append(
            f"| {row.strategy} | {_times(row.ratio)}{between} | {area} | {100 * row.lead:+.2f} | "
            f"{row.worst:.3f} at {row.worst_at:,} | {_times(row.needs)} | {row.query_seconds:.3f} | {row.seeds} |"
        )
    return "\n".join(lines)


def goals(replays: Sequence[Replay]) -> str:
    """Compare each collection of joined encoders with the same images' vectors of today, as a Markdown table.

    Ratios are of labels: those that Auto needs to reach the last accuracy of random sampling, over random's. They are
    given against random with today's vectors and head, and against random with the same vectors and head.
    """
    lines = [
        "| collection | encoders | measure | Auto before | Auto, against random before | "
        "Auto, against random with the same | mean accuracy of Auto along the curve: before, now | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted({item.collection for item in replays if item.collection.endswith(tuple(JOINED))}):
        ending = next(ending for ending in JOINED if name.endswith(ending))
        base = name.removesuffix(ending)
        for measure in ("pool", "held_out"):
            curves = {
                key: {item.seed: item.curve for item in replays if (item.collection, item.strategy) == key}
                for key in itertools.product((base, name), ("random", "auto"))
            }
            seeds = sorted(set.intersection(*(set(of) for of in curves.values())))
            if len(seeds) < MIN_SEEDS:
                continue
            grid = next(iter(curves.values()))[seeds[0]].sizes
            before, auto_before, random, auto = (
                np.array([np.interp(grid, of[seed].sizes, getattr(of[seed], measure)) for seed in seeds])
                for of in curves.values()
            )
            ratios = [_interval(grid, *pair) for pair in ((auto_before, before), (auto, before), (auto, random))]
            means = [f"{100 * of.mean():.1f} (end: {100 * of[:, -1].mean():.1f})" for of in (auto_before, auto)]
            cells = [base, JOINED[ending], measure.replace("_", " "), *ratios, ", ".join(means), str(len(seeds))]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _interval(grid: list[int], mine: Doubles, random: Doubles) -> str:
    """Return the ratio of labels with its 95 % interval, from curves (seeds, sizes)."""
    n = len(mine)
    samples = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile(
        [ratio(grid, mine[sample].mean(0), random[sample].mean(0)) for sample in samples],
        [0.025, 0.975],
        method="nearest",
    )
    value = ratio(grid, mine.mean(0), random.mean(0))
    return f"{_times(value)} [{_times(float(low))}, {_times(float(high))}]"


def verdict(results: Sequence[Row]) -> str:
    """Compare Auto with the best of scikit-activeml's strategies on the same seeds, in a sentence."""
    by_name = {row.strategy: row for row in results}
    rivals = [row for row in results if row.strategy.startswith("sk ") and row.ends is None]
    if "auto" not in by_name or not rivals:
        return ""
    auto, best = by_name["auto"], min(rivals, key=lambda row: row.lead)
    share = auto.query_seconds / best.query_seconds
    return (
        f"Auto's area minus that of {best.strategy}, the best of scikit-activeml's that finished: "
        f"{100 * best.lead:+.2f} [{100 * best.lead_low:+.2f}, {100 * best.lead_high:+.2f}] points, in {share:.2f} of "
        "its time per query."
    )


def _times(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"
