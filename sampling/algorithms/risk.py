"""Plan sweeps: how many images can be accepted together, which are checked again, and what the checks have shown.

A page of images is predicted as one class. The user marks those that are not, and accepts the rest at once. Wrong
labels are images that are not of the class and that the user overlooked. With the calibrated probability p of each
image, the expected share of wrong labels is ``miss * doubt * mean(1 - p)``. ``miss`` is the share overlooked:
Beta-distributed, and estimated from hidden checks (images of a page shown again later without the suggestion), like
gold questions in crowdsourcing. ``doubt`` is how many times more often the model was wrong on recent pages than
predicted: Gamma-Poisson, estimated from the marks. Both are conjugate updates (Gelman and others, *Bayesian Data
Analysis*, 3rd edition 2013, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from modeling.algorithms.rows import Floats, Rows
from sampling.algorithms.estimates import Estimate

# Prior: one in ten is overlooked, with the weight of ten observations. People find the odd one out of a page of similar
# images in about 85 to 98 % of cases.
MISS_PRIOR = (1.0, 9.0)
# Nobody is assumed to overlook more than this.
MAX_MISS = 0.75
# Prior: the model is calibrated, with the weight of this many wrong images.
DOUBT_PRIOR = 4.0
# Probability that a check disagrees by mistake: a slip of the key, and a check must disagree twice to count.
SLIP = 0.02**2
# Marking on a page costs less than labeling one by one while no more than half of the images are wrong; with more marks
# than this attention declines.
MAX_WRONG_SHARE = 1 / 2
MAX_MARKS = 24.0
# Reserve of two standard deviations of the number of wrong labels, which varies by chance, but at most a third of the
# wrong labels allowed. Chosen by replays (benchmarks/sweeps.py), with other seeds than those reported.
RESERVE, MAX_RESERVE = 2.0, 1 / 3
# The first pages may use the promise fully: they borrow this share of what it allows for the images that are left.
ADVANCE = 0.05
CHECKED_SHARE = 1 / 25
MIN_CHECKED_PAGE = 10
ENOUGH_CHECKS = 100


@dataclass(frozen=True)
class Risk:
    """Estimates from earlier sweeps: the share overlooked, and the factor of the model's overconfidence (1: none).

    ``n_known`` is the number of decided checks.
    """

    miss: float = MISS_PRIOR[0] / sum(MISS_PRIOR)
    doubt: float = 1.0
    n_known: int = 0


@dataclass(frozen=True)
class Carryover:
    """Labels from earlier sweeps and the wrong ones expected among them; unused error budget carries over.

    ``left`` is the number of images without a label.
    """

    labels: float = 0.0
    wrong: float = 0.0
    left: float = 0.0


NO_CARRYOVER = Carryover()


@dataclass(frozen=True)
class Page:
    """A page to sweep: the number of most confident images, how many are wrong, and the share that stays wrong."""

    n: int
    expected_wrong: float
    promised_error: float  # share of the page's labels, after the user has marked


def plan_page(p: ArrayLike, risk: Risk, *, at_most: float, largest: int, carryover: Carryover = NO_CARRYOVER) -> Page:
    """Return the longest page that keeps the expected share of wrong labels of all sweeps at or below ``at_most``.

    Some of it is reserved for chance: a third in small collections, less where many wrong labels are allowed. The first
    pages may use the reserve: the model is at its worst then, and later pages have fewer errors.

    Parameters
    ----------
    p
        (n,) calibrated probability of the class, in [0, 1], descending.
    risk
        Estimates for the user and the model.
    at_most
        Share of wrong labels to promise, above 0.
    largest
        Number of images that fit on the screen.
    carryover
        What earlier sweeps promised. If it was less than planned, this page may promise more; if it was more (the
        share was larger then, or the reserve was used), this page keeps to the plan alone.

    Returns
    -------
    Page
        The most confident images, with at most half of them and at most 24 wrong. ``n`` is 0 if not even the first
        image keeps the promise, and without images.

    Raises
    ------
    ValueError
        If probabilities are outside [0, 1], NaN, or ascending, or if ``at_most`` is not in (0, 1].
    """
    probabilities = np.asarray(p, np.float64)[: max(largest, 0)]
    if not 0 < at_most <= 1:
        raise ValueError("The promised share must be above 0 and at most 1.")
    if not ((probabilities >= 0) & (probabilities <= 1)).all() or (np.diff(probabilities) > 0).any():
        raise ValueError("Probabilities must lie between 0 and 1, in descending order.")
    wrong = np.minimum(risk.doubt * np.cumsum(1 - probabilities), np.arange(1, len(probabilities) + 1))
    rank = np.arange(1, len(probabilities) + 1)
    share = wrong / rank
    labels = carryover.labels + rank
    most = at_most * (carryover.labels + carryover.left)  # wrong labels allowed in the end
    planned = 1 - min(MAX_RESERVE, RESERVE / np.sqrt(most) if most else MAX_RESERVE)
    together = np.minimum(labels, planned * labels + ADVANCE * carryover.left) * at_most - carryover.wrong
    allowed = np.maximum(together, planned * at_most * rank)
    fits = (risk.miss * wrong <= allowed) & (share <= MAX_WRONG_SHARE) & (wrong <= MAX_MARKS)
    n = int(np.count_nonzero(np.logical_and.accumulate(fits)))
    if n == 0:
        return Page(0, 0.0, 0.0)
    return Page(n, float(wrong[n - 1]), float(risk.miss * share[n - 1]))


def most_confident(pages: Sequence[Page]) -> int:
    """Return the index of the page to sweep first.

    It has the lowest share of wrong images among the pages at least half as long as the longest. Less confident pages
    wait while the model improves. Ties go to the first. Raises ValueError for no pages.
    """
    longest = max(page.n for page in pages)
    eligible = [i for i, page in enumerate(pages) if 2 * page.n >= longest]
    return min(eligible, key=lambda i: pages[i].expected_wrong / max(pages[i].n, 1))


def draw_checks(n: int, rng: np.random.Generator, *, n_known: int = 0) -> Rows:
    """Draw ascending positions (m,) of a page of ``n`` images to check again: one in 25, at least one.

    None for pages of fewer than ten images. Beyond 100 decided checks (``n_known``) the share decreases, down to one
    per page: precision grows only with the square root of their number.
    """
    if n < MIN_CHECKED_PAGE:
        return np.empty(0, np.int64)
    m = max(1, round(n * CHECKED_SHARE * min(1.0, ENOUGH_CHECKS / max(n_known, 1))))
    return np.sort(rng.choice(n, size=m, replace=False)).astype(np.int64)


def miss_rate(n_caught: int, disagreed: ArrayLike, *, slip: float = SLIP) -> float:
    """Return the expected share of wrong images that the user overlooks on a page.

    Parameters
    ----------
    n_caught
        Checks that the user marked on the page.
    disagreed
        (m,) probability of the swept class, at the time of the page, of each check that was accepted with the page
        and later labeled otherwise, twice.
    slip
        Share of such decisions made by mistake.

    Notes
    -----
    A disagreement is either an overlooked image or a slip of the later decision; by Bayes' theorem with odds ``miss *
    (1 - p) : slip * p``, where ``miss`` is the prior mean. Otherwise every slip on images of high confidence would
    count as carelessness, and pages would shrink for no reason.

    Checks are shown as pages too, where the same share m is overlooked again: f found stand for f / (1 - m)
    overlooked ones. Hence m = (a + f / (1 - m)) / (a + b + c + f / (1 - m)) with the prior Beta(a, b) and c caught
    images, of which the smaller solution is returned. Without a prior it is f / c, the estimate from two searches of
    the same page (capture and recapture). At most `MAX_MISS`.
    """
    prior, found = sum(MISS_PRIOR), _overlooked(disagreed, slip)
    linear = prior + n_caught + found + MISS_PRIOR[0]
    root = linear**2 - 4 * (prior + n_caught) * (MISS_PRIOR[0] + found)
    if root < 0:  # more were found later than caught at once, far from what the prior expects
        return MAX_MISS
    return float(min(MAX_MISS, (linear - np.sqrt(root)) / (2 * (prior + n_caught))))


def with_overlooked(share: Estimate, n_caught: int, disagreed: ArrayLike, *, slip: float = SLIP) -> Estimate:
    """Return the share of wrong labels found by checks, corrected for those that the checks overlooked as well.

    The upper limit assumes the upper limit of the overlooked share (97.5 % of its Beta distribution), so that the
    interval remains valid; the lower limit is unchanged. Parameters as for `miss_rate`.
    """
    miss = miss_rate(n_caught, disagreed, slip=slip)
    found = _overlooked(disagreed, slip) / (1 - miss)
    largest = min(MAX_MISS, float(betaincinv(MISS_PRIOR[0] + found, MISS_PRIOR[1] + n_caught, 0.975)))
    return replace(share, value=min(1.0, share.value / (1 - miss)), high=min(1.0, share.high / (1 - largest)))


def _overlooked(disagreed: ArrayLike, slip: float) -> float:
    """Return how many of the checks that disagreed are expected to be overlooked images rather than slips."""
    p = np.asarray(disagreed, np.float64)
    overlooked = MISS_PRIOR[0] / sum(MISS_PRIOR) * (1 - p)
    return float(np.sum(overlooked / (overlooked + slip * p)))


def estimate_doubt(n_marked: float, expected_wrong: float) -> float:
    """Return the factor by which the model underestimates its errors, from the marks of accepted pages; at least 1.

    ``expected_wrong`` is the sum of 1 - p over those pages. For an underconfident model the factor stays 1.
    """
    return max(1.0, (DOUBT_PRIOR + n_marked) / (DOUBT_PRIOR + expected_wrong))


def predicted_classes(P: ArrayLike, columns: Mapping[int, list[int]]) -> tuple[Rows, Floats]:
    """Return the predicted class id (n,) of rows of probabilities (n, c), and its probability (n,).

    ``columns`` maps class ids to their columns: those of merged classes are added, those of deleted ones are missing.
    Ties go to the first class. Without classes: id 0 with probability 0.
    """
    probabilities = np.asarray(P)
    class_ids = list(columns)
    index, best = np.zeros(len(probabilities), np.int32), np.zeros(len(probabilities), np.float32)
    for position, own in enumerate(columns.values(), 1):
        class_probability = probabilities[:, own[0]] if len(own) == 1 else probabilities[:, own].sum(axis=1)
        better = class_probability > best
        np.copyto(index, position, where=better)
        np.copyto(best, class_probability, where=better)
    return np.array([0, *class_ids], np.int64)[index], np.minimum(best, 1)
