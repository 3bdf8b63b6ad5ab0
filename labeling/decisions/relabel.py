"""Change many labels at once that nobody looked at one by one, as one action, and take it back as one.

The annotations say so: their queue is ``split``, in the column ``queue`` of an export too.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction

from hoshina.core.errors import Refusal
from hoshina.jobs import clock
from labeling.decisions import sql as decision_sql
from labeling.decisions.content_changes import mark_content_changed
from labeling.decisions.save import Tally, reverted, send_decided, write_annotations
from labeling.models import Action, Annotation, Dataset, State

SPLIT = "split"


def relabel(
    dataset: Dataset, labels: Mapping[int, int], *, decisions: Mapping[int, int | None], user: User | None, holder: str
) -> tuple[Action, int]:
    """Give items (by id) the classes in ``labels``. Return the action and the number of labels that changed.

    ``decisions`` are the decisions that held when the labels were computed: items decided since keep theirs. A time, a
    queue and a person are recorded, but no seconds: nobody looked at the items.
    """
    with decision_sql.writer_lock(), transaction.atomic():
        items = decision_sql.items_for_update(dataset, labels)
        in_use = decision_sql.class_counts(dataset)
        if gone := {label_id for label_id in labels.values() if label_id not in in_use}:
            raise Refusal(f"{len(gone)} of the classes were deleted or merged in the meantime.", "Reload the page.")
        changed = {
            pk: item
            for pk, item in items.items()
            if item.decision_id == decisions[pk] and item.label_id != labels[pk] and item.state == State.LABELLED
        }
        action = Action(uuid=uuid.uuid4(), dataset=dataset, kind=Action.Kind.SPLIT, annotator=user, holder=holder)
        decision_sql.insert_action(action)
        now, tally = clock.now(), Tally(dataset)
        annotations = [
            Annotation(
                item_id=pk,
                state=State.LABELLED,
                label_id=labels[pk],
                previous_id=item.decision_id,
                annotator=user,
                decided_at=now,
                queue=SPLIT,
            )
            for pk, item in changed.items()
        ]
        stale = [pk for pk, item in changed.items() if item.is_content_changed]
        write_annotations(action, annotations, items, tally)
        mark_content_changed(stale)  # nobody has checked their new content
        counters = tally.write()
    if changed:
        send_decided(dataset, counters)
    return action, len(changed)


def take_back(action: Action, *, user: User | None, holder: str) -> int:
    """Undo an action. Return the number of items that went back; items decided since keep their decision.

    Raises Refusal if it was undone before.
    """
    dataset = action.dataset
    with decision_sql.writer_lock(), transaction.atomic():
        written = list(action.annotations.select_related("previous__label"))
        items = decision_sql.items_for_update(dataset, (annotation.item_id for annotation in written))
        if Action.objects.filter(undoes=action).exists():
            raise Refusal("This was undone before.", "Reload the page.")
        undo = Action(
            uuid=uuid.uuid4(), dataset=dataset, kind=Action.Kind.UNDO, annotator=user, holder=holder, undoes=action
        )
        decision_sql.insert_action(undo)
        current = [annotation for annotation in written if items[annotation.item_id].decision_id == annotation.pk]
        tally = Tally(dataset)
        write_annotations(
            undo, [reverted(annotation, user.pk if user else None) for annotation in current], items, tally
        )
        counters = tally.write()
    if current:
        send_decided(dataset, counters)
    return len(current)
