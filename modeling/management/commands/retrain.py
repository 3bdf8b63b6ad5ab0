"""``manage.py retrain``: train the assistive model in the foreground."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from hoshina.commands import HoshinaCommand
from hoshina.jobs.console import run_command_job
from hoshina.words import counted
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.audited import newest_audited
from modeling.models import RetrainPolicy


class Command(HoshinaCommand):
    help = "Train the assistive model on the labels given so far, calibrate it, and predict every image."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        job = run_command_job(self, "retrain", dataset_id=dataset.pk, params={}, as_json=options["json"])
        if options["json"]:
            self.stdout.write(json.dumps(job.result))
            return
        told = job.result
        classes = counted(len(told["classes"]), "class", "classes")
        self.stdout.write(
            f"Model {told['model_version']}: {counted(told['labels'], 'label')} of {classes} in {told['seconds']} s."
        )
        if told["accuracy"] is not None:
            low, high = told["accuracy_interval"]
            self.stdout.write(f"Held-out accuracy {told['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}).")
        if audited := newest_audited(dataset.pk):
            self.stdout.write(
                f"Audited accuracy {audited.percent} % (95 % interval {audited.interval} %), model {audited.number}."
            )
        if told["together"]:
            kept = told["together"]
            n_groups = counted(kept["groups"], "group")
            self.stdout.write(f"Images of one {kept['field']} were held out together: {n_groups}.")
        if told["calibrated"]:
            self.stdout.write(
                f"Calibration error {told['ece_before']:.3f} before, {told['ece_after']:.3f} after {_correction(told)}."
            )
        self.stdout.write(f"{told['note'][:1].upper()}{told['note'][1:]}.")
        if told["newer"]:
            self.stdout.write(f"Meanwhile came {counted(told['newer'], 'decision')}, for the next model.")


def _correction(told: dict[str, Any]) -> str:
    if told["calibration"] in ("platt", "vector"):
        return RetrainPolicy.Calibration(told["calibration"]).label
    return f"temperature {told['temperature']:.2f}"
