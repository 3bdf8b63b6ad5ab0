"""Look up the audited accuracy of model versions, which ``sampling`` estimates.

Two accuracies are shown, always under these names. *Held-out accuracy* (``ModelVersion.metrics``) is measured on the
labels, each predicted by a fit that was trained without it; the labels were selected, so it may differ on other
images. *Audited accuracy* is that on the whole dataset, estimated from randomly drawn items; it is shown wherever it
exists, and first from ``MIN_AUDIT`` items on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

# With fewer audited items, the audited accuracy says little: it is not shown first, and nothing is forecast.
MIN_AUDIT = 20
# Narrower intervals are shown with one decimal.
NARROW = 0.04


@dataclass(frozen=True)
class Share:
    """A share and its interval as a page shows them: ``92``, ``88`` and ``95`` for percent."""

    value: str
    low: str
    high: str

    @property
    def interval(self) -> str:
        return f"{self.low} to {self.high}"

    def __str__(self) -> str:
        return f"{self.value} % ({self.interval})"


def share_text(value: float, low: float, high: float) -> Share:
    """Format the three numbers as percent, with as many digits as the interval allows."""
    digits = 1 if high - low < NARROW else 0
    return Share(*(f"{100 * share:.{digits}f}" for share in (value, low, high)))


@dataclass(frozen=True)
class Audited:
    """The audited accuracy of the version ``number`` with its 95 % interval, from ``n_audit`` randomly drawn items."""

    number: int
    value: float
    low: float
    high: float
    n_audit: int

    @property
    def percent(self) -> str:
        return share_text(self.value, self.low, self.high).value

    @property
    def interval(self) -> str:
        """Return the ends of the interval in percent: ``88 to 95``."""
        return share_text(self.value, self.low, self.high).interval


# (dataset id, version ids) -> audited accuracies by version id, of versions that have one.
LookUp = Callable[[int, Collection[int]], Mapping[int, Audited]]
# dataset id -> the audited accuracy of the version in use, or of the newest one before it that has one.
Newest = Callable[[int], Audited | None]
_look_ups: list[tuple[LookUp, Newest]] = []


def register(look_up: LookUp, newest: Newest) -> None:
    """Register the functions that look up audited accuracies; registering again replaces them."""
    _look_ups[:] = [(look_up, newest)]


def audited(dataset_id: int, version_ids: Collection[int]) -> Mapping[int, Audited]:
    """Return the audited accuracies by version id; versions without one are left out."""
    return _look_ups[0][0](dataset_id, version_ids) if _look_ups and version_ids else {}


def newest_audited(dataset_id: int) -> Audited | None:
    """Return the audited accuracy of the newest version that has one."""
    return _look_ups[0][1](dataset_id) if _look_ups else None
