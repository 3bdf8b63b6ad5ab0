"""Show the model's page: one version, the list of versions, and two versions side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRefresh, trigger_client_event

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from modeling.assistive.policy import labels_to_go, policy_of
from modeling.assistive.views import PolicyForm, state_of
from modeling.models import ModelVersion
from modeling.versions import active as active_version
from modeling.versions import model_files
from modeling.versions.audited_accuracy import Audited, audited
from modeling.versions.comparison import SIDES, calibration_words, changes, differences, option_words, shared, verdict
from modeling.versions.facts import (
    ClassLine,
    Named,
    class_lines,
    classes_of,
    confusion,
    differing_url,
    names_of,
    other_choice,
    survivors,
    together_words,
)
from modeling.versions.plots import (
    PLOTTED,
    accuracy_plot,
    briefs,
    ece_plot,
    epochs_plots,
    labels_plot,
    learning_plot,
    reliabilities,
    reliability_plot,
)

PAGE = 50


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the active version, or what to do to get a first one."""
    dataset = get_object_or_404(Dataset, slug=slug)
    every = ModelVersion.objects.filter(dataset=dataset)
    version = every.order_by("-is_active", "-number").select_related("embedding_set").first()
    return render(request, "modeling/versions/page.html", _page(request, dataset, version))


@require_GET
def version(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """Show the page of any version."""
    dataset, shown = _found(slug, number)
    return render(request, "modeling/versions/page.html", _page(request, dataset, shown))


@require_GET
def head(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """Show the head of the page: which version it is and whether it is active; it reloads when a job ends."""
    dataset, shown = _found(slug, number)
    return _head(request, dataset, shown)


@require_GET
def version_list(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show a page of the table of versions: the newest, or those before ``?before=``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    response = render(request, "modeling/versions/_list.html", {"dataset": dataset, **_list(dataset, _before(request))})
    patch_vary_headers(response, ["HX-Request"])
    return response


@require_POST
def use(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """Activate this version; if its predictions were deleted, after a job has computed them again."""
    dataset, shown = _found(slug, number)
    if active_version.choose(shown, user=request.user) is None:
        return HttpResponseClientRefresh()
    return trigger_client_event(_head(request, dataset, shown), "hoshina:job")


@require_POST
def release(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """Resume automatic retraining."""
    dataset, shown = _found(slug, number)
    active_version.release(dataset)
    shown.refresh_from_db()
    return trigger_client_event(_head(request, dataset, shown), "hoshina:job")


@require_GET
def compare(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Compare two versions side by side: ``?a=3&b=7``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    numbers = [whole_number(request.GET.get(name), 9) or 0 for name in ("a", "b")]
    found = {
        one.number: one
        for one in ModelVersion.objects.filter(dataset=dataset, number__in=numbers).select_related("embedding_set")
    }
    if not all(number in found for number in numbers):
        raise Http404("There is no such version.")
    first, second = (found[number] for number in numbers)
    context = {"dataset": dataset, "first": first, "second": second, "both": [first, second]}
    if first.pk != second.pk:
        context |= _side_by_side(dataset, first, second)
    return render(request, "modeling/versions/compare.html", context)


def _found(slug: str, number: int) -> tuple[Dataset, ModelVersion]:
    dataset = get_object_or_404(Dataset, slug=slug)
    every = ModelVersion.objects.filter(dataset=dataset).select_related("embedding_set")
    return dataset, get_object_or_404(every, number=number)


# -- A version's page -----------------------------------------------------------------------------
def _page(request: HtmxHttpRequest, dataset: Dataset, shown: ModelVersion | None) -> dict[str, Any]:
    state = state_of(dataset)
    policy = policy_of(dataset)
    context = {
        "dataset": dataset,
        "form": PolicyForm(instance=policy),
        "labels_to_go": labels_to_go(dataset, policy, state["model"]),
        **state,
        **_list(dataset, _before(request)),
    }
    if shown is None:
        return context
    classes = classes_of(dataset)
    return (
        context | _head_context(dataset, shown) | _quality(dataset, shown, classes) | _history(dataset, shown, classes)
    )


def _quality(dataset: Dataset, shown: ModelVersion, classes: Mapping[int, LabelClass]) -> dict[str, Any]:
    """Return the quality of a version, overall and by class."""
    names = names_of(shown, classes)
    rows = confusion(dataset, shown, names)
    counts = [one["count"] for one in shown.metrics.get("reliability") or ()]
    return {
        "names": names,
        "confusion": rows,
        "lines": class_lines(shown, names, rows),
        "has_items": bool(rows) and model_files.has_held_out(shown),
        "reliability": reliability_plot(shown.metrics),
        "bins": {"n": len(counts), "least": min(counts), "most": max(counts)} if counts else None,
        "epochs": epochs_plots(shown.metrics.get("epochs") or ()),
        "calibration": calibration_words(shown),
        "together": together_words(shown),
        "other_choice": other_choice(shown, dataset) if shown.is_active else "",
        "options": [(option_words(name), value) for name, value in shown.options.items()],
        "files": _files(shown),
    }


def _history(dataset: Dataset, shown: ModelVersion, classes: Mapping[int, LabelClass]) -> dict[str, Any]:
    """Return the history of a version: the version before it, and all versions over time."""
    known = briefs(dataset)
    context: dict[str, Any] = {
        "plots": [accuracy_plot(known), ece_plot(known), labels_plot(known)] if known else [],
        "n_plotted": PLOTTED if len(known) == PLOTTED else 0,
        "learning": learning_plot(known, shown.number),
    }
    before = ModelVersion.objects.filter(dataset=dataset, number__lt=shown.number).select_related("embedding_set")
    previous = before.order_by("-number").first()
    if previous is None:
        return context
    labels = survivors(classes)
    context |= {
        "previous": previous,
        "changes": changes(previous, shown, labels),
        "differences": differences(previous, shown, labels),
        **_paired(dataset, previous, shown),
    }
    return context


def _files(shown: ModelVersion) -> list[str]:
    """Return the names of the files that a quick training offers for download."""
    folder = model_files.folder_of(shown) / "quick"
    if shown.kind != ModelVersion.Kind.QUICK or not folder.is_dir():
        return []
    return sorted(file.name for file in folder.iterdir() if file.is_file())


# -- The head -------------------------------------------------------------------------------------
def _head(request: HtmxHttpRequest, dataset: Dataset, shown: ModelVersion) -> HttpResponse:
    response = render(request, "modeling/versions/_head.html", {"dataset": dataset, **_head_context(dataset, shown)})
    patch_vary_headers(response, ["HX-Request"])
    return response


def _head_context(dataset: Dataset, shown: ModelVersion) -> dict[str, Any]:
    every = ModelVersion.objects.filter(dataset=dataset)
    asked = Job.objects.filter(kind="predict", dataset_id=dataset.pk, params__version=shown.number)
    newest_job = asked.filter(params__is_refresh=False).order_by("created_at").last()
    return {
        "shown": shown,
        "active": every.filter(is_active=True).first(),
        "older": every.filter(number__lt=shown.number).order_by("-number").values_list("number", flat=True).first(),
        "newer": every.filter(number__gt=shown.number).order_by("number").values_list("number", flat=True).first(),
        "preparing": newest_job if newest_job and newest_job.is_active else None,
        "refused": newest_job if newest_job and newest_job.state in {Job.State.FAILED, Job.State.LOST} else None,
        "is_automatic": policy_of(dataset).is_automatic,
        "choices": _choices(dataset),
    }


def _choices(dataset: Dataset) -> list[ModelVersion]:
    """Return the newest versions, to choose one for comparison."""
    return list(ModelVersion.objects.filter(dataset=dataset).only("number", "n_labels", "kind", "is_active")[:PAGE])


# -- The table of versions ------------------------------------------------------------------------
def _before(request: HtmxHttpRequest) -> int | None:
    before = request.GET.get("before")
    number = whole_number(before, 9)
    if before and number is None:
        raise Http404("The version must be a number.")
    return number


def _list(dataset: Dataset, before: int | None) -> dict[str, Any]:
    """Return a page of versions in descending order, without their large metrics, and where the next page begins."""
    every = ModelVersion.objects.filter(dataset=dataset).select_related("embedding_set").defer("metrics")
    rows = every if before is None else every.filter(number__lt=before)
    told = {name: F(f"metrics__{name}") for name in ("accuracy", "accuracy_interval", "ece_after", "log_loss_after")}
    found: list[Any] = list(rows.annotate(**told)[: PAGE + 1])
    known = audited(dataset.pk, [version.pk for version in found])
    for version in found:
        version.audited = known.get(version.pk)
    return {
        "versions": found[:PAGE],
        "before": before,
        "next_before": found[PAGE - 1].number if len(found) > PAGE else None,
    }


# -- Two versions ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class ClassPair:
    """One class in two versions."""

    first: ClassLine | None
    second: ClassLine | None

    @property
    def named(self) -> Named | None:
        line = self.second or self.first
        return line.named if line else None

    @property
    def recall_change(self) -> float | None:
        """Return by how many percentage points the recall of the second version is higher."""
        ends = [one.recall if one else None for one in (self.first, self.second)]
        return None if ends[0] is None or ends[1] is None else 100 * (ends[1] - ends[0])


def _side_by_side(dataset: Dataset, first: ModelVersion, second: ModelVersion) -> dict[str, Any]:
    classes = classes_of(dataset)
    lines: list[dict[int, ClassLine]] = []
    for one in (first, second):
        names = names_of(one, classes)
        lines.append({line.named.class_id: line for line in class_lines(one, names, confusion(dataset, one, names))})
    every = {**lines[0], **lines[1]}
    ordered = [class_id for class_id in classes if class_id in every] + [one for one in every if one not in classes]
    labels = survivors(classes)
    return {
        "pairs": [ClassPair(lines[0].get(at), lines[1].get(at)) for at in ordered],
        "reliability": reliabilities([first, second]),
        "differences": differences(first, second, labels),
        "changes": changes(first, second, labels),
        "calibrations": [calibration_words(one) for one in (first, second)],
        "audited": _audited_pair(dataset, first, second),
        **_paired(dataset, first, second),
    }


def _audited_pair(dataset: Dataset, first: ModelVersion, second: ModelVersion) -> list[Audited | None]:
    """Return the audited accuracies of both; [] if neither has one."""
    known = audited(dataset.pk, [first.pk, second.pk])
    return [known.get(one.pk) for one in (first, second)] if known else []


def _paired(dataset: Dataset, first: ModelVersion, second: ModelVersion) -> dict[str, Any]:
    """Compare both versions on the images that both held out."""
    both = shared(first, second)
    if both is None or not len(both.rows):
        return {"paired": None}
    told = both.paired()
    low, high = told.interval()
    return {
        "paired": told,
        "difference": 100 * told.difference,
        "difference_low": 100 * low,
        "difference_high": 100 * high,
        "verdict": verdict(told, first, second),
        "sides": [(side, len(both.side(side)), differing_url(dataset, first, second, side)) for side in SIDES],
    }
