"""Delete the rankings of old rounds and the record of their pages, which is most of what the database grows by."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef

from hoshina.jobs import clock
from sampling.models import Round, ServedPage

# Labels that a browser could not send for longer are saved without provenance.
KEPT = timedelta(days=30)
# Few at once, since labels wait meanwhile.
_AT_ONCE = 50


def forget_old_rankings() -> None:
    """Delete served pages and rankings of rounds that are older than ``KEPT`` and were not shown since.

    The rounds themselves stay, with queue, parameters and seed: labels refer to them. Pages of sweeps stay as long as
    the checks that measure them.
    """
    since = clock.now() - KEPT
    old = Round.objects.filter(created_at__lt=since, checks=None).exclude(rows=b"")
    old = old.exclude(Exists(ServedPage.objects.filter(round=OuterRef("pk"), served_at__gte=since))).order_by("pk")
    last = 0
    while ids := list(old.filter(pk__gt=last).values_list("pk", flat=True)[:_AT_ONCE]):
        with transaction.atomic():
            Round.objects.filter(pk__in=ids).update(rows=b"", scores=b"", probabilities=b"", sources=b"")
            ServedPage.objects.filter(round__in=ids).delete()
        last = ids[-1]
