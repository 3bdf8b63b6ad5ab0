"""``manage.py retrain``: train the assistive model in the foreground."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from hoshina.commands import HoshinaCommand
from hoshina.jobs.console import run_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
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
        self.stdout.write(
            f"Model {told['model_version']}: {told['labels']} labels of {len(told['classes'])} classes in "
            f"{told['seconds']} s."
        )
        if told["accuracy"] is not None:
            low, high = told["accuracy_interval"]
            self.stdout.write(f"Accuracy {told['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}).")
        if told["together"]:
            kept = told["together"]
            self.stdout.write(f"Images of one {kept['field']} were held out together: {kept['groups']} groups.")
        if told["calibrated"]:
            self.stdout.write(
                f"Calibration error {told['ece_before']:.3f} before, {told['ece_after']:.3f} after {_correction(told)}."
            )
        self.stdout.write(f"{told['note'][:1].upper()}{told['note'][1:]}.")
        if told["newer"]:
            self.stdout.write(f"{told['newer']} decisions came while it was trained: they count for the next model.")


def _correction(told: dict[str, Any]) -> str:
    if told["calibration"] in ("platt", "vector"):
        return RetrainPolicy.Calibration(told["calibration"]).label
    return f"temperature {told['temperature']:.2f}"
