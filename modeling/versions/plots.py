"""Draw the plots of the model's page: versions over time, the learning curve, and reliability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from hoshina.core.charts import Axis, Plot, Point, Series, in_percent, plot
from hoshina.core.plural import counted
from labeling.models import Dataset
from modeling.models import ModelVersion

# Number of newest versions in a plot; the table has all of them.
PLOTTED = 100
_GROUP = "versions"
_SHARE = Axis("accuracy", high=1, text=in_percent)
_NEXT_MODEL = "The curve appears with the next model."


@dataclass(frozen=True)
class Brief:
    """The numbers of a version that the plots need, without its large metrics."""

    href: str
    number: int
    kind: str
    n_labels: int
    accuracy: float | None
    interval: tuple[float, float] | None
    ece_before: float | None
    ece_after: float | None

    @property
    def title(self) -> str:
        kind = "" if self.kind == ModelVersion.Kind.ASSISTIVE else f", {ModelVersion.Kind(self.kind).label}"
        return f"Model {self.number}{kind}, {counted(self.n_labels, 'label')}"

    def text(self, name: str = "", here: str = "") -> str:
        """Return the title and the accuracy with its interval as text."""
        low, high = self.interval or (0.0, 1.0)
        return f"{self.title}{here}\n{name}{in_percent(self.accuracy or 0)} ({in_percent(low)} to {in_percent(high)})"


def briefs(dataset: Dataset) -> list[Brief]:
    """Return the newest versions, oldest first, with one query that reads a few numbers of each."""
    newest = ModelVersion.objects.filter(dataset=dataset).order_by("-number").values_list(
        "number", "kind", "n_labels",
        "metrics__accuracy", "metrics__accuracy_interval", "metrics__ece_before", "metrics__ece_after",
    )[:PLOTTED]  # fmt: skip
    return [
        Brief(reverse("modeling:version", args=[dataset.slug, numbers[0]]), *numbers)
        for numbers in reversed(list(newest))
    ]


# -- Versions over time ---------------------------------------------------------------------------
def _along(versions: Sequence[Brief]) -> Axis:
    """Return the axis shared by the plots over versions, whichever versions have a value."""
    if len(versions) < 2:
        return Axis("model", is_whole=True, is_tight=True)
    return Axis("model", low=versions[0].number, high=versions[-1].number, is_whole=True)


def accuracy_plot(versions: Sequence[Brief], audited: Sequence[Point] = ()) -> Plot:
    """Plot held-out accuracy by version, with the audited accuracies, if any."""
    points = [
        Point(version.number, version.accuracy, version.interval, version.text("held-out accuracy "), version.href)
        for version in versions
        if version.accuracy is not None
    ]
    series = [Series("held-out", points), *([Series("audited", audited)] if audited else [])]
    return plot(
        "accuracy", "Accuracy of the versions", series, x=_along(versions), y=_SHARE, group=_GROUP, waiting=_NEXT_MODEL
    )


def ece_plot(versions: Sequence[Brief]) -> Plot:
    """Plot the calibration error by version."""
    measured = [version for version in versions if version.ece_after is not None]
    series = [
        Series(name, [_ece(version, getattr(version, field)) for version in measured], interval="")
        for name, field in (("calibrated", "ece_after"), ("before", "ece_before"))
    ]
    y = Axis("calibration error (ECE)", low=0, text=in_percent)
    return plot(
        "ece", "Calibration error of the versions", series, x=_along(versions), y=y, group=_GROUP, waiting=_NEXT_MODEL
    )


def _ece(version: Brief, value: float | None) -> Point:
    before = "" if version.ece_before is None else f", before calibration {in_percent(version.ece_before)}"
    text = f"{version.title}\nerror {in_percent(version.ece_after or 0)}{before}"
    return Point(version.number, value or 0, None, text, version.href)


def labels_plot(versions: Sequence[Brief]) -> Plot:
    """Plot the number of labels by version."""
    points = [Point(version.number, version.n_labels, None, version.title, version.href) for version in versions]
    y = Axis("labels", low=0, is_whole=True)
    return plot(
        "labels",
        "Labels of the versions",
        [Series("labels", points)],
        x=_along(versions),
        y=y,
        group=_GROUP,
        waiting=_NEXT_MODEL,
    )


def learning_plot(versions: Iterable[Brief], shown: int) -> Plot:
    """Plot held-out accuracy by the number of labels, one line for each kind of training.

    Of versions with the same number of labels the newest is shown.
    """
    by_kind: dict[str, dict[int, Point]] = {kind: {} for kind in ModelVersion.Kind.values}
    for version in versions:
        if version.accuracy is not None:
            text = version.text(here=" (shown here)" if version.number == shown else "")
            point = Point(version.n_labels, version.accuracy, version.interval, text, version.href)
            by_kind[version.kind][version.n_labels] = point
    series = [
        Series(str(ModelVersion.Kind(kind).label), [by_labels[n] for n in sorted(by_labels)])
        for kind, by_labels in by_kind.items()
        if by_labels
    ]
    x = Axis("training labels", is_whole=True, low=0)
    waiting = "The curve appears with the next model that has more labels."
    return plot("learning", "Held-out accuracy over the number of labels", series, x=x, y=_SHARE, waiting=waiting)


# -- Reliability ----------------------------------------------------------------------------------
def reliability_plot(metrics: Mapping[str, Any]) -> Plot | None:
    """Plot accuracy by the predicted probability, after and before calibration; None without these metrics."""
    after, before = metrics.get("reliability"), metrics.get("reliability_before")
    if not after:
        return None
    series = [Series("calibrated", _bins(after, "calibrated"), interval="bars")]
    if before:
        series.append(Series("before", _bins(before, "before calibration"), interval=""))
    return _square("reliability", series)


def reliabilities(versions: Iterable[ModelVersion]) -> Plot | None:
    """Plot the reliability of several versions together."""
    series = [
        Series(str(version), _bins(version.metrics["reliability"], str(version)), interval="bars")
        for version in versions
        if version.metrics.get("reliability")
    ]
    return _square("reliability", series) if series else None


def _square(name: str, series: Iterable[Series]) -> Plot:
    x, y = (Axis(label, low=0, high=1, text=in_percent) for label in ("predicted probability", "share correct"))
    title = "Reliability: share of correct predictions by predicted probability"
    waiting = "The diagram appears once there are enough held-out labels for two bins."
    return plot(name, title, series, x=x, y=y, is_square=True, has_diagonal=True, waiting=waiting)


def _bins(bins: Sequence[Mapping[str, Any]], qualifier: str) -> list[Point]:
    most = max(bar["count"] for bar in bins)
    points = []
    for bar in bins:
        probability, accuracy, n = bar["confidence"], bar["accuracy"], bar["count"]
        interval = (bar["lower"], bar["upper"]) if "lower" in bar else None
        within = f" ({in_percent(interval[0])} to {in_percent(interval[1])})" if interval else ""
        where = f"{counted(n, 'image')} at probability {in_percent(probability)}, {qualifier}"
        text = f"{where}\n{in_percent(accuracy)} of them correct{within}"
        points.append(Point(probability, accuracy, interval, text, weight=n / most))
    return points


# -- Quick training -------------------------------------------------------------------------------
def epochs_plots(epochs: Sequence[Mapping[str, Any]], name: str = "epochs", n_epochs: int = 0) -> list[Plot]:
    """Plot loss and accuracy of a quick training by epoch."""
    if not epochs and not n_epochs:
        return []
    x = Axis("epoch", low=1, high=max(2, n_epochs, len(epochs)), is_whole=True)
    if not n_epochs:
        x = Axis("epoch", is_whole=True, is_tight=True)
    plots = []
    for measure, high in (("loss", None), ("accuracy", 1.0)):
        series = [
            Series(
                title,
                [Point(epoch["epoch"], epoch[key]) for epoch in epochs if epoch.get(key) is not None],
                interval="",
            )
            for title, key in (("training", measure), ("validation", f"val_{measure}"))
        ]
        y = Axis(
            measure,
            low=None if high and not n_epochs else 0.0,
            high=high,
            text=in_percent if high else None,
        )
        title = f"{measure.capitalize()} by epoch"
        waiting = "" if n_epochs else "A training of one epoch has no curve."
        plots.append(plot(f"{name}-{measure}", title, series, x=x, y=y, group=name, waiting=waiting))
    return plots
