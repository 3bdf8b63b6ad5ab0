"""Show the images that a person labeled last."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from labeling.decisions.recent import recently_decided
from labeling.display.item_frames import item_frames
from labeling.display.signed_thumbs import SignedThumbs
from labeling.models import Dataset, Item, State


@never_cache
@require_GET
def recent(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the person's last decisions as a fragment. Each opens its image in the grid, to be labeled again."""
    dataset = get_object_or_404(Dataset, slug=slug)
    thumbs = SignedThumbs(dataset, request.session.session_key or "")
    entries = [_entry(dataset, thumbs, item) for item in recently_decided(dataset, request.user)]
    return render(request, "labeling/decisions/_recent.html", {"dataset": dataset, "entries": entries})


def _entry(dataset: Dataset, thumbs: SignedThumbs, item: Item) -> dict[str, Any]:
    frames = sorted(item.frames.all(), key=lambda frame: frame.pk)
    grouped = item_frames(dataset, frames)
    shown = [part.frame for part in grouped.parts if part.frame] if grouped else frames[:1]
    outcome = item.label.name if item.label else State(item.state).display_name
    query = urlencode({"queue": "all", "state": "any", "rows": item.row})
    return {
        "item": item,
        "outcome": outcome,
        "key": item.label.key_name.upper() if item.label else "",
        "title": f"{item.path}: {outcome}",
        "thumbs": [thumbs.of_frame(frame) for frame in shown],
        "url": f"{reverse('workbench', args=[dataset.slug])}?{query}",
    }
