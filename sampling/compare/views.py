"""Show an item beside its nearest labeled neighbors of the two most likely classes."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from labeling.guide.guides import first_frames
from labeling.models import Item
from sampling.compare.neighbors import compare


@require_GET
def comparison(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the comparison of an item as a fragment, or why there is none."""
    items = Item.objects.select_related("dataset", "label")
    item = get_object_or_404(items, dataset__slug=slug, row=row)
    context: dict[str, object] = {"dataset": item.dataset, "item": item}
    context["frame"] = next(iter(first_frames(item.dataset, [item.pk])), None)
    try:
        context["comparison"] = compare(item)
    except Refusal as problem:
        context["problem"] = problem
    return render(request, "sampling/compare/_comparison.html", context)
