"""Add the audited accuracies to the record of decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from django.utils.dateparse import parse_datetime

from labeling.exporting.canonical_text import moment
from labeling.exporting.scope import Scope
from labeling.history.parts import Part, Restored, parsed, register
from labeling.models import Dataset
from sampling.models import AccuracyEstimate

_COPIED = ("n_labels", "n_items", "n_audit", "n_right", "n_undecided", "value", "low", "high", "n_effective")
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _OfClass(msgspec.Struct):
    class_id: int
    n: _Count
    n_right: _Count
    value: _Share
    low: _Share
    high: _Share


class _Estimate(msgspec.Struct):
    id: int
    at: str
    n_labels: _Count
    n_items: _Count
    n_audit: _Count
    n_right: _Count
    n_undecided: _Count
    value: _Share
    low: _Share
    high: _Share
    n_effective: float
    per_class: list[_OfClass]


def rows(dataset: Dataset, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the estimates, with the numbers of their model versions as ``id``."""
    estimates = AccuracyEstimate.objects.filter(dataset=dataset).select_related("model_version")
    if scope.past is not None:
        estimates = estimates.filter(created_at__lte=scope.past.until)
    for estimate in estimates.order_by("model_version__number"):
        row = {name: getattr(estimate, name) for name in (*_COPIED, "per_class")}
        yield row | {"id": estimate.model_version.number, "at": moment(estimate.created_at)}


def restore(restored: Restored, found: Iterable[dict[str, Any]]) -> Mapping[int, int]:
    """Create the estimates of the versions that were restored."""
    ids = {}
    for row in found:
        estimate = parsed(row, _Estimate)
        version_id = restored.new_id("model_versions", estimate.id)
        if version_id is None:
            continue
        per_class = [
            msgspec.to_builtins(entry) | {"class_id": class_id}
            for entry in estimate.per_class
            if (class_id := restored.new_id("classes", entry.class_id)) is not None
        ]
        copied = {name: getattr(estimate, name) for name in _COPIED}
        made = AccuracyEstimate.objects.create(
            dataset=restored.dataset, model_version_id=version_id, per_class=per_class, **copied
        )
        AccuracyEstimate.objects.filter(pk=made.pk).update(created_at=parse_datetime(estimate.at))
        ids[estimate.id] = made.pk
    return ids


register(Part(name="accuracy", order=3, rows=rows, restore=restore))
