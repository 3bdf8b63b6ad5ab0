"""List the maps of a dataset; create, rename and delete them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from labeling.models import Dataset
from modeling.maps import projections
from modeling.models import Projection
from sampling.maps.form import MapForm, options_text


@require_GET
@never_cache
def maps(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show all maps and the form of a new one; with ``?list`` only the maps."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if "list" in request.GET:
        return _listed(request, dataset)
    context = _context(dataset) | {
        "form": MapForm(dataset),
        "why_not": projections.why_not(dataset),
        "is_dialog": request.htmx.target == "dialog-body",
    }
    return render(request, "sampling/maps/_projections.html", context)


@require_POST
def make(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Start a job that computes a map; show the form again, with errors, if it is invalid."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = MapForm(dataset, request.POST)
    if not form.is_valid():
        return render(request, "sampling/maps/_form.html", {"dataset": dataset, "form": form}, status=422)
    projections.start(dataset, form.cleaned_data["options"], request.user)
    context = {"dataset": dataset, "form": MapForm(dataset), "is_started": True}
    response = render(request, "sampling/maps/_form.html", context)
    return trigger_client_event(trigger_client_event(response, "hoshina:job"), "hoshina:maps")


@require_POST
def rename(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Rename a map."""
    dataset = get_object_or_404(Dataset, slug=slug)
    projection = Projection.objects.filter(dataset=dataset, pk=pk).first()
    if projection is None:
        return _listed(request, dataset, problem="This map was deleted in the meantime.", status=422)
    try:
        projections.rename(projection, request.POST.get("name", ""))
    except Refusal as problem:
        return _listed(request, dataset, problem=str(problem), status=422)
    return trigger_client_event(_listed(request, dataset), "hoshina:map-renamed", {"map": pk, "name": projection.name})


@require_POST
def delete(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Delete a map, or do nothing if it is already deleted."""
    dataset = get_object_or_404(Dataset, slug=slug)
    projection = Projection.objects.filter(dataset=dataset, pk=pk).first()
    if projection is not None:
        projections.delete(projection)
    return trigger_client_event(_listed(request, dataset), "hoshina:map-deleted", {"map": pk})


def _context(dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "maps": [
            {"map": projection, "options": options_text(projection)} for projection in projections.maps_of(dataset)
        ],
        "jobs": list(projections.jobs_of(dataset)),
    }


def _listed(request: HtmxHttpRequest, dataset: Dataset, *, problem: str = "", status: int = 200) -> HttpResponse:
    return render(request, "sampling/maps/_list.html", _context(dataset) | {"problem": problem}, status=status)
