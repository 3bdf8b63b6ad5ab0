"""From logits to probabilities: what may stand between a classifier and its softmax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.features import Float32

Method = Literal["temperature", "platt", "vector", "none"]

# So little chance of all other classes together counts as none: its logarithm must stay a number.
SMALLEST_REST = np.float32(1e-30)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the logits of a fitted classifier are corrected before the softmax; at first, not at all.

    ``temperature`` divides the logits. ``vector`` multiplies those of each class by ``scale`` (c,) and adds ``shift``
    (c,). ``platt`` does the same to the log odds of each class against all others, which the sigmoid would turn into
    its chance; the softmax of the logarithms of these chances makes them sum to 1.
    """

    method: Method = "none"
    temperature: float = 1.0
    scale: Float32 = field(default_factory=lambda: np.ones(1, np.float32))
    shift: Float32 = field(default_factory=lambda: np.zeros(1, np.float32))

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"There is no calibration called {self.method}.")
        if not self.temperature > 0:
            raise ValueError("The temperature must be above 0.")

    @classmethod
    def of(cls, method: str, temperature: float, params: Mapping[str, Any]) -> Calibration:
        """What was written down as a method, a temperature and `params`."""
        if method not in ("platt", "vector"):
            return cls("temperature", temperature)
        scale, shift = (np.array(params[name], np.float32) for name in ("scale", "shift"))
        return cls("platt" if method == "platt" else "vector", 1.0, scale, shift)

    @property
    def params(self) -> dict[str, list[float]]:
        """JSON-able; empty where the temperature says all."""
        if self.method not in ("platt", "vector"):
            return {}
        return {"scale": self.scale.tolist(), "shift": self.shift.tolist()}

    def linear(self, weights: Float32, bias: Float32) -> tuple[Float32, Float32]:
        """(d, c) and (c,): as much of the correction as can be done to a head in place of every logit."""
        if self.method == "platt":
            return weights, bias
        factor = self.scale / np.float32(self.temperature)
        return weights * factor, bias * factor + self.shift

    def finish(self, logits: Float32) -> None:
        """Turn what a head made `linear` says, (n, c) float32, into what goes into the softmax, in place."""
        if self.method == "platt":
            odds = log_odds(logits)
            odds *= self.scale
            odds += self.shift
            np.negative(np.logaddexp(0, -odds), out=logits)

    def logits(self, logits: NDArray[np.floating[Any]]) -> Float32:
        """(n, c) float32: the corrected logits of a head's own (n, c); their softmax are the probabilities."""
        corrected = np.array(logits, np.float32)
        if self.method != "platt":
            corrected *= self.scale / np.float32(self.temperature)
            corrected += self.shift
        self.finish(corrected)
        return corrected


def log_odds(logits: Float32) -> Float32:
    """(n, c) float32: of each class against all others, of the softmax of (n, c) logits.

    The others of the likeliest class are summed without it: one minus its chance would be rounded to nothing.
    """
    every = np.arange(len(logits))
    gaps = logits - logits.max(axis=1, keepdims=True)
    chance = np.exp(gaps)
    best = gaps.argmax(axis=1)
    rest = chance.sum(axis=1, keepdims=True) - chance
    chance[every, best] = 0
    rest[every, best] = chance.sum(axis=1)
    np.maximum(rest, SMALLEST_REST, out=rest)
    odds: Float32 = gaps - np.log(rest)
    return odds
