"""Add to an export how the labeled images were selected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Count, F

from labeling.decisions.random_draws import random_draws
from labeling.exporting import Contribution, Member, Section, register
from labeling.exporting.canonical_text import csv_line
from labeling.models import Annotation, Dataset
from modeling.models import ModelVersion
from sampling.accuracy.estimate import latest, recalls_by_name
from sampling.models import Round
from sampling.sweeps.checks import measured, settle

_HEADER = ("round_id", "queue", "seed", "params", "model_version", "labels")


def contribute(dataset: Dataset, is_wanted: bool) -> Contribution:
    """Return the number of decisions per queue and the audited accuracy, and rounds.csv if ``is_wanted``."""
    members = [Member("rounds.csv", _rounds(dataset))] if is_wanted else []
    audited = _audited_accuracy(dataset)
    # Readers of older manifests look for the second name.
    manifest = {"queues": _by_queue(dataset), "audited_accuracy": audited, "honest_accuracy": audited}
    draws = random_draws(dataset.pk)
    manifest |= {"random_draws": {"labeled": len(draws.labeled), "undecided": draws.n_undecided}, **_checks(dataset)}
    return Contribution(manifest=manifest, members=members)


def why_not(dataset: Dataset) -> str:
    """Return "": pulls can always be listed, even if the table is empty."""
    return ""


def _decisions(dataset: Dataset) -> Any:
    """Return the annotations whose decisions hold: pulls without a label must not change the exported bytes."""
    return Annotation.objects.filter(item__dataset=dataset, pk=F("item__newest_annotation_id"), state__gt=0)


def _by_queue(dataset: Dataset) -> dict[str, int]:
    counted = _decisions(dataset).values("queue").annotate(n=Count("pk")).order_by("queue")
    return {row["queue"] or "none": row["n"] for row in counted}


def _audited_accuracy(dataset: Dataset) -> dict[str, Any] | None:
    """Return the newest model's accuracy on the whole dataset, as estimated from random draws."""
    newest = latest(dataset)
    if newest is None:
        return None
    return {
        "accuracy": newest.value,
        "interval": [newest.low, newest.high],
        "audit_labels": newest.n_audit,
        "items": newest.n_items,
        "labels": newest.n_labels,
        "model_version": newest.model_version.number,
        "recall": recalls_by_name(newest),
    }


def _checks(dataset: Dataset) -> dict[str, Any]:
    """Return the outcome of the hidden checks of sweeps; empty if none is decided."""
    settle(dataset.pk)
    found = measured(dataset)
    if not found.n:
        return {}
    interval = [found.low, found.high]
    return {"checks": {"decided": found.n, "wrong": found.n_wrong, "share_wrong": found.value, "interval": interval}}


def _rounds(dataset: Dataset) -> Iterator[bytes]:
    yield csv_line(_HEADER).encode()
    led_to = _decisions(dataset).filter(round_id__isnull=False).values("round_id").annotate(n=Count("pk"))
    labels = dict(led_to.values_list("round_id", "n"))
    numbers = dict(ModelVersion.objects.filter(dataset=dataset).values_list("pk", "number"))
    facts = ("pk", "queue", "seed", "params", "model_version_id")
    rounds = Round.objects.filter(dataset=dataset, pk__in=labels).order_by("pk").values_list(*facts)
    for pk, queue, seed, params, version in rounds:
        text = json.dumps(params, sort_keys=True, separators=(",", ":"))
        yield csv_line((pk, queue, seed, text, numbers.get(version), labels[pk])).encode()


register(
    Section(
        name="rounds",
        title="How the images were selected (rounds.csv: queue, parameters and seed of every pull)",
        contribute=contribute,
        why_not=why_not,
        is_rare=True,
    )
)
