"""Interpret the samples of TIFF pages: colors, bands, alpha, palettes, white at zero and "no data" values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.cielab import rgb_of_lab, white_point_in
from labeling.images.problems import ImageProblem
from labeling.images.raster import Raster

# Tags and values defined by TIFF 6.0, GDAL and Adobe.
EXTRA_SAMPLES, NO_DATA, WHITE_POINT, _ORIENTATION, _XMP, _PROFILE = 338, 42113, 318, 274, 700, 34675
_ASSOCIATED, _UNASSOCIATED = 1, 2
WHITE_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 2, 3, 5, 6, 8, 9
LABS = frozenset({CIELAB, ICCLAB})
COLORS = {RGB: 3, CMYK: 4, YCBCR: 3, CIELAB: 3, ICCLAB: 3}
# Tolerance in units in the last place, because some files write the number with too few digits.
_UNITS_OFF = 4


@dataclass(frozen=True)
class Interpretation:
    """The interpretation of the samples of a tifffile page."""

    page: Any

    @cached_property
    def n_colors(self) -> int:
        """Return the number of samples that are gray or colors. The others are alpha or bands."""
        return min(COLORS.get(int(self.page.photometric), 1), int(self.page.samplesperpixel))

    @cached_property
    def alpha(self) -> int | None:
        """Return the index of the alpha sample, or None."""
        for place, kind in enumerate(self._extras):
            if kind in (_ASSOCIATED, _UNASSOCIATED) and self.n_colors + place < self.page.samplesperpixel:
                return self.n_colors + place
        return None

    @cached_property
    def bands(self) -> list[int]:
        """Return the indices of all samples but alpha if some of them are not colors, else an empty list."""
        bands = [sample for sample in range(self.page.samplesperpixel) if sample != self.alpha]
        return bands if len(bands) > self.n_colors and self.is_plain else []

    @cached_property
    def is_for_screen(self) -> bool:
        """Return whether the values are displayed without a stretch."""
        is_small = self.page.dtype.kind == "b" or (self.page.dtype.kind == "u" and self._bits <= 8)
        return is_small or not self.is_plain

    @property
    def turn(self) -> int:
        """Return the orientation, 1 to 8."""
        turn = tag_of(self.page, _ORIENTATION)
        if turn is None and (xmp := tag_of(self.page, _XMP)) is not None:
            xmp = xmp if isinstance(xmp, bytes) else str(xmp).encode()
            match = re.search(rb'tiff:Orientation(?:="|>)([0-9])', xmp)
            turn = int(match[1]) if match else 1
        return turn if turn in range(1, 9) else 1

    def unknown(self, samples: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return the mask of samples with the "no data" value; None if there is no such value."""
        no_data = _no_data(self.page)
        if no_data is None:
            return None
        if samples.dtype.kind in "iub":
            limits = np.iinfo(np.uint8 if samples.dtype.kind == "b" else samples.dtype)
            is_among = no_data == int(no_data) and limits.min <= no_data <= limits.max
            return np.asarray(samples == int(no_data)) if is_among else None
        largest = float(np.finfo(samples.dtype).max)
        target = samples.dtype.newbyteorder("=").type(min(max(no_data, -largest), largest))
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(np.abs(samples - target) <= 2 * _UNITS_OFF * np.spacing(np.abs(target) / 2))

    def raster(self, samples: NDArray[Any], band: int | None = None) -> Raster:
        """Return the image of samples (h, w, n), or of one of its bands."""
        chosen = list(range(self.n_colors)) if band is None else [band]
        unknown = self.unknown(samples[..., chosen])
        return self.raster_of(samples, chosen, None if unknown is None else np.asarray(unknown.all(axis=2)))

    def raster_of(self, samples: NDArray[Any], chosen: list[int], unknown: NDArray[np.bool_] | None) -> Raster:
        """Return the image of samples that may be means of the page's samples, with a given mask of unknown pixels."""
        pixels = samples[..., chosen]
        alpha = None if self.alpha is None else self._opacity(samples[..., self.alpha])
        if chosen[0] < self.n_colors:
            pixels = self.colors(pixels)
        if self.is_for_screen and pixels.dtype != np.uint8:
            pixels = np.rint(pixels.astype(np.float32) * (255 / self._full)).astype(np.uint8)
        elif self.is_for_screen and self.is_plain and self._full < 255:
            pixels = np.rint(pixels * (255 / self._full)).astype(np.uint8)
        if alpha is not None and self._is_associated and self.is_plain:
            pixels = _straight(pixels, alpha)
        colors = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        profile = tag_of(self.page, _PROFILE) if self.is_plain or self.page.photometric == PALETTE else None
        return Raster(colors, alpha, unknown, self.is_for_screen, profile)

    def colors(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return colors or gray (h, w, n) with white as the largest value; palettes and color spaces become RGB."""
        kind = int(self.page.photometric)
        if kind == WHITE_IS_ZERO:
            return self._inverted(pixels)
        if kind == PALETTE:
            return self._from_palette(pixels[..., 0])
        if kind in LABS:
            return rgb_of_lab(pixels, white_point_in(tag_of(self.page, WHITE_POINT)), is_signed=kind == CIELAB)
        if kind == CMYK and pixels.shape[2] == 4:
            ink = pixels.astype(np.float32) / self._full
            return np.asarray(np.rint((1 - ink[..., :3]) * (1 - ink[..., 3:]) * 255).clip(0, 255).astype(np.uint8))
        return pixels

    # -- Helpers ------------------------------------------------------------------------------------
    @cached_property
    def _extras(self) -> tuple[int, ...]:
        extras = tag_of(self.page, EXTRA_SAMPLES)
        extras = (extras,) if isinstance(extras, int) else tuple(extras or ())
        return tuple(int(kind) for kind in extras)

    @property
    def is_plain(self) -> bool:
        """Return whether samples are brightness values, not palette indices or color space coordinates."""
        return int(self.page.photometric) not in {PALETTE, CMYK, *LABS}

    @property
    def _is_associated(self) -> bool:
        return self.alpha is not None and self._extras[self.alpha - self.n_colors] == _ASSOCIATED

    @property
    def _bits(self) -> int:
        bits = self.page.bitspersample
        return int(bits if isinstance(bits, int) else max(bits))

    @property
    def _full(self) -> int:
        """Return the largest value of unsigned integers."""
        if self.page.dtype.kind == "b":
            return 1
        return int(2 ** min(self._bits, self.page.dtype.itemsize * 8) - 1)

    def _inverted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        kind = self.page.dtype.kind
        if pixels.dtype.kind == "b":
            return ~pixels
        if kind in "ub":
            return np.asarray(pixels.dtype.type(self._full) - pixels)
        if kind == "i":  # maps the smallest value to the largest
            return np.asarray(-1 - pixels)
        return -pixels

    def _from_palette(self, numbers: NDArray[Any]) -> NDArray[np.uint8]:
        palette = self.page.colormap
        if palette is None:
            raise ImageProblem("The TIFF has a palette image without a palette. Save it again.")
        colors = np.asarray(palette).T
        # Some programs write 8-bit palettes, although TIFF requires 16 bits.
        colors = (colors >> 8 if colors.max(initial=0) > 255 else colors).astype(np.uint8)
        return np.asarray(colors[np.minimum(numbers, len(colors) - 1)])

    def _opacity(self, alpha: NDArray[Any]) -> NDArray[np.uint8]:
        if alpha.dtype == np.uint8 and self._full == 255:
            return alpha
        full = 1.0 if self.page.dtype.kind == "f" else float(self._full)
        share = np.nan_to_num(np.clip(alpha.astype(np.float32) / full, 0, 1))
        opaque = np.rint(share * 255).astype(np.uint8)
        opaque[(share > 0) & (opaque == 0)] = 1
        return np.asarray(opaque)


def _straight(pixels: NDArray[Any], alpha: NDArray[np.uint8]) -> NDArray[Any]:
    """Convert premultiplied colors to straight colors."""
    share = np.maximum(alpha, 1)[..., None].astype(np.float64) / 255
    straight = pixels.astype(np.float64) / share
    if pixels.dtype.kind == "f":
        return np.asarray(straight)
    return np.asarray(np.clip(np.rint(straight), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype))


def tag_of(page: Any, code: int) -> Any:
    """Return the value of a tag, or None if the page lacks it."""
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _no_data(page: Any) -> int | float | None:
    """Return the file's "no data" value if it is a finite number. NaN is always unknown."""
    text = tag_of(page, NO_DATA)
    text = text.decode("ascii", "ignore") if isinstance(text, bytes) else str("" if text is None else text)
    text = text.strip("\x00 \t\r\n").replace(",", ".")
    try:  # try an integer first: 64-bit integers have more digits than floats
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
