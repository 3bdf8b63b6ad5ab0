"""Dataclasses as JSON objects of what differs from their defaults. No library: a quick training's program has this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

_LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Params:
    """What is stored with a dataset. Subclasses check their values when they are made, and raise ValueError."""

    @classmethod
    def from_params(cls, params: Mapping[str, Any] | None) -> Self:
        """Return what :meth:`as_params` described; lists become tuples. Raises ValueError for anything else."""
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in (params or {}).items()}
        unknown = sorted(given.keys() - {field.name for field in fields(cls)})
        require(not unknown, f"Unknown: {', '.join(unknown)}.")
        return cls(**given)

    def as_params(self) -> dict[str, Any]:
        """Return what differs from the defaults, for JSON."""
        changed = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def require(holds: bool, words: str) -> None:
    """Raise ValueError with ``words`` unless it ``holds``."""
    if not holds:
        raise ValueError(words)


def is_number(value: object) -> bool:
    """Return whether a value is a finite number of bearable size."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value) and abs(value) <= _LARGEST  # type: ignore[arg-type]
