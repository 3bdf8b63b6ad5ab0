"""Save the lines of a record as actions and annotations."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal
from labeling.decisions import sql as decision_sql
from labeling.decisions.content_changes import mark_content_changed
from labeling.history.lines import Line
from labeling.history.parts import Restored, time_of
from labeling.models import Action, Annotation, Item, State

_AT_ONCE = 500
_COPIED = (
    "state", "decided_at", "seconds", "queue", "rank", "score", "selection_probability", "is_random_draw",
    "suggestion_shown", "suggested_probability", "rendering",
)  # fmt: skip
_COUNTERS = {State.LABELLED: "n_labelled", State.UNSURE: "n_unsure", State.SKIPPED: "n_skipped"}


class Writer:
    """Write decisions in order, a batch at a time, with 8 bytes per decision in memory."""

    def __init__(
        self, restored: Restored, item_ids: Mapping[int, int], idle: Mapping[int, Sequence[dict[str, Any]]]
    ) -> None:
        self._restored = restored
        self._dataset = restored.dataset
        self._item_ids = item_ids
        self._idle = idle
        self._pks = array("q")
        self._lines: list[Line] = []
        # Actions that are not saved yet, with the UUID of the one that each undoes.
        self._new: list[tuple[Action, UUID | None]] = []
        self._action: Action | None = None
        self._changed_after: dict[int, int] = {}
        self.n_actions = 0

    @property
    def n_decisions(self) -> int:
        return len(self._pks)

    def write(self, lines: Sequence[Line]) -> None:
        """Save some lines, those that follow the ones before."""
        if not self._pks:
            self._add_idle(0)
        for line in lines:
            previous = line["previous"]
            if previous is not None and previous > len(self._pks):
                self._flush()
            if self._action is None or line["action"] != self._action.uuid:
                self._add_idle(line["number"] - 1)
                self._add_action(line)
            self._lines.append(line)
        self._flush()

    def _add_action(self, line: Line) -> None:
        self._action = self._made(
            line["action"], line["action_kind"], line["action_at"], line["action_by"], line["holder"]
        )
        self._new.append((self._action, line["undoes"]))

    def _add_idle(self, after: int) -> None:
        """Add the actions that changed no item and follow this decision."""
        for row in self._idle.get(after, ()):
            action = self._made(UUID(row["uuid"]), row["kind"], time_of(row["at"]), row["by"], row["holder"])
            if action.uuid not in {made.uuid for made, _ in self._new}:
                self._new.append((action, UUID(row["undoes"]) if row["undoes"] else None))

    def _made(self, uuid: UUID, kind: str, at: Any, by: str, holder: str) -> Action:
        user_id = self._restored.users.get(by)
        return Action(uuid=uuid, dataset=self._dataset, kind=kind, created_at=at, annotator_id=user_id, holder=holder)

    def _flush(self) -> None:
        """Save the actions, then the decisions, then which action undoes which."""
        Action.objects.bulk_create([action for action, _ in self._new], batch_size=_AT_ONCE)
        pk_of = {action.uuid: action.pk for action, _ in self._new}
        if self._action is not None:
            pk_of[self._action.uuid] = self._action.pk
        annotations = [self._annotation(line, pk_of[line["action"]]) for line in self._lines]
        Annotation.objects.bulk_create(annotations, batch_size=_AT_ONCE)
        for line, annotation in zip(self._lines, annotations, strict=True):
            self._pks.append(annotation.pk)
            if line["content_changed_after"]:
                self._changed_after[annotation.item_id] = annotation.pk
        self._undo(pk_of)
        self.n_actions += len(self._new)
        self._new, self._lines = [], []

    def _annotation(self, line: Line, action_id: int) -> Annotation:
        restored, previous = self._restored, line["previous"]
        return Annotation(
            item_id=self._item_ids[line["item_id"]],
            action_id=action_id,
            label_id=restored.new_id("classes", line["label_id"]),
            previous_id=None if previous is None else self._pks[previous - 1],
            annotator_id=restored.users.get(line["annotator"]),
            round_id=restored.new_id("rounds", line["round"]),
            model_version_id=restored.new_id("model_versions", line["model_version"]),
            suggested_label_id=restored.new_id("classes", line["suggested_label_id"]),
            **{name: line[name] for name in _COPIED},
        )

    def _undo(self, pk_of: Mapping[UUID, int]) -> None:
        undoing = [(action, undoes) for action, undoes in self._new if undoes is not None]
        if not undoing:
            return
        earlier = [undoes for _, undoes in undoing if undoes not in pk_of]
        found = dict(Action.objects.filter(uuid__in=earlier).values_list("uuid", "pk"))
        for action, undoes in undoing:
            if undoes not in pk_of and undoes not in found:
                raise Refusal(f"The action {action.uuid} undoes a later one.", "Export the dataset again.")
            action.undoes_id = pk_of.get(undoes) or found[undoes]
        Action.objects.bulk_update([action for action, _ in undoing], ["undoes"], batch_size=_AT_ONCE)

    def finish(self, changed: Collection[int]) -> dict[str, int]:
        """Derive the state of the items and the counters, and return these. ``changed``: whose files differ."""
        if not self._pks:
            self._add_idle(0)
        elif self._action is not None:
            self._add_idle(len(self._pks))
        self._flush()
        decision_sql.settle_dataset(self._dataset)
        for batch in batched(list(self._changed_after.items()), _AT_ONCE):
            marked = [Item(pk=item_id, content_changed_after=pk) for item_id, pk in batch]
            Item.objects.bulk_update(marked, ["content_changed_after"])
        mark_content_changed(changed)
        return self._count()

    def _count(self) -> dict[str, int]:
        items = Item.objects.of(self._dataset)
        states = dict(items.order_by().values_list("state").annotate(n=Count("pk")))
        changes = {name: states.get(state, 0) for state, name in _COUNTERS.items()}
        labels = dict(items.filter(label__isnull=False).order_by().values_list("label").annotate(n=Count("pk")))
        return decision_sql.add_to_counters(self._dataset, {"n_decisions": len(self._pks), **changes}, labels)
