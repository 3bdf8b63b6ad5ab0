"""Define ``hoshina retrain``: train the assistive model in the foreground."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from hoshina.core.commands import HoshinaCommand
from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.jobs.console import run_command_job, run_or_follow_command_job
from labeling.management.datasets import add_common_arguments, pick_dataset
from modeling.assistive.labeled_embeddings import has_labels_without_embedding
from modeling.assistive.policy import count_labeled_classes
from modeling.models import RetrainPolicy
from modeling.versions.audited_accuracy import Audited, newest_audited


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
        result = job.result
        if "waits_for" in result:
            raise Refusal("There are too few embeddings to train with.", "Run hoshina embed, then retrain again.")
        lines = _lines(result, embedded, newest_audited(dataset.pk))
        self.print_result(result | ({"embedded": embedded} if embedded else {}), lines, as_json=options["json"])


def _lines(result: dict[str, Any], embedded: dict[str, Any] | None, audited: Audited | None) -> Iterator[str]:
    """Yield the result for people; ``embedded`` is that of an embedding job that had to run before."""
    if embedded and embedded["computed"]:
        yield f"Computed {counted(embedded['computed'], 'embedding')} with {embedded['encoder']} first."
    n_classes = counted(len(result["classes"]), "class", "classes")
    n_labels = counted(result["labels"], "label")
    yield f"Model {result['model_version']}: {n_labels} of {n_classes} in {result['seconds']} s."
    if result["accuracy"] is not None:
        low, high = result["accuracy_interval"]
        yield f"Held-out accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})."
    if audited:
        yield f"Audited accuracy {audited.percent} % (95 % interval {audited.interval} %), model {audited.number}."
    if together := result["together"]:
        yield f"Images of one {together['field']} were held out together: {counted(together['groups'], 'group')}."
    if result["calibrated"]:
        before, after = f"{result['ece_before']:.3f} before", f"{result['ece_after']:.3f} after"
        yield f"Calibration error {before}, {after} {_correction(result)}."
    yield f"{result['note'][:1].upper()}{result['note'][1:]}."
    if "in_use" in result:
        yield f"Model {result['in_use']}, whose predictions were imported and chosen, stays in use."
    if result["newer"]:
        yield f"Not yet in this model: {counted(result['newer'], 'newer decision')}."


def _correction(result: dict[str, Any]) -> str:
    if result["calibration"] in ("platt", "vector"):
        return RetrainPolicy.Calibration(result["calibration"]).label
    return f"temperature {result['temperature']:.2f}"
