"""Delete the rankings of old rounds and the record of their pages, which is most of what the database grows by."""

from __future__ import annotations

from datetime import timedelta

from hoshina.jobs import clock
from sampling.models import Round, ServedPage

# Labels that a browser could not send for longer are saved without provenance.
KEPT = timedelta(days=30)
_AT_ONCE = 1000


def forget_old_rankings() -> None:
    """Delete served pages and the rankings of rounds older than ``KEPT``.

    The rounds themselves stay, with queue, parameters and seed: labels refer to them. Pages of sweeps stay as long as
    the checks that measure them.
    """
    old = Round.objects.filter(created_at__lt=clock.now() - KEPT, checks=None)
    while ids := list(old.exclude(rows=b"").values_list("pk", flat=True)[:_AT_ONCE]):
        ServedPage.objects.filter(round__in=ids).delete()
        Round.objects.filter(pk__in=ids).update(rows=b"", scores=b"", probabilities=b"", sources=b"")
