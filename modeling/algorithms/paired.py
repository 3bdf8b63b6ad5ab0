"""Two classifiers judged on the same rows: by how much one is more often right, and how sure that is."""

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
    """How often both, one or none of two classifiers were right on ``n`` rows.

    ``worth`` is the share of the rows that as many independent ones would be: 1 where no two belong together.
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
        """The first one's accuracy; 0 for no rows."""
        return (self.both + self.only_first) / self.n if self.n else 0.0

    @property
    def second(self) -> float:
        """The second one's accuracy; 0 for no rows."""
        return (self.both + self.only_second) / self.n if self.n else 0.0

    @property
    def difference(self) -> float:
        """The second one's accuracy less the first one's; 0 for no rows."""
        return (self.only_second - self.only_first) / self.n if self.n else 0.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The interval of the difference; (-1, 1) for no rows.

        Wald's with a row more of each disagreement and two more in all (Bonett and Price, "Adjusted Wald confidence
        interval for a difference of binomial proportions based on paired data", 2012), which covers from few rows on;
        of as many rows as they are worth where some belong together.
        """
        if not 0 < confidence < 1:
            raise ValueError("confidence must lie between 0 and 1.")
        if not self.n:
            return -1.0, 1.0
        n = self.worth * self.n + 2
        gain, loss = (self.worth * self.only_second + 1) / n, (self.worth * self.only_first + 1) / n
        reach = float(ndtri(0.5 + confidence / 2)) * float(np.sqrt((gain + loss - (gain - loss) ** 2) / n))
        return max(-1.0, gain - loss - reach), min(1.0, gain - loss + reach)

    @property
    def chance(self) -> float:
        """How likely so lopsided disagreements are between equals: the exact test of McNemar (1947), two-sided.

        Where rows belong together, of as many disagreements as they are worth, rounded to the safe side.
        """
        fewer, more = sorted((self.only_first, self.only_second))
        few = min(math.ceil(self.worth * fewer), fewer)
        both = few + max(math.floor(self.worth * more), few)
        return min(1.0, 2 * float(bdtr(few, both, 0.5))) if both else 1.0


def paired(first: Bools, second: Bools, groups: NDArray[np.integer[Any]] | None = None) -> Paired:
    """Count over rows (n,) where each of two classifiers was right. Raises ValueError for shapes that don't fit.

    ``groups`` (n,) are equal for rows that belong together, None where no two do: who is better on one of a group is
    mostly so on the others, and the interval heeds it (see `effective_labels`).
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError("Both classifiers must be judged on the same rows.")
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
