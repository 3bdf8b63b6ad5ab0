"""Add the hidden checks of sweeps to the record of decisions. They refer to decisions, and are restored after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from django.db.models import F, QuerySet

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.exporting.rows import combined_hash, files_of
from labeling.exporting.scope import Scope
from labeling.history.parts import AGAIN, ActionText, LaterLine, Part, Restored, parsed, register
from labeling.models import Annotation, Dataset
from sampling.models import Check
from sampling.queues.history import recorded_rounds

_COPIED = ("probability", "labels", "promised")
_AT_ONCE = 500
_OUTCOMES = {outcome: outcome.name.lower() for outcome in Check.Outcome}
_OUTCOME_OF = {name: outcome for outcome, name in _OUTCOMES.items()}


class _Check(LaterLine, kw_only=True):
    """Represent a check. ``accept``: the action that accepted its page; ``disputed_by``: the first that disagreed."""

    id: int
    item_id: int
    round: int
    label: int
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)]
    labels: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    promised: Annotated[float, msgspec.Meta(ge=0, le=1)]
    accept: ActionText
    disputed_by: ActionText
    outcome: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(_OUTCOME_OF)})$")]


def rows(dataset: Dataset, scope: Scope) -> Iterator[dict[str, Any]]:
    """Yield the checks of the rounds that led to a decision; none of an earlier time, since outcomes are of today."""
    if scope.past is not None:
        return
    checks = Check.objects.filter(dataset=dataset, round__in=recorded_rounds(dataset, scope).values("pk"))
    number = 0
    for batch in batched(list(checks.order_by("pk").values_list("pk", flat=True)), _AT_ONCE):
        for row in _some_rows(Check.objects.filter(pk__in=batch).order_by("pk")):
            number += 1
            yield {"id": number} | row


def _some_rows(checks: QuerySet[Check]) -> Iterator[dict[str, Any]]:
    columns = ("item_id", *_COPIED)
    found = list(checks.select_related("item").annotate(accepted_by=F("accept__uuid")))
    files = files_of([check.item_id for check in found])
    disputes = Annotation.objects.filter(pk__in=[check.disputed_by for check in found if check.disputed_by])
    uuids = dict(disputes.values_list("pk", "action__uuid"))
    for check in found:
        yield {name: getattr(check, name) for name in columns} | {
            "path": check.item.path,
            "sha256": combined_hash(files.get(check.item_id, [])),
            "round": check.round_id,
            "label": check.label_id,
            "accept": str(check.accepted_by or ""),
            "disputed_by": str(uuids.get(check.disputed_by or 0, "")),
            "outcome": _OUTCOMES[Check.Outcome(check.outcome)],
        }


def restore(restored: Restored, found: Iterable[dict[str, Any]]) -> Mapping[int, int]:
    """Save the checks with their outcomes. Those that wait are shown again."""
    read = [parsed(row, _Check) for row in found]
    actions = restored.action_ids({uuid for check in read for uuid in (check.accept, check.disputed_by) if uuid})
    disputes = _disputes(restored, read, actions)
    made = [
        Check(
            dataset=restored.dataset,
            item_id=restored.items[check.item_id],
            round_id=restored.existing_id("rounds", check.round),
            label_id=restored.existing_id("classes", check.label),
            accept_id=actions.get(check.accept),
            disputed_by=disputes[check.id] if check.disputed_by else None,
            outcome=_OUTCOME_OF[check.outcome],
            **{name: getattr(check, name) for name in _COPIED},
        )
        for check in read
    ]
    Check.objects.bulk_create(made, batch_size=_AT_ONCE)
    return {check.id: saved.pk for check, saved in zip(read, made, strict=True)}


def _disputes(restored: Restored, checks: Sequence[_Check], actions: Mapping[str, int]) -> Mapping[int, int]:
    """Return the decisions that disagreed by the number of the check. Raises Refusal if one is missing."""
    wanted = {
        check.id: (actions[check.disputed_by], restored.items[check.item_id]) for check in checks if check.disputed_by
    }
    pks: dict[tuple[int, int], int] = {}
    for batch in batched(sorted(set(wanted.values())), _AT_ONCE):
        of_actions = Annotation.objects.filter(action__in={action for action, _ in batch})
        decisions = of_actions.filter(item__in={item for _, item in batch}).order_by()
        pks |= {(action, item): pk for action, item, pk in decisions.values_list("action", "item", "pk")}
    for number, place in wanted.items():
        if place not in pks:
            raise Refusal(f"Check {number} of history/checks.jsonl is disputed by another image's decision.", AGAIN)
    return {number: pks[place] for number, place in wanted.items()}


register(Part(name="checks", order=2, rows=rows, restore=restore, line=_Check))
