"""Rank pages that are decided at once: images predicted as one class, or images that look alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampling.algorithms.ranking import top
from sampling.algorithms.risk import (
    MIN_CHECKED_PAGE,
    Carryover,
    draw_checks,
    most_confident,
    plan_page,
    predicted_classes,
)
from sampling.queues.strategy import BadParameter, Floats, Inputs, NoParams, Ranking, Rows

if TYPE_CHECKING:
    from sampling.algorithms.groups import Agreement, Group, LabeledPairs

# The source of checks on a page of the queue Sweep.
CHECK = "check"
CHECKED_AGAIN = "Checked again, to measure a sweep"
MOST = 240
# Sweep shows a page of checks once this many of a class wait: fewer cost more actions each.
MIN_CHECK_PAGE = 20


@dataclass(frozen=True)
class SweepParams:
    """The class to sweep (its id; 0: the most certain one for each page), and the share of wrong labels to promise."""

    of: int = 0
    at_most: float = 0.01


@dataclass(frozen=True)
class GroupsParams:
    """How far the radius is extended, and the rows of a group to split, separated by commas.

    ``loose`` 1: show also groups that are not known to agree; only these can be extended beyond 1.
    """

    looseness: float = 1.0
    loose: int = 0
    within: str = ""


@dataclass(frozen=True)
class Prospect:
    """The yield of sweeping a class: the images predicted as it, and how many of them are certain enough."""

    class_id: int
    n: int
    n_sure: int


def sweep(inputs: Inputs, params: SweepParams, k: int) -> Ranking:
    """Rank the candidates most certainly of the class, as many as the promised error allows.

    Checks of a class come first once there are enough of them, and fewer only when no page is left to sweep.
    """
    if not 0 < params.at_most <= 0.5:
        raise BadParameter("Sweep: the share of wrong labels must be above 0 and at most 0.5 (50 %).")
    if params.of and params.of not in inputs.columns:
        raise BadParameter(
            "Sweep: the model was not trained on this class yet. Retrain it (R), or choose another class."
        )
    if not inputs.columns:
        raise BadParameter("Sweep: the model has no classes. Label some images and retrain it (R).")
    page_of_checks = _check_page(inputs, k, of=params.of, source=CHECK)
    if len(page_of_checks.rows) >= MIN_CHECK_PAGE:
        return page_of_checks
    ranking = _class_page(inputs, params, k)
    return ranking if len(ranking.rows) or not len(page_of_checks.rows) else page_of_checks


def _class_page(inputs: Inputs, params: SweepParams, k: int) -> Ranking:
    """Rank the page to sweep: of the class in ``params``, or of the class with the most confident one."""
    assert inputs.risk is not None
    risk, carryover = inputs.risk()
    candidates, ids, sure = _predicted(inputs)
    carryover = replace(carryover, left=len(inputs.candidates))
    tried = []
    for class_id in [params.of] if params.of else list(inputs.columns):
        own = np.flatnonzero(ids == class_id)
        rows, chances = candidates[own], sure[own]
        best = top(chances, min(k, MOST))
        page = plan_page(chances[best], risk, at_most=params.at_most, largest=len(best), carryover=carryover)
        if page.n < MIN_CHECKED_PAGE:  # pages without checks are not recorded, so no error is carried over
            alone = Carryover(left=carryover.left)
            page = plan_page(chances[best], risk, at_most=params.at_most, largest=len(best), carryover=alone)
        tried.append((class_id, page, rows, chances, best))
    class_id, page, rows, chances, best = tried[most_confident([page for _, page, _, _, _ in tried])]
    chosen = best[: page.n]
    checks = draw_checks(page.n, inputs.rng, n_known=risk.n_known)
    facts = {
        "of": class_id,
        "n_predicted": len(rows),
        "surest": _digits(chances[best[0]]) if len(best) else None,
        "expected_wrong": _digits(page.expected_wrong),
        "model_wrong": _digits(float((1 - chances[chosen].astype(np.float64)).sum())),
        "promised_error": _digits(page.promised_error),
        "miss": _digits(risk.miss),
        "doubt": _digits(risk.doubt),
        "checks": rows[chosen][checks].tolist(),
    }
    return _ranking(rows[chosen], chances[chosen], "Predicted as the class of this sweep", facts)


def prospects(inputs: Inputs, at_most: float) -> list[Prospect]:
    """Return what a sweep of each class would yield, in the order of the model's classes."""
    assert inputs.risk is not None
    risk, _ = inputs.risk()
    _, ids, chances = _predicted(inputs)
    # Such an image keeps the promise even on a page with no other image.
    is_sure = chances >= 1 - at_most / (risk.miss * risk.doubt)
    n = dict(zip(*np.unique_counts(ids), strict=True))
    n_sure = dict(zip(*np.unique_counts(ids[is_sure]), strict=True))
    return [Prospect(class_id, int(n.get(class_id, 0)), int(n_sure.get(class_id, 0))) for class_id in inputs.columns]


def groups(inputs: Inputs, params: GroupsParams, k: int) -> Ranking:
    """Rank candidates so similar that one key may label them all; with ``within`` the tighter half of those rows.

    Without ``loose``, only groups within which labels are known to agree: connected components of the k-NN graph.
    """
    from sampling.algorithms.groups import tighter_half

    assert inputs.projected is not None
    if not 0.1 <= params.looseness <= 10:
        raise BadParameter("Groups: looseness must be between 0.1 and 10.")
    if params.loose not in (0, 1):
        raise BadParameter("Groups: loose must be 0 (only groups known to share a class) or 1.")
    Z = inputs.projected()
    candidates = inputs.with_vector(inputs.candidates)
    candidates = _without(candidates[candidates < len(Z)], inputs.waiting)
    find = _looser_group if params.loose else _reliable_group
    if not params.within:
        group, agreement = find(inputs, params, Z, candidates, min(k, MOST))
        facts = {"n_candidates": len(candidates), "is_strict": not params.loose, **_agreement(agreement)}
        return _ranking(group.rows, -group.distances, "Similar to the other images of this page", facts)
    rows = _rows(params.within)
    half = tighter_half(Z, rows[np.isin(rows, candidates)][:MOST])
    if params.loose:
        agreement = _pairs(inputs, Z).within(float(half.distances.max(initial=0)))
    else:  # part of a group whose labels are known to agree
        _, agreement = find(inputs, params, Z, candidates, MOST)
    facts = {"is_half": True, "n_split": len(rows), **_agreement(agreement)}
    return _ranking(half.rows, -half.distances, "The tighter half of a group", facts)


def _reliable_group(
    inputs: Inputs, params: GroupsParams, Z: Floats, candidates: Rows, most: int
) -> tuple[Group, Agreement]:
    """Return the largest group within which labels are known to agree, and how far they agree."""
    from sampling.algorithms.components import largest_component, reliable_components
    from sampling.algorithms.groups import Agreement, empty_group

    assert inputs.graph is not None
    graph, labeled = inputs.graph(), inputs.with_vector(inputs.labelled)
    is_in_graph = labeled < len(graph.indices)
    components = reliable_components(
        graph, labeled[is_in_graph], _labels(inputs)[is_in_graph], rng=inputs.rng, pressed=inputs.pressed
    )
    if components is None:
        return empty_group(), Agreement(0.0)
    return largest_component(Z, components, candidates, most), components.agreement


def _looser_group(
    inputs: Inputs, params: GroupsParams, Z: Floats, candidates: Rows, most: int
) -> tuple[Group, Agreement]:
    """Return the fullest ball of the usual radius times the looseness, and how far labeled pairs at its edge agree."""
    from sampling.algorithms.groups import default_radius, densest_group

    radius = default_radius(Z, candidates, rng=inputs.rng) * params.looseness
    agreement = _pairs(inputs, Z).within(radius)
    return densest_group(Z, candidates, radius, most, rng=inputs.rng), agreement


def _pairs(inputs: Inputs, Z: Floats) -> LabeledPairs:
    from sampling.algorithms.groups import LabeledPairs

    labeled = inputs.with_vector(inputs.labelled)
    return LabeledPairs(Z, labeled, _labels(inputs), rng=inputs.rng, pressed=inputs.pressed)


def _agreement(agreement: Agreement) -> dict[str, Any]:
    """Return the facts about a group that the page shows."""
    return {
        "radius": _digits(agreement.radius),
        "agreement": None if np.isnan(agreement.share) else _digits(agreement.share),
        "low": _digits(agreement.low),
        "high": _digits(agreement.high),
        "n_pairs": agreement.n_pairs,
        "is_known": agreement.is_reliable,
    }


def checks(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """Rank the open checks: pages of one class, then those that were marked on such a page, to confirm one by one."""
    page = _check_page(inputs, k)
    if len(page.rows):
        return page
    rows = inputs.waiting[np.isin(inputs.waiting, inputs.candidates)][:k]
    return _ranking(rows, np.zeros(len(rows), np.float32), CHECKED_AGAIN, {})


def _check_page(inputs: Inputs, k: int, *, of: int = 0, source: str = "") -> Ranking:
    """Rank the waiting checks of a class (0: the one with most of them), those that have waited longest first."""
    is_ready = (inputs.waiting_classes > 0) & np.isin(inputs.waiting, inputs.candidates)
    rows, classes = inputs.waiting[is_ready], inputs.waiting_classes[is_ready]
    if not of and len(rows):
        numbers, counts = np.unique(classes, return_counts=True)
        of = int(numbers[np.argmax(counts)])
    rows = rows[classes == of][: min(k, MOST)]
    facts = {"of": of, "is_check": True}
    return _ranking(rows, np.zeros(len(rows), np.float32), CHECKED_AGAIN, facts, source=source)


def _ranking(rows: Rows, scores: Floats, reason: str, facts: dict[str, Any], *, source: str = "") -> Ranking:
    # Not complete while it has a page: the next page is a new pull, with the labels known by then.
    ranking = Ranking.of(rows, scores, reason, is_complete=not len(rows), facts=facts)
    return replace(ranking, reasons={source: reason}, sources=[source] * len(rows)) if source else ranking


def _predicted(inputs: Inputs) -> tuple[Rows, Rows, Floats]:
    """Return the predicted candidates that are not open checks, the ids of their classes, and the probabilities."""
    pool = _without(inputs.candidates, inputs.waiting)
    classes = np.array([0, *sorted(inputs.columns)], np.int64)

    def number(P: Floats) -> Floats:
        ids, _ = predicted_classes(P, inputs.columns)
        return np.where(ids == 0, np.nan, np.searchsorted(classes, ids)).astype(np.float32)

    def chance(P: Floats) -> Floats:
        ids, best = predicted_classes(P, inputs.columns)
        return np.where(ids == 0, np.nan, best).astype(np.float32)

    rows, numbers = inputs.scored(pool, number)
    _, chances = inputs.scored(pool, chance)
    return rows, classes[numbers.astype(np.int64)], chances


def _labels(inputs: Inputs) -> Rows:
    return inputs.labels[np.isin(inputs.labelled, inputs.with_vector(inputs.labelled))]


def _without(rows: Rows, others: Rows) -> Rows:
    return np.setdiff1d(rows, others, assume_unique=True) if len(others) else rows


def _rows(text: str) -> NDArray[np.int64]:
    try:
        return np.array([int(row) for row in text.split(",")], np.int64)
    except ValueError as error:
        raise BadParameter("Groups: give the rows of the images to split, separated by commas.") from error


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
