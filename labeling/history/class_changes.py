"""Add to the record when classes were added, renamed and retired, so that earlier exports can be rebuilt elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.exporting.canonical_text import moment
from labeling.exporting.past_classes import changes_at
from labeling.exporting.scope import Scope
from labeling.history.parts import AGAIN, ActionText, LaterLine, Part, Restored, parsed, register, time_of
from labeling.models import Action, ClassChange, Dataset

_AT_ONCE = 500


class _Change(LaterLine, kw_only=True):
    id: int
    label: int
    kind: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(ClassChange.Kind.values)})$")]
    old_name: Annotated[str, msgspec.Meta(max_length=80)]
    after: ActionText
    at: str


def rows(dataset: Dataset, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the changes in order, each with the last action before it."""
    changes = changes_at(dataset, scope.past).select_related("changed_by")
    number = 0
    for batch in batched(list(changes), _AT_ONCE):
        uuids = dict(Action.objects.filter(pk__in=[change.after_id for change in batch]).values_list("pk", "uuid"))
        for change in batch:
            number += 1
            yield {
                "id": number,
                "label": change.label_class_id,
                "kind": change.kind,
                "old_name": change.old_name,
                "after": str(uuids.get(change.after_id, "")),
                "at": moment(change.changed_at),
                "by": scope.annotators.name_of(change.changed_by.get_username() if change.changed_by else ""),
            }


def restore(restored: Restored, found: Iterable[dict[str, Any]]) -> Mapping[int, int]:
    """Save the changes after the actions that they follow."""
    read = [parsed(row, _Change) for row in found]
    _check_order(read)
    actions = restored.action_ids({change.after for change in read if change.after})
    made = [
        ClassChange(
            label_class_id=restored.existing_id("classes", change.label),
            kind=change.kind,
            old_name=change.old_name,
            after_id=actions.get(change.after, 0),
            changed_by_id=restored.users.get(change.by),
            changed_at=time_of(change.at),
        )
        for change in read
    ]
    ClassChange.objects.bulk_create(made, batch_size=_AT_ONCE)
    return {change.id: saved.pk for change, saved in zip(read, made, strict=True)}


def _check_order(changes: Iterable[_Change]) -> None:
    """Raise Refusal if a class was changed before it was added or after it was retired, or renamed from no name."""
    changed: set[int] = set()
    retired: set[int] = set()
    for change in changes:
        is_first, is_renamed = change.label not in changed, change.kind == ClassChange.Kind.RENAMED
        is_possible = is_first or change.kind != ClassChange.Kind.ADDED
        if change.label in retired or not is_possible or is_renamed != bool(change.old_name):
            raise Refusal(f"Change {change.id} of history/class_changes.jsonl is impossible.", AGAIN)
        changed.add(change.label)
        if change.kind == ClassChange.Kind.RETIRED:
            retired.add(change.label)


register(Part(name="class_changes", order=1, rows=rows, restore=restore, line=_Change))
