"""Show the front page and the workbench: tiles, classes, queues and the header on one screen."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from hoshina.core.http import HtmxHttpRequest
from labeling.models import Dataset
from labeling.views.datasets import datasets_context, last_used, remember
from labeling.views.header import header_context


@require_GET
def home(request: HtmxHttpRequest) -> HttpResponse:
    """Redirect to the workbench of the requested or last dataset; without any dataset, show how to add one."""
    dataset = last_used(request)
    if dataset is not None:
        return redirect(dataset)
    return render(request, "labeling/ingest/datasets.html", datasets_context(request))


@never_cache  # Back would show the numbers of the first visit
@require_safe
def workbench(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the page without its tiles, which the browser requests once it knows how many fit."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    return render(request, "workbench.html", header_context(dataset))
