"""The workbench: one screen of tiles, classes, queues and the header above them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from hoshina.http import HtmxHttpRequest
from labeling.models import Dataset
from labeling.views.datasets import remember


def _context(dataset: Dataset) -> dict[str, Any]:
    """What the header and the list of classes show; three queries however large the dataset is."""
    return {
        "dataset": dataset,
        "datasets": Dataset.objects.only("name", "slug"),
        "n_done": dataset.n_labelled + dataset.n_unsure + dataset.n_skipped,
        "n_expected": max(dataset.n_items, 1),
        "classes": dataset.classes.filter(is_retired=False),
    }


@require_safe
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """The whole screen. The tiles come as a fragment, once the browser knows how many fit."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    return render(request, "labeling/workbench.html", _context(dataset))


@require_safe
def header(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """The header's counts, and out of band the list of classes, after something changed elsewhere."""
    dataset = get_object_or_404(Dataset, slug=slug)
    response = render(request, "labeling/_header.html", _context(dataset) | {"is_refresh": True})
    response.headers["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["HX-Request"])
    return response
