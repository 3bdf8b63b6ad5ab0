"""Redirect the root of the site to the current dataset."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from hoshina.core.http import HtmxHttpRequest
from labeling.views.datasets import datasets_context, last_used


@require_GET
def home(request: HtmxHttpRequest) -> HttpResponse:
    """Redirect to the workbench of the requested or last dataset; without any dataset, show how to add one."""
    dataset = last_used(request)
    if dataset is not None:
        return redirect(dataset)
    return render(request, "labeling/ingest/datasets.html", datasets_context(request))
