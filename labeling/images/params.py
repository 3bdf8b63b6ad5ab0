"""Convert dataclasses to and from JSON objects of the values that differ from their defaults.

Uses no library, because the programs of quick training include this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

_LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Params:
    """Options stored with a dataset. Subclasses validate their values on creation and raise ValueError."""

    @classmethod
    def from_params(cls, params: Mapping[str, Any] | None) -> Self:
        """Create from the result of :meth:`as_params`, with lists as tuples. Raises ValueError if invalid."""
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in (params or {}).items()}
        unknown = sorted(values.keys() - {field.name for field in fields(cls)})
        require(not unknown, f"Unknown: {', '.join(unknown)}.")
        return cls(**values)

    def as_params(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, for JSON."""
        changed = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def require(condition: bool, message: str) -> None:
    """Raise ValueError with ``message`` unless ``condition`` is true."""
    if not condition:
        raise ValueError(message)


def is_number(value: object) -> bool:
    """Return whether a value is a finite number of at most 1e30 in magnitude."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value) and abs(value) <= _LARGEST  # type: ignore[arg-type]
