"""Sweeps: how many images may be accepted together, which of them are looked at again, and what that has shown.

A page of images is predicted as one class. The person marks those that are not, and accepts the rest at once. Wrong
labels are the images that are not of the class and that the person overlooked, so with p the calibrated probability
of each image the share of wrong labels to expect is ``miss * doubt * mean(1 - p)``. ``miss`` is the share that is
overlooked: Beta-distributed, and learnt from hidden checks (images of a page that come back later, without the
suggestion), as the trap images of crowd-sourcing do. ``doubt`` says by how much more often the model was wrong on
the last pages than it thought: Gamma-Poisson, learnt from the marks. Both are conjugate updates (Gelman and others,
*Bayesian Data Analysis*, 3rd edition 2013, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modeling.algorithms.rows import Floats, Rows

# Before anything is known one in ten is overlooked, with the weight of ten observations: people find the odd one out
# of a page of like images in some 85 to 98 % of all cases.
MISS_PRIOR = (1.0, 9.0)
# The model is taken at its word with the weight of so many wrong images.
DOUBT_PRIOR = 4.0
# A key goes astray so often that a check must disagree twice to count; both may still be mistakes.
SLIP = 0.02**2
# A click and a part of a key still cost less than a key and a look of its own, while no more than half are wrong; with
# more marks than these attention fades.
COMFORTABLE_SHARE = 1 / 2
COMFORTABLE_MARKS = 24.0
CHECKED_SHARE = 1 / 25
SMALLEST_CHECKED = 10
ENOUGH_CHECKS = 100


@dataclass(frozen=True)
class Risk:
    """What earlier sweeps have shown: the share that is overlooked, and how far to distrust the model (1: not).

    ``n_known`` checks have been decided.
    """

    miss: float = MISS_PRIOR[0] / sum(MISS_PRIOR)
    doubt: float = 1.0
    n_known: int = 0


@dataclass(frozen=True)
class Kept:
    """Labels that sweeps gave up to now, and how many wrong ones were reckoned with: what was not used carries over."""

    labels: float = 0.0
    wrong: float = 0.0


NOTHING_KEPT = Kept()


@dataclass(frozen=True)
class Page:
    """How many of the most certain images to sweep, how many of these are wrong, and how many stay wrong."""

    n: int
    expected_wrong: float
    promised_error: float  # share of the page's labels, after the person has looked


def page_of(p: ArrayLike, risk: Risk, *, at_most: float, largest: int, kept: Kept = NOTHING_KEPT) -> Page:
    """The longest page of most certain images with which at most the share ``at_most`` of all swept labels is wrong.

    Parameters
    ----------
    p
        (n,) calibrated probability of the class, in [0, 1], the largest first.
    risk
        What is known of the person and the model.
    at_most
        Share of wrong labels to promise, above 0.
    largest
        Images that the screen holds.
    kept
        What earlier sweeps promised. Where they promised less than they might, this page may promise more; where
        they promised more (the share was larger then), it has to keep the promise on its own.

    Returns
    -------
    Page
        With half of the images wrong and 24 wrong ones at most. ``n`` is 0 when not even the first image keeps the
        promise, and for no images.

    Raises
    ------
    ValueError
        Probabilities outside [0, 1], NaN, or rising; ``at_most`` not in (0, 1].
    """
    sure = np.asarray(p, np.float64)[: max(largest, 0)]
    if not 0 < at_most <= 1:
        raise ValueError("The promised share has to lie above 0 and be at most 1.")
    if not ((sure >= 0) & (sure <= 1)).all() or (np.diff(sure) > 0).any():
        raise ValueError("Probabilities have to lie between 0 and 1, the largest first.")
    wrong = np.minimum(risk.doubt * np.cumsum(1 - sure), np.arange(1, len(sure) + 1))
    place = np.arange(1, len(sure) + 1)
    share = wrong / place
    slack = max(0.0, at_most * kept.labels - kept.wrong)
    fits = (risk.miss * wrong <= at_most * place + slack) & (share <= COMFORTABLE_SHARE) & (wrong <= COMFORTABLE_MARKS)
    n = int(np.count_nonzero(np.logical_and.accumulate(fits)))
    if n == 0:
        return Page(0, 0.0, 0.0)
    return Page(n, float(wrong[n - 1]), float(risk.miss * share[n - 1]))


def surest(pages: Sequence[Page]) -> int:
    """Which page to sweep first: of those at least half as long as the longest, the one with the fewest wrong in it.

    What is less sure waits, and the model learns meanwhile. Equal ones: the first; ValueError for no pages.
    """
    longest = max(page.n for page in pages)
    worth = [i for i, page in enumerate(pages) if 2 * page.n >= longest]
    return min(worth, key=lambda i: pages[i].expected_wrong / max(pages[i].n, 1))


def draw_checks(n: int, rng: np.random.Generator, *, n_known: int = 0) -> Rows:
    """Places (m,) of a page of ``n`` to look at again, ascending: one in 25, at least one of ten, none of fewer.

    From 100 checks decided (``n_known``) on ever fewer, down to one a page: what they tell grows by the root only.
    """
    if n < SMALLEST_CHECKED:
        return np.empty(0, np.int64)
    m = max(1, round(n * CHECKED_SHARE * min(1.0, ENOUGH_CHECKS / max(n_known, 1))))
    return np.sort(rng.choice(n, size=m, replace=False)).astype(np.int64)


def miss_rate(n_caught: int, disagreed: ArrayLike, *, slip: float = SLIP) -> float:
    """The expected share of wrong images that the person overlooks.

    Parameters
    ----------
    n_caught
        Checks that the person marked on the page.
    disagreed
        (m,) probability of the swept class, as the page knew it, of each check that was accepted with the page and
        decided otherwise later, twice.
    slip
        Share of such decisions that go astray.

    Notes
    -----
    A disagreement is an overlooked image, or a slip of the later decision; by Bayes the former with the odds
    ``miss * (1 - p) : slip * p``, with the prior's mean for ``miss``. Without that, every slip on images that
    are nearly sure would look like carelessness, and pages would shrink for nothing.
    """
    p = np.asarray(disagreed, np.float64)
    overlooked = MISS_PRIOR[0] / sum(MISS_PRIOR) * (1 - p)
    missed = float(np.sum(overlooked / (overlooked + slip * p)))
    return (MISS_PRIOR[0] + missed) / (sum(MISS_PRIOR) + missed + n_caught)


def doubt_of(n_marked: float, expected_wrong: float) -> float:
    """By which factor the model's own doubts are too small, from the marks of accepted pages; at least 1.

    ``expected_wrong`` is the sum of 1 - p over those pages. A model that doubts too much is not made bolder.
    """
    return max(1.0, (DOUBT_PRIOR + n_marked) / (DOUBT_PRIOR + expected_wrong))


def spread_in(n: int, extra: int, rng: np.random.Generator, *, one_in: int = 10) -> Rows:
    """Places (m,) at which ``extra`` further images come among ``n``: one in each ``one_in`` places of the result.

    The place within each ten is drawn. Those that find no ten of their own stay out, unless there is nothing else
    (``n`` is 0); ascending.
    """
    if n == 0:
        return np.arange(extra, dtype=np.int64)
    m = min(extra, -(-n // (one_in - 1)))
    places = np.arange(m) * one_in + rng.integers(one_in, size=m)
    return np.asarray(np.minimum(places, n + m - 1), np.int64)


def predicted_as(P: ArrayLike, columns: Mapping[int, list[int]]) -> tuple[Rows, Floats]:
    """The likeliest class's id (n,) of rows of probabilities (n, c), and its probability (n,).

    ``columns`` are those of each class; those of merged classes count together, those of deleted ones not at all.
    Equal probabilities go to the first class. No classes: id 0 with probability 0.
    """
    given = np.asarray(P)
    known = list(columns)
    number, best = np.zeros(len(given), np.int32), np.zeros(len(given), np.float32)
    for position, own in enumerate(columns.values(), 1):
        chance = given[:, own[0]] if len(own) == 1 else given[:, own].sum(axis=1)
        better = chance > best
        np.copyto(number, position, where=better)
        np.copyto(best, chance, where=better)
    return np.array([0, *known], np.int64)[number], np.minimum(best, 1)
