"""Lead from the site's root to the dataset at hand."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from labeling.views.datasets import datasets_context, last_used


@require_GET
def home(request: HtmxHttpRequest) -> HttpResponse:
    """Redirect to the workbench of the dataset asked for or used last; without any dataset, show how to begin."""
    dataset = last_used(request)
    if dataset is not None:
        return redirect(dataset)
    return render(request, "labeling/ingest/datasets.html", datasets_context(request))
