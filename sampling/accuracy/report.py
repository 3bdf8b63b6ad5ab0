"""Report the audited accuracy of a dataset's newest model, a forecast, and the cost of sweeps, for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labeling.models import Dataset
from modeling.versions.audited_accuracy import MIN_AUDIT
from sampling.accuracy.estimate import Outlook, history, more_to_halve, outlook, recalls_by_name
from sampling.accuracy.stopping import Stopping, stopping
from sampling.models import AccuracyEstimate
from sampling.sweeps.checks import Cost, Measured, cost_of, measured, settle

NOT_KNOWN = (
    f"Not known yet: label {MIN_AUDIT} images of the queue Audit (hoshina queue audit, or the page), then retrain."
)


@dataclass(frozen=True)
class AccuracyReport:
    """Hold the newest estimate (None: not known yet), the outlook, and what sweeps cost and their checks found."""

    newest: AccuracyEstimate | None
    per_class: list[dict[str, Any]]
    ahead: Outlook
    stop: Stopping | None
    cost: Cost
    found: Measured

    def as_json(self) -> dict[str, Any]:
        newest, end = self.newest, self.ahead.end
        forecast = end and {"labels": end["labels"], "accuracy": end["value"], "interval": [end["low"], end["high"]]}
        return {
            "accuracy": newest.value if newest else None,
            "interval": [newest.low, newest.high] if newest else None,
            "n_audit": newest.n_audit if newest else 0,
            "model_version": newest.model_version.number if newest else None,
            "labels": newest.n_labels if newest else None,
            "more_to_halve": more_to_halve(newest) if newest else None,
            "per_class": self.per_class,
            "forecast": forecast,
            "next_point": _next_point(self.stop),
            "sweeps": _sweeps(self.cost, self.found),
            "note": self.ahead.why_not if newest else NOT_KNOWN,
        }


def accuracy_report(dataset: Dataset) -> AccuracyReport:
    """Return the report of the dataset, after settling the checks of sweeps."""
    estimates = history(dataset)
    newest = estimates[-1] if estimates else None
    ahead = outlook(estimates)
    settle(dataset.pk)
    return AccuracyReport(
        newest=newest,
        per_class=[] if newest is None else recalls_by_name(newest),
        ahead=ahead,
        stop=stopping(estimates, ahead),
        cost=cost_of(dataset),
        found=measured(dataset),
    )


def _sweeps(cost: Cost, found: Measured) -> dict[str, Any] | None:
    """Return what the last pages of class sweeps cost, and the share of wrong labels that checks measured."""
    if not cost.labels:
        return None
    return {
        "labels": cost.labels,
        "actions": cost.actions,
        "actions_per_label": cost.per_label,
        "model_error": cost.bound,
        "wrong": found.value if found.n else None,
        "interval": [found.low, found.high] if found.n else None,
        "n_checks": found.n,
        "n_waiting": found.n_waiting,
    }


def _next_point(stop: Stopping | None) -> dict[str, Any] | None:
    if stop is None:
        return None
    gain = stop.gain
    return {"labels": gain.labels, "gain": gain.value, "interval": [gain.low, gain.high], "pays": stop.pays}
