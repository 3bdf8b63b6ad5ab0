"""Mix several rankings into one, with a random sample (the audit) interleaved for unbiased estimates.

The random items allow an unbiased accuracy estimate however the others were selected. Every item's selection
probability is stored, so that estimates can be corrected (Sebastian Farquhar, Yarin Gal and Tom Rainforth, *On
statistical bias in active learning*, ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeling.algorithms.rows import Floats, Rows, as_rows

AUDIT = "audit"
AUDIT_SHARE = 0.1


@dataclass(frozen=True)
class Part:
    """One ranking of a mix."""

    name: str
    rows: Rows  # best first
    share: float  # of the ranks that are not the audit's, relative to the other parts


@dataclass(frozen=True)
class Mix:
    """A mixed ranking."""

    rows: Rows  # (m,)
    sources: list[str]  # name of the part that each row came from, or "audit"
    probabilities: Floats  # of selecting this row at its rank, given those before


def mix(
    parts: Sequence[Part],
    pool: ArrayLike,
    k: int,
    *,
    rng: np.random.Generator,
    audit_share: float = AUDIT_SHARE,
) -> Mix:
    """Rank ``k`` rows of the pool.

    Each rank is random with ``audit_share``, else from the part furthest below its share.
    Parameters
    ----------
    parts
        The rankings. A row counts once, for the first part that selects it; rows outside the pool are skipped. A
        part that runs out leaves its share to the others; if all have, the rest is random.
    pool
        (n,) all rows that can be selected.
    k
        Number of rows, limited to the size of the pool.
    rng
        Decides the ranks and rows of the audit.
    audit_share
        In [0, 1]. If positive, every row of the pool can occur at every rank, so that the probabilities allow
        unbiased estimates for the whole pool.

    Returns
    -------
    Mix
        With r rows left, the row that the parts select has probability (1 - a) + a / r and every other a / r, where
        a is the audit's share.

    Raises
    ------
    ValueError
        If a share is negative or not finite, the audit's share is outside [0, 1], or two parts have the same name.

    Notes
    -----
    O(n + k parts).
    """
    if not 0 <= audit_share <= 1:
        raise ValueError("The audit's share must lie between 0 and 1.")
    if any(not np.isfinite(part.share) or part.share < 0 for part in parts):
        raise ValueError("Every part needs a share of 0 or more.")
    if len({part.name for part in parts}) < len(parts):
        raise ValueError("Every part needs a unique name.")
    rows = as_rows(pool)
    k = max(0, min(k, len(rows)))
    remaining = _Remaining(parts, rows, rng)
    selected, sources, probabilities = [], [], []
    for rank in range(k):
        next_ranked = remaining.next_ranked()
        share = audit_share if next_ranked else 1.0
        left = len(rows) - rank
        if rng.random() < share:
            row, source = remaining.random_row(), AUDIT
        else:
            assert next_ranked is not None
            row, source = next_ranked
        expected = next_ranked is not None and next_ranked[0] == row
        selected.append(row)
        sources.append(source)
        probabilities.append(share / left + (1 - share) * expected)
        remaining.take(row, source)
    return Mix(as_rows(selected), sources, np.array(probabilities, np.float32))


class _Remaining:
    """Rows of the pool not yet selected."""

    def __init__(self, parts: Sequence[Part], pool: Rows, rng: np.random.Generator) -> None:
        self.parts = [part for part in parts if part.share > 0]
        self.pool, self.rng = pool, rng
        self.position = dict.fromkeys((part.name for part in self.parts), 0)
        self.n_selected = dict.fromkeys((part.name for part in self.parts), 0)
        self.taken: set[int] = set()
        self.members = [part.rows[np.isin(part.rows, pool)].tolist() for part in self.parts]
        self.order: list[int] = []

    def next_ranked(self) -> tuple[int, str] | None:
        """Return the next row of the part furthest below its share, or None if all have run out."""
        heads = []
        for part, members in zip(self.parts, self.members, strict=True):
            at = self.position[part.name]
            while at < len(members) and members[at] in self.taken:
                at += 1
            self.position[part.name] = at
            if at < len(members):
                heads.append(((self.n_selected[part.name] + 0.5) / part.share, members[at], part.name))
        if not heads:
            return None
        _, row, name = min(heads, key=lambda head: head[0])
        return row, name

    def random_row(self) -> int:
        """Return a row drawn uniformly from those left."""
        if 2 * len(self.taken) < len(self.pool):
            while (row := int(self.pool[self.rng.integers(len(self.pool))])) in self.taken:
                pass
            return row
        if not self.order:
            left = [row for row in self.pool.tolist() if row not in self.taken]
            self.order = [left[i] for i in self.rng.permutation(len(left))]
        while (row := self.order[-1]) in self.taken:
            self.order.pop()
        return row

    def take(self, row: int, source: str) -> None:
        self.taken.add(row)
        if source in self.n_selected:
            self.n_selected[source] += 1


def rarity(P: Floats, counts: Mapping[int, int] | NDArray[np.int64]) -> Floats:
    """Return how likely each row of ``P`` (n, c) belongs to a class with few labels: (n,); NaN stays NaN.

    The weight of a class is its deficit relative to the class with most labels: 0 for that class, nearly 1 for a class
    with almost no labels. All zeros if counts are equal or there is only one class. O(n c).
    """
    have = np.array([counts[column] for column in range(P.shape[1])], np.float64)
    most = have.max(initial=0)
    lacking = 1 - have / most if most > 0 else np.zeros(len(have))
    return np.asarray(P @ lacking.astype(np.float32), np.float32)
