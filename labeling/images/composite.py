"""How the frames of one item are shown together, and how they become one vector."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from labeling.images.params import Params, is_number, require

LAYOUTS = ("side", "blink", "rgb")
VECTORS = ("concatenate", "average")
_BANDS = 3
# Frames side by side; of more there are several rows.
_MOST_ACROSS = 4


@dataclass(frozen=True, slots=True)
class Composition(Params):
    """What is made of several frames.

    ``layout``: side by side, blinking one after the other, or three bands as one colour image (Lupton et al. 2004).
    ``bands`` names the roles for red, green and blue; empty: the last three roles backwards, as g, r, i means blue,
    green, red. ``softening`` is Lupton's Q and ``range`` his stretch, in the files' own values; None: found in each
    item. ``vectors`` joins the frames' vectors; a colour image has one of its own, whatever this says.
    """

    layout: str = "side"
    bands: tuple[str, ...] = ()
    softening: float = 8.0
    range: float | None = None
    vectors: str = "concatenate"

    def __post_init__(self) -> None:
        require(self.layout in LAYOUTS, f"A layout is one of {', '.join(LAYOUTS)}.")
        require(
            isinstance(self.bands, tuple) and all(isinstance(role, str) for role in self.bands),
            "The bands are names of roles.",
        )
        require(len(self.bands) in (0, _BANDS), "A colour image takes three bands: for red, green and blue.")
        require(is_number(self.softening) and self.softening > 0, "The softening has to be above 0.")
        require(self.range is None or (is_number(self.range) and self.range > 0), "The range has to be above 0.")
        require(self.vectors in VECTORS, f"Vectors are joined by one of {', '.join(VECTORS)}.")

    def bands_of(self, roles: Sequence[str]) -> tuple[str, ...]:
        """The roles that are red, green and blue. Of fewer than three roles the first one is there several times."""
        if self.bands or not roles:
            return self.bands
        last = tuple(reversed(roles[-_BANDS:]))
        return last + (roles[0],) * (_BANDS - len(last))

    @property
    def is_colour(self) -> bool:
        """Whether the frames become one picture, which is what the model sees too."""
        return self.layout == "rgb"

    @property
    def picture_key(self) -> str:
        """A short name of what the colour image depends on; "" where frames are shown by themselves."""
        return (
            _short(("bands", self.bands), ("softening", self.softening), ("range", self.range))
            if self.is_colour
            else ""
        )

    @property
    def words(self) -> str:
        """How frames are shown, in a few words; "" for side by side."""
        if not self.is_colour:
            return "blinking" if self.layout == "blink" else ""
        return f"colour of {', '.join(self.bands)}" if self.bands else "colour"

    @property
    def vector_key(self) -> str:
        """A short name of how frames become a vector, for fingerprints: looking at them otherwise changes nothing."""
        return self.picture_key or _short(("vectors", self.vectors))


def side_by_side(n: int) -> tuple[int, int]:
    """How many of ``n`` frames lie beside each other, and in how many rows: 3 in one, 5 as 3 and 2, 9 as 3 times 3."""
    rows = math.ceil(max(1, n) / _MOST_ACROSS)
    return math.ceil(max(1, n) / rows), rows


def _short(*told: tuple[str, object]) -> str:
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=5).hexdigest()
