"""From scores to the first so-many positions, with ties broken the same way every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Positions of the ``k`` largest scores (n,), largest first, equal ones in order of position.

    NaN is never taken; fewer than ``k`` usable scores give all of them; O(n + k log k).
    """
    if k <= 0 or not len(scores):
        return np.empty(0, dtype=np.int64)
    cost = -scores
    limit = np.partition(cost, k - 1)[k - 1] if k < len(cost) else np.float32(np.nan)  # NaN is sorted to the end
    if np.isnan(limit):
        chosen = np.flatnonzero(~np.isnan(cost))
    else:
        surely = np.flatnonzero(cost < limit)
        chosen = np.concatenate([surely, np.flatnonzero(cost == limit)[: k - len(surely)]])
    return chosen[np.argsort(cost[chosen], kind="stable")].astype(np.int64)


def shuffled(n: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``k`` of the positions 0 … n-1 in uniformly random order, without replacement; all of them when k > n."""
    if n <= 0 or k <= 0:
        return np.empty(0, dtype=np.int64)
    return rng.choice(n, size=min(k, n), replace=False, shuffle=True).astype(np.int64)
