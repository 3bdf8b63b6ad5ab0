"""Choose which rankings Auto mixes, and in which shares, for the current state of the labels.

Few labels call for typical items, many for uncertain ones (Guy Hacohen, Avihu Dekel and Daphna Weinshall, *Active
learning on a budget*, ICML 2022). The shares were tuned by benchmarks/label_efficiency, with other seeds than it
reports.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from modeling.algorithms.rows import Floats, Rows, as_rows
from sampling.algorithms.coreset import k_center
from sampling.algorithms.diversify import diversify
from sampling.algorithms.mixing import AUDIT, AUDIT_SHARE, Mix, Part, mix, rarity
from sampling.algorithms.ranking import top
from sampling.algorithms.typicality import typical
from sampling.algorithms.uncertainty import margin

TYPICAL, DIVERSE, UNSURE, RARE, ODD = "typical", "diverse", "unsure", "rare", "odd"
# Why an item is shown, by the part that selected it.
REASONS = {
    TYPICAL: "Typical of a group of images that has few labels",
    DIVERSE: "Unlike everything labeled so far",
    UNSURE: "The model is unsure",
    RARE: "Possibly a class with few labels",
    ODD: "Stands out from all others",
    AUDIT: "Selected at random to measure accuracy",
}
# From this many labels per class on, the model's uncertainty is meaningful.
MIN_LABELS_PER_CLASS = 2
DIVERSE_SHARE = 0.1
RARE_SHARE = 0.2
# One per page of forty: outliers are worth a look, but teach the model almost nothing.
ODD_SHARE = 0.02
# A class is rare if it has less than this share of the mean number of labels per class.
RARE_BELOW = 0.5
# Number of diversified pages at the start of a long ranking; the model is retrained before more are labeled.
DIVERSIFIED_PAGES = 5


def choose(
    X: Floats,
    candidates: ArrayLike,
    labeled: ArrayLike,
    labels: ArrayLike,
    P: Floats | None,
    k: int,
    *,
    rng: np.random.Generator,
    oddness: Floats | None = None,
    batch: int = 40,
    audit_share: float = AUDIT_SHARE,
) -> Mix:
    """Rank ``k`` candidates: first typical and diverse ones, later uncertain, rare and odd ones, some at random.

    Parameters
    ----------
    X
        (n, d) float32 vectors by row, preferably a projection.
    candidates, labeled
        Rows to rank; rows with a label, including those of the audit.
    labels
        (m,) column of ``P`` of each labeled row's class.
    P
        (n, c) float32 probabilities by row, NaN where missing; None before there is a model.
    k
        Number of rows, limited to the number of candidates.
    oddness
        (n,) outlier score of each row (`local_outlier_factor`), if available. A few of the highest are then
        included, at the expense of the other parts: they find what nobody expected.
    batch
        Size of a page; see `diversify`.

    Returns
    -------
    Mix
        ``sources`` are the keys of `REASONS`. Candidates without a vector or probabilities are only selected at
        random, as all are if there is no other ranking. Without candidates the result is empty. One class, or fewer
        than two labels per class, counts as the start.
    """
    pool, labeled_rows, classes = as_rows(candidates), as_rows(labeled), as_rows(labels)
    if P is None or P.shape[1] < 2 or len(labeled_rows) < MIN_LABELS_PER_CLASS * P.shape[1]:
        parts = _cold_parts(X, pool, labeled_rows, k, rng)
    else:
        parts = _warm_parts(X, pool, classes, P[pool], k, rng, batch)
        if oddness is not None:
            parts.append(Part(ODD, pool[top(oddness[pool], k)], ODD_SHARE))
    return mix(parts, pool, k, rng=rng, audit_share=audit_share)


def _cold_parts(X: Floats, pool: Rows, labeled_rows: Rows, k: int, rng: np.random.Generator) -> list[Part]:
    return [
        Part(TYPICAL, typical(X, pool, labeled_rows, k, rng=rng).rows, 1 - DIVERSE_SHARE),
        Part(DIVERSE, k_center(X, pool, labeled_rows, round(k * DIVERSE_SHARE) + 1).rows, DIVERSE_SHARE),
    ]


def _warm_parts(
    X: Floats,
    pool: Rows,
    classes: Rows,
    probabilities: Floats,
    k: int,
    rng: np.random.Generator,
    batch: int,
) -> list[Part]:
    uncertain = diversify(X, pool, margin(probabilities), k, rng=rng, batch=batch, diverse=DIVERSIFIED_PAGES * batch)
    counts = np.bincount(classes, minlength=probabilities.shape[1])
    is_rare = counts < RARE_BELOW * counts.mean()
    parts = [Part(UNSURE, uncertain, 1.0)]
    if is_rare.any():
        likely = rarity(probabilities, np.where(is_rare, counts, counts.max()))
        likely[likely <= 1 / probabilities.shape[1]] = np.nan
        parts.append(Part(RARE, pool[top(likely, k)], RARE_SHARE))
    return parts
