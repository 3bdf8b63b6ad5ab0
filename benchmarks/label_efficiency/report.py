"""From replays to ratios with intervals, tables and plots."""

from __future__ import annotations

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
# With fewer an interval would be make-believe.
FEWEST_SEEDS = 3
# The product's own come first.
ORDER = ("random", "margin", "spread margin", "auto")


@dataclass(frozen=True)
class Replay:
    """One line of the results."""

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
    found: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    return [Replay(one.pop("collection"), one.pop("strategy"), one.pop("seed"), Curve(**one)) for one in found]


@dataclass(frozen=True)
class Row:
    """What the seeds of one strategy say beside random's of the same seeds."""

    strategy: str
    seeds: int
    ratio: float  # labels to reach random's last point, over random's labels
    low: float
    high: float
    area: float  # mean height of the curve
    lead: float  # Auto's area less this, on the seeds that both have; NaN without Auto
    lead_low: float
    lead_high: float
    worst: float  # the lowest of its mean curve over random's
    worst_at: int  # labels there
    needs: float  # the most labels it needs to be as good as random is at a size, over that size
    ends: int | None  # the labels at which it ran out of patience: what is above holds up to there
    query_seconds: float


def rows(replays: Sequence[Replay], measure: str) -> list[Row]:
    """One row for each strategy of one collection: ours first, then by area."""
    by_seed: dict[str, dict[int, Curve]] = {}
    for one in replays:
        by_seed.setdefault(one.strategy, {})[one.seed] = one.curve
    grid = next(iter(by_seed["random"].values())).sizes
    heights = {
        name: {seed: np.interp(grid, run.sizes, getattr(run, measure)) for seed, run in runs.items()}
        for name, runs in by_seed.items()
    }
    found = []
    for name, runs in heights.items():
        both = sorted(set(runs) & set(heights["random"]))
        mine, chance = (np.array([of[seed] for seed in both]) for of in (runs, heights["random"]))
        seconds = [s for seed in both for s in by_seed[name][seed].query_seconds]
        ends = min(by_seed[name][seed].sizes[-1] for seed in both)
        seen = int(np.searchsorted(grid, ends, side="right"))
        lead = _lead(heights.get("auto", {}), runs, seen)
        found.append(_row(name, grid, mine, chance, seen, lead, float(np.mean(seconds))))
    return sorted(found, key=lambda row: (ORDER.index(row.strategy) if row.strategy in ORDER else 9, -row.area))


def _lead(auto: dict[int, Doubles], runs: dict[int, Doubles], seen: int) -> tuple[float, float, float]:
    """The mean over paired seeds, and its interval."""
    both = sorted(set(auto) & set(runs))
    if not both:
        return float("nan"), float("nan"), float("nan")
    leads = np.array([auto[seed][:seen].mean() - runs[seed][:seen].mean() for seed in both])
    again = leads[np.random.default_rng(0).integers(len(both), size=(RESAMPLES, len(both)))].mean(axis=1)
    low, high = np.quantile(again, [0.025, 0.975])
    return float(leads.mean()), float(low), float(high)


def _row(
    name: str,
    grid: list[int],
    mine: Doubles,
    chance: Doubles,
    seen: int,
    lead: tuple[float, float, float],
    seconds: float,
) -> Row:
    n, rng = len(mine), np.random.default_rng(0)
    again = [
        ratio(grid, mine[some, :seen].mean(0), chance[some].mean(0)) for some in rng.integers(n, size=(RESAMPLES, n))
    ]
    low, high = np.quantile(again, [0.025, 0.975], method="nearest")
    mean, other = mine[:, :seen].mean(0), chance.mean(0)
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


def ratio(grid: list[int], mean: Doubles, chance: Doubles) -> float:
    """Labels at which the curve ``mean`` reaches the last point of ``chance``, over the labels there."""
    return labels_needed(grid, mean, float(chance[-1])) / grid[-1]


def labels_needed(grid: list[int], values: Doubles, goal: float) -> float:
    """Where a curve first reaches ``goal``, between its points by a straight line; infinity if never."""
    reached = np.flatnonzero(values >= goal)
    if not len(reached):
        return float("inf")
    at = int(reached[0])
    if at == 0:
        return float(grid[0])
    part = (goal - values[at - 1]) / (values[at] - values[at - 1])
    return float(grid[at - 1] + part * (grid[at] - grid[at - 1]))


def table(found: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| strategy | labels, of random's | area | Auto's lead | worst, of random | most labels | s a query | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        area = f"{100 * row.area:.2f}" if row.ends is None else f"to {row.ends:,} labels"
        between = f" [{_times(row.low)}, {_times(row.high)}]" if row.seeds >= FEWEST_SEEDS else ""
        lines.append(
            f"| {row.strategy} | {_times(row.ratio)}{between} | {area} | {100 * row.lead:+.2f} | "
            f"{row.worst:.3f} at {row.worst_at:,} | {_times(row.needs)} | {row.query_seconds:.3f} | {row.seeds} |"
        )
    return "\n".join(lines)


def verdict(found: Sequence[Row]) -> str:
    """Auto beside the best of scikit-activeml's strategies on the same seeds, in a sentence."""
    by_name = {row.strategy: row for row in found}
    rivals = [row for row in found if row.strategy.startswith("sk ") and row.ends is None]
    if "auto" not in by_name or not rivals:
        return ""
    auto, best = by_name["auto"], min(rivals, key=lambda row: row.lead)
    share = auto.query_seconds / best.query_seconds
    return (
        f"Auto's area is {100 * best.lead:+.2f} [{100 * best.lead_low:+.2f}, {100 * best.lead_high:+.2f}] points of "
        f"{best.strategy}'s, the best of scikit-activeml's that went all the way, at {share:.2f} of its time a query."
    )


def _times(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"
