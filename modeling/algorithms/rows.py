"""Share types, select rows with usable vectors, and process rows in blocks of bounded memory."""

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

# 16 MiB of a 1280-dimensional float32 array: large enough for fast matrix products, small on any machine.
BLOCK_ROWS = 4096


def as_rows(rows: ArrayLike) -> Rows:
    """Return row positions (n,) as int64. An empty list gives an empty array."""
    return np.asarray(rows, dtype=np.int64).reshape(-1)


def blocks(n: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield the slices that split ``range(n)`` into blocks of at most ``size``."""
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


def usable(X: Floats, rows: ArrayLike) -> Rows:
    """Return those of ``rows``, in order, whose vector (d,) in ``X`` is finite. Reads ``X`` in blocks."""
    positions = as_rows(rows)
    is_finite = np.empty(len(positions), dtype=bool)
    for part in blocks(len(positions)):
        is_finite[part] = np.isfinite(X[positions[part]]).all(axis=1)
    return positions[is_finite]


def sklearn_seed(rng: np.random.Generator) -> int:
    """Draw an integer seed for scikit-learn from a generator."""
    return int(rng.integers(2**31 - 1))


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def single_blas_thread() -> AbstractContextManager[object]:
    """Limit BLAS to the calling thread inside a ``with`` block.

    For loops of small matrix products: these finish sooner than threads can synchronize, and much sooner when an
    embedding job keeps the processor busy.
    """
    limit: AbstractContextManager[object] = _threads().limit(limits=1, user_api="blas")
    return limit


def cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_in_threads(work: Callable[[Part], None], parts: Sequence[Part], on_done: Callable[[Part], None]) -> None:
    """Call ``work`` with each of ``parts``, one per core, and ``on_done`` in this thread, in the order of ``parts``.

    For work that is mostly NumPy, which releases the global interpreter lock. BLAS runs single-threaded, because its
    threads would wait for each other at every product and take several times the processor time. ``on_done`` may raise:
    parts that have not started are dropped.
    """
    with single_blas_thread():
        pool = ThreadPoolExecutor(cores())
        try:
            for part, _ in zip(parts, pool.map(work, parts), strict=True):
                on_done(part)
        finally:
            pool.shutdown(cancel_futures=True)
