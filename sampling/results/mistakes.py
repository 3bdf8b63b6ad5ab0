"""Find where a version is wrong: the classes that it confuses most, and those that it misses most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hoshina.core.plural import counted
from modeling.versions.facts import ConfusionRow, Named

SHOWN = 3


@dataclass(frozen=True)
class Pair:
    """Held-out images of one class that were predicted as another; ``href`` opens them, "" if they are gone."""

    label: Named
    predicted: Named
    n: int
    href: str

    @property
    def images(self) -> str:
        return counted(self.n, "image")


@dataclass(frozen=True)
class Missed:
    """Describe a class with the number of its held-out images, and how many of them were predicted correctly."""

    label: Named
    n: int
    n_right: int

    @property
    def recall(self) -> float:
        return self.n_right / self.n


def confused_pairs(rows: Sequence[ConfusionRow]) -> list[Pair]:
    """Return the most frequent errors, the most frequent first."""
    pairs = [
        Pair(row.named, predicted.named, cell.n, cell.href)
        for row in rows
        for predicted, cell in zip(rows, row.cells, strict=True)
        if cell.n and not cell.is_right
    ]
    return sorted(pairs, key=lambda pair: -pair.n)[:SHOWN]


def lowest_recalls(rows: Sequence[ConfusionRow]) -> list[Missed]:
    """Return the classes with the lowest recall, lowest first, without those that are always right."""
    right = [next(cell.n for cell in row.cells if cell.is_right) for row in rows]
    classes = [Missed(row.named, row.total, n) for row, n in zip(rows, right, strict=True) if n < row.total]
    return sorted(classes, key=lambda missed: (missed.recall, -missed.n))[:SHOWN]
