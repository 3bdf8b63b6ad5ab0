"""Compute plots for pages: series of numbers become points, lines and ticks in percent of the plot's area.

Nothing here imports Django. ``templates/charts/_plot.html`` draws a :class:`Plot`, and ``static/js/plots.js`` makes it
respond to mouse and keys; ADR 0009 explains why no library is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10
from typing import Literal

Interval = Literal["band", "bars", ""]
# Largest number of intervals between ticks: there is more room horizontally.
ACROSS, UP = 8, 5
# Diameters in pixels: the largest weighted dot, a usual dot, and a dot of very many.
LARGEST_DOT, DOT, SMALL_DOT = 10.0, 7.0, 4.0
MANY_DOTS = 60
RING = 2.0


@dataclass(frozen=True)
class Point:
    """A value ``y`` at ``x``, with its ``interval`` and the URL that it links to, if any.

    ``tooltip`` is shown on hover; "" shows its numbers.

    ``weight`` (0 to 1) is the dot's area as a share of the largest one's; None makes all dots equal.
    """

    x: float
    y: float
    interval: tuple[float, float] | None = None
    tooltip: str = ""
    href: str = ""
    weight: float | None = None


@dataclass(frozen=True)
class Series:
    """A series of points by rising ``x``; ``interval`` is how their intervals are drawn."""

    name: str
    points: Sequence[Point]
    has_line: bool = True
    interval: Interval = "band"


@dataclass(frozen=True)
class Axis:
    """Label an axis and set its ends; None fits the values.

    ``digits`` is the number of decimals in tooltips and tables. If it ``is_whole``, only whole numbers get a tick. If
    it ``is_tight``, it ends at the values, not at a tick. ``text`` formats values and ticks, such as those of dates.
    """

    label: str
    low: float | None = None
    high: float | None = None
    digits: int = 3
    is_whole: bool = False
    is_tight: bool = False
    text: Callable[[float], str] | None = None

    def formatted(self, value: float) -> str:
        """Format a value: ``0.912``, ``1,200``, or as ``text`` does."""
        if self.text is not None:
            return self.text(value)
        return f"{value:,.0f}" if self.is_whole else f"{value:,.{self.digits}f}"


def in_percent(share: float) -> str:
    """Format a share on an axis: ``86.7 %``, ``90 %``."""
    return f"{round(100 * share, 1):g} %"


@dataclass(frozen=True)
class Tick:
    """A line of the grid: its position in percent from the left or from the top, and its number."""

    at: str
    text: str


@dataclass(frozen=True)
class Dot:
    """A point as it is drawn: its position in percent, and the diameters of the dot and its hole in pixels."""

    x: str
    y: str
    size: str
    hole: str
    bar: str
    tooltip: str
    href: str


@dataclass(frozen=True)
class Curve:
    """A series as it is drawn; ``line`` and ``band`` are the data of SVG paths, "" if there is none.

    Every second one has rings for dots, so that two lines differ without their colors.
    """

    name: str
    number: int
    line: str
    band: str
    dots: list[Dot]

    @property
    def is_hollow(self) -> bool:
        return self.number % 2 == 0


@dataclass(frozen=True)
class Row:
    """A row of the table of the plot's numbers."""

    series: str
    x: str
    y: str
    interval: str
    href: str


@dataclass(frozen=True)
class Plot:
    """Everything that ``_plot.html`` draws. ``name`` is unique on the page; ``title`` describes the plot."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    rows: list[Row]
    # Plots of the same group share their crosshair.
    group: str = ""
    is_square: bool = False
    # The diagonal, on which x and y are equal.
    has_diagonal: bool = False
    has_intervals: bool = False
    # An interval reaches beyond the plot.
    is_cut: bool = False
    # What will be drawn, shown in place of a plot that would be a single dot; "" draws the plot.
    waiting: str = ""


def plot(
    name: str,
    title: str,
    series: Iterable[Series],
    *,
    x: Axis,
    y: Axis,
    group: str = "",
    is_square: bool = False,
    has_diagonal: bool = False,
    waiting: str = "",
) -> Plot:
    """Draw ``series`` on common axes.

    While all points have the same ``x``, the text ``waiting`` takes the place of the plot, if there is one.
    Series without points stay in the legend and draw nothing; values that are not finite (such as a loss that
    overflowed) are left out.
    """
    every = [replace(curve, points=[point for point in curve.points if isfinite(point.y)]) for curve in series]
    points = [point for curve in every for point in curve.points]
    across = scale([point.x for point in points], x, ACROSS)
    up = scale([*(point.y for point in points), *_ends(every)], y, UP)
    return Plot(
        name=name,
        title=title,
        x_label=x.label,
        y_label=y.label,
        curves=[_Pen(curve, x, y, across, up).curve(number) for number, curve in enumerate(every, 1)],
        x_ticks=[Tick(_text(across.at(value)), text) for value, text in across.ticks],
        y_ticks=[Tick(_text(100 - up.at(value)), text) for value, text in up.ticks],
        rows=[
            Row(curve.name, x.formatted(point.x), y.formatted(point.y), _interval(point, y), point.href)
            for curve in every
            for point in curve.points
        ],
        group=group,
        is_square=is_square,
        has_diagonal=has_diagonal,
        has_intervals=any(point.interval for point in points),
        is_cut=any(
            not up.low <= end <= up.high
            for curve in every
            if curve.interval
            for point in curve.points
            for end in point.interval or ()
        ),
        waiting=waiting if len({point.x for point in points}) < 2 else "",
    )


# -- Scales ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scale:
    """The ends of an axis, and its ticks with their texts."""

    low: float
    high: float
    ticks: list[tuple[float, str]]

    def at(self, value: float) -> float:
        """Return the position of a value in percent of the axis; values outside are clipped to its ends."""
        return min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low)))


def scale(values: Sequence[float], axis: Axis, n: int) -> Scale:
    """Return the axis that shows all ``values`` in at most ``n`` parts, from tick to tick unless its ends are given."""
    low = axis.low if axis.low is not None else min(values, default=0.0)
    high = axis.high if axis.high is not None else max(values, default=1.0)
    if not high - low > 1e-9 * max(1.0, abs(low)):  # one value, or ends that the values don't reach
        reach = max(1.0, abs(low) / 10) if axis.is_whole else max(0.01, abs(low) / 10)
        low = low if axis.low is not None else low - reach
        high = high if axis.high is not None and axis.low is None else max(high, low) + reach
    step = nice_step(high - low, n, is_whole=axis.is_whole)
    first = low if axis.low is not None or axis.is_tight else step * floor(round(low / step, 6))
    last = high if axis.high is not None or axis.is_tight else step * ceil(round(high / step, 6))
    digits = max(0, -floor(log10(step))) if step < 1 else 0
    begin, end = ceil(round(first / step, 6)), floor(round(last / step, 6))
    text = axis.text or (lambda value: f"{value:,.{digits}f}")
    return Scale(first, last, [(n * step, text(n * step)) for n in range(begin, end + 1)])


def nice_step(span: float, n: int, *, is_whole: bool = False) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that cuts ``span`` (above 0) into at most ``n`` parts."""
    least = span / n
    power = 10.0 ** floor(log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    return max(1.0, step) if is_whole else step


def _ends(every: Sequence[Series]) -> list[float]:
    """Return the ends of each series' last interval: the first ones are wide, and may be cut at the plot's edge."""
    lasts = [curve.points[-1] for curve in every if curve.points and curve.interval]
    return [end for point in lasts for end in point.interval or ()]


def _interval(point: Point, y: Axis) -> str:
    return " to ".join(y.formatted(end) for end in point.interval or ())


# -- Drawing --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Pen:
    """Draw a series along two axes."""

    series: Series
    x: Axis
    y: Axis
    across: Scale
    up: Scale

    def curve(self, number: int) -> Curve:
        points = self.series.points
        line = _path([self.place(point, point.y) for point in points]) if self.series.has_line and points[1:] else ""
        band = self.band() if self.series.interval == "band" else ""
        return Curve(self.series.name, number, line, band, [self.dot(point) for point in points])

    def place(self, point: Point, y: float) -> tuple[float, float]:
        """Return the position at ``x`` of a point and at ``y``, in percent from the left and from the top."""
        return self.across.at(point.x), 100 - self.up.at(y)

    def dot(self, point: Point) -> Dot:
        n = len(self.series.points)
        usual = DOT if n <= MANY_DOTS else SMALL_DOT
        size = usual if point.weight is None else max(SMALL_DOT, LARGEST_DOT * point.weight**0.5)
        left, top = map(_text, self.place(point, point.y))
        bar = ""
        # A line of one point has no band.
        if point.interval and (self.series.interval == "bars" or (self.series.interval == "band" and n == 1)):
            low, high = (_text(self.place(point, end)[1]) for end in point.interval)
            bar = f"M{left} {high}V{low}"
        label = point.tooltip or self.tooltip(point)
        return Dot(left, top, _text(size), _text(max(1.0, size - 2 * RING)), bar, label, point.href)

    def tooltip(self, point: Point) -> str:
        interval = f" ({_interval(point, self.y)})" if point.interval else ""
        return f"{self.x.label} {self.x.formatted(point.x)}\n{self.series.name}: {self.y.formatted(point.y)}{interval}"

    def band(self) -> str:
        """Return the intervals of a line as one shape."""
        ends = [(point, *point.interval) for point in self.series.points if point.interval]
        there = [self.place(point, high) for point, _, high in ends]
        back = [self.place(point, low) for point, low, _ in reversed(ends)]
        return f"{_path(there + back)}Z" if len(ends) > 1 else ""


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_text(left)} {_text(top)}" for left, top in places)


def _text(number: float) -> str:
    """Format a number with a decimal point in every language, and without invisible digits."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
