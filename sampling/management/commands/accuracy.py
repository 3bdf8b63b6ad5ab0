"""Define ``hoshina accuracy``: print the audited accuracy, estimated from randomly drawn images."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.plural import counted
from labeling.management.datasets import add_common_arguments, pick_dataset
from sampling.accuracy.estimate import Outlook, more_to_halve
from sampling.accuracy.report import NOT_KNOWN, accuracy_report
from sampling.accuracy.stopping import Stopping
from sampling.models import AccuracyEstimate
from sampling.sweeps.banner import cost_sentence


class Command(HoshinaCommand):
    help = "Print the audited accuracy of the newest model, a forecast for more labels, and the cost of sweeps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        report = accuracy_report(pick_dataset(options["dataset"]))
        newest, cost = report.newest, report.cost
        lines = [NOT_KNOWN]
        if newest is not None:
            lines = [*_lines(newest, report.per_class), *_outlook_lines(report.ahead, report.stop)]
        lines += [cost_sentence(cost)] if cost.labels else []
        self.print_result(report.as_json(), lines, as_json=options["json"])


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


def _outlook_lines(ahead: Outlook, stop: Stopping | None) -> Iterator[str]:
    end = ahead.end
    if end is None or stop is None:
        yield ahead.why_not
        return
    yield f"About {end['value']:.1%} ({end['low']:.1%} to {end['high']:.1%}) at {end['labels']} labels."
    yield stop.sentence()
    if stop.note:
        yield stop.note
