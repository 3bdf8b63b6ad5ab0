"""Report the coverage and the width of intervals of the audited accuracy over replays."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from sampling.algorithms.estimates import Estimate
from sampling.algorithms.learning_curves import forecast, forecast_gain
from sampling.algorithms.prediction_powered import MIN_LABELS

TRUTHS = ("collection", "held out", "unlabeled")
ESTIMATES = (
    "in the product", "… overconfident", "… underconfident", "of the collection", "… uncorrected Wilson",
    "share, Wilson", "LURE, Wilson",
)  # fmt: skip
CORRECTED, OVERCONFIDENT, UNDERCONFIDENT, PLAIN = range(4)
# The product forecasts from this many audit labels on.
MIN_AUDIT = 20
FORECAST_AT = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Task:
    """Describe a replay to run."""

    name: str
    seed: int
    n: int
    budget: int
    audit_share: float
    slips: float
    is_grouped: bool


@dataclass
class Snapshot:
    """Hold a version of the model: its estimates and the true values."""

    n_labels: int
    n_audit: int
    estimates: list[Estimate]  # as ESTIMATES
    truths: list[float]  # as TRUTHS


def is_forecast_covered(snapshots: list[Snapshot], share: float = 0.5) -> tuple[bool, bool, float] | None:
    """Return whether forecasts at a share of the labels cover the later truths, or None without a forecast.

    The first is that of the final accuracy, the second that of its gain, the third the share of all gains until then.
    """
    end = snapshots[-1]
    early = [item for item in snapshots if item.n_labels <= share * end.n_labels and item.n_audit]
    if len({item.n_labels for item in early}) < 3 or early[-1].n_audit < MIN_AUDIT:
        return None
    now, later = early[-1], [item for item in snapshots if item.n_labels > early[-1].n_labels]
    points = (
        [item.n_labels for item in early], [item.estimates[0].value for item in early],
        [item.estimates[0].n for item in early], [item.n_labels for item in later],
    )  # fmt: skip
    truths = np.array([item.truths[0] for item in later])
    curve = forecast(*points, rng=np.random.default_rng(0))
    gain = forecast_gain(*points, rng=np.random.default_rng(0))
    is_in = (gain.low <= truths - now.truths[0]) & (truths - now.truths[0] <= gain.high)
    return bool(curve.low[-1] <= truths[-1] <= curve.high[-1]), bool(is_in[-1]), float(is_in.mean())


def by_size(name: str, runs: list[list[Snapshot]], sizes: Iterable[int]) -> None:
    """Print how often each estimate covers each truth at some numbers of labels, or at the last before them."""
    print(f"\n{name}: {len(runs)} replays")
    print(
        f"{'labels':>7}{'audit':>7}{'accuracy':>9}  {'estimate':<20}{'half':>7}{'bias':>8}  covers " + ", ".join(TRUTHS)
    )
    for size in sizes:
        at = [next((item for item in run if item.n_labels >= size), run[-1]) for run in runs]
        n_labels, n_audit = (
            round(np.mean([getattr(snap, name) for snap in at]), 1) for name in ("n_labels", "n_audit")
        )
        accuracy = np.mean([snap.truths[0] for snap in at])
        for which, title in enumerate(ESTIMATES):
            estimates = [item.estimates[which] for item in at]
            half = np.mean([(estimate.high - estimate.low) / 2 for estimate in estimates])
            pairs = list(zip(estimates, at, strict=True))
            bias = np.nanmean([estimate.value - snap.truths[0] for estimate, snap in pairs])
            covers = [
                np.mean([estimate.low <= snap.truths[t] <= estimate.high for estimate, snap in pairs])
                for t in range(len(TRUTHS))
            ]
            print(
                f"{n_labels:>7.0f}{n_audit:7.1f}{accuracy:9.4f}  "
                f"{title:<20}{half:7.3f}{bias:+8.4f}  " + "  ".join(f"{100 * share:5.1f} %" for share in covers)
            )
    for share in FORECAST_AT:
        covered = [result for run in runs if (result := is_forecast_covered(run, share)) is not None]
        if covered:
            end, gain, gains = 100 * np.mean(covered, axis=0)
            print(
                f"forecasts at {share:.0%} of the labels cover: final accuracy {end:.1f} %, its gain {gain:.1f} %, "
                f"all gains until then {gains:.1f} %, of {len(covered)}"
            )


Replays = dict[Task, list[Snapshot]]


def append(file: Path, task: Task, run: list[Snapshot]) -> None:
    with file.open("a") as lines:
        lines.write(json.dumps({"task": asdict(task), "run": [asdict(item) for item in run]}) + "\n")


def read(file: Path) -> Replays:
    if not file.exists():
        return {}
    replays: Replays = {}
    for line in file.read_text().splitlines():
        values = json.loads(line)
        replays[Task(**values["task"])] = [
            Snapshot(item["n_labels"], item["n_audit"], [Estimate(*e.values()) for e in item["estimates"]],
                     item["truths"])
            for item in values["run"]
        ]  # fmt: skip
    return replays


def summary(replays: Replays) -> str:
    """Compare the corrected estimate with the plain one over all versions of all replays, as a Markdown table.

    The last row of each block has every collection with the same weight.
    """
    lines = [
        "| collection | audit share | labels | replays | versions | plain holds | corrected holds | overconfident | "
        "underconfident | width |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for limits in ((0, MIN_LABELS), (MIN_LABELS, 10**9)):
        label = f"below {MIN_LABELS}" if not limits[0] else f"from {MIN_LABELS} on"
        rows = []
        for (name, share), group in groupby(sorted(replays, key=_setting), key=_setting):
            runs = [[item for item in replays[task] if limits[0] <= item.n_labels < limits[1]] for task in group]
            runs = [run for run in runs if run]
            if runs:
                rows.append(_figures(runs))
                lines.append(_line(f"{name} | {share:g} | {label}", rows[-1]))
        if rows:
            lines.append(_line(f"all | | {label}", [*np.sum(rows, axis=0)[:2], *np.mean(rows, axis=0)[2:]]))
    return "\n".join(lines)


def _setting(task: Task) -> tuple[str, float]:
    return task.name, task.audit_share


def _figures(runs: list[list[Snapshot]]) -> list[float]:
    """Return the numbers of replays and versions, the coverage of four estimates, and the mean change of width."""
    items = [item for run in runs for item in run if item.n_audit]
    held = [
        np.mean([item.estimates[which].low <= item.truths[0] <= item.estimates[which].high for item in items])
        for which in (PLAIN, CORRECTED, OVERCONFIDENT, UNDERCONFIDENT)
    ]
    widths = [
        np.mean([item.estimates[which].high - item.estimates[which].low for item in items])
        for which in (PLAIN, CORRECTED)
    ]
    return [len(runs), len(items), *map(float, held), float(widths[1] / widths[0] - 1)]


def _line(title: str, figures: list[float]) -> str:
    shares = " | ".join(f"{100 * value:.1f} %" for value in figures[2:6])
    return f"| {title} | {figures[0]:.0f} | {figures[1]:.0f} | {shares} | {100 * figures[6]:+.1f} % |"
