"""Group several files into one item by a template, previewed on the folder while it is typed."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, may
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.forms import GroupingForm
from labeling.ingest.dataset_folder import folder_problem
from labeling.ingest.folder_watch import params_of_last_ingest
from labeling.ingest.grouping_change import regroup_refusal, template_of
from labeling.ingest.grouping_preview import files_of, preview_grouping, suggestions_for
from labeling.ingest.grouping_template import Template
from labeling.models import Dataset
from labeling.views.datasets import remember

# A preview responds while someone types, so in a folder of millions it reads only the first files.
_TRIAL_SECONDS = 2.0
# With more items than this, the job checks whether labels would be lost, and reports it.
_ASKED_AT_ONCE = 20_000


@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the template in use, others that fit the folder, and a preview."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    is_change = request.method == "POST"
    form = GroupingForm(request.POST if is_change else request.GET, label_suffix="")
    chosen = form.cleaned_data.get("grouping") if form.is_valid() else None
    if not is_change and "template" not in request.GET:  # a suggestion leads here with one
        chosen = template_of(dataset)
        form = GroupingForm.showing(chosen)
    if is_change and form.is_valid() and (problem := _refusal(dataset, chosen)):
        form.add_error("template", problem)
    if not is_change or not form.is_valid():
        context = _context(request, dataset, form, chosen) | {"suggestions": suggestions_for(dataset)}
        return render(request, "labeling/ingest/grouping.html", context, status=422 if is_change else 200)
    grouping = {"grouping": chosen.text if chosen else ""}
    enqueue("ingest", dataset_id=dataset.pk, params=params_of_last_ingest(dataset) | grouping, user=request.user)
    messages.success(request, "The files are being grouped. The Jobs page shows the progress.")
    return redirect(dataset)


@require_GET
def trial(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Preview how the template in the URL groups the folder, as a fragment."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = GroupingForm(request.GET, label_suffix="")
    chosen = form.cleaned_data["grouping"] if form.is_valid() else None
    return render(request, "labeling/ingest/_grouping_preview.html", _context(request, dataset, form, chosen))


def _refusal(dataset: Dataset, chosen: Template | None) -> str:
    """Return why the files cannot be grouped like this now; "" if they can."""
    if Job.objects.filter(kind="ingest", dataset_id=dataset.pk, state__in=Job.ACTIVE).exists():
        return "The folder is being read. Group its files when that is done."
    return regroup_refusal(dataset, chosen) if dataset.n_items <= _ASKED_AT_ONCE else ""


def _context(request: HtmxHttpRequest, dataset: Dataset, form: GroupingForm, chosen: Template | None) -> dict[str, Any]:
    problem = folder_problem(dataset.data_dir)
    return {
        "dataset": dataset,
        "form": form,
        "may_group": may(request.user, Role.MANAGER),
        "n_decided": dataset.n_decided,
        "folder_problem": problem,
        "trial": preview_grouping(chosen, partial(files_of, dataset), seconds=_TRIAL_SECONDS)
        if chosen and not problem
        else None,
    }
