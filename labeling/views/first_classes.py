"""Ask for the first classes of a dataset, in the place of the images."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires
from hoshina.jobs.models import Job
from labeling.decisions import classes
from labeling.ingest.folder_listing import names_of_folders
from labeling.ingest.grouping_preview import suggestions_for
from labeling.models import Dataset
from labeling.views.classes import CHANGED

# Names may be typed one by one, or pasted as a list.
_SEPARATORS = re.compile(r"[\n\r\t,;]+")
_MOST_NAMES = 500
_OTHER_DATASETS = 5


@requires(Role.MANAGER)
@never_cache
@require_http_methods(["GET", "POST"])
def first_classes(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the panel, or add classes.

    They are in the text ``names``, or each in a parameter ``folder``, or those of the dataset ``copy`` (its slug).
    """
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method == "GET":
        is_grouped = bool(dataset.roles) or dataset.n_decided > 0 or _is_being_grouped(dataset)
        templates = [] if is_grouped else suggestions_for(dataset, is_usual=True)
        return render(request, "labeling/classes/_first.html", _context(dataset) | {"templates": templates[:1]})
    problems, refused = list[str](), list[str]()
    try:
        if other := request.POST.get("copy", "").replace("\x00", ""):
            classes.copy(get_object_or_404(Dataset, slug=other), dataset, user=request.user)
        else:
            text = request.POST.get("names", "")
            problems, refused = _add(dataset, request.POST.getlist("folder") or _SEPARATORS.split(text), request.user)
    except Refusal as problem:
        problems = [str(problem)]
    status = 422 if problems else 200
    context = _context(dataset) | {"problems": problems, "refused": refused}
    response = render(request, "labeling/classes/_first.html", context, status=status)
    return trigger_client_event(response, CHANGED)


def _is_being_grouped(dataset: Dataset) -> bool:
    jobs = Job.objects.filter(kind="ingest", dataset_id=dataset.pk, state__in=Job.ACTIVE)
    return any(params.get("grouping") for params in jobs.values_list("params", flat=True))


def _add(dataset: Dataset, names: list[str], user: User) -> tuple[list[str], list[str]]:
    """Add classes. Return why some were not added, and their names."""
    names = [name.strip() for name in names if name.strip()]
    if not names:
        return ["Enter a name for the class."], []
    if len(names) > _MOST_NAMES:
        return [f"These are {len(names):,} names. Add at most {_MOST_NAMES} at a time."], names
    problems, refused = list[str](), list[str]()
    for name in names:
        try:
            classes.add(dataset, name, user=user)
        except Refusal as problem:
            problems.append(str(problem))
            refused.append(name)
    return problems, refused


def _context(dataset: Dataset) -> dict[str, Any]:
    present = list(dataset.classes.filter(is_retired=False))
    taken = {classes.same_word(label.name) for label in present}
    suggested = [name for name in names_of_folders(dataset.data_dir) if classes.same_word(name) not in taken]
    active = Q(classes__is_retired=False)
    others = Dataset.objects.in_use().exclude(pk=dataset.pk).annotate(n_classes=Count("classes", filter=active))
    return {
        "dataset": dataset,
        "classes": present,
        "suggested": suggested,
        "others": [] if present else others.filter(n_classes__gt=0).order_by("-pk")[:_OTHER_DATASETS],
    }
