"""List the imports of labels into a dataset, and undo one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from django.contrib.auth.models import User
from django.db.models import Count, Max, QuerySet

from hoshina.core.errors import Refusal
from labeling.decisions.relabel import take_back
from labeling.models import Action, Annotation, Dataset

# The actions of one import have a holder of their own: this and a random id.
_PREFIX = "import:"
SHOWN = 10


@dataclass(frozen=True)
class PastImport:
    """An import that can be undone. ``n_labels``: decisions that it changed."""

    id: str
    at: datetime
    annotator: str
    n_labels: int


def new_holder() -> str:
    """Return the holder of the actions of a new import."""
    return f"{_PREFIX}{uuid4().hex}"


def id_of(holder: str) -> str:
    """Return the id by which an import is undone."""
    return holder.removeprefix(_PREFIX)


def past_imports(dataset: Dataset) -> list[PastImport]:
    """Return the newest imports that changed something and were not undone, the newest first."""
    done = _actions(dataset).order_by().values("holder").annotate(last=Max("pk"), at=Max("created_at"))
    done = done.annotate(who=Max("annotator__username")).order_by("-last")[:SHOWN]
    return [
        PastImport(
            id_of(row["holder"]),
            row["at"],
            row["who"] or "",
            Annotation.objects.filter(action__dataset=dataset, action__holder=row["holder"]).aggregate(
                n=Count("item", distinct=True)
            )["n"],
        )
        for row in done
    ]


def undo_import(dataset: Dataset, identity: str, *, user: User | None, holder: str = "") -> int:
    """Undo an import by its id, or ``last``. Return the number of decisions that went back.

    Items decided since keep their decision. Classes that the import created stay. Raises Refusal if there is no such
    import.
    """
    if identity == "last":
        newest = _actions(dataset).order_by("-pk").first()
        identity = id_of(newest.holder) if newest else ""
    actions = list(_actions(dataset).filter(holder=f"{_PREFIX}{identity}").order_by("-pk")) if identity else []
    if not actions:
        raise Refusal("There is no such import to undo.", "It may have been undone already; reload the page.")
    return sum(take_back(action, user=user, holder=holder) for action in actions)


def _actions(dataset: Dataset) -> QuerySet[Action]:
    kind = Action.Kind.IMPORT
    return Action.objects.filter(dataset=dataset, holder__startswith=_PREFIX, kind=kind, undone_by__isnull=True)
