"""Draw the plots of the model's page: versions over time, the learning curve, and reliability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from hoshina.core.charts import Axis, Plot, Point, Series, plot
from hoshina.core.plural import counted
from labeling.models import Dataset
from modeling.models import ModelVersion

# Number of newest versions in a plot; the table has all of them.
PLOTTED = 100
_GROUP = "versions"
_SHARE = Axis("accuracy", high=1, digits=3)


@dataclass(frozen=True)
class Brief:
    """The numbers of a version that the plots need, without its large metrics."""

    number: int
    kind: str
    n_labels: int
    accuracy: float | None
    interval: tuple[float, float] | None
    ece_before: float | None
    ece_after: float | None
    href: str

    @property
    def words(self) -> str:
        kind = ", quick training" if self.kind == ModelVersion.Kind.QUICK else ""
        return f"Model {self.number}{kind}, {counted(self.n_labels, 'label')}"


def briefs(dataset: Dataset) -> list[Brief]:
    """Return the newest versions, oldest first, with one query that reads a few numbers of each."""
    newest = ModelVersion.objects.filter(dataset=dataset).order_by("-number").values_list(
        "number", "kind", "n_labels",
        "metrics__accuracy", "metrics__accuracy_interval", "metrics__ece_before", "metrics__ece_after",
    )[:PLOTTED]  # fmt: skip
    found = []
    for number, kind, n_labels, accuracy, interval, before, after in newest:
        href = reverse("modeling:version", args=[dataset.slug, number])
        found.append(Brief(number, kind, n_labels, accuracy, _pair(interval), before, after, href))
    return found[::-1]


def _pair(ends: Sequence[float] | None) -> tuple[float, float] | None:
    return (ends[0], ends[1]) if ends else None


# -- Versions over time ---------------------------------------------------------------------------
def _along(known: Sequence[Brief]) -> Axis:
    """Return the axis shared by the plots over versions, whichever versions have a value."""
    if len(known) < 2:
        return Axis("model", is_whole=True, is_tight=True)
    return Axis("model", low=known[0].number, high=known[-1].number, is_whole=True)


def accuracy_plot(known: Sequence[Brief], honest: Sequence[Point] = ()) -> Plot:
    """Plot held-out accuracy by version, with the audited accuracies in ``honest``, if any."""
    points = [
        Point(one.number, one.accuracy, one.interval, f"{one.words}\nheld-out accuracy {_told(one)}", one.href)
        for one in known
        if one.accuracy is not None
    ]
    series = [Series("held-out", points)]
    if honest:
        series.append(Series("audited", honest))
    return plot("accuracy", "Accuracy of the versions", series, x=_along(known), y=_SHARE, group=_GROUP)


def ece_plot(known: Sequence[Brief]) -> Plot:
    """Plot the calibration error by version."""
    told = [one for one in known if one.ece_after is not None]
    after = [Point(one.number, one.ece_after or 0, None, f"{one.words}\n{_ece(one)}", one.href) for one in told]
    before = [Point(one.number, one.ece_before or 0, None, f"{one.words}\n{_ece(one)}", one.href) for one in told]
    series = [Series("calibrated", after, interval=""), Series("before", before, interval="")]
    y = Axis("calibration error (ECE)", low=0, digits=3)
    return plot("ece", "Calibration error of the versions", series, x=_along(known), y=y, group=_GROUP)


def labels_plot(known: Sequence[Brief]) -> Plot:
    """Plot the number of labels by version."""
    points = [Point(one.number, one.n_labels, None, one.words, one.href) for one in known]
    y = Axis("labels", low=0, is_whole=True)
    return plot("labels", "Labels of the versions", [Series("labels", points)], x=_along(known), y=y, group=_GROUP)


def learning_plot(known: Iterable[Brief], shown: int) -> Plot:
    """Plot held-out accuracy by the number of labels, one line for each kind of training.

    Of versions with the same number of labels the newest is shown.
    """
    by_kind: dict[str, dict[int, Brief]] = {kind: {} for kind in ModelVersion.Kind.values}
    for one in known:
        if one.accuracy is not None:
            by_kind[one.kind][one.n_labels] = one
    series = [
        Series(str(ModelVersion.Kind(kind).label), [_learnt(one, shown) for _, one in sorted(by_labels.items())])
        for kind, by_labels in by_kind.items()
        if by_labels
    ]
    x = Axis("training labels", is_whole=True, low=0)
    return plot("learning", "Held-out accuracy over the number of labels", series, x=x, y=_SHARE)


def _learnt(one: Brief, shown: int) -> Point:
    here = " (shown here)" if one.number == shown else ""
    return Point(one.n_labels, one.accuracy or 0, one.interval, f"{one.words}{here}\n{_told(one)}", one.href)


def _told(one: Brief) -> str:
    low, high = one.interval or (0.0, 1.0)
    return f"{one.accuracy:.3f} ({low:.3f} to {high:.3f})"


def _ece(one: Brief) -> str:
    before = "" if one.ece_before is None else f", before calibration {one.ece_before:.3f}"
    return f"error {one.ece_after:.3f}{before}"


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
        Series(str(one), _bins(one.metrics["reliability"], str(one)), interval="bars")
        for one in versions
        if one.metrics.get("reliability")
    ]
    return _square("reliability", series) if series else None


def _square(name: str, series: Iterable[Series]) -> Plot:
    x, y = (Axis(label, low=0, high=1, digits=2) for label in ("predicted probability", "share correct"))
    title = "Reliability: share of correct predictions by predicted probability"
    return plot(name, title, series, x=x, y=y, is_square=True, has_diagonal=True)


def _bins(bins: Sequence[Mapping[str, Any]], words: str) -> list[Point]:
    most = max(one["count"] for one in bins)
    return [
        Point(
            one["confidence"],
            one["accuracy"],
            (one["lower"], one["upper"]) if "lower" in one else None,
            f"{counted(one['count'], 'image')} at probability {one['confidence']:.2f}, {words}\n"
            f"{one['accuracy']:.2f} of them correct"
            + (f" ({one['lower']:.2f} to {one['upper']:.2f})" if "lower" in one else ""),
            weight=one["count"] / most,
        )
        for one in bins
    ]


# -- Quick training -------------------------------------------------------------------------------
def epochs_plots(epochs: Sequence[Mapping[str, Any]], name: str = "epochs", n_epochs: int = 0) -> list[Plot]:
    """Plot loss and accuracy of a quick training by epoch."""
    if not epochs and not n_epochs:
        return []
    x = Axis("epoch", low=1, high=max(2, n_epochs, len(epochs)), is_whole=True)
    if not n_epochs:
        x = Axis("epoch", is_whole=True, is_tight=True)
    found = []
    for measure, high in (("loss", None), ("accuracy", 1.0)):
        series = [
            Series(title, [Point(one["epoch"], one[key]) for one in epochs if one.get(key) is not None], interval="")
            for title, key in (("training", measure), ("validation", f"val_{measure}"))
        ]
        y = Axis(measure, low=None if high and not n_epochs else 0.0, high=high)
        found.append(plot(f"{name}-{measure}", f"{measure.capitalize()} by epoch", series, x=x, y=y, group=name))
    return found
