"""Define ``hoshina accuracy``: print the audited accuracy, estimated from randomly drawn images."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.versions.audited_accuracy import MIN_AUDIT
from sampling.accuracy.estimate import Outlook, history, more_to_halve, outlook, recalls_by_name
from sampling.accuracy.stopping import Stopping, stopping
from sampling.models import AccuracyEstimate
from sampling.sweeps.banner import cost_sentence
from sampling.sweeps.checks import Cost, Measured, cost_of, measured, settle

NOT_KNOWN = (
    f"Not known yet: label {MIN_AUDIT} images of the queue Audit (hoshina queue audit, or the page), then retrain."
)


class Command(HoshinaCommand):
    help = "Print the audited accuracy of the newest model, a forecast for more labels, and the cost of sweeps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        estimates = history(dataset)
        newest = estimates[-1] if estimates else None
        ahead = outlook(estimates)
        stop = stopping(estimates, ahead)
        end = ahead.end
        settle(dataset.pk)
        cost, found = cost_of(dataset), measured(dataset)
        per_class = [] if newest is None else recalls_by_name(newest)
        forecast = end and {"labels": end["labels"], "accuracy": end["value"], "interval": [end["low"], end["high"]]}
        result = {
            "accuracy": newest.value if newest else None,
            "interval": [newest.low, newest.high] if newest else None,
            "n_audit": newest.n_audit if newest else 0,
            "model_version": newest.model_version.number if newest else None,
            "labels": newest.n_labels if newest else None,
            "more_to_halve": more_to_halve(newest) if newest else None,
            "per_class": per_class,
            "forecast": forecast,
            "next_point": _next_point(stop),
            "sweeps": _sweeps(cost, found),
            "note": ahead.why_not if newest else NOT_KNOWN,
        }
        lines = [NOT_KNOWN] if newest is None else [*_lines(newest, per_class), *_outlook_lines(ahead, stop)]
        lines += [cost_sentence(cost)] if cost.labels else []
        self.print_result(result, lines, as_json=options["json"])


def _lines(newest: AccuracyEstimate, per_class: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f"Audited accuracy {newest.value:.1%} (95 % interval {newest.low:.1%} to {newest.high:.1%}) of model "
        f"{newest.model_version.number} on the whole dataset, "
        f"from {counted(newest.n_audit, 'randomly sampled image')}."
    )
    for line in per_class:
        low, high = line["interval"]
        yield f"  {line['class']}: recall {line['recall']:.1%} ({low:.1%} to {high:.1%}, {counted(line['n'], 'image')})"
    yield f"{counted(more_to_halve(newest), 'more audit label')} would halve the interval."


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


def _outlook_lines(ahead: Outlook, stop: Stopping | None) -> Iterator[str]:
    end = ahead.end
    if end is None or stop is None:
        yield ahead.why_not
        return
    yield f"About {end['value']:.1%} ({end['low']:.1%} to {end['high']:.1%}) at {end['labels']} labels."
    yield stop.sentence()
    if stop.note:
        yield stop.note
