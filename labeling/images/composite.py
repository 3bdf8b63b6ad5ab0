"""Define how the frames of an item are displayed together and combined into one feature vector."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from labeling.images.params import Params, is_number, require

LAYOUTS = ("side", "blink", "rgb")
VECTORS = ("concatenate", "average")
COLOURS = ("red", "green", "blue")
_BANDS = len(COLOURS)
# Largest number of frames in a row.
_MOST_ACROSS = 4


@dataclass(frozen=True, slots=True)
class Composition(Params):
    """How the frames of an item are combined.

    ``layout``: "side" (side by side), "blink" (one after the other) or "rgb" (three bands as one color image, Lupton
    et al. 2004). ``bands``: the roles shown as red, green and blue; if empty, the last three roles in reverse order, so
    that roles g, r, i are shown blue, green and red. ``softening`` is Lupton's Q. ``range`` is his stretch, in the
    files' own values; None determines it for each item. ``vectors``: how the frames' feature vectors are joined. It is
    ignored for color images, which have a single vector.
    """

    layout: str = "side"
    bands: tuple[str, ...] = ()
    softening: float = 8.0
    range: float | None = None
    vectors: str = "concatenate"

    def __post_init__(self) -> None:
        require(self.layout in LAYOUTS, f"The layout must be one of {', '.join(LAYOUTS)}.")
        require(
            isinstance(self.bands, tuple) and all(isinstance(role, str) for role in self.bands),
            "The bands must be names of roles.",
        )
        require(len(self.bands) in (0, _BANDS), "A color image needs three bands: red, green and blue.")
        require(is_number(self.softening) and self.softening > 0, "The softening must be greater than 0.")
        require(self.range is None or (is_number(self.range) and self.range > 0), "The range must be greater than 0.")
        require(self.vectors in VECTORS, f"The method that joins vectors must be one of {', '.join(VECTORS)}.")

    def bands_of(self, roles: Sequence[str]) -> tuple[str, ...]:
        """Return the roles shown as red, green and blue. With fewer than three roles, the first one is repeated."""
        if self.bands or not roles:
            return self.bands
        last = tuple(reversed(roles[-_BANDS:]))
        return last + (roles[0],) * (_BANDS - len(last))

    @property
    def is_color(self) -> bool:
        """Return whether the frames form one color image, which is also the model's input."""
        return self.layout == "rgb"

    @property
    def picture_key(self) -> str:
        """Return a short hash of what the color image depends on; "" if frames are shown separately."""
        return (
            _short(("bands", self.bands), ("softening", self.softening), ("range", self.range)) if self.is_color else ""
        )

    @property
    def summary(self) -> str:
        """Return a short description of the layout; "" for side by side."""
        if not self.is_color:
            return "blinking" if self.layout == "blink" else ""
        return f"color of {', '.join(self.bands)}" if self.bands else "color"

    @property
    def vector_key(self) -> str:
        """Return a short hash, for fingerprints, of how frames become a vector; the layout alone does not affect it."""
        return self.picture_key or _short(("vectors", self.vectors))


def side_by_side(n: int) -> tuple[int, int]:
    """Return the columns and rows in which ``n`` frames are laid out: 3 in one row, 5 as 3 and 2, 9 as 3 by 3."""
    rows = math.ceil(max(1, n) / _MOST_ACROSS)
    return math.ceil(max(1, n) / rows), rows


def _short(*values: tuple[str, object]) -> str:
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=5).hexdigest()
