"""The audited accuracy of model versions, which the app above estimates.

Two accuracies are shown, and always by name. *Held-out accuracy* (``ModelVersion.metrics``) is over the labels at
hand, each predicted by a fit that had not seen it; the labels were chosen, so it may differ on the rest. *Audited
accuracy* is over the whole collection, estimated from items drawn at random; it is shown wherever it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

# Narrower intervals are shown with one decimal.
NARROW = 0.04


@dataclass(frozen=True)
class Audited:
    """Audited accuracy with its 95 % interval, from ``n_audit`` items drawn at random; of the version ``number``."""

    number: int
    value: float
    low: float
    high: float
    n_audit: int

    @property
    def percent(self) -> str:
        """Return the share in percent, with as many decimals as the interval allows."""
        return self._digits(self.value)

    @property
    def interval(self) -> str:
        """Return the ends of the interval in percent: ``88 to 95``."""
        return f"{self._digits(self.low)} to {self._digits(self.high)}"

    def _digits(self, share: float) -> str:
        return f"{100 * share:.{1 if self.high - self.low < NARROW else 0}f}"


# (dataset id, version ids) -> audited accuracies by version id, of those that have one.
LookUp = Callable[[int, Collection[int]], Mapping[int, Audited]]
# dataset id -> that of the newest version that has one.
Newest = Callable[[int], Audited | None]
_look_ups: list[tuple[LookUp, Newest]] = []


def register(look_up: LookUp, newest: Newest) -> None:
    """Make these the functions that know audited accuracies; registering again replaces them."""
    _look_ups[:] = [(look_up, newest)]


def audited(dataset_id: int, version_ids: Collection[int]) -> Mapping[int, Audited]:
    """Return the audited accuracies by version id; versions without one are left out."""
    return _look_ups[0][0](dataset_id, version_ids) if _look_ups and version_ids else {}


def newest_audited(dataset_id: int) -> Audited | None:
    """Return the audited accuracy of the newest version that has one."""
    return _look_ups[0][1](dataset_id) if _look_ups else None
