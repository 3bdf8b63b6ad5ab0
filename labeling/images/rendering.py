"""How the images of a dataset are shown: which part of a file, stretched how, on which ground.

Pictures and model inputs are made from one of these, so that both see the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace

from labeling.images.params import Params, is_number, require

# These find their own limits in each image and are straight between them.
RANGES = ("zscale", "percentile", "minmax")
# These bend, or not, between limits that may be given and shared by all images.
CURVES = ("linear", "asinh", "log", "sqrt")
USUAL = "usual"
STRETCHES = (USUAL, *RANGES, *CURVES)

PLANES = ("first", "max", "mean", "rgb")
FIRST_ROWS = ("bottom", "top")
_MOST_PLANES = 100_000
_MOST_HDUS = 10_000
_GREY = "#808080"


@dataclass(frozen=True, slots=True)
class Rendering(Params):
    """How to make a picture of a file.

    ``hdu`` counts the parts of a FITS file from 0; None takes the first that holds an image. ``plane`` chooses of
    several planes (of a cube, the pages of a TIFF, the frames of an animation): one of PLANES or a number from 0.
    ``stretch`` is for what has more than 8 bits: USUAL is zscale for FITS and percentiles for all else. ``low`` and
    ``high``, in the file's own values, are shared by all images; None: found in each. ``background`` lies under what
    is transparent. ``first_row``: where FITS images begin whose header has no ROWORDER, "bottom" (the standard) or
    "top". ``shows_cut``: whether files that end too early are shown, with gray where they are cut.
    """

    hdu: int | None = None
    plane: str | int = "first"
    stretch: str = USUAL
    low: float | None = None
    high: float | None = None
    is_inverted: bool = False
    background: str = _GREY
    first_row: str = "bottom"
    shows_cut: bool = False

    def __post_init__(self) -> None:
        require(self.hdu is None or (_is_whole(self.hdu) and 0 <= self.hdu < _MOST_HDUS), "An HDU counts from 0.")
        require(
            self.plane in PLANES or (_is_whole(self.plane) and 0 <= int(self.plane) < _MOST_PLANES),
            f"A plane is one of {', '.join(PLANES)}, or a number from 0.",
        )
        require(self.stretch in STRETCHES, f"A stretch is one of {', '.join(STRETCHES)}.")
        for limit in (self.low, self.high):
            require(limit is None or is_number(limit), "A limit has to be a number, of no more than 30 digits.")
        if self.low is not None or self.high is not None:
            require(
                self.stretch in CURVES,
                f"{self.stretch} finds the limits of each image by itself: leave both empty, or choose one of "
                f"{', '.join(CURVES)}.",
            )
        if self.low is not None and self.high is not None:
            require(self.low < self.high, "The upper limit has to be above the lower one.")
        require(isinstance(self.is_inverted, bool), "Inverted is yes or no.")
        require(isinstance(self.shows_cut, bool), "Whether cut files are shown is yes or no.")
        require(self.first_row in FIRST_ROWS, f"The first row is one of {', '.join(FIRST_ROWS)}.")
        require(
            isinstance(self.background, str) and re.fullmatch(r"#[0-9a-f]{6}", self.background) is not None,
            "Give the background as #rrggbb.",
        )

    @property
    def key(self) -> str:
        """A short name of these choices for files and addresses; "" for the default."""
        params = self.as_params()
        if not params:
            return ""
        # As floats, so that 4000 and 4000.0 are the same, and 0 and -0.
        plain = {name: float(value) + 0.0 if name in {"low", "high"} else value for name, value in params.items()}
        return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=5).hexdigest()

    def stretched(self, stretch: str) -> Rendering:
        """The same with another stretch; one that finds its limits by itself takes none along."""
        if stretch in CURVES:
            return replace(self, stretch=stretch)
        return replace(self, stretch=stretch, low=None, high=None)

    @property
    def words(self) -> str:
        """The choices in a few words; "" for the default."""
        said: list[str] = []
        if self.hdu is not None:
            said.append(f"HDU {self.hdu}")
        if self.plane != "first":
            said.append(f"plane {self.plane}")
        if self.stretch != USUAL:
            said.append(self.stretch + self._limits())
        if self.is_inverted:
            said.append("inverted")
        if self.background != _GREY:
            said.append(f"on {self.background}")
        if self.first_row != "bottom":
            said.append("first row on top")
        if self.shows_cut:
            said.append("cut files shown")
        return ", ".join(said)

    def _limits(self) -> str:
        if self.low is None and self.high is None:
            return ""
        low = "" if self.low is None else f"{self.low:g}"
        high = "" if self.high is None else f"{self.high:g}"
        return f" {low}…{high}"

    @property
    def ground(self) -> tuple[int, int, int]:
        """The background's red, green and blue, 0 to 255."""
        return int(self.background[1:3], 16), int(self.background[3:5], 16), int(self.background[5:7], 16)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


DEFAULT = Rendering()
