"""Show the audited accuracy with its interval, the recall of each class, its history, and a forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from hoshina.core.charts import Axis, Plot, Point, Series, plot
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import whole_number
from hoshina.core.plural import counted
from labeling.models import Dataset, LabelClass
from modeling.models import ModelVersion
from modeling.predictions import active_model
from modeling.versions.plots import accuracy_plot as plot_of_accuracy
from modeling.versions.plots import briefs
from sampling.accuracy.estimate import (
    MIN_AUDIT,
    MIN_OF_CLASS,
    Outlook,
    history,
    latest,
    more_to_halve,
    newest_audited,
    outlook,
)
from sampling.models import AccuracyEstimate

# The chart's inner size in its own units; the axis labels are outside.
NARROW = 0.04


@dataclass(frozen=True)
class Share:
    """A share and its interval as a page shows them: ``92``, ``88`` and ``95`` for percent."""

    value: str
    low: str
    high: str

    def __str__(self) -> str:
        return f"{self.value} % ({self.low} to {self.high})"


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
        "outlook": ahead,
        "outlook_share": _end(ahead),
        "outlook_more": ahead.end["labels"] - newest.n_labels if ahead.end and newest else 0,
        "plot": estimates_plot(estimates, ahead) if estimates else None,
        "history": [{"estimate": one, "share": share_of(one)} for one in reversed(estimates)],
        "model": (model := active_model(dataset)),
        "held_out": _held_out(model),
    }
    return render(request, "sampling/accuracy/page.html", context)


def _held_out(model: ModelVersion | None) -> str:
    """Return the version's held-out accuracy with its interval, or "" if it has none."""
    if model is None or model.metrics.get("accuracy") is None:
        return ""
    low, high = model.metrics["accuracy_interval"]
    share = told(model.metrics["accuracy"], low, high)
    return f"{share.value} % (95 % interval {share.low} to {share.high} %)"


@require_GET
def honest(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the audited accuracy alone, of the newest version that has one or of ``?model=``, for the model's page."""
    dataset = get_object_or_404(Dataset, slug=slug)
    number = request.GET.get("model", "")
    newest = latest(dataset) if not number else of_version(dataset, number)
    context = {"dataset": dataset, "newest": newest, "share": share_of(newest) if newest else None}
    is_older = bool(number) and newest is None and latest(dataset) is not None
    return render(request, "sampling/accuracy/_audited.html", context | {"min_audit": MIN_AUDIT, "is_older": is_older})


@require_GET
def accuracy_plot(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the plot of the model's page with the estimates added; 204 without any, so that the page keeps its plot."""
    dataset = get_object_or_404(Dataset, slug=slug)
    known = briefs(dataset)
    estimates = history(dataset) if known else []
    points = [
        Point(
            one.model_version.number,
            one.value,
            (one.low, one.high),
            f"Model {one.model_version.number}\naudited accuracy {share_of(one)}, "
            f"from {counted(one.n_audit, 'random image')}",
            reverse("modeling:version", args=[dataset.slug, one.model_version.number]),
        )
        for one in estimates
        if one.model_version.number >= known[0].number
    ]
    if not points:
        return HttpResponse(status=204)
    return render(request, "charts/_plot.html", {"plot": plot_of_accuracy(known, points)})


@require_GET
def share(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the audited accuracy as in the model's badge; 204 if there is none."""
    dataset = get_object_or_404(Dataset, slug=slug)
    newest = newest_audited(dataset.pk)
    if newest is None:
        return HttpResponse(status=204)
    return render(request, "sampling/accuracy/_share.html", {"audited": newest, "model": active_model(dataset)})


def of_version(dataset: Dataset, number: str) -> AccuracyEstimate | None:
    """Return the estimate of the version with this number, or None."""
    every = AccuracyEstimate.objects.filter(dataset=dataset).select_related("model_version")
    return every.filter(model_version__number=whole_number(number, 9) or 0).first()


def share_of(kept: AccuracyEstimate) -> Share:
    return told(kept.value, kept.low, kept.high)


def told(value: float, low: float, high: float) -> Share:
    """Format the three numbers as percent, with as many digits as the interval allows."""
    digits = 1 if high - low < NARROW else 0
    return Share(*(f"{100 * share:.{digits}f}" for share in (value, low, high)))


def _end(ahead: Outlook) -> Share | None:
    end = ahead.end
    return None if end is None else told(end["value"], end["low"], end["high"])


def recalls(dataset: Dataset, kept: AccuracyEstimate) -> list[dict[str, Any]]:
    """Return the recall of each class in the order of the class list; without a share if there are too few labels."""
    by_class = {one["class_id"]: one for one in kept.per_class}
    found = []
    for label in LabelClass.objects.active().filter(dataset=dataset):
        one = by_class.get(label.pk)
        found.append(
            {"label": label, "recall": one, "share": told(one["value"], one["low"], one["high"]) if one else None}
        )
    return found


def estimates_plot(estimates: list[AccuracyEstimate], ahead: Outlook) -> Plot:
    """Plot the estimates with their intervals by the number of labels, and the forecast."""
    points = [
        Point(
            one.n_labels,
            one.value,
            (one.low, one.high),
            f"Model {one.model_version.number}, {counted(one.n_labels, 'label')}: {share_of(one)}",
        )
        for one in estimates
    ]
    series = [Series("audited", points, has_line=False, interval="bars")]
    if (curve := ahead.curve) is not None:
        along = zip(curve.sizes, curve.values, curve.low, curve.high, strict=True)
        series.append(Series("forecast", [Point(int(n), value, (low, high)) for n, value, low, high in along]))
    x, y = Axis("training labels", low=0, is_whole=True), Axis("audited accuracy", high=1)
    return plot("audited", "Audited accuracy by number of labels", series, x=x, y=y)
