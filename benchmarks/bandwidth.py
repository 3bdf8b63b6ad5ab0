"""Compare paths whose work grows with the number of images with a plain pass over the same vectors in memory.

    python -m benchmarks.bandwidth [--rows 1000000] [--dim 256] [--repeats 5]

A pass reads all vectors (a product with one vector); a copy also writes them. Similar to one image and the predictions
of ten classes read the vectors once. Prints the median wall clock of each, the gigabytes of vectors read per second,
and the share of the rate of a pass. All in one run, with as many BLAS threads as the machine has cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.head import Head, predict_in_blocks
from sampling.algorithms.similar import inverse_lengths, similar

N_CLASSES = 10


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median wall clock of ``repeats`` calls, after one call that is not counted."""
    work()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def paths(X: NDArray[np.float32]) -> dict[str, Callable[[], object]]:
    """Return the work to measure on vectors (n, d): plain passes first."""
    rng = np.random.default_rng(0)
    copied, probabilities = np.empty_like(X), np.empty((len(X), N_CLASSES), np.float32)
    inverse = inverse_lengths(X)
    head = Head(rng.normal(size=(X.shape[1], N_CLASSES)).astype(np.float32), np.zeros(N_CLASSES, np.float32), 0, True)
    one = np.ones(X.shape[1], np.float32)
    return {
        "a pass (sum of each row by a product)": lambda: X @ one,
        "a copy": lambda: np.copyto(copied, X),
        "Similar: the 200 nearest to one image": lambda: similar(X, [7], 200, inverse=inverse),
        "predictions of all images": lambda: predict_in_blocks(X, head, 1.0, probabilities),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    X = np.random.default_rng(0).standard_normal((options.rows, options.dim), dtype=np.float32)
    gigabytes = X.nbytes / 1e9
    print(f"{options.rows:,} x {options.dim}, {gigabytes:.2f} GB, load average {os.getloadavg()[0]:.1f}")
    plain = 0.0
    for name, work in paths(X).items():
        seconds = median_seconds(work, options.repeats)
        plain = plain or seconds
        print(f"{name:40} {seconds * 1000:8.0f} ms  {gigabytes / seconds:6.1f} GB/s  {plain / seconds:5.0%} of a pass")


if __name__ == "__main__":
    main()
