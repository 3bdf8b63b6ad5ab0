"""Collect how the labels of a dataset were made and checked, for the manifest and the data card."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, F, Q, QuerySet

from labeling.exporting.scope import Scope
from labeling.models import Action, Annotation, Dataset, State

_RENDERINGS = 20
# People made these decisions one by one; merges, splits and imports changed labels together.
_BY_HAND = (Action.Kind.ASSIGN, Action.Kind.UNSURE, Action.Kind.SKIP, Action.Kind.CLEAR)


def decision_facts(dataset: Dataset, scope: Scope) -> dict[str, Any]:
    """Return the people, the renderings, and how often labels were undone, changed or disputed."""
    every = _decisions(dataset, scope)
    valid = every.filter(_is_valid(scope)).exclude(action__kind=Action.Kind.UNDO)
    return {"annotators": _annotators(valid, scope), "renderings": _renderings(valid), "review": _review(every, valid)}


def _decisions(dataset: Dataset, scope: Scope) -> QuerySet[Annotation]:
    found = Annotation.objects.filter(item__dataset=dataset)
    return found if scope.past is None else found.filter(action__lte=scope.past.action_id)


def _is_valid(scope: Scope) -> Q:
    """Return the condition that a decision was not undone."""
    is_valid = Q(action__undone_by__isnull=True)
    return is_valid if scope.past is None else is_valid | Q(action__undone_by__gt=scope.past.action_id)


def _annotators(valid: QuerySet[Annotation], scope: Scope) -> list[dict[str, Any]]:
    """Return the people with their numbers of decisions, by name; ``name`` is "" for people without an account."""
    counted = valid.order_by().values_list("annotator__username").annotate(n=Count("pk"))
    people = [(scope.annotators.name_of(username), n) for username, n in counted]
    return [{"name": name, "decisions": n} for name, n in sorted(people)]


def _renderings(valid: QuerySet[Annotation]) -> list[dict[str, Any]]:
    """Return how images were displayed when they were decided; ``rendering`` is "" for the dataset's own."""
    counted = valid.order_by().values("rendering").annotate(n=Count("pk")).order_by("-n", "rendering")
    return [{"rendering": row["rendering"], "decisions": row["n"]} for row in counted[:_RENDERINGS]]


def _review(every: QuerySet[Annotation], valid: QuerySet[Annotation]) -> dict[str, int]:
    """Return how often decisions were looked at again. Undone decisions count only as undone."""
    by_hand = valid.filter(action__kind__in=_BY_HAND)
    labels = by_hand.filter(state=State.LABELLED).order_by().values("item")
    of_items = labels.annotate(n_labels=Count("label", distinct=True), n_people=Count("annotator", distinct=True))
    several = of_items.filter(n_people__gt=1)
    return {
        "decisions": every.count(),
        "by_hand": by_hand.count(),
        "undone": every.exclude(action__kind=Action.Kind.UNDO).count() - valid.count(),
        "relabeled_images": of_items.filter(n_labels__gt=1).count(),
        "images_of_several_people": several.count(),
        "disputed_images": several.filter(n_labels__gt=1).count(),
        "suggestion_visible": by_hand.filter(suggestion_shown=True).count(),
        "suggestion_accepted": by_hand.filter(suggestion_shown=True, suggested_label_id=F("label_id")).count(),
    }
