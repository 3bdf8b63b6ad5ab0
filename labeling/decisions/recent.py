"""Find the items that a person decided last."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import F, Max

from labeling.models import Action, Annotation, Dataset, Item

MOST = 12
# Of all actions in the database, only this many of the newest are searched: there is no index by person.
_SEARCHED = 20_000


def recently_decided(dataset: Dataset, user: User) -> list[Item]:
    """Return the items whose current decision is one of the person's last, newest first, with their frames."""
    newest = Action.objects.aggregate(newest=Max("pk"))["newest"] or 0
    actions = Action.objects.filter(pk__gt=newest - _SEARCHED, dataset=dataset, annotator=user)
    actions = actions.filter(kind__in=Action.ON_UNDO_STACK, undone_by=None).exclude(kind=Action.Kind.CLEAR)
    ids = list(actions.order_by("-pk").values_list("pk", flat=True)[:MOST])
    decisions = Annotation.objects.filter(action__in=ids, pk=F("item__decision_id")).order_by("-pk")
    found = list(decisions.values_list("item_id", flat=True)[:MOST])
    items = Item.objects.filter(pk__in=found).select_related("label").prefetch_related("frames").in_bulk()
    return [items[item_id] for item_id in found]
