"""Lease items to windows, so that two people never label the same one.

A lease belongs to a person and names the window that shows the item. Leased items are never shown to other people.
A person's windows avoid each other's items while there are others, and show them when nothing else is left: nobody
is locked out by their own windows. A window's leases end when it requests something else, when it is closed, or 15
minutes after its last activity.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Count, Max, Q
from numpy.typing import NDArray

from hoshina.jobs import clock
from labeling.models import Dataset, Item, Lease, State

LEASE = timedelta(minutes=15)


@dataclass(frozen=True)
class Window:
    """One window of a person's browser. Without a ``name`` nothing is leased; ``user_id`` is None without a login."""

    name: str = ""
    user_id: int | None = None

    def is_own(self, prefix: str = "") -> Q:
        """Return the condition for leases of the same person; ``prefix`` as in ``lease__``."""
        own = Q(**{f"{prefix}holder": self.name})
        return own if self.user_id is None else own | Q(**{f"{prefix}user": self.user_id})


NO_WINDOW = Window()


@dataclass(frozen=True)
class Holding:
    """How many items a person holds, and until when at most; ``is_own`` for the person's other windows."""

    name: str
    n: int
    until: datetime
    is_own: bool


def _current(dataset_id: int) -> Q:
    return Q(dataset=dataset_id, expires_at__gt=clock.now())


def available(
    dataset: Dataset, candidates: NDArray[np.int64], window: Window, *, is_continued: bool
) -> NDArray[np.int64]:
    """Return the rows among ``candidates`` that may be shown in ``window``.

    With ``is_continued`` the rows that the window already shows are left out as well.
    """
    others, elsewhere, here = [], [], []
    leases = Lease.objects.filter(_current(dataset.pk)).values_list("item__row", "user_id", "holder")
    for row, user_id, holder in leases:
        if holder == window.name:
            here.append(row)
        elif user_id is not None and user_id == window.user_id:
            elsewhere.append(row)
        else:
            others.append(row)
    free = np.setdiff1d(candidates, others + (here if is_continued else []), assume_unique=True)
    avoiding = np.setdiff1d(free, elsewhere, assume_unique=True)
    return avoiding if len(avoiding) else free


def blocking(window: Window, *, is_continued: bool, avoids_own: bool) -> Q:
    """Return the condition for items that ``window`` may not show, by the rules of :func:`available`."""
    held = Q(lease__expires_at__gt=clock.now())
    here = Q(lease__holder=window.name)
    if avoids_own:
        return held if is_continued else held & ~here
    blocked = held & ~window.is_own("lease__")
    return blocked | (held & here) if is_continued else blocked


def take(dataset: Dataset, items: Iterable[Item], window: Window) -> None:
    """Lease the items to the window, even if another one holds them."""
    now = clock.now()
    Lease.objects.filter(dataset=dataset, expires_at__lte=now).delete()
    Lease.objects.bulk_create(
        [_lease(dataset, item.pk, window, now) for item in items],
        update_conflicts=True,
        unique_fields=["item"],
        update_fields=["user", "holder", "expires_at"],
    )


def renew(dataset: Dataset, window: Window, item_ids: Collection[int] = ()) -> None:
    """Extend the window's leases, and renew expired ones among ``item_ids`` if unlabeled and not held by others."""
    now = clock.now()
    Lease.objects.filter(dataset=dataset, holder=window.name).update(expires_at=now + LEASE)
    if not item_ids:
        return
    Lease.objects.filter(dataset=dataset, expires_at__lte=now).delete()
    items = Item.objects.filter(dataset=dataset, pk__in=item_ids, state=State.UNLABELLED)
    Lease.objects.bulk_create(
        [_lease(dataset, pk, window, now) for pk in items.values_list("pk", flat=True)], ignore_conflicts=True
    )


def release(dataset: Dataset, window: Window, item_ids: Collection[int] | None = None) -> None:
    """Release the window's leases, or only those of ``item_ids``."""
    held = Lease.objects.filter(dataset=dataset, holder=window.name)
    (held if item_ids is None else held.filter(item__in=item_ids)).delete()


def release_all(dataset: Dataset, window: Window) -> None:
    """Release the leases of all windows of the person."""
    Lease.objects.filter(window.is_own(), dataset=dataset).delete()


def holdings(dataset: Dataset, window: Window) -> list[Holding]:
    """Return who holds items that ``window`` does not show: the person's other windows first, then by name."""
    held = Lease.objects.filter(_current(dataset.pk)).exclude(holder=window.name)
    counted = held.values_list("user_id", "user__username").annotate(n=Count("pk"), until=Max("expires_at"))
    holdings = [
        Holding(username or "someone", n, until, is_own=user_id is not None and user_id == window.user_id)
        for user_id, username, n, until in counted.order_by("user__username")
    ]
    return sorted(holdings, key=lambda holding: not holding.is_own)


def _lease(dataset: Dataset, item_id: int, window: Window, now: datetime) -> Lease:
    return Lease(item_id=item_id, dataset=dataset, user_id=window.user_id, holder=window.name, expires_at=now + LEASE)
