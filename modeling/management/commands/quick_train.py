"""Define ``hoshina quick_train``: train a network on the labeled images in the foreground."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict, replace
from typing import Any

from django.core.management.base import CommandError

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.parsing import add_option_arguments, given_options, parse_options
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.quick.data import facts_of, usual_options
from modeling.quick.options import QuickOptions, problems

_FLAGS = {"is_fine_tuned": "--fine-tune", "is_used": "--use"}


class Command(HoshinaCommand):
    help = (
        "Train a network on the labeled images, calibrate it, and predict every image. "
        "Options that are not given are those of the dataset's last quick training, or defaults for its images."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)
        add_option_arguments(parser, QuickOptions, _FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        try:
            usual = asdict(replace(usual_options(dataset), is_used=True))
            wanted = parse_options(QuickOptions, usual | given_options(QuickOptions, options))
        except Refusal as error:
            flag = _FLAGS.get(error.field, f"--{error.field.replace('_', '-')}")
            raise CommandError(f"{flag}: {error}", returncode=2) from error
        impossible = problems(wanted, facts_of(dataset))
        if impossible:
            raise CommandError(" ".join(why for _, why in impossible))
        job = run_command_job(self, "quick_train", dataset.pk, asdict(wanted), as_json=options["json"])
        self.print_result(job.result, report_lines(job.result), as_json=options["json"])


def report_lines(result: dict[str, Any]) -> list[str]:
    """Return the result of a training, which ``--json`` prints, as lines of text."""
    low, high = result["accuracy_interval"]
    classes = counted(len(result["classes"]), "class", "classes")
    lines = [
        f"Model {result['model_version']}: {counted(result['labels'], 'label')} of {classes}, "
        f"best epoch {result['best_epoch']} of {len(result['epochs'])}, in {result['seconds']} s.",
        f"Held-out accuracy on {counted(result['n_test'], 'test image')} {result['accuracy']:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}).",
    ]
    if result["calibrated"]:
        lines.append(
            f"Calibration error {result['ece_before']:.3f} before, {result['ece_after']:.3f} after "
            f"temperature {result['temperature']:.2f}."
        )
    else:
        lines.append(result["note"])
    assistive = result["assistive"]
    if assistive:
        lines.append(
            f"On {assistive['n']:,} of the same images: {assistive['quick_accuracy']:.1%}, "
            f"and {assistive['accuracy']:.1%} by model {assistive['version']}."
        )
    return [*lines, *result["notes"], f"Files: {', '.join(result['files'])}, in {result['folder']}"]
