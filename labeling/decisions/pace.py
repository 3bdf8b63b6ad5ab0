"""Measure how fast a person decides, from the time recorded with their recent decisions."""

from __future__ import annotations

from statistics import median

from django.db.models import Max

from labeling.models import Action, Annotation, Dataset

# Only the newest annotations are searched, so that a page never reads them all.
SEARCHED = 20_000
# The pace is the median of at most RECENT decisions, and unknown with fewer than MIN_DECISIONS.
RECENT, MIN_DECISIONS = 200, 10
_DECISIONS = (Action.Kind.ASSIGN, Action.Kind.UNSURE, Action.Kind.SKIP)


def seconds_per_decision(dataset: Dataset, user_id: int | None) -> float | None:
    """Return the median time in seconds of the person's recent decisions, or None if too few were timed.

    ``user_id`` is None for everyone who is not signed in.
    """
    newest = Annotation.objects.aggregate(newest=Max("pk"))["newest"] or 0
    timed = Annotation.objects.filter(
        pk__gt=newest - SEARCHED,
        action__dataset=dataset,
        action__kind__in=_DECISIONS,
        annotator=user_id,
        seconds__isnull=False,
    )
    newest_first = timed.order_by("-pk").values_list("seconds", flat=True)[:RECENT]
    seconds = [value for value in newest_first if value is not None]
    return median(seconds) if len(seconds) >= MIN_DECISIONS else None
