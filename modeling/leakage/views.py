"""Show on the page of exports whether near-duplicates were looked for, and start the check."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods
from django_htmx.http import trigger_client_event

from hoshina.core.http import HtmxHttpRequest
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.models import LeakageCheck


@require_http_methods(["GET", "HEAD", "POST"])
def leakage(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the last check for near-duplicates, or start another one."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method == "POST":
        enqueue("check_leakage", dataset_id=dataset.pk, user=request.user)
        return trigger_client_event(_shown(request, dataset), "hoshina:job")
    return _shown(request, dataset)


def _shown(request: HtmxHttpRequest, dataset: Dataset) -> HttpResponse:
    check = LeakageCheck.objects.filter(dataset=dataset, pairs_generation__gt=0).first()
    job = Job.objects.filter(kind="check_leakage", dataset_id=dataset.pk).order_by("-created_at").first()
    n_later = max(0, dataset.n_items - check.n_images) if check else 0
    context = {"dataset": dataset, "check": check, "job": job, "n_later": n_later}
    return render(request, "modeling/leakage/_check.html", context)
