"""Show an item beside its nearest labeled neighbors of two classes."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from labeling.guide.guides import first_frames
from labeling.models import Item, LabelClass
from sampling.compare.neighbors import compare


@require_GET
def comparison(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the comparison of an item as a fragment, or why there is none; ``?with=`` is the id of the second class."""
    items = Item.objects.select_related("dataset", "label")
    item = get_object_or_404(items, dataset__slug=slug, row=row)
    context: dict[str, object] = {"dataset": item.dataset, "item": item}
    context["frame"] = next(iter(first_frames(item.dataset, [item.pk])), None)
    classes = list(LabelClass.objects.active().filter(dataset=item.dataset))
    context["classes"] = classes
    wanted = whole_number(request.GET.get("with"))
    chosen = next((label.pk for label in classes if label.pk == wanted), None)
    try:
        context["comparison"] = compare(item, chosen)
    except Refusal as problem:
        context["problem"] = problem
    return render(request, "sampling/compare/_comparison.html", context)
