"""Show the header of a dataset: its name, its progress and, after a change elsewhere, its classes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from hoshina.core.http import HtmxHttpRequest
from hoshina.jobs.models import Job
from labeling.models import Dataset

# How long after the creation of a dataset its ingest may still be about to start.
_STARTING = timedelta(minutes=1)


def header_context(dataset: Dataset) -> dict[str, Any]:
    """Return the context of the header and the list of classes, with four queries for any size of the dataset."""
    return {
        "dataset": dataset,
        "is_reading": _is_reading(dataset),
        "datasets": Dataset.objects.in_use().only("name", "slug"),
        "n_done": dataset.n_decided,
        "n_expected": max(dataset.n_items, 1),
        "classes": dataset.classes.filter(is_retired=False),
    }


def _is_reading(dataset: Dataset) -> bool:
    """Return whether the folder is being read or about to be; the header then polls."""
    newest = Job.objects.filter(kind="ingest", dataset_id=dataset.pk).order_by("-created_at").first()
    if newest is not None:
        return newest.is_active
    return not dataset.n_items and timezone.now() - dataset.created_at < _STARTING


@require_safe
def header(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the header, and the list of classes out of band."""
    dataset = get_object_or_404(Dataset, slug=slug)
    context = header_context(dataset)
    response = render(request, "labeling/_header.html", context | {"is_refresh": True})
    if context["is_reading"]:
        response.headers["HX-Trigger"] = "hoshina:job"  # the strip shows the progress
    response.headers["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["HX-Request"])
    return response
