"""Cut sequences into batches, because databases limit the values of a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the values in slices of ``size``; the last one may be shorter. Arrays give arrays."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
