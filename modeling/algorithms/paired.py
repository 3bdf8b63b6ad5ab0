"""Compare the accuracy of two classifiers on the same rows, with a confidence interval and a significance test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

from modeling.algorithms.intervals import effective_labels

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Paired:
    """Counts of rows where both, one or neither of two classifiers is correct.

    ``worth`` is the effective sample size as a share of ``n``: 1 for independent rows.
    """

    n: int
    both: int
    only_first: int
    only_second: int
    worth: float = 1.0

    @property
    def neither(self) -> int:
        return self.n - self.both - self.only_first - self.only_second

    @property
    def first(self) -> float:
        """Return the first classifier's accuracy; 0 for no rows."""
        return (self.both + self.only_first) / self.n if self.n else 0.0

    @property
    def second(self) -> float:
        """Return the second classifier's accuracy; 0 for no rows."""
        return (self.both + self.only_second) / self.n if self.n else 0.0

    @property
    def difference(self) -> float:
        """Return the second classifier's accuracy minus the first's; 0 for no rows."""
        return (self.only_second - self.only_first) / self.n if self.n else 0.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the difference; (-1, 1) for no rows.

        The adjusted Wald interval, with one row added to each kind of disagreement and two to the total (Bonett and
        Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", 2012),
        which has good coverage from few rows on. Grouped rows count with their effective sample size.
        """
        if not 0 < confidence < 1:
            raise ValueError("confidence must lie between 0 and 1.")
        if not self.n:
            return -1.0, 1.0
        n = self.worth * self.n + 2
        gain, loss = (self.worth * self.only_second + 1) / n, (self.worth * self.only_first + 1) / n
        half_width = float(ndtri(0.5 + confidence / 2)) * float(np.sqrt((gain + loss - (gain - loss) ** 2) / n))
        return max(-1.0, gain - loss - half_width), min(1.0, gain - loss + half_width)

    @property
    def chance(self) -> float:
        """Return the two-sided p-value of McNemar's exact test (1947) of equal accuracy.

        For grouped rows, disagreements are scaled to the effective sample size and rounded conservatively.
        """
        fewer, more = sorted((self.only_first, self.only_second))
        fewer_effective = min(math.ceil(self.worth * fewer), fewer)
        n_effective = fewer_effective + max(math.floor(self.worth * more), fewer_effective)
        return min(1.0, 2 * float(bdtr(fewer_effective, n_effective, 0.5))) if n_effective else 1.0


def paired(first: Bools, second: Bools, groups: NDArray[np.integer[Any]] | None = None) -> Paired:
    """Count over rows (n,) where each of two classifiers is correct.

    ``groups`` (n,) is the group of each row; None: rows are independent. Differences between classifiers are correlated
    within a group, and the interval accounts for that (see `effective_labels`). Raises ValueError if shapes differ.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError("Both classifiers must be evaluated on the same rows.")
    return Paired(
        n=first.size,
        both=_count(first & second),
        only_first=_count(first & ~second),
        only_second=_count(~first & second),
        worth=effective_labels(second.astype(np.int8) - first.astype(np.int8), groups) / max(1, first.size)
        if groups is not None
        else 1.0,
    )


def _count(rows: NDArray[Any]) -> int:
    return int(np.count_nonzero(rows))
