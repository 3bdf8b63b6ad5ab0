"""Add the rounds to the record of decisions: queue, parameters and seed of each, without its ranking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from labeling.exporting.canonical_text import moment
from labeling.exporting.scope import Scope
from labeling.history.ids import free_ids, reset_sequence
from labeling.history.parts import Part, Restored, numbers_of, parsed, register
from labeling.models import Annotation, Dataset
from sampling.models import Round

_COPIED = ("queue", "params", "seed", "n_decisions", "n_ranked", "is_complete", "reasons")
_AT_ONCE = 500


class _Round(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    at: str
    model_version: int | None
    queue: Annotated[str, msgspec.Meta(max_length=40)]
    params: dict[str, Any]
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    n_decisions: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    n_ranked: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    is_complete: bool
    reasons: list[Any]


def recorded_rounds(dataset: Dataset, scope: Scope) -> QuerySet[Round]:
    """Return the rounds that led to a decision."""
    led_to = Annotation.objects.filter(item__dataset=dataset, round_id__isnull=False)
    if scope.past is not None:
        led_to = led_to.filter(action__lte=scope.past.action_id)
    return Round.objects.filter(dataset=dataset, pk__in=led_to.order_by().values("round_id").distinct())


def rows(dataset: Dataset, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the rounds that led to a decision."""
    versions = numbers_of(dataset, "model_versions") or {}
    found = recorded_rounds(dataset, scope)
    columns = ("pk", "created_at", "model_version_id", *_COPIED)
    for pk, at, version_id, *copied in found.order_by("pk").values_list(*columns).iterator(chunk_size=_AT_ONCE):
        row = dict(zip(_COPIED, copied, strict=True))
        yield row | {"id": pk, "at": moment(at), "model_version": versions.get(version_id)}


def restore(restored: Restored, found: Iterable[dict[str, Any]]) -> Mapping[int, int]:
    """Create the rounds without rankings, as old rounds are."""
    read = [parsed(row, _Round) for row in found]
    ids = free_ids(Round, [round_.id for round_ in read])
    new: dict[int, int] = {}
    for round_ in read:
        made = Round.objects.create(
            pk=ids.get(round_.id),
            dataset=restored.dataset,
            model_version_id=restored.new_id("model_versions", round_.model_version),
            **{name: getattr(round_, name) for name in _COPIED},
        )
        Round.objects.filter(pk=made.pk).update(created_at=parse_datetime(round_.at))
        new[round_.id] = made.pk
    reset_sequence(Round)
    return new


register(Part(name="rounds", order=2, rows=rows, restore=restore))
