"""Show the groups of near-duplicates, whether they were looked for, and start the check."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import HttpResponseClientRefresh, trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset
from labeling.views.datasets import remember
from modeling.leakage.files import found_by
from modeling.leakage.groups import ON_PAGE, Place, page_of
from modeling.models import LeakageCheck


@require_GET
def near_duplicates(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the groups of near-duplicates, those with different labels first."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    context = _check_context(request, dataset)
    place = Place.parse(request.GET.get("from", ""))
    context |= {"place": place, "is_first": place == Place(), "on_page": ON_PAGE}
    try:
        near = found_by(dataset, context["check"]) if context["check"] else None
    except Refusal as refusal:
        return render(request, "modeling/leakage/page.html", context | {"problem": refusal})
    if near is not None:
        context["page"] = page_of(dataset, near, place)
    return render(request, "modeling/leakage/page.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def leakage(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the last check for near-duplicates, or start another one."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method == "POST":
        enqueue("check_leakage", dataset_id=dataset.pk, user=request.user)
        if _is_on_page(request, dataset):  # which then shows the groups when the job has ended
            return HttpResponseClientRefresh()
    response = render(request, "modeling/leakage/_check.html", _check_context(request, dataset))
    return trigger_client_event(response, "hoshina:job") if request.method == "POST" else response


def _check_context(request: HtmxHttpRequest, dataset: Dataset) -> dict[str, Any]:
    check = LeakageCheck.objects.filter(dataset=dataset, pairs_generation__gt=0).first()
    job = Job.objects.filter(kind="check_leakage", dataset_id=dataset.pk).order_by("-created_at").first()
    n_later = max(0, dataset.n_items - check.n_images) if check else 0
    is_on_page = _is_on_page(request, dataset)
    return {"dataset": dataset, "check": check, "job": job, "n_later": n_later, "is_on_page": is_on_page}


def _is_on_page(request: HtmxHttpRequest, dataset: Dataset) -> bool:
    """Return whether the request is for the page of near-duplicates, or comes from it."""
    address = reverse("modeling:near_duplicates", args=[dataset.slug])
    current = request.htmx.current_url_abs_path if request.htmx else request.path
    return (current or "").partition("?")[0] == address
