"""What the algorithms share: types, which rows have a usable vector, and work in blocks of bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

Part = TypeVar("Part")
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]

# About 16 MiB of a 1280-dimensional float32 array: large enough for a fast product, small beside any machine.
BLOCK_ROWS = 4096


def as_rows(rows: ArrayLike) -> Rows:
    """Positions (n,) as int64; an empty list is no positions."""
    return np.asarray(rows, dtype=np.int64).reshape(-1)


def blocks(n: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """The slices that cut 0 … n-1 into pieces of at most ``size``."""
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


def usable(X: Floats, rows: ArrayLike) -> Rows:
    """Those of ``rows``, in their order, whose vector (d,) in ``X`` is all finite numbers; reads in blocks."""
    wanted = as_rows(rows)
    keep = np.empty(len(wanted), dtype=bool)
    for part in blocks(len(wanted)):
        keep[part] = np.isfinite(X[wanted[part]]).all(axis=1)
    return wanted[keep]


def whole_seed(rng: np.random.Generator) -> int:
    """The seed that scikit-learn wants, drawn from a generator."""
    return int(rng.integers(2**31 - 1))


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """While it lasts, BLAS keeps to the calling thread.

    For loops of small products: those are over sooner than threads have met, and much sooner where an embedding
    keeps the processor busy.
    """
    limit: AbstractContextManager[object] = _threads().limit(limits=1, user_api="blas")
    return limit


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[Part], None], parts: Sequence[Part], on_done: Callable[[Part], None]) -> None:
    """Call ``work`` with each of ``parts``, one on each core, and ``on_done`` here in their order.

    For work that is mostly NumPy, which runs without Python's lock. Threads of BLAS would wait for each other at every
    product and take several times the processor time. ``on_done`` may raise: parts that have not begun are dropped.
    """
    with one_thread():
        pool = ThreadPoolExecutor(cores())
        try:
            for part, _ in zip(parts, pool.map(work, parts), strict=True):
                on_done(part)
        finally:
            pool.shutdown(cancel_futures=True)
