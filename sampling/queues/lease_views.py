"""Renew or release the leases of a page."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from hoshina.core.http import HtmxHttpRequest, window
from hoshina.core.parsing import whole_number
from hoshina.core.roles import Role, requires
from labeling.models import Dataset
from sampling.queues import leases
from sampling.queues.leases import Window

# A window shows at most this many items at once.
MAX_ITEMS = 500


@requires(Role.LABELER)
@require_POST
def renew(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Extend the leases of the window (``window``) while it is in use; ``items`` are the ids of the items it shows."""
    dataset = get_object_or_404(Dataset, slug=slug)
    leases.renew(dataset, window_of(request), _item_ids(request))
    return HttpResponse(status=204)


@requires(Role.LABELER)
@require_POST
def release(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Release the leases of the window (``window``), or with ``all`` those of all windows of the person.

    With ``items``, only those of these items of the window: of a page that was fetched ahead and is not shown.
    """
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.POST.get("all"):
        leases.release_all(dataset, window_of(request))
    else:
        leases.release(dataset, window_of(request), _item_ids(request) or None)
    return HttpResponse(status=204)


def _item_ids(request: HtmxHttpRequest) -> list[int]:
    """Return the ids in ``items``. Raises BadRequest."""
    texts = [text for text in request.POST.get("items", "").split(",") if text]
    ids = [number for text in texts if (number := whole_number(text)) is not None]
    if len(ids) > MAX_ITEMS or len(ids) < len(texts):
        raise BadRequest(f"items must be at most {MAX_ITEMS} item ids, separated by commas.")
    return ids


def window_of(request: HtmxHttpRequest) -> Window:
    """Return the window that sent the request."""
    return Window(window(request), request.user.pk)
