"""Select the top positions by score, with ties broken deterministically."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the positions of the ``k`` largest scores (n,), largest first, equal scores in order of position.

    NaN is never selected. Fewer than ``k`` usable scores give all of them. O(n + k log k).
    """
    if k <= 0 or not len(scores):
        return np.empty(0, dtype=np.int64)
    cost = -scores
    limit = np.partition(cost, k - 1)[k - 1] if k < len(cost) else np.float32(np.nan)  # NaN sorts last
    if np.isnan(limit):
        chosen = np.flatnonzero(~np.isnan(cost))
    else:
        above = np.flatnonzero(cost < limit)
        chosen = np.concatenate([above, np.flatnonzero(cost == limit)[: k - len(above)]])
    return chosen[np.argsort(cost[chosen], kind="stable")].astype(np.int64)


def shuffled(n: int, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``k`` of the positions 0 … n-1 in random order without replacement, or all if k > n."""
    if n <= 0 or k <= 0:
        return np.empty(0, dtype=np.int64)
    return rng.choice(n, size=min(k, n), replace=False, shuffle=True).astype(np.int64)
