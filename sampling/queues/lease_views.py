"""Addresses by which a page keeps its leases or gives them up."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from hoshina.core.http import HtmxHttpRequest, window
from labeling.models import Dataset
from sampling.queues import leases
from sampling.queues.leases import Window

# A window shows no more than this at once.
MAX_ITEMS = 500


@require_POST
def renew(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Extend the leases of the window (``window``): somebody is working there. ``items``: what it shows, as ids."""
    dataset = get_object_or_404(Dataset, slug=slug)
    ids = [raw for raw in request.POST.get("items", "").split(",") if raw]
    if len(ids) > MAX_ITEMS or not all(raw.isascii() and raw.isdigit() and len(raw) <= 18 for raw in ids):
        return HttpResponse(f"items takes at most {MAX_ITEMS} item ids, separated by commas.", status=400)
    leases.renew(dataset, window_of(request), [int(raw) for raw in ids])
    return HttpResponse(status=204)


@require_POST
def release(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Give up the leases of the window (``window``), or with ``all`` those of all windows of the person."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.POST.get("all"):
        leases.release_all(dataset, window_of(request))
    else:
        leases.release(dataset, window_of(request))
    return HttpResponse(status=204)


def window_of(request: HtmxHttpRequest) -> Window:
    """Return the window that a request comes from."""
    return Window(window(request), request.user.pk)
