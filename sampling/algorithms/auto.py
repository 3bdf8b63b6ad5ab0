"""Auto: which rankings to mix, in which shares, at this moment.

Few labels call for typical items, many for doubtful ones (Guy Hacohen, Avihu Dekel and Daphna Weinshall, *Active
learning on a budget*, ICML 2022). The shares were tuned by benchmarks/label_efficiency, on other seeds than it reports.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from modeling.algorithms.rows import Floats, Rows, as_rows
from sampling.algorithms.coreset import k_center
from sampling.algorithms.diversify import diversified
from sampling.algorithms.mixing import AUDIT, AUDIT_SHARE, Mix, Part, mix, rarity
from sampling.algorithms.ranking import top
from sampling.algorithms.typicality import typical
from sampling.algorithms.uncertainty import margin

TYPICAL, DIVERSE, UNSURE, RARE, ODD = "typical", "diverse", "unsure", "rare", "odd"
# Why an item is shown, by the part that dealt it.
REASONS = {
    TYPICAL: "Typical of a group of images that has few labels",
    DIVERSE: "Unlike everything labelled so far",
    UNSURE: "The model is unsure",
    RARE: "May be of a class with few labels",
    ODD: "Stands out from all others",
    AUDIT: "Drawn at random, to measure accuracy",
}
# So many labels a class, and doubts mean something.
COLD_PER_CLASS = 2
DIVERSE_SHARE = 0.1
RARE_SHARE = 0.2
# One on a page of forty: whatever stands out is worth a look, and teaches the model next to nothing.
ODD_SHARE = 0.02
# A class is rare with less than this share of the labels that it would have if all had the same.
RARE_BELOW = 0.5
# The spread pages at the head of a long ranking; nobody labels that many before the model has learnt more.
SPREAD_PAGES = 5


def choose(
    X: Floats,
    candidates: ArrayLike,
    labelled: ArrayLike,
    labels: ArrayLike,
    P: Floats | None,
    k: int,
    *,
    rng: np.random.Generator,
    oddness: Floats | None = None,
    batch: int = 40,
    audit_share: float = AUDIT_SHARE,
) -> Mix:
    """Rank ``k`` candidates: typical and diverse ones at first, then doubtful, rare and odd, some by chance.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row, best a projection.
    candidates, labelled
        Rows to rank; rows with a label, those of the audit too.
    labels
        (m,) column of ``P`` that each labelled row belongs to.
    P
        (n, c) float32 probabilities by row, NaN where unknown; None before there is a model.
    k
        How many; more than there are gives all.
    oddness
        (n,) how far each row stands out (`local_outlier_factor`), where it is known: then a few of the oddest are
        dealt, which costs the others their places and finds what nobody thought of.
    batch
        A page; see `diversified`.

    Returns
    -------
    Mix
        ``sources`` are the keys of `REASONS`. Candidates without a vector or probabilities come by chance only,
        and all candidates do when there is nothing else to go by. No candidates give nothing; one class, or fewer
        than two labels a class, counts as the start.
    """
    pool, given, classes = as_rows(candidates), as_rows(labelled), as_rows(labels)
    if P is None or P.shape[1] < 2 or len(given) < COLD_PER_CLASS * P.shape[1]:
        parts = _cold_parts(X, pool, given, k, rng)
    else:
        parts = _warm_parts(X, pool, classes, P[pool], k, rng, batch)
        if oddness is not None:
            parts.append(Part(ODD, pool[top(oddness[pool], k)], ODD_SHARE))
    return mix(parts, pool, k, rng=rng, audit_share=audit_share)


def _cold_parts(X: Floats, pool: Rows, given: Rows, k: int, rng: np.random.Generator) -> list[Part]:
    return [
        Part(TYPICAL, typical(X, pool, given, k, rng=rng).rows, 1 - DIVERSE_SHARE),
        Part(DIVERSE, k_center(X, pool, given, round(k * DIVERSE_SHARE) + 1).rows, DIVERSE_SHARE),
    ]


def _warm_parts(
    X: Floats,
    pool: Rows,
    classes: Rows,
    chances: Floats,
    k: int,
    rng: np.random.Generator,
    batch: int,
) -> list[Part]:
    spread = diversified(X, pool, margin(chances), k, rng=rng, batch=batch, diverse=SPREAD_PAGES * batch)
    counts = np.bincount(classes, minlength=chances.shape[1])
    is_rare = counts < RARE_BELOW * counts.mean()
    parts = [Part(UNSURE, spread, 1.0)]
    if is_rare.any():
        likely = rarity(chances, np.where(is_rare, counts, counts.max()))
        likely[likely <= 1 / chances.shape[1]] = np.nan
        parts.append(Part(RARE, pool[top(likely, k)], RARE_SHARE))
    return parts
