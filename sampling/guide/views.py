"""Show the guide of an item's assigned or suggested class, and suggested examples of a class."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from labeling.guide.guides import first_frames, guide_of
from labeling.models import Item, LabelClass
from modeling.predictions import active_predictions
from sampling.guide.typical import typical_items


@require_GET
def item_guide(request: HtmxHttpRequest, slug: str, row: int) -> HttpResponse:
    """Show the guide of an item's class, or of the class that the model suggests, for its detail."""
    item = get_object_or_404(Item.objects.select_related("dataset", "label"), dataset__slug=slug, row=row)
    label = item.label or _suggested(item)
    guide = guide_of(label) if label else None
    is_example = guide is not None and guide.has_example(item)
    context = {"dataset": item.dataset, "item": item, "guide": guide, "is_example": is_example}
    return render(request, "labeling/guide/_item.html", context)


@require_GET
def suggestions(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Show labeled images near the center of a class, as suggestions for its examples; nothing without embeddings."""
    label = get_object_or_404(LabelClass.objects.active().select_related("dataset"), dataset__slug=slug, pk=pk)
    frames = first_frames(label.dataset, typical_items(label))
    return render(request, "sampling/guide/_suggestions.html", {"dataset": label.dataset, "frames": frames})


def _suggested(item: Item) -> LabelClass | None:
    predictions = active_predictions(item.dataset)
    suggestion = predictions.suggestions([item.row])[0] if predictions else None
    return suggestion.label if suggestion else None
