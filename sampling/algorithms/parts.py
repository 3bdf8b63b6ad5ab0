"""Describe the parts of a class that is being split: what belongs to which part, and how clearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.rows import Floats, Rows


@dataclass(frozen=True)
class Parts:
    """How much each item belongs to each part: ``memberships`` (n, k) float32, whose rows sum to 1.

    ``typicality`` (n,) ranks the items of a part, larger is more typical. ``silhouettes`` are those of each number of
    parts that was tried.
    """

    memberships: Floats
    typicality: Floats
    silhouettes: dict[int, float] = field(default_factory=dict)

    @property
    def n_parts(self) -> int:
        return int(self.memberships.shape[1])

    @property
    def parts(self) -> Rows:
        """Return the part (n,) of each item."""
        owner: Rows = self.memberships.argmax(axis=1)
        return owner

    @property
    def others(self) -> Rows:
        """Return the second most likely part (n,) of each item; of a single part, the part."""
        rest = self.memberships.copy()
        rest[np.arange(len(rest)), self.parts] = -1
        second: Rows = rest.argmax(axis=1)
        return second

    @property
    def confidence(self) -> Floats:
        """Return how clearly each item belongs to its part (n,): the lead over the second, 0 on the border."""
        ranked = np.sort(self.memberships, axis=1)
        lead: Floats = ranked[:, -1] - (ranked[:, -2] if self.n_parts > 1 else 0)
        return lead


def merged(parts: Parts, targets: Sequence[int]) -> Parts:
    """Return the parts with those of equal target joined: part ``targets[j]`` has what part ``j`` had."""
    memberships = np.zeros((len(parts.memberships), max(targets) + 1), np.float32)
    for part, target in enumerate(targets):
        memberships[:, target] += parts.memberships[:, part]
    return replace(parts, memberships=memberships)


def typical(parts: Parts, n: int) -> list[Rows]:
    """Return for each part the positions of its ``n`` most typical items, the most typical first."""
    owner = parts.parts
    by_part = [np.flatnonzero(owner == part) for part in range(parts.n_parts)]
    return [members[np.argsort(-parts.typicality[members], kind="stable")[:n]] for members in by_part]


def borderline(parts: Parts, n: int) -> list[Rows]:
    """Return for each part the positions of its ``n`` least certain items, the least certain first."""
    owner, confidence = parts.parts, parts.confidence
    by_part = [np.flatnonzero(owner == part) for part in range(parts.n_parts)]
    return [members[np.argsort(confidence[members], kind="stable")[:n]] for members in by_part]


def open_items(confidence: Floats, is_decided: NDArray[np.bool_], n: int) -> Rows:
    """Return the positions of the ``n`` least certain undecided items, the least certain first."""
    left = np.flatnonzero(~is_decided)
    return left[np.argsort(confidence[left], kind="stable")[: max(n, 0)]]
