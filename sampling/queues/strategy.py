"""What a queue is: what it ranks, what comes out, which parameters it takes. The queues are in ``queues.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.parsing import OptionError, options_of, parse_texts
from modeling.algorithms.rows import blocks

if TYPE_CHECKING:
    from labeling.fields import Column
    from modeling.algorithms.neighbors import Graph
    from modeling.predictions import HeldOutPredictions
    from sampling.algorithms.risk import Carryover, Risk
    from sampling.queues.outlier_cache import Oddity

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
SCORED_AT_ONCE = 8192


class BadParameter(ValueError):
    """A parameter of a queue that can't be; says what can."""


@dataclass(frozen=True)
class Inputs:
    """What a strategy ranks: candidate rows (ascending), and arrays by row where there are any.

    ``X`` (n_rows, d) and ``probabilities`` (n_rows, c) may be memory-mapped and shorter than the dataset.
    ``labels`` are the class ids of the ``labelled`` rows; ``columns`` gives a class's columns by its id.
    ``projected`` and ``graph`` build or open what queues share: the vectors on their principal components, and
    the k-NN graph; ``oddness`` tells by method how much each row stands out, ``oddness_at_hand`` only if that takes
    no more than a moment, and ``inverse_lengths`` one over the length of each vector. ``held_out`` is what the model
    says of its own labels unseen, where the strategy needs it.
    ``pressed`` gives, by rows, numbers that are equal for rows whose label one key gave.
    ``waiting`` are the checks of sweeps that nobody has looked at again, and ``risk`` tells what checks have shown
    and what sweeps have promised.
    ``after`` is the row behind which a queue of all images goes on, and ``column`` gives a field's values by its name.
    """

    candidates: Rows
    rng: np.random.Generator
    probabilities: Floats | None = None
    columns: Mapping[int, list[int]] = field(default_factory=dict)
    X: Floats | None = None
    has_vector: NDArray[np.bool_] | None = None
    labelled: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    labels: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    projected: Callable[[], Floats] | None = None
    graph: Callable[[], Graph] | None = None
    oddness: Callable[[Oddity], Floats] | None = None
    oddness_at_hand: Callable[[], Floats | None] | None = None
    inverse_lengths: Callable[[], Floats] | None = None
    held_out: HeldOutPredictions | None = None
    pressed: Callable[[Rows], Rows] | None = None
    waiting: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    risk: Callable[[], tuple[Risk, Carryover]] | None = None
    after: int = -1
    column: Callable[[str], Column] | None = None

    def with_vector(self, rows: Rows) -> Rows:
        """Those of ``rows`` that have a vector."""
        if self.has_vector is None:
            return rows[:0]
        known = rows[rows < len(self.has_vector)]
        return known[self.has_vector[known]]

    def scored(self, rows: Rows, measure: Callable[[Floats], Floats]) -> tuple[Rows, Floats]:
        """Those of the ascending ``rows`` that have probabilities, and ``measure`` of these (n, c), a number each.

        In blocks that stay in the cache, so that a million are soon told.
        """
        assert self.probabilities is not None
        known = rows[: np.searchsorted(rows, len(self.probabilities))]
        scores = np.empty(len(known), np.float32)
        for part in blocks(len(known), SCORED_AT_ONCE):
            some = known[part]
            first, span = some[0], some[-1] + 1 - some[0]
            if span <= 2 * len(some):  # reading a few too many is quicker than gathering rows one by one
                told = measure(self.probabilities[first : first + span])
                scores[part] = told if span == len(some) else np.take(told, some - first, mode="clip")
            else:
                scores[part] = measure(self.probabilities[some])
        is_told = ~np.isnan(scores)
        return (known, scores) if is_told.all() else (known[is_told], scores[is_told])


@dataclass(frozen=True)
class Ranking:
    """Ranked rows with a score each (larger: earlier), the probability of each draw, and why in words.

    ``probabilities`` is the chance with which the item took its place given those before it: what estimators
    that correct for the selection need (Farquhar, Gal and Rainforth, ICLR 2021). 1 for a queue without chance.
    ``sources`` names for each row which part of a mixed queue it came from; ``reasons`` by that name. ``facts`` (as
    JSON) is what the page says about itself, kept with the round.
    """

    rows: Rows
    scores: Floats
    probabilities: Floats
    reasons: Mapping[str, str]
    is_complete: bool
    sources: Sequence[str] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rows: Rows, scores: NDArray[Any], reason: str, *, is_complete: bool, facts: Mapping[str, Any] | None = None
    ) -> Ranking:
        """Return a ranking without chance, of which all items have the same reason."""
        ones = np.ones(len(rows), np.float32)
        return cls(rows, scores.astype(np.float32), ones, {"": reason}, is_complete, facts=facts or {})

    def after_first(self, n: int) -> Ranking:
        """The ranking without its first ``n`` ranks."""
        sources = None if self.sources is None else self.sources[n:]
        return replace(
            self, rows=self.rows[n:], scores=self.scores[n:], probabilities=self.probabilities[n:], sources=sources
        )


@dataclass(frozen=True)
class NoParams:
    """A queue without parameters."""


@dataclass(frozen=True)
class Strategy:
    """One queue. ``deals`` queues give out items to label (leased, never the same to two people).

    A ``sweep`` ranks one page, which is decided at once, and so takes unlabelled items only.
    One that ``needs_held_out`` goes through labels instead, and suggests what fits that had not seen them say.
    A ``slow`` one is ranked by a worker; its modules are loaded there and not by the web process. ``kept`` is how
    many ranks a round keeps.
    """

    name: str
    title: str
    help: str
    rank: Callable[[Inputs, Any, int], Ranking]
    params: type = NoParams
    needs_model: bool = False
    needs_vectors: bool = False
    needs_held_out: bool = False
    deals: bool = True
    is_slow: bool = False
    follows_model: bool = False
    is_listed: bool = True
    is_sweep: bool = False
    kept: int = 2000

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The values of each parameter that is a choice."""
        return {option.name: option.choices for option in options_of(self.params).values() if option.choices}


def parse_params(strategy: Strategy, given: dict[str, str]) -> Any:
    """The strategy's parameters from text; unknown names are left alone, bad values refused in words."""
    try:
        return parse_texts(strategy.params, given)
    except OptionError as error:
        value = given[error.field][:40]
        raise BadParameter(f"{strategy.title}: {error.field} can't be {value!r}. {error.words}") from error
