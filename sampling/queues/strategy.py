"""Define what a queue is: its inputs, its ranking and its parameters. The queues are in ``registry.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.parsing import options_of, parse_texts
from modeling.algorithms.rows import blocks

if TYPE_CHECKING:
    from labeling.fields import Column
    from modeling.algorithms.neighbors import Graph
    from modeling.predictions import HeldOutPredictions
    from sampling.algorithms.risk import Carryover, Risk
    from sampling.classes.review import Review
    from sampling.queues.outlier_cache import Oddity

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
SCORED_AT_ONCE = 8192


class BadParameter(Refusal):
    """Raised for an invalid parameter of a queue; says what is allowed."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of a strategy: candidate rows (ascending), and arrays by row where they exist.

    ``X`` (n_rows, d) and ``probabilities`` (n_rows, c) may be memory-mapped and shorter than the dataset.
    ``labels`` are the class ids of the ``labelled`` rows; ``columns`` maps a class id to its columns.
    ``projected`` and ``graph`` open or compute what queues share: the principal components of the vectors, and the
    k-NN graph. ``oddness`` returns outlier scores by method, ``oddness_at_hand`` the same if it is quick, or None.
    ``inverse_lengths`` returns one over the length of each vector. ``held_out`` are the model's held-out predictions
    for its training labels, if the strategy needs them.
    ``pressed`` maps rows to ids that are equal for rows labeled together on one sweep page.
    ``waiting`` are the rows of checks not decided yet, and ``waiting_classes`` the ids of the classes that they were
    accepted as (0: to be decided one by one); ``risk`` returns what checks found and what sweeps promised.
    ``after`` is the row after which the queue All continues; ``column`` returns a field's values by name.
    ``outside`` returns the embeddings (n, d) of examples that are no items, by their names. ``review`` returns what a
    split left open, by its id (0: the newest).
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
    waiting_classes: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    risk: Callable[[], tuple[Risk, Carryover]] | None = None
    after: int = -1
    column: Callable[[str], Column] | None = None
    outside: Callable[[Sequence[str]], Floats] | None = None
    review: Callable[[int], Review] | None = None

    def with_vector(self, rows: Rows) -> Rows:
        """Return those of ``rows`` that have an embedding."""
        if self.has_vector is None:
            return rows[:0]
        covered = rows[rows < len(self.has_vector)]
        return covered[self.has_vector[covered]]

    def scored(self, rows: Rows, measure: Callable[[Floats], Floats]) -> tuple[Rows, Floats]:
        """Return those of the ascending ``rows`` that have probabilities, and ``measure`` (n, c) -> (n,) of these.

        Works in blocks that fit the CPU cache, which makes it fast for a million rows.
        """
        assert self.probabilities is not None
        covered = rows[: np.searchsorted(rows, len(self.probabilities))]
        scores = np.empty(len(covered), np.float32)
        for part in blocks(len(covered), SCORED_AT_ONCE):
            block = covered[part]
            first, span = block[0], block[-1] + 1 - block[0]
            if span <= 2 * len(block):  # reading a few unneeded rows is faster than gathering single ones
                measured = measure(self.probabilities[first : first + span])
                scores[part] = measured if span == len(block) else np.take(measured, block - first, mode="clip")
            else:
                scores[part] = measure(self.probabilities[block])
        has_score = ~np.isnan(scores)
        return (covered, scores) if has_score.all() else (covered[has_score], scores[has_score])


@dataclass(frozen=True)
class Ranking:
    """Ranked rows with their scores (larger is earlier), the probability of each draw, and the reason as text.

    ``probabilities`` is the chance with which an item was drawn at its rank, given those before it. Estimators that
    correct for the selection need it (Farquhar, Gal and Rainforth, ICLR 2021). It is 1 for queues without chance.
    ``sources`` names for each row the part of a mixed queue it came from, and ``reasons`` is keyed by that name.
    ``facts`` (JSON) is what the page shows about the ranking; it is stored with the round.
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
        """Return a ranking without random draws, with the same reason for all items."""
        ones = np.ones(len(rows), np.float32)
        return cls(rows, scores.astype(np.float32), ones, {"": reason}, is_complete, facts=facts or {})

    def after_first(self, n: int) -> Ranking:
        """Return the ranking without its first ``n`` ranks."""
        sources = None if self.sources is None else self.sources[n:]
        return replace(
            self, rows=self.rows[n:], scores=self.scores[n:], probabilities=self.probabilities[n:], sources=sources
        )


@dataclass(frozen=True)
class NoParams:
    """A queue without parameters."""


@dataclass(frozen=True)
class Strategy:
    """One queue. If it ``deals``, its items are leased to the window that shows them.

    If it ``is_sweep``, it ranks one page, which is decided at once, and takes unlabeled items only.
    If it ``needs_held_out``, it ranks labeled items, and its suggestions are the held-out predictions.
    If it ``is_slow``, a worker ranks it; only workers import its modules. ``kept`` is the number of ranks that a round
    stores.
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
        """Return the possible values of each parameter that is a choice."""
        return {option.name: option.choices for option in options_of(self.params).values() if option.choices}


def parse_params(strategy: Strategy, texts: Mapping[str, Any]) -> Any:
    """Parse the strategy's parameters from text, ignoring unknown names. Raises BadParameter for invalid values."""
    try:
        return parse_texts(strategy.params, texts)
    except Refusal as error:
        value = texts[error.field][:40]
        raise BadParameter(f"{strategy.title}: {error.field} can't be {value!r}. {error.message}") from error
