"""Select or combine the planes of a cube, a multi-page file or an animation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import ImageProblem

# Largest number of planes to combine. More would take minutes per image.
MOST_COMBINED = 4096


def combine(
    n: int, read: Callable[[int], NDArray[Any]], plane: str | int, *, kind: str = "plane"
) -> list[NDArray[Any]]:
    """Return one plane, or three of the same shape for red, green and blue.

    ``read`` returns plane 0 to ``n`` - 1. Only one at a time is in memory besides the result. A single plane is
    returned for any ``plane``. Unknown pixels are excluded from the largest value and the mean.
    """
    if n == 1 or plane == "first":
        return [read(0)]
    if isinstance(plane, int):
        if plane >= n:
            raise ImageProblem(f"The file has no {kind} {plane}. It has {n:,} {kind}s, counted from 0.")
        return [read(plane)]
    if plane == "rgb":
        if n < 3:
            raise ImageProblem(f"The file has {n} {kind}s. Red, green and blue need three.")
        return _same_shape([read(number) for number in range(3)], kind)
    if n > MOST_COMBINED:
        raise ImageProblem(f"The file has {n:,} {kind}s. At most {MOST_COMBINED:,} can be combined: choose one.")
    return [_largest(n, read, kind) if plane == "max" else _mean(n, read, kind)]


def _largest(n: int, read: Callable[[int], NDArray[Any]], kind: str) -> NDArray[Any]:
    largest = read(0)
    for number in range(1, n):
        largest = np.fmax(*_same_shape([largest, read(number)], kind))
    return largest


def _mean(n: int, read: Callable[[int], NDArray[Any]], kind: str) -> NDArray[Any]:
    first = read(0)
    total, n_finite = np.zeros(first.shape), np.zeros(first.shape, np.int32)
    for number in range(n):
        plane = first if number == 0 else _same_shape([first, read(number)], kind)[1]
        finite = np.isfinite(plane)
        np.add(total, plane, out=total, where=finite)
        n_finite += finite
    mean = np.full(first.shape, np.nan)
    np.divide(total, n_finite, out=mean, where=n_finite > 0)
    return np.rint(mean).astype(first.dtype) if first.dtype.kind in "iu" else mean.astype(first.dtype)


def _same_shape(planes: list[NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    if len({plane.shape for plane in planes}) > 1:
        raise ImageProblem(f"The file's {kind}s differ in size and can't be combined. Choose one of them.")
    return planes
