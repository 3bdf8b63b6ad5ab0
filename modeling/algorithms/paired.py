"""Two classifiers judged on the same rows: by how much one is more often right, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Paired:
    """How often both, one or none of two classifiers were right on ``n`` rows."""

    n: int
    both: int
    only_first: int
    only_second: int

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
        interval for a difference of binomial proportions based on paired data", 2012), which covers from few rows on.
        """
        if not 0 < confidence < 1:
            raise ValueError("confidence must lie between 0 and 1.")
        if not self.n:
            return -1.0, 1.0
        gain, loss = (self.only_second + 1) / (self.n + 2), (self.only_first + 1) / (self.n + 2)
        reach = float(ndtri(0.5 + confidence / 2)) * float(np.sqrt((gain + loss - (gain - loss) ** 2) / (self.n + 2)))
        return max(-1.0, gain - loss - reach), min(1.0, gain - loss + reach)

    @property
    def chance(self) -> float:
        """How likely so lopsided disagreements are between equals: the exact test of McNemar (1947), two-sided."""
        one_sided = bdtr(min(self.only_first, self.only_second), self.only_first + self.only_second, 0.5)
        return min(1.0, 2 * float(one_sided)) if self.only_first + self.only_second else 1.0


def paired(first: Bools, second: Bools) -> Paired:
    """Count over rows (n,) where each of two classifiers was right. Raises ValueError for shapes that don't fit."""
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError("Both classifiers must be judged on the same rows.")
    return Paired(
        n=first.size,
        both=_count(first & second),
        only_first=_count(first & ~second),
        only_second=_count(~first & second),
    )


def _count(rows: NDArray[Any]) -> int:
    return int(np.count_nonzero(rows))
