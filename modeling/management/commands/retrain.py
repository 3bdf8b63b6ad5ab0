"""Define ``hoshina retrain``: train the assistive model in the foreground."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job, run_or_follow_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.assistive.labeled_embeddings import has_labels_without_embedding
from modeling.assistive.policy import count_labeled_classes
from modeling.models import RetrainPolicy
from modeling.versions.audited_accuracy import newest_audited


class Command(HoshinaCommand):
    help = (
        "Train the assistive model on the labels given so far, calibrate it, and predict every image. "
        "Embeddings of labeled images that are missing are computed first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        dataset = pick_dataset(options["dataset"])
        embedded = None
        if count_labeled_classes(dataset) >= 2 and has_labels_without_embedding(dataset):
            embedded = run_or_follow_command_job("embed", dataset.pk, as_json=options["json"]).result
            # The embedding job may have requested the retrain already.
            job = run_or_follow_command_job("retrain", dataset.pk, as_json=options["json"])
        else:
            job = run_command_job(self, "retrain", dataset_id=dataset.pk, params={}, as_json=options["json"])
        told = job.result
        if "waits_for" in told:
            raise Refusal("There are too few embeddings to train with.", "Run hoshina embed, then retrain again.")
        if options["json"]:
            self.stdout.write(json.dumps(told | ({"embedded": embedded} if embedded else {})))
            return
        if embedded:
            n_computed = counted(embedded["computed"], "embedding")
            self.stdout.write(f"Computed {n_computed} with {embedded['encoder']} first.")
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
