"""Of several planes (of a cube, a stack of pages, an animation) the one that is shown, or what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.problems import ImageProblem

# So many planes are combined at most: thousands would take minutes for each image.
MOST_COMBINED = 4096


def combined(
    n: int, read: Callable[[int], NDArray[Any]], plane: str | int, *, kind: str = "plane"
) -> list[NDArray[Any]]:
    """One plane, or three of the same shape for red, green and blue.

    ``read`` gives the plane of a number below ``n``; one at a time is in memory besides the result. A file with one
    plane shows it whatever is chosen. Unknown pixels count for neither the largest value nor the mean.
    """
    if n == 1 or plane == "first":
        return [read(0)]
    if isinstance(plane, int):
        if plane >= n:
            raise ImageProblem(f"The file has {n:,} {kind}s, counted from 0; {kind} {plane} was asked for.")
        return [read(plane)]
    if plane == "rgb":
        if n < 3:
            raise ImageProblem(f"The file has {n} {kind}s; red, green and blue need three.")
        return _alike([read(number) for number in range(3)], kind)
    if n > MOST_COMBINED:
        raise ImageProblem(f"The file has {n:,} {kind}s; at most {MOST_COMBINED:,} are combined. Choose one of them.")
    return [_largest(n, read, kind) if plane == "max" else _mean(n, read, kind)]


def _largest(n: int, read: Callable[[int], NDArray[Any]], kind: str) -> NDArray[Any]:
    largest = read(0)
    for number in range(1, n):
        largest = np.fmax(*_alike([largest, read(number)], kind))
    return largest


def _mean(n: int, read: Callable[[int], NDArray[Any]], kind: str) -> NDArray[Any]:
    first = read(0)
    total, known = np.zeros(first.shape), np.zeros(first.shape, np.int32)
    for number in range(n):
        plane = first if number == 0 else _alike([first, read(number)], kind)[1]
        finite = np.isfinite(plane)
        np.add(total, plane, out=total, where=finite)
        known += finite
    mean = np.full(first.shape, np.nan)
    np.divide(total, known, out=mean, where=known > 0)
    return np.rint(mean).astype(first.dtype) if first.dtype.kind in "iu" else mean.astype(first.dtype)


def _alike(planes: list[NDArray[Any]], kind: str) -> list[NDArray[Any]]:
    if len({plane.shape for plane in planes}) > 1:
        raise ImageProblem(f"The file's {kind}s differ in size, so they can't be combined. Choose one of them.")
    return planes
