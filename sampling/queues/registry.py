"""Define the queues. To add one, write a function and an entry in ``STRATEGIES``.

Heavy algorithms are imported inside the functions: only workers load them, never the web process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hoshina.core.errors import Refusal
from modeling.encoders.neighbor_cache import AT_ONCE
from sampling.algorithms.diversify import CANDIDATES_PER_PICK, diversify, random_projection
from sampling.algorithms.ranking import shuffled, top
from sampling.algorithms.uncertainty import MEASURES, Measure, largest
from sampling.queues.outlier_cache import Oddity
from sampling.queues.similar import SimilarParams, similar
from sampling.queues.sort import AllParams, everything
from sampling.queues.strategy import BadParameter, Floats, Inputs, NoParams, Ranking, Rows, Strategy
from sampling.sweeps.queues import MOST, GroupsParams, SweepParams, checks, groups, sweep

# The first SPREAD items of Uncertain are diversified page by page; nobody labels more before the next training.
PAGE, SPREAD = 40, 200
# Images of each group that Unlike shows at first: the most typical ones.
SHOWN_OF_GROUP = 60
First = Literal["farthest", "typical"]
BY_CHANCE = "Random, until there is a ranking"


@dataclass(frozen=True)
class UncertainParams:
    """The measure of uncertainty."""

    measure: Measure = "margin"


@dataclass(frozen=True)
class DiverseParams:
    """What comes first: the image farthest from the others, or (for the first labels) a typical one of each cluster."""

    by: First = "farthest"


@dataclass(frozen=True)
class OdditiesParams:
    """The measure of how much an image stands out."""

    method: Oddity = "local outlier factor"


@dataclass(frozen=True)
class BandParams:
    """The band [low, high] of the probability of a class (its id; 0: the predicted class of each image)."""

    low: float = 0.3
    high: float = 0.8
    of: int = 0


@dataclass(frozen=True)
class UnlikeParams:
    """The number of the group to begin with."""

    group: int = 1


@dataclass(frozen=True)
class ReviewParams:
    """The id of the split to review; 0: the newest."""

    split: int = 0


def uncertain(inputs: Inputs, params: UncertainParams, k: int) -> Ranking:
    """Rank the candidates about which the model is least certain; the first pages are diversified."""
    rows, scores = inputs.scored(inputs.candidates, MEASURES[params.measure])
    best = top(scores, max(k, SPREAD + CANDIDATES_PER_PICK * PAGE))
    best = best[_spread(inputs, rows[best], scores[best])[:k]]
    reason = f"The model is unsure ({params.measure})"
    return Ranking.of(rows[best], scores[best], reason, is_complete=len(best) == len(rows))


def _spread(inputs: Inputs, rows: Rows, scores: Floats) -> Rows:
    """Return the order of the ranked ``rows``, (n,): diversified within each of the first pages, then unchanged."""
    order = np.arange(len(rows))
    near = order[np.isin(rows, inputs.with_vector(rows))][: SPREAD + CANDIDATES_PER_PICK * PAGE]
    if inputs.X is None or not len(near):
        return order
    Z = random_projection(np.asarray(inputs.X[rows[near]]), inputs.rng)
    head = near[diversify(Z, np.arange(len(near)), scores[near], SPREAD, rng=inputs.rng, batch=PAGE)]
    return np.concatenate([head, np.setdiff1d(order, head, assume_unique=True)])


def band(inputs: Inputs, params: BandParams, k: int) -> Ranking:
    """Rank the candidates whose probability lies in the band, most confident first."""
    if not 0 <= params.low <= params.high <= 1:
        raise BadParameter("Band: low and high must be between 0 and 1, with low below high.")
    rows, chances = band_chances(inputs, params.of)
    outside = (chances < params.low) | (chances > params.high)
    n_inside = len(rows) - int(np.count_nonzero(outside))
    # Moves items outside the band below all others: three times as fast as selecting among a million.
    best = top(chances - 2 * outside.astype(np.float32), min(k, n_inside))
    reason = f"Probability from {params.low:g} to {params.high:g}"
    return Ranking.of(rows[best], chances[best], reason, is_complete=len(best) == n_inside)


def band_chances(inputs: Inputs, class_id: int) -> tuple[Rows, Floats]:
    """Return the candidates with predictions, and for each the probability of the class (0: of the predicted class)."""
    if not class_id:
        return inputs.scored(inputs.candidates, largest)
    columns = inputs.columns.get(class_id)
    if not columns:
        raise BadParameter(
            "Band: the model was not trained on this class yet. Retrain it (R), or choose another class."
        )
    # Rounding may lift the sum of merged classes above 1, out of every band.
    return inputs.scored(inputs.candidates, lambda P: np.minimum(P[:, columns].sum(axis=1), 1))


def random(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """Draw the candidates in random order."""
    return _drawn(inputs, k, "Random")


def audit(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """Draw candidates uniformly at random; their labels give an unbiased estimate of the accuracy."""
    return _drawn(inputs, k, "Random, to measure accuracy")


def diverse(inputs: Inputs, params: DiverseParams, k: int) -> Ranking:
    """Rank candidates far from everything labeled or picked before, or a typical one of each cluster."""
    from sampling.algorithms.coreset import k_center

    assert inputs.X is not None
    assert inputs.projected is not None
    rows = inputs.with_vector(inputs.candidates)
    if params.by == "typical":
        return _typical(inputs, rows, k)
    # The distances to a thousand labels take seconds with whole embeddings of a large dataset (ADR 50).
    vectors = inputs.X if len(inputs.X) <= AT_ONCE else inputs.projected()
    cover = k_center(vectors, rows, inputs.with_vector(inputs.labelled), k)
    distances = np.where(np.isfinite(cover.distances), cover.distances, np.float32(0))
    reason = "Unlike everything labeled so far"
    return Ranking.of(cover.rows, distances, reason, is_complete=len(cover.rows) == len(rows))


def _typical(inputs: Inputs, rows: Rows, k: int) -> Ranking:
    from sampling.algorithms.typicality import typical

    assert inputs.projected is not None
    found = typical(inputs.projected(), rows, inputs.with_vector(inputs.labelled), k, rng=inputs.rng)
    finite = np.isfinite(found.typicality)
    scores = np.where(finite, found.typicality, found.typicality[finite].max(initial=1))
    reason = "Typical of its part of the dataset"
    return Ranking.of(found.rows, scores, reason, is_complete=len(found.rows) == len(rows))


def oddities(inputs: Inputs, params: OdditiesParams, k: int) -> Ranking:
    """Rank the candidates that stand out most from all images."""
    assert inputs.oddness is not None
    rows = inputs.with_vector(inputs.candidates)
    return _best(rows, inputs.oddness(params.method)[rows], k, f"Stands out ({params.method})")


def unlike(inputs: Inputs, params: UnlikeParams, k: int) -> Ranking:
    """Rank groups of candidates that resemble each other and no labeled image, the most typical ones of each."""
    from sampling.algorithms.unlike import unlike as unlike_all_classes

    assert inputs.projected is not None
    assert inputs.graph is not None
    if params.group < 1:
        raise BadParameter("Unlike: group must be 1 or more.")
    is_known = np.isin(inputs.labelled, inputs.with_vector(inputs.labelled))
    labelled, labels = inputs.labelled[is_known], inputs.labels[is_known]
    if not len(labelled):
        raise Refusal("No labels yet", "Label some images of each class that you know. Then this queue finds others.")
    # The same seed for each pull: the groups stay as long as the labels do.
    rng = np.random.default_rng(0)
    candidates = inputs.with_vector(inputs.candidates)
    found = unlike_all_classes(inputs.projected(), inputs.graph().distances, candidates, labelled, labels, rng)
    sizes = np.array(found.sizes, np.int64)
    place = np.arange(len(found.rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.flatnonzero((place < SHOWN_OF_GROUP) & (found.groups >= params.group - 1))[:k]
    names = [str(group + 1) for group in found.groups[chosen].tolist()]
    return Ranking(
        rows=found.rows[chosen],
        scores=found.scores[chosen],
        probabilities=np.ones(len(chosen), np.float32),
        reasons={name: f"Unlike all classes, group {name} of {len(sizes)}" for name in dict.fromkeys(names)},
        is_complete=True,
        sources=names,
        facts={"groups": found.sizes},
    )


def review(inputs: Inputs, params: ReviewParams, k: int) -> Ranking:
    """Rank the labeled items that a split left open, the least certain first."""
    assert inputs.review is not None
    found = inputs.review(params.split)
    chosen = np.flatnonzero(np.isin(found.rows, inputs.candidates))[:k]
    return Ranking.of(
        found.rows[chosen],
        1 - found.confidence[chosen],
        f"Left open by the split of {found.label_name}",
        is_complete=True,
        facts={"pairs": [found.pairs[position] for position in chosen.tolist()]},
    )


def suspects(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """Rank the labeled candidates by how much the held-out predictions disagree with their labels."""
    from sampling.algorithms.suspects import suspects as doubted

    held = inputs.held_out
    assert held is not None
    column = {label.pk: position for position, label in enumerate(held.labels)}
    now = np.zeros(max(inputs.labelled.max(initial=-1), held.rows.max(initial=-1)) + 1, np.int64)
    now[inputs.labelled] = inputs.labels
    # Leave out labels changed since training, and the only label of a class: their predictions say nothing.
    usable = (now[held.rows] == held.given) & ~held.is_alone & (held.given > 0)
    rows, P = held.rows[usable], held.probabilities[usable]
    judged = doubted(P, np.array([column[class_id] for class_id in held.given[usable].tolist()], np.int64))
    wanted = judged.is_suspect & np.isin(rows, inputs.candidates)
    return _best(rows[wanted], 1 - judged.self_confidence[wanted], k, "The model disagrees with this label")


def auto(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """Rank the mix of queues that suits the state of the labels, with a share of random draws."""
    rows = inputs.with_vector(inputs.candidates)
    if inputs.X is None or inputs.projected is None or not len(rows):
        drawn = _drawn(inputs, k, BY_CHANCE)
        sources = ["random"] * len(drawn.rows)
        return replace(drawn, reasons={"random": BY_CHANCE}, is_complete=False, sources=sources)
    from sampling.algorithms.auto import REASONS, choose

    P = inputs.probabilities
    if P is not None and len(P) < len(inputs.X):  # images added since the model was trained
        P = None if len(P) == 0 else np.vstack([P, np.full((len(inputs.X) - len(P), P.shape[1]), np.nan, np.float32)])
    labelled = inputs.with_vector(inputs.labelled)
    # A class newer than the model has no column yet.
    column = {class_id: columns[0] for class_id, columns in inputs.columns.items()}
    labels = [column[class_id] for class_id in inputs.labels.tolist() if class_id in column]
    # The principal components suffice for k-means and are twenty times smaller.
    Z = inputs.projected()
    odd = inputs.oddness_at_hand() if P is not None and inputs.oddness_at_hand is not None else None
    mix = choose(Z, rows, labelled, labels, P, k, rng=inputs.rng, oddness=odd)
    return Ranking(
        rows=mix.rows,
        scores=np.linspace(1, 0, num=len(mix.rows), dtype=np.float32),
        probabilities=mix.probabilities,
        reasons=REASONS,
        is_complete=len(mix.rows) == len(inputs.candidates),
        sources=mix.sources,
    )


def _best(rows: Rows, scores: Floats, k: int, reason: str) -> Ranking:
    best = top(scores, k)
    usable = int(np.count_nonzero(~np.isnan(scores)))
    return Ranking.of(rows[best], scores[best], reason, is_complete=len(best) == usable)


def _drawn(inputs: Inputs, k: int, reason: str) -> Ranking:
    n = len(inputs.candidates)
    drawn = shuffled(n, k, inputs.rng)
    return Ranking(
        rows=inputs.candidates[drawn],
        scores=np.linspace(1, 0, num=len(drawn), dtype=np.float32),
        probabilities=(1 / (n - np.arange(len(drawn)))).astype(np.float32),
        reasons={"": reason},
        is_complete=len(drawn) == n,
    )


def _by_name(*strategies: Strategy) -> dict[str, Strategy]:
    return {strategy.name: strategy for strategy in strategies}


STRATEGIES = _by_name(
    Strategy(
        "auto", "Auto", "The best mix right now: typical images first, then uncertain ones; one in ten is random.",
        auto, is_slow=True, follows_model=True, kept=240,
    ),
    Strategy(
        "uncertain", "Uncertain", "Images the model is unsure about, varied so that each label helps it most.",
        uncertain, UncertainParams, needs_model=True, follows_model=True,
    ),
    Strategy(
        "diverse", "Diverse", "Images unlike everything labeled so far, to cover the whole dataset.",
        diverse, DiverseParams, needs_vectors=True, is_slow=True, kept=400,
    ),
    Strategy(
        "oddities", "Oddities", "Images that stand out from all others: artifacts, errors, discoveries.",
        oddities, OdditiesParams, needs_vectors=True, is_slow=True,
    ),
    Strategy(
        "unlike", "Unlike", "Groups of images that resemble each other and none of your labels: perhaps new classes.",
        unlike, UnlikeParams, needs_vectors=True, is_slow=True,
    ),
    Strategy(
        "similar", "Similar", "Images that look like the ones you chose: press S on an image, or upload an example.",
        similar, SimilarParams, needs_vectors=True, is_slow=True,
    ),
    Strategy(
        "band", "Band", "Images whose predicted probability lies between two values.",
        band, BandParams, needs_model=True, follows_model=True,
    ),
    Strategy(
        "suspects", "Suspects",
        "Labels the model disagrees with when it has not been trained on them: errors to correct.",
        suspects, needs_model=True, needs_held_out=True, deals=False, follows_model=True,
    ),
    Strategy(
        "sweep", "Sweep", "A page of images predicted as one class: mark the exceptions, accept the rest.",
        sweep, SweepParams, needs_model=True, follows_model=True, is_sweep=True, kept=MOST,
    ),
    Strategy(
        "groups", "Groups", "Images that look almost the same, one group at a time: one key labels them all.",
        groups, GroupsParams, needs_vectors=True, is_slow=True, is_sweep=True, kept=MOST,
    ),
    Strategy(
        "checks", "Checks",
        "Images from sweeps, shown again as pages of one class, to measure how often sweeps are right.",
        checks, is_listed=False, is_sweep=True, kept=MOST,
    ),
    Strategy(
        "review", "Review", "Labels that splitting a class left open: near the border between two classes.",
        review, ReviewParams, needs_vectors=True, deals=False, is_slow=True, is_listed=False,
    ),
    Strategy("random", "Random", "A random sample of the unlabeled images.", random),
    Strategy(
        "audit", "Audit",
        "A random sample that measures the audited accuracy, that of the model on the whole dataset. Suggestions are "
        "hidden.", audit,
    ),
    Strategy(
        "all", "All", "Every image in the order of the folder, or sorted by a field.",
        everything, AllParams, deals=False,
    ),
)  # fmt: skip
