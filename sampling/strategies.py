"""The queues: what each is called, needs and does. A new queue is one function and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from sampling.algorithms.ranking import shuffled, top
from sampling.algorithms.uncertainty import MEASURES, Measure

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class BadParameter(ValueError):
    """A parameter of a queue that can't be; says what can."""


@dataclass(frozen=True)
class Inputs:
    """What a strategy ranks: candidate rows (ascending), and arrays by row where the queue needs them."""

    candidates: Rows
    rng: np.random.Generator
    probabilities: Floats | None = None
    n_rows: int = 0


@dataclass(frozen=True)
class Ranking:
    """Ranked rows with a score each (larger: earlier), the probability of each draw, and why in words.

    ``probabilities`` is the chance with which the item took its place given those before it: what estimators
    that correct for the selection need (Farquhar, Gal and Rainforth, ICLR 2021). 1 for a queue without chance.
    """

    rows: Rows
    scores: Floats
    probabilities: Floats
    reason: str
    is_complete: bool


@dataclass(frozen=True)
class NoParams:
    """A queue without parameters."""


@dataclass(frozen=True)
class UncertainParams:
    """How being unsure is measured."""

    measure: Measure = "margin"


@dataclass(frozen=True)
class Strategy:
    """One queue. ``deals`` queues give out items to label (leased, never the same to two people)."""

    name: str
    title: str
    help: str
    rank: Callable[[Inputs, Any, int], Ranking]
    params: type = NoParams
    needs_model: bool = False
    deals: bool = True
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)


def uncertain(inputs: Inputs, params: UncertainParams, k: int) -> Ranking:
    """The candidates about which the model is least sure."""
    assert inputs.probabilities is not None
    known = inputs.candidates[inputs.candidates < len(inputs.probabilities)]
    scores = MEASURES[params.measure](np.asarray(inputs.probabilities[known]))
    best = top(scores, k)
    usable = int(np.count_nonzero(~np.isnan(scores)))
    return Ranking(
        rows=known[best],
        scores=scores[best],
        probabilities=np.ones(len(best), np.float32),
        reason=f"The model is unsure ({params.measure})",
        is_complete=len(best) == usable,
    )


def random(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """The candidates in an order drawn from the seed."""
    n = len(inputs.candidates)
    drawn = shuffled(n, k, inputs.rng)
    return Ranking(
        rows=inputs.candidates[drawn],
        scores=np.linspace(1, 0, num=len(drawn), dtype=np.float32),
        probabilities=(1 / (n - np.arange(len(drawn)))).astype(np.float32),
        reason="Drawn at random",
        is_complete=len(drawn) == n,
    )


def everything(inputs: Inputs, params: NoParams, k: int) -> Ranking:
    """The candidates in the order of the folder."""
    rows = inputs.candidates[:k]
    return Ranking(
        rows=rows,
        scores=np.zeros(len(rows), np.float32),
        probabilities=np.ones(len(rows), np.float32),
        reason="In the order of the folder",
        is_complete=len(rows) == len(inputs.candidates),
    )


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "uncertain",
            "Uncertain",
            "Images that the model can't decide about: each label here teaches it most.",
            uncertain,
            UncertainParams,
            needs_model=True,
            choices={"measure": get_args(Measure)},
        ),
        Strategy("random", "Random", "Unlabelled images drawn by chance, without any preference.", random),
        Strategy("all", "All", "Every image in the order of the folder.", everything, deals=False),
    )
}


def parse_params(strategy: Strategy, given: dict[str, str]) -> Any:
    """The strategy's parameters from text; unknown names are left alone, bad values refused in words."""
    hints = get_type_hints(strategy.params)
    values: dict[str, Any] = {}
    for item in fields(strategy.params):
        raw = given.get(item.name, "")
        if raw == "":
            continue
        values[item.name] = _parsed(strategy, item.name, hints[item.name], raw)
    return strategy.params(**values)


def _parsed(strategy: Strategy, name: str, kind: Any, raw: str) -> Any:
    allowed = strategy.choices.get(name)
    if allowed is not None:
        if raw not in allowed:
            raise BadParameter(
                f"{strategy.title}: {name} has to be one of {', '.join(allowed)}, not {raw!r}."
            )
        return raw
    try:
        return kind(raw)
    except ValueError as error:
        raise BadParameter(f"{strategy.title}: {name} can't be {raw!r}.") from error


__all__ = ["STRATEGIES", "BadParameter", "Inputs", "Ranking", "Strategy", "parse_params"]
