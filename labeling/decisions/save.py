"""Save decisions about items: assign, unsure, skip, clear, undo and import. Every change of a label goes through here.

One transaction writes the append-only annotations, the items' derived state and the counters. An acknowledged decision
is therefore on disk, and the counters always agree with the annotations.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from hoshina.jobs import clock
from labeling.decisions import provenance
from labeling.decisions import sql as decision_sql
from labeling.decisions.content_changes import CONFIRMATION
from labeling.decisions.provenance import Claim
from labeling.decisions.provenance import Shown as Shown
from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
from labeling.signals import decided

_STATE_OF = {
    Action.Kind.ASSIGN: State.LABELLED,
    Action.Kind.UNSURE: State.UNSURE,
    Action.Kind.SKIP: State.SKIPPED,
    Action.Kind.CLEAR: State.UNLABELLED,
}
_COUNTER_OF = {State.LABELLED: "n_labelled", State.UNSURE: "n_unsure", State.SKIPPED: "n_skipped"}
NOT_SHOWN = Shown()
NOT_SERVED = (
    "The server did not show you these items at this rank of this round. The labels are saved, but without a queue, "
    "and they do not count as random draws. Send the round and rank that the page received."
)


@dataclass(frozen=True)
class Target:
    """One item of an action.

    ``seen``: the newest annotation that the page knew. ``seconds``: the time spent on the item. ``claim``: how the item
    was shown according to the browser, until :func:`with_provenance` verifies it.
    """

    item_id: int
    seen: int = 0
    seconds: float | None = None
    shown: Shown = NOT_SHOWN
    claim: Claim | None = None


@dataclass(frozen=True)
class Request:
    """One action, such as a key press, as sent by the browser."""

    uuid: uuid.UUID
    kind: Action.Kind
    at: datetime
    label_id: int | None = None
    overwrite: bool = False
    targets: tuple[Target, ...] = ()


@dataclass
class Result:
    """The result of a request.

    ``status``: saved, repeated (it was already saved) or refused (see ``error``). ``unconfirmed``: items that were not
    served as the browser claims. Their labels are saved without provenance, and ``hint`` explains this.
    """

    uuid: uuid.UUID
    status: str
    error: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    unconfirmed: list[int] = field(default_factory=list)
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Saved:
    """The results of a batch, and the counts after it."""

    results: list[Result]
    counters: dict[str, int]  # of the dataset, by field name
    classes: dict[int, int]  # items of each class in use, by ID

    def counts(self) -> dict[str, Any]:
        """Return the numbers in the header of the page."""
        counters = self.counters
        n_decided = counters["n_labelled"] + counters["n_unsure"] + counters["n_skipped"]
        return {
            "labelled": counters["n_labelled"],
            "unsure": counters["n_unsure"],
            "skipped": counters["n_skipped"],
            "left": max(0, counters["n_items"] - n_decided),
            "items": counters["n_items"],
            "classes": self.classes,
        }


# The annotator of an imported decision is the person who imports it.
THE_IMPORTER = -1


@dataclass(frozen=True)
class Decision:
    """Represent an imported decision about an item.

    ``annotator_id``: who made it, None for someone without an account.
    """

    item_id: int
    state: State
    label_id: int | None = None
    annotator_id: int | None = THE_IMPORTER
    decided_at: datetime | None = None


class Tally:
    """Collect the changes of a transaction to the counters, to write them once at the end."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.states: Counter[int] = Counter()
        self.labels: Counter[int] = Counter()
        self.decisions = 0

    def moved(self, item: Item, state: int, label_id: int | None) -> None:
        """Record that ``item`` changes from its current state and label to the given ones."""
        self.states[item.state] -= 1
        self.states[state] += 1
        if item.label_id is not None:
            self.labels[item.label_id] -= 1
        if label_id is not None:
            self.labels[label_id] += 1
        self.decisions += 1

    def write(self) -> dict[str, int]:
        """Update the counters. Return those of the dataset by field name."""
        changes = {name: self.states[state] for state, name in _COUNTER_OF.items() if self.states[state]}
        labels = {label_id: change for label_id, change in self.labels.items() if change}
        return decision_sql.add_to_counters(self.dataset, {"n_decisions": self.decisions, **changes}, labels)


def write_annotations(action: Action, annotations: Sequence[Annotation], items: dict[int, Item], tally: Tally) -> None:
    """Append annotations and update the state of their ``items`` (by ID) and ``tally``."""
    is_undo = action.kind == Action.Kind.UNDO
    for annotation in annotations:
        annotation.action_id = action.pk
    decision_sql.insert_annotations(annotations)
    decision_sql.settle_items(action, is_undo=is_undo)
    for annotation in annotations:
        item = items[annotation.item_id]
        tally.moved(item, annotation.state, annotation.label_id)
        item.state, item.label_id = annotation.state, annotation.label_id
        item.newest_annotation_id = annotation.pk
        item.decision_id = annotation.previous_id if is_undo else annotation.pk


def apply(dataset: Dataset, requests: Sequence[Request], *, user: User | None, holder: str) -> Saved:
    """Save a batch of actions in order, and return a result for each. An action that is sent again is not repeated.

    Items that another browser decided in the meantime are not changed but reported as conflicts, unless the action has
    ``overwrite`` set.
    """
    with decision_sql.writer_lock(), transaction.atomic():
        batch = _Batch(dataset, requests, user, holder)
        results = [batch.save(request) for request in requests]
        counters = batch.tally.write()
    if batch.tally.decisions:
        send_decided(dataset, counters)
    return Saved(results, counters, batch.class_counts())


class _Batch:
    """The shared state of the actions in one transaction."""

    def __init__(self, dataset: Dataset, requests: Sequence[Request], user: User | None, holder: str) -> None:
        self.dataset, self.holder = dataset, holder
        # Store only the ID, because the lazy user of a request evaluates itself at every access.
        self.user_id = user.pk if user is not None else None
        self.tally = Tally(dataset)
        ids = {target.item_id for request in requests for target in request.targets}
        self.items = decision_sql.items_for_update(dataset, ids)
        self.classes = decision_sql.class_counts(dataset)

    def class_counts(self) -> dict[int, int]:
        """Return the number of items of each class after the batch."""
        return {label_id: n + self.tally.labels[label_id] for label_id, n in self.classes.items()}

    def save(self, request: Request) -> Result:
        """Save one action, unless it was saved before."""
        action = Action(
            uuid=request.uuid,
            dataset_id=self.dataset.pk,
            kind=request.kind,
            annotator_id=self.user_id,
            holder=self.holder,
        )
        if not decision_sql.insert_action(action):
            touched = Item.objects.filter(annotations__action__uuid=request.uuid).distinct()
            return Result(request.uuid, "repeated", items=[outcome(item) for item in touched])
        result = self._undo(action) if request.kind == Action.Kind.UNDO else self._decide(action, request)
        if result.status == "refused" or (request.targets and not result.items):
            Action.objects.filter(pk=action.pk).delete()  # it had no effect: it cannot be undone and may be sent again
        return result

    def _decide(self, action: Action, request: Request) -> Result:
        if request.kind == Action.Kind.ASSIGN and request.label_id not in self.classes:
            return Result(request.uuid, "refused", error="That class no longer exists. Choose another one.")
        if any(target.item_id not in self.items for target in request.targets):
            return Result(
                request.uuid, "refused", error="An item of this action is not in this dataset. Reload the page."
            )
        conflicts = [] if request.overwrite else self._conflicts(request.targets)
        blocked = {conflict["id"] for conflict in conflicts}
        targets = [target for target in request.targets if target.item_id not in blocked]
        annotations = [self._annotation(request, target) for target in targets]
        write_annotations(action, annotations, self.items, self.tally)
        touched = [outcome(self.items[target.item_id]) for target in targets]
        return Result(request.uuid, "saved", items=touched, conflicts=conflicts, **_unconfirmed(request))

    def _annotation(self, request: Request, target: Target) -> Annotation:
        item = self.items[target.item_id]
        state, label_id = _STATE_OF[request.kind], request.label_id if request.kind == Action.Kind.ASSIGN else None
        shown = target.shown
        if item.is_content_changed and (item.state, item.label_id) == (state, label_id):
            shown = replace(shown, queue=CONFIRMATION, selection_probability=None, is_random_draw=None)
        return Annotation(
            item_id=target.item_id,
            state=state,
            label_id=label_id,
            previous_id=item.decision_id,
            annotator_id=self.user_id,
            decided_at=request.at,
            seconds=target.seconds,
            **vars(shown),
        )

    def _conflicts(self, targets: Iterable[Target]) -> list[dict[str, Any]]:
        newer = [
            self.items[target.item_id].newest_annotation_id
            for target in targets
            if self.items[target.item_id].newest_annotation_id > target.seen
        ]
        if not newer:
            return []
        others = (
            Annotation.objects.filter(pk__in=newer)
            .exclude(action__holder=self.holder)
            .select_related("annotator", "action__annotator")
        )
        deciders = [(other, other.action.annotator or other.annotator) for other in others]
        return [
            outcome(self.items[other.item_id]) | {"by": user.get_username() if user else "someone"}
            for other, user in deciders
        ]

    def _undo(self, action: Action) -> Result:
        stack = Action.objects.filter(
            dataset=self.dataset, holder=self.holder, kind__in=Action.ON_UNDO_STACK, undone_by__isnull=True
        )
        target = stack.order_by("-id").first()
        if target is None:
            return Result(action.uuid, "refused", error="There is nothing left to undo.")
        Action.objects.filter(pk=action.pk).update(undoes=target)
        written = list(target.annotations.select_related("previous__label"))
        missing = {annotation.item_id for annotation in written} - self.items.keys()
        self.items.update(decision_sql.items_for_update(self.dataset, missing))
        current = [annotation for annotation in written if self.items[annotation.item_id].decision_id == annotation.pk]
        superseded = [annotation for annotation in written if annotation not in current]
        restored = [reverted(annotation, self.user_id) for annotation in current]
        write_annotations(action, restored, self.items, self.tally)
        return Result(
            action.uuid,
            "saved",
            items=[outcome(self.items[annotation.item_id]) for annotation in current],
            conflicts=[
                outcome(self.items[annotation.item_id]) | {"by": "a later decision"} for annotation in superseded
            ],
        )


def reverted(undone: Annotation, user_id: int | None) -> Annotation:
    """Return the annotation that restores the decision before ``undone``, with the provenance of that decision."""
    earlier = undone.previous
    if earlier is None:
        return Annotation(item_id=undone.item_id, state=State.UNLABELLED, annotator_id=user_id, decided_at=clock.now())
    label = surviving(earlier.label)
    state = State.UNLABELLED if earlier.label is not None and label is None else earlier.state
    names = ("annotator_id", "decided_at", "seconds", *Shown.__dataclass_fields__)
    return Annotation(
        item_id=undone.item_id,
        state=state,
        label=label,
        previous=earlier,
        **{name: getattr(earlier, name) for name in names},
    )


def surviving(label: LabelClass | None) -> LabelClass | None:
    """Return the class, or the class it was merged into; None if it was deleted."""
    while label is not None and label.is_retired:
        label = label.merged_into
    return label


def outcome(item: Item) -> dict[str, Any]:
    """Return the state of an item after a decision, for the page."""
    return {
        "id": item.pk,
        "annotation": item.newest_annotation_id,
        "state": item.state,
        "label": item.label_id,
        "changed": item.is_content_changed,
    }


def record_import(
    dataset: Dataset, decisions: Sequence[Decision], user: User | None, holder: str = ""
) -> tuple[int, int]:
    """Save the imported decisions that change something, as one action. Return the counts (applied, unchanged)."""
    now = clock.now()
    user_id = user.pk if user is not None else None
    with transaction.atomic():
        items = decision_sql.items_for_update(dataset, (decision.item_id for decision in decisions))
        changed = [
            decision
            for decision in decisions
            if (items[decision.item_id].state, items[decision.item_id].label_id) != (decision.state, decision.label_id)
        ]
        if changed:
            tally = Tally(dataset)
            action = Action(uuid=uuid.uuid4(), dataset=dataset, kind=Action.Kind.IMPORT, annotator=user, holder=holder)
            decision_sql.insert_action(action)
            annotations = [
                Annotation(
                    item_id=decision.item_id,
                    state=decision.state,
                    label_id=decision.label_id,
                    previous_id=items[decision.item_id].decision_id,
                    annotator_id=user_id if decision.annotator_id == THE_IMPORTER else decision.annotator_id,
                    decided_at=min(decision.decided_at or now, now),
                    queue="import",
                )
                for decision in changed
            ]
            write_annotations(action, annotations, items, tally)
            counters = tally.write()
    if changed:
        send_decided(dataset, counters)
    return len(changed), len(decisions) - len(changed)


def send_decided(dataset: Dataset, counters: dict[str, int]) -> None:
    """Announce that decisions changed labels, after the transaction."""
    decided.send(sender=Dataset, dataset_id=dataset.pk, n_decisions=counters["n_decisions"])


def with_provenance(dataset: Dataset, requests: Sequence[Request], user_id: int | None) -> list[Request]:
    """Verify the claims of requests and add the provenance of their items. Runs one query, or none without claims.

    A target with a true claim gets the provenance that was served, and keeps its rendering and whether the suggestion
    was visible (None if there was none). A false claim stays on the target, whose provenance is empty.
    """
    claims = {target.claim for request in requests for target in request.targets if target.claim is not None}
    served = provenance.confirmed(dataset.pk, user_id, claims)

    def verified(target: Target) -> Target:
        was_visible = target.shown.suggestion_shown
        shown = served.get(target.claim) if target.claim else None
        if shown is None:
            return replace(target, shown=replace(target.shown, suggestion_shown=None))
        was_visible = was_visible if shown.suggested_label_id is not None else None
        shown = replace(shown, suggestion_shown=was_visible, rendering=target.shown.rendering)
        return replace(target, shown=shown, claim=None)

    return [replace(request, targets=tuple(verified(target) for target in request.targets)) for request in requests]


def _unconfirmed(request: Request) -> dict[str, Any]:
    """Return the part of a result that lists the items that were not served as claimed."""
    ids = [target.item_id for target in request.targets if target.claim is not None]
    return {"unconfirmed": ids, "hint": NOT_SERVED} if ids else {}
