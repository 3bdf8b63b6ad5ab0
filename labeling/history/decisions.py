"""Read every decision of a dataset in order, a batch at a time."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hoshina.core.batches import batched
from labeling.exporting.past_classes import classes_at
from labeling.exporting.rows import combined_hash, files_of
from labeling.exporting.scope import Scope
from labeling.history.parts import numbers_of
from labeling.models import Annotation, Dataset, State

# IDs per IN (…), as for the labels.
BATCH = 900
_STATES = {state.value: str(state.label) for state in State}
_COLUMNS = (
    "pk", "item_id", "item__path", "item__content_changed_after", "state", "label_id",
    "previous_id", "decided_at", "seconds", "annotator__username", "queue", "round_id", "rank", "score",
    "selection_probability", "is_random_draw", "model_version_id", "suggestion_shown", "suggested_label_id",
    "suggested_probability", "rendering", "action__uuid", "action__kind", "action__created_at",
    "action__annotator__username", "action__holder", "action__undoes__uuid", "action__undone_by__uuid",
    "action__undone_by",
)  # fmt: skip


class Decisions:
    """Hold the decisions of a dataset in the order in which they were saved, with 8 bytes per decision in memory."""

    def __init__(self, dataset: Dataset, scope: Scope) -> None:
        self._dataset = dataset
        self._scope = scope
        self._past = scope.past
        found = Annotation.objects.filter(item__dataset=dataset)
        if self._past is not None:
            found = found.filter(action__lte=self._past.action_id)
        self.ids = array("q", found.order_by("pk").values_list("pk", flat=True).iterator(chunk_size=10_000))
        self._classes = {pk: label.name for pk, label in classes_at(dataset, scope.past).items()}
        self._versions: Mapping[int, int] = numbers_of(dataset, "model_versions") or {}

    def rows(self) -> Iterator[list[tuple[Any, ...]]]:
        """Yield batches of decisions as values of ``COLUMNS``."""
        for ids in batched(self.ids, BATCH):
            yield self._some(ids)

    def _some(self, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        found = list(Annotation.objects.filter(pk__in=list(ids)).order_by("pk").values_list(*_COLUMNS))
        files = files_of(list({values[1] for values in found}))
        return [self._values(values, combined_hash(files.get(values[1], []))) for values in found]

    def _values(self, values: tuple[Any, ...], sha256: str) -> tuple[Any, ...]:
        (
            pk, item_id, path, changed_after, state, label_id, previous_id, decided_at, seconds, annotator,
            queue, round_id, rank, score, chance, is_draw, version_id, was_shown, suggested_id, suggested_chance,
            rendering, uuid, kind, action_at, action_by, holder, undoes, undone_by, undone_by_id,
        ) = values  # fmt: skip
        name_of, past = self._scope.annotators.name_of, self._past
        if past is not None and undone_by_id is not None and undone_by_id > past.action_id:
            undone_by = None
        return (
            self._number(pk), item_id, path, sha256, _STATES[state], self._classes.get(label_id, ""), label_id,
            None if previous_id is None else self._number(previous_id), pk == changed_after,
            decided_at, seconds, name_of(annotator), queue, round_id, rank, score, chance, is_draw,
            self._versions.get(version_id), was_shown, self._classes.get(suggested_id, ""), suggested_id,
            suggested_chance, rendering, str(uuid), kind, action_at, name_of(action_by), holder,
            _text(undoes), _text(undone_by),
        )  # fmt: skip

    def number_after(self, action_id: int) -> int:
        """Return the number of the last decision of an earlier action; 0 if there is none."""
        earlier = Annotation.objects.filter(action__dataset=self._dataset, action__lt=action_id)
        last = earlier.order_by("-action", "-pk").values_list("pk", flat=True).first()
        return 0 if last is None else self._number(last)

    def _number(self, pk: int) -> int:
        """Return the place of an annotation among those of the dataset, from 1."""
        return bisect_left(self.ids, pk) + 1


def _text(uuid: object) -> str:
    return "" if uuid is None else str(uuid)
