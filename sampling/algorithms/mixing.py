"""Auto: several rankings dealt as one, with a tenth of the places given to chance.

The chance items make an honest estimate possible however the others were chosen, and every item's selection
probability is kept so that estimates can be corrected (Sebastian Farquhar, Yarin Gal and Tom Rainforth, *On
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
    """One ranking in the mix."""

    name: str
    rows: Rows  # best first
    share: float  # of the places that are not the audit's, in proportion to the other parts


@dataclass(frozen=True)
class Mix:
    """The dealt order."""

    rows: Rows  # (m,)
    sources: list[str]  # (m,) the name of the part that each row came from, or "audit"
    probabilities: Floats  # (m,) of choosing this row at its place, given those before it


def mix(
    parts: Sequence[Part],
    pool: ArrayLike,
    k: int,
    *,
    rng: np.random.Generator,
    audit_share: float = AUDIT_SHARE,
) -> Mix:
    """Deal ``k`` rows of the pool: each place goes to chance with ``audit_share``, else to the part most behind.

    Parameters
    ----------
    parts
        The rankings. A row counts once, for the part that deals it first; rows outside the pool are passed over.
        A part that runs out leaves its share to the others; when all have, chance deals the rest.
    pool
        (n,) every row that might be dealt.
    k
        How many; more than there are gives all.
    rng
        Decides the audit's places and rows.
    audit_share
        In [0, 1]. With more than 0, every row of the pool could come at every place, so the probabilities
        allow unbiased estimates for the whole pool.

    Returns
    -------
    Mix
        At a place with r rows left, the row that the parts would deal has probability (1 - a) + a / r, every
        other a / r, with a the audit's share.

    Raises
    ------
    ValueError
        A share that is negative or not finite, an audit share outside [0, 1], or two parts of one name.

    Notes
    -----
    O(n + k parts).
    """
    if not 0 <= audit_share <= 1:
        raise ValueError("The audit's share must lie between 0 and 1.")
    if any(not np.isfinite(part.share) or part.share < 0 for part in parts):
        raise ValueError("Every part needs a share of 0 or more.")
    if len({part.name for part in parts}) < len(parts):
        raise ValueError("Every part needs a name of its own.")
    rows = as_rows(pool)
    k = max(0, min(k, len(rows)))
    deck = _Deck(parts, rows, rng)
    dealt, sources, probabilities = [], [], []
    for place in range(k):
        planned = deck.planned()
        share = audit_share if planned else 1.0
        left = len(rows) - place
        if rng.random() < share:
            row, source = deck.drawn(), AUDIT
        else:
            assert planned is not None
            row, source = planned
        expected = planned is not None and planned[0] == row
        dealt.append(row)
        sources.append(source)
        probabilities.append(share / left + (1 - share) * expected)
        deck.take(row, source)
    return Mix(as_rows(dealt), sources, np.array(probabilities, np.float32))


class _Deck:
    """What is left to deal."""

    def __init__(self, parts: Sequence[Part], pool: Rows, rng: np.random.Generator) -> None:
        self.parts = [part for part in parts if part.share > 0]
        self.pool, self.rng = pool, rng
        self.place = dict.fromkeys((part.name for part in self.parts), 0)
        self.dealt = dict.fromkeys((part.name for part in self.parts), 0)
        self.taken: set[int] = set()
        self.members = [part.rows[np.isin(part.rows, pool)].tolist() for part in self.parts]
        self.order: list[int] = []

    def planned(self) -> tuple[int, str] | None:
        """The next row of the part that is most behind its share, or None when all have run out."""
        heads = []
        for part, members in zip(self.parts, self.members, strict=True):
            at = self.place[part.name]
            while at < len(members) and members[at] in self.taken:
                at += 1
            self.place[part.name] = at
            if at < len(members):
                heads.append(((self.dealt[part.name] + 0.5) / part.share, members[at], part.name))
        if not heads:
            return None
        _, row, name = min(heads, key=lambda head: head[0])
        return row, name

    def drawn(self) -> int:
        """A row drawn uniformly from those left."""
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
        if source in self.dealt:
            self.dealt[source] += 1


def rarity(P: Floats, counts: Mapping[int, int] | NDArray[np.int64]) -> Floats:
    """(n,) how likely each row of probabilities ``P`` (n, c) is of a class with few labels; NaN stays NaN.

    A class weighs by what it lacks to the most labelled one: 0 for that, nearly 1 for a class with next to no
    labels. All equal, or one class only, gives zeros. O(n c).
    """
    have = np.array([counts[column] for column in range(P.shape[1])], np.float64)
    most = have.max(initial=0)
    lacking = 1 - have / most if most > 0 else np.zeros(len(have))
    return np.asarray(P @ lacking.astype(np.float32), np.float32)
