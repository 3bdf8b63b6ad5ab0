"""Estimate how many more labels another point of accuracy takes, and when more labels are not worth it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoshina.core.plural import counted
from hoshina.jobs.views import span
from sampling.accuracy.estimate import SEED, Outlook, measured
from sampling.algorithms.learning_curves import forecast_gain
from sampling.models import AccuracyEstimate

POINT = 0.01
# More labels are not worth it if MANY of them are expected to gain less than LITTLE, and less than MOST by the band.
MANY, LITTLE, MOST = 500, 0.005, 0.01
# The forecast reaches to this many times the labels: as far as its band was measured (benchmarks/audit.py).
REACH = 10 / 3
FEWEST, STEPS = 10, 100


@dataclass(frozen=True)
class Gain:
    """The expected gain in accuracy from this many more labels, with its 95 % band, as shares."""

    labels: int
    value: float
    low: float
    high: float

    @property
    def band(self) -> str:
        return f"95 % band {100 * self.low:+.1f} to {100 * self.high:+.1f}"


@dataclass(frozen=True)
class Stopping:
    """The gain of the labels that another point takes, or of as many as can be forecast, and that of `MANY` labels.

    ``of_many`` is None if that cannot be forecast yet.
    """

    gain: Gain
    of_many: Gain | None

    @property
    def pays(self) -> bool:
        """Return False if many more labels are expected to gain little, and the band excludes a gain of a point."""
        return self.of_many is None or self.of_many.value >= LITTLE or self.of_many.high >= MOST

    def sentence(self, seconds: float | None = None) -> str:
        """Return the cost of another point; with the ``seconds`` per decision also as time."""
        gain, labels = self.gain, counted(self.gain.labels, "more label")
        time = f" ({span(gain.labels * seconds)} at your pace)" if seconds else ""
        if gain.value < 0.0005:
            return f"No gain expected from {labels}{time} ({gain.band} points)."
        points = "+1 point" if gain.value >= POINT else f"{100 * gain.value:+.1f} points"
        return f"About {labels}{time} for {points} ({gain.band}), if the trend continues."

    @property
    def note(self) -> str:
        """Return a note that more labels are not worth it, or "" while they may be."""
        if self.pays or self.of_many is None:
            return ""
        gain = f"{100 * self.of_many.value:.1f} points (at most {100 * self.of_many.high:.1f})"
        return f"More labels would hardly help: {MANY} more are expected to gain {gain}."


def stopping(estimates: list[AccuracyEstimate], ahead: Outlook) -> Stopping | None:
    """Estimate the gain of more labels; None if there is no forecast."""
    if ahead.curve is None:
        return None
    n_labels = estimates[-1].n_labels
    furthest = max(FEWEST, int((REACH - 1) * n_labels))
    more = np.unique([_rounded(n) for n in np.geomspace(FEWEST, furthest, STEPS)] + [MANY] * (furthest >= MANY))
    forecast = forecast_gain(*measured(estimates), n_labels + more, rng=np.random.default_rng(SEED))
    columns = (more.tolist(), forecast.values.tolist(), forecast.low.tolist(), forecast.high.tolist())
    gains = [Gain(*row) for row in zip(*columns, strict=True)]
    enough = next((gain for gain in gains if gain.value >= POINT), gains[-1])
    return Stopping(enough, next((gain for gain in gains if gain.labels == MANY), None))


def _rounded(n: float) -> int:
    """Return ``n`` rounded to two digits."""
    return int(float(f"{n:.1e}"))
