"""Add the model versions to the record of decisions, which names them by their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from django.utils.dateparse import parse_datetime

from labeling.exporting.canonical_text import moment
from labeling.exporting.scope import Scope
from labeling.history.parts import Part, Restored, parsed, register
from labeling.models import Dataset
from modeling.models import ModelVersion

# What a version has besides its files, its embeddings and whether it is in use.
_COPIED = (
    "kind", "options", "steps", "n_labels", "n_rows", "n_decisions", "calibration_method", "calibration_params",
    "temperature", "is_calibrated", "calibration_note", "metrics", "seconds",
)  # fmt: skip
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Number = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Version(msgspec.Struct):
    id: _Number
    at: str
    class_ids: list[int]
    kind: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(ModelVersion.Kind.values)})$")]
    options: dict[str, Any]
    steps: Annotated[int, msgspec.Meta(ge=0, le=32_767)]
    n_labels: _Count
    n_rows: _Count
    n_decisions: _Count
    calibration_method: Annotated[str, msgspec.Meta(max_length=20)]
    calibration_params: dict[str, Any]
    temperature: float
    is_calibrated: bool
    calibration_note: str
    metrics: dict[str, Any]
    seconds: float


def numbers(dataset: Dataset) -> Mapping[int, int]:
    """Return the numbers of the dataset's versions by ID."""
    return dict(ModelVersion.objects.filter(dataset=dataset).values_list("pk", "number"))


def rows(dataset: Dataset, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the versions, with their numbers as ``id``."""
    versions = ModelVersion.objects.filter(dataset=dataset).order_by("number")
    if scope.past is not None:
        versions = versions.filter(created_at__lte=scope.past.until)
    for version in versions.iterator(chunk_size=200):
        row = {name: getattr(version, name) for name in _COPIED}
        yield row | {"id": version.number, "at": moment(version.created_at), "class_ids": version.class_ids}


def restore(restored: Restored, found: Iterable[dict[str, Any]]) -> Mapping[int, int]:
    """Create the versions without files: like those whose files were deleted with time, they only have metrics."""
    ids = {}
    for row in found:
        version = parsed(row, _Version)
        class_ids = [restored.new_id("classes", pk) or 0 for pk in version.class_ids]
        copied = {name: getattr(version, name) for name in _COPIED}
        made = ModelVersion.objects.create(dataset=restored.dataset, number=version.id, class_ids=class_ids, **copied)
        ModelVersion.objects.filter(pk=made.pk).update(created_at=parse_datetime(version.at))
        ids[version.id] = made.pk
    return ids


register(Part(name="model_versions", order=1, rows=rows, restore=restore, numbers=numbers))
