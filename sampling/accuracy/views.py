"""Show the audited accuracy with its interval, the recall of each class, its history, and a forecast."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from hoshina.core.charts import Axis, Plot, Point, Series, in_percent, plot
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.core.plural import counted
from labeling.decisions.pace import seconds_per_decision
from labeling.models import Dataset, LabelClass
from modeling.models import ModelVersion
from modeling.predictions import active_model
from modeling.versions import plots
from modeling.versions.audited_accuracy import MIN_AUDIT, Share, share_text
from modeling.versions.headline import headline_of
from sampling.accuracy.estimate import (
    MIN_OF_CLASS,
    Outlook,
    audit_to_go,
    estimates_of,
    history,
    latest,
    more_to_halve,
    n_audited,
    outlook,
)
from sampling.accuracy.stopping import stopping
from sampling.models import AccuracyEstimate
from sampling.sweeps.banner import cost_sentence
from sampling.sweeps.checks import cost_of


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the audited accuracy with what it is based on, beside the held-out accuracy."""
    dataset = get_object_or_404(Dataset, slug=slug)
    estimates = history(dataset)
    newest = estimates[-1] if estimates else None
    ahead = outlook(estimates)
    context = {
        "dataset": dataset,
        "newest": newest,
        "share": share_of(newest) if newest else None,
        "more": more_to_halve(newest) if newest else 0,
        "recalls": recalls(dataset, newest) if newest else [],
        "min_of_class": MIN_OF_CLASS,
        "min_audit": MIN_AUDIT,
        "audit_to_go": audit_to_go(dataset),
        "outlook": ahead,
        "stopping": (stop := stopping(estimates, ahead)),
        "next_point": stop.sentence(seconds_per_decision(dataset, request.user.pk)) if stop else "",
        "outlook_share": share_text(end["value"], end["low"], end["high"]) if (end := ahead.end) else None,
        "outlook_more": end["labels"] - newest.n_labels if end and newest else 0,
        "plot": estimates_plot(estimates, ahead) if estimates else None,
        "history": [{"estimate": estimate, "share": share_of(estimate)} for estimate in reversed(estimates)],
        "model": (model := active_model(dataset)),
        "held_out": _held_out(model),
        "sweeps_cost": cost_sentence(cost_of(dataset)),
    }
    return render(request, "sampling/accuracy/page.html", context)


def _held_out(model: ModelVersion | None) -> str:
    """Return the version's held-out accuracy with its interval, or "" if it has none."""
    if model is None or model.metrics.get("accuracy") is None:
        return ""
    share = share_text(model.metrics["accuracy"], *model.metrics["accuracy_interval"])
    return f"{share.value} % (95 % interval {share.interval} %)"


@require_GET
def honest(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the audited accuracy alone, of the version in use or of ``?model=``, for the model's page."""
    dataset = get_object_or_404(Dataset, slug=slug)
    number = request.GET.get("model", "")
    estimates = estimates_of(dataset.pk)
    of_number = estimates.filter(model_version__number=whole_number(number, 9) or 0)
    newest = of_number.first() if number else latest(dataset)
    context = {"dataset": dataset, "newest": newest, "share": share_of(newest) if newest else None}
    is_older = bool(number) and newest is None and estimates.exists()
    return render(
        request,
        "sampling/accuracy/_audited.html",
        context | {"audit_to_go": audit_to_go(dataset), "is_older": is_older},
    )


@require_GET
def audit_progress(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show how many images of a random sample are labeled, beside the queue Audit."""
    dataset = get_object_or_404(Dataset, slug=slug)
    context = {"dataset": dataset, "n_labeled": n_audited(dataset), "min_audit": MIN_AUDIT}
    return render(request, "sampling/accuracy/_audit_progress.html", context)


@require_GET
def accuracy_plot(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the plot of the model's page with the estimates added; 204 without any, so that the page keeps its plot."""
    dataset = get_object_or_404(Dataset, slug=slug)
    versions = plots.briefs(dataset)
    estimates = history(dataset) if versions else []
    points = [
        Point(
            number := estimate.model_version.number,
            estimate.value,
            (estimate.low, estimate.high),
            f"Model {number}\naudited accuracy {share_of(estimate)}, from {counted(estimate.n_audit, 'random image')}",
            reverse("modeling:version", args=[dataset.slug, number]),
        )
        for estimate in estimates
        if estimate.model_version.number >= versions[0].number
    ]
    if not points:
        return HttpResponse(status=204)
    return render(request, "charts/_plot.html", {"plot": plots.accuracy_plot(versions, points)})


@require_GET
def share(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the audited accuracy as in the model's badge; 204 if there is none."""
    dataset = get_object_or_404(Dataset, slug=slug)
    model = active_model(dataset)
    headline = headline_of(dataset, model)
    if headline is None or not headline.is_audited:
        return HttpResponse(status=204)
    return render(request, "sampling/accuracy/_share.html", {"headline": headline, "model": model})


def share_of(estimate: AccuracyEstimate) -> Share:
    return share_text(estimate.value, estimate.low, estimate.high)


def recalls(dataset: Dataset, estimate: AccuracyEstimate) -> list[dict[str, Any]]:
    """Return the recall of each class in the order of the class list; without a share if there are too few labels."""
    by_class = {recall["class_id"]: recall for recall in estimate.per_class}
    return [
        {
            "label": label,
            "recall": (recall := by_class.get(label.pk)),
            "share": share_text(recall["value"], recall["low"], recall["high"]) if recall else None,
        }
        for label in LabelClass.objects.active().filter(dataset=dataset)
    ]


def estimates_plot(estimates: list[AccuracyEstimate], ahead: Outlook) -> Plot:
    """Plot the estimates with their intervals by the number of labels, and the forecast."""
    points = [
        Point(
            estimate.n_labels,
            estimate.value,
            (estimate.low, estimate.high),
            f"Model {estimate.model_version.number}, {counted(estimate.n_labels, 'label')}: {share_of(estimate)}",
        )
        for estimate in estimates
    ]
    series = [Series("audited", points, has_line=False, interval="bars")]
    if (curve := ahead.curve) is not None:
        along = zip(curve.sizes, curve.values, curve.low, curve.high, strict=True)
        series.append(Series("forecast", [Point(int(n), value, (low, high)) for n, value, low, high in along]))
    x, y = Axis("training labels", low=0, is_whole=True), Axis("audited accuracy", high=1, text=in_percent)
    waiting = "The curve appears with the next model that has more labels."
    return plot("audited", "Audited accuracy by number of labels", series, x=x, y=y, waiting=waiting)
