"""Show datasets, and the files of a dataset that could not become items."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, may, requires_to_change
from hoshina.jobs.lifecycle import enqueue
from labeling.forms import AddFolderForm
from labeling.images.natural_order import natural_key
from labeling.ingest.bulk_sql import noted_frames
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.folder_watch import params_of_last_ingest
from labeling.models import Dataset, Frame, Problem
from labeling.views.dataset_list import add_covers

USED_LAST = "dataset"
PROBLEMS_ON_PAGE = 100
# Reasons are counted among at most this many problems, so that the cost of the page does not grow.
REASONS_AMONG = 10_000


def remember(request: HttpRequest, dataset: Dataset) -> None:
    """Remember the dataset as the last one used, to which the home page redirects."""
    if request.session.get(USED_LAST) != dataset.slug:
        request.session[USED_LAST] = dataset.slug


def last_used(request: HttpRequest) -> Dataset | None:
    """Return the dataset of the URL (``?dataset=``), else the last one used, else the newest, else None."""
    slugs = (request.GET.get("dataset", "").replace("\x00", ""), request.session.get(USED_LAST, ""))
    found = {dataset.slug: dataset for dataset in Dataset.objects.filter(slug__in=slugs)}
    in_use = Dataset.objects.in_use().order_by("-id")
    last = found.get(slugs[1])
    return found.get(slugs[0]) or (last if last and last.archived_at is None else in_use.first())


def dataset_menu(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the header on every page; only pages that show it ask the database."""
    if not getattr(request, "user", None) or not request.user.is_authenticated:
        return {"last_dataset": None, "datasets_in_use": ()}
    return {
        "last_dataset": SimpleLazyObject(lambda: last_used(request)),
        "datasets_in_use": Dataset.objects.in_use().only("name", "slug"),
    }


@requires_to_change(Role.ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def index(request: HtmxHttpRequest) -> HttpResponse:
    """List the datasets with their progress, and add a folder."""
    if request.method == "GET":
        return render(request, "labeling/ingest/datasets.html", datasets_context(request))
    if not may_add_folders(request):
        return HttpResponseForbidden("All datasets are in one folder here (AL_DATA_DIR). Ask an administrator.")
    form = AddFolderForm(request.POST, label_suffix="")
    if form.is_valid():
        try:
            dataset = dataset_for(form.cleaned_data["folder"], form.cleaned_data["name"] or None)
        except Refusal as error:
            form.add_error("folder", str(error))
        else:
            params = {"labels_from_folders": True} if form.cleaned_data["labels_from_folders"] else {}
            enqueue("ingest", dataset_id=dataset.pk, params=params, user=request.user)
            remember(request, dataset)
            return redirect(dataset)
    return render(request, "labeling/ingest/datasets.html", datasets_context(request, form), status=422)


def may_add_folders(request: HtmxHttpRequest) -> bool:
    """Return whether the person may add folders, and so see every image in them.

    Administrators may. If AL_DATA_DIR replaces the root of every dataset, no other folder can be added.
    """
    if settings.DATA_DIR is not None:
        return False
    return may(request.user, Role.ADMINISTRATOR)


def datasets_context(request: HtmxHttpRequest, form: AddFolderForm | None = None) -> dict[str, Any]:
    found = _with_problems()
    add_covers(found)
    return {
        "datasets": [dataset for dataset in found if dataset.archived_at is None],
        "archived": [dataset for dataset in found if dataset.archived_at is not None],
        "form": form or AddFolderForm(label_suffix=""),
        "may_add": may_add_folders(request),
        "data_dir": settings.DATA_DIR,
        "command": settings.COMMAND,
    }


def _with_problems() -> list[Dataset]:
    problems = (
        Problem.objects.filter(dataset=OuterRef("pk")).order_by().values("dataset").annotate(n=Count("pk")).values("n")
    )
    return list(Dataset.objects.present().annotate(n_problems=Coalesce(Subquery(problems), 0)))


@require_GET
def problems(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """List files that could not become items, with reasons and counts."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    after, reason = request.GET.get("after", ""), request.GET.get("reason", "")
    if "\x00" in after + reason:
        after = reason = ""
    found = Problem.objects.filter(dataset=dataset).order_by("path")
    if reason:
        found = found.filter(reason=reason)
    if after:
        found = found.filter(path__gt=after)
    shown = list(found[: PROBLEMS_ON_PAGE + 1])
    has_more = len(shown) > PROBLEMS_ON_PAGE
    shown = shown[:PROBLEMS_ON_PAGE]
    following = {"after": shown[-1].path} | ({"reason": reason} if reason else {}) if has_more else {}
    context = {
        "dataset": dataset,
        "reason": reason,
        "after": after,
        "groups": _by_reason(shown),
        "next": urlencode(following),
        "notes": [] if after or reason else _notes(dataset),
        **_reasons(dataset),
    }
    return render(request, "labeling/ingest/problems.html", context)


def _by_reason(found: list[Problem]) -> list[tuple[str, list[Problem]]]:
    """Group the problems of one page by reason; within each, paths are in natural order."""
    ordered = sorted(found, key=lambda problem: (problem.reason, natural_key(problem.path)))
    return [(reason, list(group)) for reason, group in groupby(ordered, key=lambda problem: problem.reason)]


def _notes(dataset: Dataset) -> list[tuple[str, list[Frame]]]:
    """Return the first files that are shown despite a defect, by defect."""
    found = sorted(noted_frames(dataset)[:PROBLEMS_ON_PAGE], key=lambda frame: (frame.note, natural_key(frame.path)))
    return [(note, list(group)) for note, group in groupby(found, key=lambda frame: frame.note)]


def _reasons(dataset: Dataset) -> dict[str, Any]:
    """Count how often each reason occurs, among the first problems if there are very many."""
    some = Problem.objects.filter(dataset=dataset).order_by("path").values("pk")[:REASONS_AMONG]
    counted = (
        Problem.objects.filter(pk__in=Subquery(some))
        .order_by()
        .values("reason")
        .annotate(n=Count("pk"))
        .order_by("-n", "reason")
    )
    reasons = [
        {"reason": group["reason"], "n": group["n"], "query": urlencode({"reason": group["reason"]})}
        for group in counted[:50]
    ]
    n_seen = sum(group["n"] for group in reasons)
    return {"reasons": reasons, "n_problems": n_seen, "is_partial": n_seen >= REASONS_AMONG}


@require_POST
def look_again(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Scan the dataset's folder for new files in the background."""
    dataset = get_object_or_404(Dataset, slug=slug)
    enqueue("ingest", dataset_id=dataset.pk, params=params_of_last_ingest(dataset), user=request.user)
    messages.success(request, f"Looking for new files in {dataset.data_dir}. The Jobs page shows what was found.")
    return redirect("labeling:datasets")


@require_POST
def watch(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Watch the dataset's folder for new files from now on (``on=1``), or no longer."""
    dataset = get_object_or_404(Dataset, slug=slug)
    is_on = request.POST.get("on") == "1"
    Dataset.objects.filter(pk=dataset.pk).update(is_watched=is_on, next_look_at=None)
    message = "Watching {}. New files are added automatically." if is_on else "Stopped watching {}."
    messages.success(request, message.format(dataset.data_dir))
    return redirect("labeling:datasets")


@require_POST
def read_again(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Read all files of the dataset's folder again, in the background."""
    dataset = get_object_or_404(Dataset, slug=slug)
    enqueue("ingest", dataset_id=dataset.pk, user=request.user)
    messages.success(request, f"Rescanning {Path(dataset.data_dir)}. The Jobs page shows the progress.")
    return redirect("labeling:problems", slug=dataset.slug)
