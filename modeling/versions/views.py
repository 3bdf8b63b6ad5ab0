"""Show the model's page: one version, the list of versions, and two versions side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import F
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import HttpResponseClientRefresh, trigger_client_event

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from modeling.assistive.policy import labels_to_go, policy_of
from modeling.assistive.views import state_of
from modeling.external.views import predictions_context
from modeling.models import ModelVersion
from modeling.versions import active as active_version
from modeling.versions import model_files
from modeling.versions.audited_accuracy import audited
from modeling.versions.comparison import SIDES, calibration_text, changes, differences, shared, verdict
from modeling.versions.facts import (
    ClassLine,
    class_lines,
    classes_of,
    confusion,
    differing_url,
    groups_text,
    names_of,
    other_choice,
    survivors,
)
from modeling.versions.options import option_texts
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
    versions = ModelVersion.objects.filter(dataset=dataset).select_related("embedding_set")
    shown = versions.order_by("-is_active", "-number").first()
    return render(request, "modeling/versions/page.html", _page(request, dataset, shown))


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
@vary_on_headers("HX-Request")
def version_list(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show a page of the table of versions: the newest, or those before ``?before=``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    return render(request, "modeling/versions/_list.html", {"dataset": dataset, **_list(dataset, _before(request))})


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
    dataset, _ = _found(slug, number)
    active_version.release(dataset)
    return HttpResponseClientRefresh()  # also the time of the next retrain


@require_GET
def compare(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Compare two versions side by side: ``?a=3&b=7``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    versions = ModelVersion.objects.filter(dataset=dataset).select_related("embedding_set")
    first, second = (
        get_object_or_404(versions, number=whole_number(request.GET.get(name), 9) or 0) for name in ("a", "b")
    )
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
        "policy": policy,
        "imported": predictions_context(dataset),
        "labels_to_go": labels_to_go(dataset, policy, state["model"]),
        **state,
        **_list(dataset, _before(request)),
    }
    if shown is None:
        return context
    classes = classes_of(dataset)
    context |= _head_context(dataset, shown)
    return context | _quality(dataset, shown, classes) | _history(dataset, shown, classes)


def _quality(dataset: Dataset, shown: ModelVersion, classes: Mapping[int, LabelClass]) -> dict[str, Any]:
    """Return the quality of a version, overall and by class."""
    names = names_of(shown, classes)
    rows = confusion(dataset, shown, names)
    counts = [bar["count"] for bar in shown.metrics.get("reliability") or ()]
    return {
        "names": names,
        "confusion": rows,
        "lines": class_lines(shown, names, rows),
        "has_items": bool(rows) and model_files.has_held_out(shown),
        "reliability": reliability_plot(shown.metrics),
        "bins": {"n": len(counts), "least": min(counts), "most": max(counts)} if counts else None,
        "epochs": epochs_plots(shown.metrics.get("epochs") or ()),
        "calibration": calibration_text(shown),
        "together": groups_text(shown),
        "other_choice": other_choice(shown, dataset) if shown.is_active else "",
        "options": list(option_texts(shown).values()),
        "files": [file.name for file in model_files.quick_files(shown)],
    }


def _history(dataset: Dataset, shown: ModelVersion, classes: Mapping[int, LabelClass]) -> dict[str, Any]:
    """Return the history of a version: the version before it, and all versions over time."""
    versions = briefs(dataset)
    context: dict[str, Any] = {
        "plots": [accuracy_plot(versions), ece_plot(versions), labels_plot(versions)] if versions else [],
        "n_plotted": PLOTTED if len(versions) == PLOTTED else 0,
        "learning": learning_plot(versions, shown.number),
    }
    before = ModelVersion.objects.filter(dataset=dataset, number__lt=shown.number).select_related("embedding_set")
    previous = before.order_by("-number").first()
    if previous is None:
        return context
    return context | {"previous": previous} | _differences(dataset, previous, shown, classes)


# -- The head -------------------------------------------------------------------------------------
@vary_on_headers("HX-Request")
def _head(request: HtmxHttpRequest, dataset: Dataset, shown: ModelVersion) -> HttpResponse:
    return render(request, "modeling/versions/_head.html", {"dataset": dataset, **_head_context(dataset, shown)})


def _head_context(dataset: Dataset, shown: ModelVersion) -> dict[str, Any]:
    versions = ModelVersion.objects.filter(dataset=dataset)
    numbers = versions.values_list("number", flat=True)
    params = {"params__version": shown.number, "params__is_refresh": False}
    newest_job = Job.objects.filter(kind="predict", dataset_id=dataset.pk, **params).order_by("created_at").last()
    return {
        "shown": shown,
        "active": versions.filter(is_active=True).first(),
        "older": numbers.filter(number__lt=shown.number).order_by("-number").first(),
        "newer": numbers.filter(number__gt=shown.number).order_by("number").first(),
        "preparing": newest_job if newest_job and newest_job.is_active else None,
        "refused": newest_job if newest_job and newest_job.state in {Job.State.FAILED, Job.State.LOST} else None,
        "is_automatic": policy_of(dataset).is_automatic,
        "has_files": model_files.has_head(shown) or model_files.probabilities_written(shown) > 0,
        "n_with_files": active_version.FILES_KEPT,
        # The newest versions, to choose one for comparison.
        "choices": list(versions.only("number", "n_labels", "kind", "is_active")[:PAGE]),
    }


# -- The table of versions ------------------------------------------------------------------------
def _before(request: HtmxHttpRequest) -> int | None:
    before = request.GET.get("before")
    number = whole_number(before, 9)
    if before and number is None:
        raise Http404("The version must be a number.")
    return number


def _list(dataset: Dataset, before: int | None) -> dict[str, Any]:
    """Return a page of versions in descending order, without their large metrics, and where the next page begins."""
    rows = ModelVersion.objects.filter(dataset=dataset).defer("metrics")
    rows = rows if before is None else rows.filter(number__lt=before)
    metrics = {name: F(f"metrics__{name}") for name in ("accuracy", "accuracy_interval", "ece_after")}
    versions: list[Any] = list(rows.annotate(**metrics)[: PAGE + 1])
    accuracies = audited(dataset.pk, [version.pk for version in versions])
    for version in versions:
        version.audited = accuracies.get(version.pk)
    next_before = versions[PAGE - 1].number if len(versions) > PAGE else None
    return {"versions": versions[:PAGE], "before": before, "next_before": next_before}


# -- Two versions ---------------------------------------------------------------------------------
def _side_by_side(dataset: Dataset, first: ModelVersion, second: ModelVersion) -> dict[str, Any]:
    classes, versions = classes_of(dataset), (first, second)
    lines: list[dict[int, ClassLine]] = []
    for version in versions:
        names = names_of(version, classes)
        rows = confusion(dataset, version, names)
        lines.append({line.named.class_id: line for line in class_lines(version, names, rows)})
    every = {**lines[0], **lines[1]}
    ordered = [class_id for class_id in classes if class_id in every] + [at for at in every if at not in classes]
    accuracies = audited(dataset.pk, [version.pk for version in versions])
    return {
        "pairs": [_pair(every[at], lines[0].get(at), lines[1].get(at)) for at in ordered],
        "reliability": reliabilities(versions),
        "calibrations": [calibration_text(version) for version in versions],
        # Empty if neither has one.
        "audited": [accuracies.get(version.pk) for version in versions] if accuracies else [],
        **_differences(dataset, first, second, classes),
    }


def _pair(line: ClassLine, first: ClassLine | None, second: ClassLine | None) -> dict[str, Any]:
    """Return one class in two versions, and by how many percentage points the recall of the second is higher."""
    before, after = (line.recall if line else None for line in (first, second))
    change = None if before is None or after is None else 100 * (after - before)
    return {"named": line.named, "first": first, "second": second, "recall_change": change}


def _differences(
    dataset: Dataset, first: ModelVersion, second: ModelVersion, classes: Mapping[int, LabelClass]
) -> dict[str, Any]:
    """Return how two versions differ, and which is right on the images that both held out."""
    labels = survivors(classes)
    context: dict[str, Any] = {
        "differences": differences(first, second, labels),
        "changes": changes(first, second, labels),
        "paired": None,
    }
    both = shared(first, second)
    if both is None or not len(both.rows):
        return context
    result = both.paired()
    low, high = result.interval()
    return context | {
        "paired": result,
        "difference": 100 * result.difference,
        "difference_low": 100 * low,
        "difference_high": 100 * high,
        "verdict": verdict(result, first, second),
        "sides": [(side, len(both.side(side)), differing_url(dataset, first, second, side)) for side in SIDES],
    }
