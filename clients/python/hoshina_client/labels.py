"""Save decisions in batches, each with an identifier by which a repeated request is saved once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hoshina_client.errors import Conflict, ConflictingDecision, Refused
from hoshina_client.items import Item, state_of
from hoshina_client.transport import Transport

# What the server takes: items of an action, and actions and items of a request.
MOST_TARGETS, MOST_ACTIONS, MOST_ITEMS = 2000, 200, 10_000

AnyItem = Item | int
Batch = list[dict[str, Any]]


@dataclass(frozen=True)
class Saved:
    """Tell what was saved: how many items by how many actions.

    Pass ``n_actions`` to ``undo`` to take all of it back.
    """

    n_items: int
    n_actions: int


def id_of(item: AnyItem) -> int:
    """Return the id of an item, which may also be an integer of NumPy or pandas."""
    return item.id if isinstance(item, Item) else int(item)


def listed(items: AnyItem | Iterable[AnyItem]) -> list[AnyItem]:
    """Return one or several items as a list."""
    return list(items) if isinstance(items, Iterable) else [items]


def label_actions(items: Sequence[AnyItem], labels: Sequence[str], **options: Any) -> Batch:
    """Return the actions that give each item the label at the same place: one for each class."""
    if len(items) != len(labels):
        raise ValueError(f"There are {len(items):,} items and {len(labels):,} labels.")
    by_label: dict[str, list[AnyItem]] = {}
    seen: dict[int, str] = {}
    for item, label in zip(items, labels, strict=True):
        if not isinstance(label, str):
            raise TypeError(f"{label!r} is not the name of a class: names are text.")
        if seen.setdefault(id_of(item), label) != label:
            raise ValueError(f"Item {id_of(item)} has two labels: {seen[id_of(item)]!r} and {label!r}.")
        by_label.setdefault(label, []).append(item)
    actions: Batch = []
    for label, members in by_label.items():
        actions += decision_actions("assign", members, class_name=label, **options)
    return actions


def decision_actions(kind: str, items: Sequence[AnyItem], **options: Any) -> Batch:
    """Return the actions with the same decision about items."""
    return [
        {"uuid": str(uuid.uuid4()), "kind": kind, "items": [_target(item) for item in chunk], **options}
        for chunk in (items[start : start + MOST_TARGETS] for start in range(0, len(items), MOST_TARGETS))
    ]


def undo_action() -> dict[str, Any]:
    """Return the action that undoes the last one."""
    return {"uuid": str(uuid.uuid4()), "kind": "undo", "items": []}


def save(
    transport: Transport, slug: str, actions: Batch, items: Sequence[AnyItem], class_names: Callable[[], dict[int, str]]
) -> Saved:
    """Save actions, and note their results in ``items``. ``class_names`` returns names by id. Raises Conflict."""
    by_id = {item.id: item for item in items if isinstance(item, Item)}
    conflicts: list[dict[str, Any]] = []
    n_items = n_actions = 0
    for batch in _batches(actions):
        try:
            answer = transport.post(f"datasets/{slug}/annotations", {"actions": batch})
        except Refused as refused:
            if "results" not in refused.body:
                raise
            answer = refused.body
        for action, result in zip(batch, answer["results"], strict=True):
            if result["status"] == "refused":
                raise Refused(result["error"], result["hint"], status=422)
            n_actions += bool(result["items"])
            n_items += len(result["items"])
            for outcome in result["items"]:
                if item := by_id.get(outcome["id"]):
                    item.state, item.annotation = state_of(outcome["state"]), outcome["annotation"]
                    item.label = action.get("class_name")
            conflicts += result["conflicts"]
    saved = Saved(n_items, n_actions)
    if conflicts:
        names = class_names()
        raise Conflict([_conflict(outcome, names) for outcome in conflicts], saved)
    return saved


def _conflict(outcome: dict[str, Any], names: dict[int, str]) -> ConflictingDecision:
    label = names.get(outcome["class_id"] or 0)
    return ConflictingDecision(outcome["id"], state_of(outcome["state"]), label, outcome["by"])


def _target(item: AnyItem) -> dict[str, Any]:
    if not isinstance(item, Item):
        return {"id": int(item)}
    target: dict[str, Any] = {"id": item.id, "seen": item.annotation}
    if item.round is not None and item.rank is not None:
        target |= {"round": item.round, "rank": item.rank}
    return target


def _batches(actions: Batch) -> Iterator[Batch]:
    batch: Batch = []
    n_items = 0
    for action in actions:
        n_more = len(action["items"])
        if batch and (len(batch) == MOST_ACTIONS or n_items + n_more > MOST_ITEMS):
            yield batch
            batch, n_items = [], 0
        batch.append(action)
        n_items += n_more
    if batch:
        yield batch
