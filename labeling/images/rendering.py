"""Define how the images of a dataset are rendered: the part of a file, the stretch and the background.

Pictures and model inputs use the same rendering, so that people and models see the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace

from labeling.images.params import Params, is_number, require

# Linear stretches that determine their limits from each image.
RANGES = ("zscale", "percentile", "minmax")
# Curves between limits that may be set for all images.
CURVES = ("linear", "asinh", "log", "sqrt")
USUAL = "usual"
STRETCHES = (USUAL, *RANGES, *CURVES)

PLANES = ("first", "max", "mean", "rgb")
FIRST_ROWS = ("bottom", "top")
_MOST_PLANES = 100_000
_MOST_HDUS = 10_000
_GRAY = "#808080"


@dataclass(frozen=True, slots=True)
class Rendering(Params):
    """How a file is rendered as a picture.

    ``hdu``: part of a FITS file, counted from 0; None selects the first part with an image. ``plane``: plane of a cube,
    page of a TIFF or frame of an animation, as one of PLANES or a number from 0. ``stretch``: applied to more than 8
    bits; USUAL is zscale for FITS and percentiles for other formats. ``low`` and ``high``: limits for all images, in
    the files' own values; None determines them from each image. ``background``: the color under transparent pixels.
    ``first_row``: position of the first row of FITS images without ROWORDER, "bottom" (the standard) or "top".
    ``shows_cut``: whether truncated files are shown, with gray for missing pixels.
    """

    hdu: int | None = None
    plane: str | int = "first"
    stretch: str = USUAL
    low: float | None = None
    high: float | None = None
    is_inverted: bool = False
    background: str = _GRAY
    first_row: str = "bottom"
    shows_cut: bool = False

    def __post_init__(self) -> None:
        require(
            self.hdu is None or (_is_whole(self.hdu) and 0 <= self.hdu < _MOST_HDUS),
            "The HDU must be a whole number from 0.",
        )
        require(
            self.plane in PLANES or (_is_whole(self.plane) and 0 <= int(self.plane) < _MOST_PLANES),
            f"The plane must be one of {', '.join(PLANES)}, or a number from 0.",
        )
        require(self.stretch in STRETCHES, f"The stretch must be one of {', '.join(STRETCHES)}.")
        for limit in (self.low, self.high):
            require(limit is None or is_number(limit), "A limit must be a number of at most 30 digits.")
        if self.low is not None or self.high is not None:
            require(
                self.stretch in CURVES,
                f"{self.stretch} determines the limits from each image: leave both empty, or choose one of "
                f"{', '.join(CURVES)}.",
            )
        if self.low is not None and self.high is not None:
            require(self.low < self.high, "The upper limit must be greater than the lower one.")
        require(isinstance(self.is_inverted, bool), "Inverted must be yes or no.")
        require(isinstance(self.shows_cut, bool), "Show truncated files must be yes or no.")
        require(self.first_row in FIRST_ROWS, f"The first row must be one of {', '.join(FIRST_ROWS)}.")
        require(
            isinstance(self.background, str) and re.fullmatch(r"#[0-9a-f]{6}", self.background) is not None,
            "Give the background as #rrggbb.",
        )

    @property
    def key(self) -> str:
        """Return a short hash of the options for file names and URLs; "" for the defaults."""
        params = self.as_params()
        if not params:
            return ""
        # Convert limits to floats, so that 4000 equals 4000.0, and 0 equals -0.
        plain = {name: float(value) + 0.0 if name in {"low", "high"} else value for name, value in params.items()}
        return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=5).hexdigest()

    def stretched(self, stretch: str) -> Rendering:
        """Return a copy with another stretch, without limits if that stretch determines its own."""
        if stretch in CURVES:
            return replace(self, stretch=stretch)
        return replace(self, stretch=stretch, low=None, high=None)

    @property
    def summary(self) -> str:
        """Return a short description of the options; "" for the defaults."""
        parts = (
            (self.hdu is not None, f"HDU {self.hdu}"),
            (self.plane != "first", f"plane {self.plane}"),
            (self.stretch != USUAL, self.stretch + self._limits()),
            (self.is_inverted, "inverted"),
            (self.background != _GRAY, f"on {self.background}"),
            (self.first_row != "bottom", "first row on top"),
            (self.shows_cut, "truncated files shown"),
        )
        return ", ".join(text for is_unusual, text in parts if is_unusual)

    def _limits(self) -> str:
        if self.low is None and self.high is None:
            return ""
        low = "" if self.low is None else f"{self.low:g}"
        high = "" if self.high is None else f"{self.high:g}"
        return f" {low}…{high}"

    @property
    def ground(self) -> tuple[int, int, int]:
        """Return the background's red, green and blue, 0 to 255."""
        return int(self.background[1:3], 16), int(self.background[3:5], 16), int(self.background[5:7], 16)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


DEFAULT = Rendering()
