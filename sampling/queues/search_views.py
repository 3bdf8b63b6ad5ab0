"""Answer the search of the palette."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from labeling.models import Dataset
from sampling.queues.search import choices_for


@require_GET
def search(request: HttpRequest, slug: str) -> JsonResponse:
    """Return the ways in which images match the text ``q``, each with their number and a query that shows them."""
    dataset = get_object_or_404(Dataset, slug=slug)
    choices = choices_for(dataset, request.GET.get("q", ""))
    return JsonResponse({"choices": [choice.as_json() for choice in choices]})
