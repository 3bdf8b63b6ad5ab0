"""Auto: which rankings, in which shares, at this moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sampling.algorithms.diversify import diversified
from sampling.algorithms.mixing import AUDIT_SHARE, Mix, Part, mix, rarity
from sampling.algorithms.ranking import top
from sampling.algorithms.rows import Floats, as_rows
from sampling.algorithms.typicality import typical
from sampling.algorithms.uncertainty import margin

TYPICAL, UNSURE, RARE = "typical", "unsure", "rare"


def choose(
    X: Floats,
    candidates: ArrayLike,
    labelled: ArrayLike,
    labels: ArrayLike,
    P: Floats | None,
    k: int,
    *,
    rng: np.random.Generator,
    batch: int = 40,
    audit_share: float = AUDIT_SHARE,
    typical_until: float = 2.0,
    per_pick: int = 10,
    rare_share: float = 0.0,
) -> Mix:
    pool, given, classes = as_rows(candidates), as_rows(labelled), as_rows(labels)
    parts = []
    n_classes = 2 if P is None else P.shape[1]
    cold = P is None or len(given) < typical_until * n_classes
    if cold:
        parts.append(Part(TYPICAL, typical(X, pool, given, k, rng=rng).rows, 1.0))
    else:
        scores = margin(P[pool])
        spread = diversified(X, pool, scores, k, rng=rng, batch=batch, per_pick=per_pick)
        parts.append(Part(UNSURE, spread, 1 - rare_share))
        if rare_share:
            counts = np.bincount(classes, minlength=n_classes)
            parts.append(Part(RARE, pool[top(rarity(P[pool], counts), k)], rare_share))
    return mix(parts, pool, k, rng=rng, audit_share=audit_share)
