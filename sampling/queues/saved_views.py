"""Save queues with their filters under names, and say which of a filter's classes no longer exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.db import IntegrityError, transaction
from django.http import QueryDict

from hoshina.core.errors import Refusal
from hoshina.core.parsing import whole_number
from hoshina.core.roles import Role, may
from labeling.models import Dataset, LabelClass
from sampling.models import SavedView
from sampling.queues.field_filter import PREFIX, conditions_from
from sampling.queues.note_filter import note_filter_from
from sampling.queues.query import filters_of, whole_of
from sampling.queues.registry import STRATEGIES
from sampling.queues.strategy import BadParameter, Strategy, parse_params

MOST_VIEWS, LONGEST_NAME, LONGEST_QUERY = 100, 60, 4000
DEFAULT = "auto"
# Parameters of the workbench's URL besides those of the queue and f.NAME. Others belong to one window or page.
_FILTERS = (
    "queue", "state", "label", "predicted", "seed", "path", "flagged", "tag", "noted", "note", "rows", "confused",
    "differ", "right", "map", "region",
)  # fmt: skip


@dataclass(frozen=True)
class View:
    """Describe a saved view for the menu: ``text`` describes it and names who saved it."""

    pk: int
    name: str
    query: str
    text: str
    may_delete: bool


def save_view(dataset: Dataset, name: str, query: QueryDict, user: User | None) -> SavedView:
    """Save the queue and filters of a query under a name. Raises Refusal if either can't be used."""
    name = " ".join(name.replace("\0", "").split())
    if not name or len(name) > LONGEST_NAME:
        raise Refusal(f"Enter a name of at most {LONGEST_NAME} characters.", field="name")
    text = checked_query(dataset, query)
    if dataset.saved_views.count() >= MOST_VIEWS:
        raise Refusal(f"The dataset has {MOST_VIEWS} saved views.", "Delete one first.", field="name")
    try:
        with transaction.atomic():
            return SavedView.objects.create(dataset=dataset, name=name, query=text, created_by=user)
    except IntegrityError as error:
        hint = "Choose another name, or delete that view first."
        raise Refusal(f"There is already a view “{name}”.", hint, field="name") from error


def checked_query(dataset: Dataset, query: QueryDict) -> str:
    """Return the part of a query that a view stores. Raises Refusal if it can't be opened."""
    strategy = STRATEGIES.get(query.get("queue") or DEFAULT)
    if strategy is None:
        raise Refusal("There is no such queue.", "Choose another queue.")
    stored = _stored(strategy, query)
    try:
        parse_params(strategy, stored.dict())
        whole_of(stored, "seed", 0)
        filters_of(stored, dataset, strategy)
    except BadRequest as error:
        raise Refusal("This view can't be saved.", str(error)) from error
    text = stored.urlencode()
    if len(text) > LONGEST_QUERY:
        raise Refusal("This view has too many filters to be saved.", "Remove some of them.")
    return text


def _stored(strategy: Strategy, query: QueryDict) -> QueryDict:
    names = {*_FILTERS, *(field.name for field in fields(strategy.params))}
    stored = QueryDict(mutable=True)
    stored["queue"] = strategy.name
    for name in query:
        if name.startswith(PREFIX) or (name in names and name != "queue"):
            stored.setlist(name, [value for value in query.getlist(name) if value])
    return stored


def views_of(dataset: Dataset, user: User) -> list[View]:
    """Return the dataset's views by name, by one query."""
    manages = may(user, Role.MANAGER)
    return [
        View(
            pk=view.pk,
            name=view.name,
            query=view.query,
            text=f"{describe(QueryDict(view.query))} · {view.created_by or 'someone'}",
            may_delete=manages or view.created_by_id == user.pk,
        )
        for view in SavedView.objects.filter(dataset=dataset).select_related("created_by")
    ]


def describe(query: QueryDict) -> str:
    """Return the queue and the filters of a view as text."""
    name = query.get("queue") or DEFAULT
    strategy = STRATEGIES.get(name)
    parts = [strategy.title if strategy else name]
    parts += [str(query["state"])] if query.get("state") else []
    parts += ["one class"] if query.get("label") else []
    parts += ["one predicted class"] if query.get("predicted") else []
    parts += ["region of the map"] if query.get("region") else []
    parts += ["held-out predictions"] if query.get("confused") or query.get("differ") else []
    try:
        remarks, conditions = note_filter_from(query), conditions_from(query)
    except BadParameter:  # saved by an older version; opening it says what is wrong
        return ", ".join(parts)
    parts += [f"path {query['path']}"] if query.get("path") else []
    parts += ["flagged"] * remarks.is_flagged + ["with a note"] * (remarks.is_noted or bool(remarks.note))
    parts += [f"tagged {remarks.tag}"] if remarks.tag else []
    return ", ".join(parts + [condition.text for condition in conditions])


def lost_classes(dataset: Dataset, query: QueryDict, classes: Sequence[LabelClass]) -> dict[str, Any]:
    """Return the classes of filters that were merged or deleted, by parameter; takes no query if there are none."""
    present = {label.pk for label in classes}
    wanted = {name: whole_number(query.get(name, "")) for name in ("label", "predicted")}
    lost = {name: pk for name, pk in wanted.items() if pk and pk not in present}
    if not lost:
        return {}
    found = LabelClass.objects.filter(dataset=dataset).select_related("merged_into").in_bulk(lost.values())
    return {name: _lost(found.get(pk)) for name, pk in lost.items()}


def _lost(label: LabelClass | None) -> dict[str, str]:
    if label is None:
        return {"name": "unknown class", "text": "This class does not exist. Choose another class."}
    what = f"was merged into {label.merged_into}" if label.merged_into else "was deleted"
    return {"name": label.name, "text": f"The class {label} {what}. Choose another class."}
