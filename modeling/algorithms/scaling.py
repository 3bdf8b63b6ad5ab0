"""Correct the logits of a classifier before the softmax: temperature, vector and Platt scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from modeling.algorithms.features import Float32

Method = Literal["temperature", "platt", "vector", "none"]

# Probabilities of all other classes together are clipped to this, so that the logarithm stays finite.
SMALLEST_REST = np.float32(1e-30)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A correction applied to the logits of a fitted classifier before the softmax; the default changes nothing.

    ``temperature`` divides the logits. ``vector`` multiplies the logits of each class by ``scale`` (c,) and adds
    ``shift`` (c,). ``platt`` does the same to the one-vs-rest log odds of each class, whose sigmoid is the probability
    of that class; the softmax of the logarithms of these probabilities makes them sum to 1.
    """

    method: Method = "none"
    temperature: float = 1.0
    scale: Float32 = field(default_factory=lambda: np.ones(1, np.float32))
    shift: Float32 = field(default_factory=lambda: np.zeros(1, np.float32))

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"There is no calibration method called {self.method}.")
        if not self.temperature > 0:
            raise ValueError("The temperature must be above 0.")

    @classmethod
    def of(cls, method: str, temperature: float, params: Mapping[str, Any]) -> Calibration:
        """Build a calibration from a stored method, temperature and `params`."""
        if method not in ("platt", "vector"):
            return cls("temperature", temperature)
        scale, shift = (np.array(params[name], np.float32) for name in ("scale", "shift"))
        return cls("platt" if method == "platt" else "vector", 1.0, scale, shift)

    @property
    def params(self) -> dict[str, list[float]]:
        """Return the parameters as a JSON-serializable dict; empty if the temperature is the only one."""
        if self.method not in ("platt", "vector"):
            return {}
        return {"scale": self.scale.tolist(), "shift": self.shift.tolist()}

    def linear(self, weights: Float32, bias: Float32) -> tuple[Float32, Float32]:
        """Fold the linear part of the correction into the weights (d, c) and bias (c,) of a head."""
        if self.method == "platt":
            return weights, bias
        factor = self.scale / np.float32(self.temperature)
        return weights * factor, bias * factor + self.shift

    def finish(self, logits: Float32) -> None:
        """Complete the correction of logits (n, c) float32 from a head changed by `linear`, in place."""
        if self.method == "platt":
            odds = log_odds(logits)
            odds *= self.scale
            odds += self.shift
            np.negative(np.logaddexp(0, -odds), out=logits)

    def logits(self, logits: NDArray[np.floating[Any]]) -> Float32:
        """Return the corrected logits (n, c) float32 of the original ones; their softmax gives the probabilities."""
        corrected = np.array(logits, np.float32)
        if self.method != "platt":
            corrected *= self.scale / np.float32(self.temperature)
            corrected += self.shift
        self.finish(corrected)
        return corrected


def log_odds(logits: Float32) -> Float32:
    """Return the one-vs-rest log odds (n, c) float32 of each class under the softmax of (n, c) logits.

    For the most likely class, the other probabilities are summed directly: one minus its own would round to zero.
    """
    rows = np.arange(len(logits))
    gaps = logits - logits.max(axis=1, keepdims=True)
    probability = np.exp(gaps)
    best = gaps.argmax(axis=1)
    rest = probability.sum(axis=1, keepdims=True) - probability
    probability[rows, best] = 0
    rest[rows, best] = probability.sum(axis=1)
    np.maximum(rest, SMALLEST_REST, out=rest)
    odds: Float32 = gaps - np.log(rest)
    return odds
