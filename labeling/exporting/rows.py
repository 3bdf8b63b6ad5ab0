"""Read the labeled items for an export with keyset pagination, so that memory does not grow."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from operator import itemgetter

from django.db.models import Count, Min, Q

from labeling.exporting.past import Past, items_at
from labeling.exporting.remarks import NO_REMARKS, Remarks, remarks_of
from labeling.exporting.scope import Annotators, Scope
from labeling.models import Action, Annotation, Dataset, Frame, Item, State, is_older
from labeling.notes.tags import has_remarks

# IDs per IN (…). The oldest supported SQLite accepts up to 999.
BATCH = 900


@dataclass(frozen=True, slots=True)
class LabelRow:
    """An item with a decision, for labels.csv. ``label_id`` is None unless the item is labeled."""

    item_id: int
    row: int
    path: str
    label_id: int | None
    was_unsure: bool
    is_skipped: bool
    labelled_at: datetime | None
    annotator: str
    queue: str
    sha256: str
    # SHA-256 of the file of each frame.
    files: tuple[str, ...]
    # Time of the first decision that was not undone.
    created_at: datetime | None
    # Whether its files changed after the current decision.
    is_content_changed: bool
    remarks: Remarks = NO_REMARKS


# row, id, path, state, label_id, newest_annotation_id, decision_id, content_changed_after
_ItemTuple = tuple[int, int, str, int, int | None, int, int | None, int | None]
_COLUMNS = (
    "row", "id", "path", "state", "label_id", "newest_annotation_id", "decision_id", "content_changed_after",
)  # fmt: skip
# decided_at, annotator, queue
_Decision = tuple[datetime | None, str | None, str]


ALL = Scope(None, Annotators())


def decided_items(dataset: Dataset, scope: Scope = ALL) -> Iterator[list[LabelRow]]:
    """Yield batches of items with a decision by row. Each item occurs once, even if it changes in the meantime."""
    items = _current(dataset) if scope.past is None else items_at(dataset, scope.past)
    with_remarks = has_remarks(dataset)
    while batch := list(islice(items, BATCH)):
        yield _with_provenance(batch, scope, with_remarks=with_remarks)


def _current(dataset: Dataset) -> Iterator[_ItemTuple]:
    states = (state for state in State if state != State.UNLABELLED)
    return _without_repeats(heapq.merge(*(_of_state(dataset, state) for state in states), key=itemgetter(0)))


def _of_state(dataset: Dataset, state: State) -> Iterator[_ItemTuple]:
    """Yield all items in one state by row, reading only these with the index (dataset, state, row)."""
    last = -1
    while True:
        batch = list(
            Item.objects.of(dataset).filter(state=state, row__gt=last).order_by("row").values_list(*_COLUMNS)[:BATCH]
        )
        yield from batch
        if len(batch) < BATCH:
            return
        last = batch[-1][0]


def _without_repeats(items: Iterator[_ItemTuple]) -> Iterator[_ItemTuple]:
    """Skip second occurrences of items whose state changed between two batches."""
    last = -1
    for item in items:
        if item[0] > last:
            last = item[0]
            yield item


def _with_provenance(batch: Sequence[_ItemTuple], scope: Scope, *, with_remarks: bool) -> list[LabelRow]:
    ids = [item[1] for item in batch]
    annotation_ids = [item[5] for item in batch]
    newest: dict[int, _Decision] = {
        pk: (decided_at, annotator, queue)
        for pk, decided_at, annotator, queue in Annotation.objects.filter(pk__in=annotation_ids).values_list(
            "pk", "decided_at", "annotator__username", "queue"
        )
    }
    history = histories(ids, scope.past)
    files = files_of(ids)
    remarks = remarks_of(ids, scope) if with_remarks else {}
    rows = []
    for row, item_id, path, state, label_id, annotation_id, decision_id, changed_after in batch:
        decided_at, annotator, queue = newest.get(annotation_id, (None, None, ""))
        created_at, was_unsure = history.get(item_id, (None, False))
        rows.append(
            LabelRow(
                item_id=item_id,
                row=row,
                path=path,
                label_id=label_id if state == State.LABELLED else None,
                was_unsure=state == State.UNSURE or was_unsure,
                is_skipped=state == State.SKIPPED,
                labelled_at=decided_at,
                annotator=scope.annotators.name_of(annotator),
                queue=queue,
                sha256=combined_hash(files.get(item_id, [])),
                files=tuple(sha256 for _, _, sha256 in files.get(item_id, [])),
                created_at=created_at,
                is_content_changed=is_older(decision_id, changed_after),
                remarks=remarks.get(item_id, NO_REMARKS),
            )
        )
    return rows


def histories(item_ids: Sequence[int], past: Past | None = None) -> dict[int, tuple[datetime, bool]]:
    """Return when each of at most BATCH items was first decided, and whether ever unsure, without undone decisions."""
    holds = Q(action__undone_by__isnull=True)
    decisions = Annotation.objects.filter(item_id__in=item_ids)
    if past is not None:
        holds |= Q(action__undone_by__gt=past.action_id)
        decisions = decisions.filter(action__lte=past.action_id)
    decisions = decisions.filter(holds).exclude(action__kind=Action.Kind.UNDO).exclude(state=State.UNLABELLED)
    of_items = decisions.values("item_id").annotate(
        first=Min("decided_at"), n_unsure=Count("pk", filter=Q(state=State.UNSURE))
    )
    return {
        item_id: (first, n_unsure > 0)
        for item_id, first, n_unsure in of_items.order_by().values_list("item_id", "first", "n_unsure")
    }


def unsure_at_any_time(item_ids: Sequence[int]) -> set[int]:
    """Return which of at most BATCH items were ever marked unsure."""
    return {item_id for item_id, (_, was_unsure) in histories(item_ids).items() if was_unsure}


def files_of(item_ids: Sequence[int]) -> dict[int, list[tuple[str, str, str]]]:
    """Return the files of each of at most BATCH items as (role, path, SHA-256), sorted by role."""
    files: dict[int, list[tuple[str, str, str]]] = {}
    frames = Frame.objects.filter(item_id__in=item_ids).values_list("item_id", "role", "path", "sha256")
    for item_id, role, path, sha256 in frames:
        files.setdefault(item_id, []).append((role, path, sha256))
    for files_of_item in files.values():
        files_of_item.sort()
    return files


def combined_hash(files: Sequence[tuple[str, str, str]]) -> str:
    """Return the SHA-256 of the file, or of the roles and hashes of several frames."""
    if len(files) <= 1:
        return files[0][2] if files else ""
    return hashlib.sha256("".join(f"{role}:{sha256}\n" for role, _, sha256 in files).encode()).hexdigest()
