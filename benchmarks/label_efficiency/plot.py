"""Plot the learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.label_efficiency.data import COLLECTIONS
from benchmarks.label_efficiency.report import Replay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("fashion", "pool", "accuracy on the whole pool"),
    ("fashion", "held_out", "accuracy on held-out images"),
    ("digits", "held_out", "accuracy on held-out images"),
    ("rare", "macro_f1", "macro F1 on held-out images"),
)
# The product's strategies in strong colors, the others thin.
COLORS = {"random": "#777777", "margin": "#d08700", "spread margin": "#2f7f4f", "auto": "#7a3cc4"}
OTHERS = ("#5b9bd5", "#c98f5a", "#8cbf4d", "#d4679c", "#7f7fd1", "#9a9a9a", "#39a3a3", "#a3563f")
# Cut curves off below this share of random's last value: the differences are at the top.
FROM = 0.8


def draw(replays: Sequence[Replay], file: Path) -> None:
    """Write an SVG of the mean curves, with the central 90 % of seeds for Auto and random."""
    import matplotlib as mpl  # in the group `bench`; replays and tables do not need it

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "label efficiency", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    others = sorted({item.strategy for item in replays} - set(COLORS))
    colors = COLORS | dict(zip(others, OTHERS, strict=False))
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for panel, (name, measure, title) in zip(axes.flat, PANELS, strict=True):
        mine = [item for item in replays if item.collection == name]
        if not mine:
            raise SystemExit(f"There are no replays of {name} yet. Run python -m benchmarks.label_efficiency {name}.")
        _curves(panel, mine, measure, colors)
        panel.set_title(f"{COLLECTIONS[name].title}\n{title}", fontsize=10)
        panel.set_xlabel("labels")
        panel.grid(alpha=0.2)
        panel.legend(fontsize=7, loc="lower right")
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def _curves(panel: Axes, replays: Sequence[Replay], measure: str, colors: dict[str, str]) -> None:
    goal = 0.0
    for name, color in colors.items():
        runs = [item.curve for item in replays if item.strategy == name]
        if not runs:
            continue
        grid = min((run.sizes for run in runs), key=lambda sizes: sizes[-1])  # those that ended early
        heights = np.array([np.interp(grid, run.sizes, getattr(run, measure)) for run in runs])
        mean = heights.mean(axis=0)
        panel.plot(grid, mean, color=color, lw=1.8 if name in COLORS else 0.9, label=f"{name} ({len(runs)})")
        if name in {"random", "auto"}:
            low, high = np.quantile(heights, [0.05, 0.95], axis=0)
            panel.fill_between(grid, low, high, color=color, alpha=0.12, lw=0)
        if name == "random":
            goal = float(mean[-1])
            panel.axhline(goal, color=color, lw=0.8, ls=":")
    panel.set_ylim(bottom=FROM * goal)
