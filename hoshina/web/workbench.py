"""Show the workbench: tiles, classes, queues and the header on one screen."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from hoshina.core.http import HtmxHttpRequest
from labeling.models import Dataset
from labeling.views.datasets import remember
from labeling.views.header import header_context


@require_safe
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the page without its tiles, which the browser requests once it knows how many fit."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    return render(request, "workbench.html", header_context(dataset))
