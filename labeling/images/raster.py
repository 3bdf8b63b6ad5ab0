"""Represent decoded pixels: colors, transparency and unknown values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.images.color import over_ground, to_rgb
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.images.stretch import stretch

NO_FINITE_VALUE = (
    "The image has no finite value: every pixel is NaN, or the value that the file declares as no data. "
    "Check how the file was written, or remove it."
)


# The color of pixels that a truncated file lacks.
MISSING = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded image before it is turned upright.

    ``colors``: (h, w) gray or (h, w, 3), of any numeric type; uint8 if ``is_for_screen``, which means that the values
    are displayed without a stretch. ``alpha``: uint8 (h, w), straight (not premultiplied). ``unknown``: bool (h, w).
    ``missing``: bool (h, w), pixels that a truncated file lacks. They are also unknown, but shown gray.
    """

    colors: NDArray[Any]
    alpha: NDArray[np.uint8] | None = None
    unknown: NDArray[np.bool_] | None = None
    is_for_screen: bool = False
    profile: bytes | None = None
    missing: NDArray[np.bool_] | None = None

    @property
    def values(self) -> NDArray[Any]:
        """Return the colors, with NaN for unknown pixels."""
        masks = [mask for mask in (self.unknown, self.missing) if mask is not None and mask.any()]
        if not masks:
            return self.colors
        values = self.colors.astype(_floating(self.colors.dtype))
        for mask in masks:
            values[mask] = np.nan
        return values

    @property
    def plane(self) -> NDArray[Any]:
        """Return one value per pixel (h, w): the mean of the colors, with NaN for unknown and transparent pixels."""
        values = self.values
        if values.ndim == 3:
            values = values.mean(axis=2)
        return values if self.alpha is None else np.where(self.alpha > 0, values, np.nan)

    def picture(self, rendering: Rendering) -> Image.Image:
        """Render as RGB, with unknown pixels black. Raises ImageProblem if no value is finite."""
        image = self._for_screen(rendering) if self.is_for_screen else self._stretched(rendering)
        if self.alpha is not None:
            image = over_ground(image, Image.fromarray(self.alpha), rendering)
        if self.missing is not None:
            image.paste(MISSING, mask=Image.fromarray(self.missing.astype(np.uint8) * 255))
        return image

    def _for_screen(self, rendering: Rendering) -> Image.Image:
        image = Image.fromarray(np.ascontiguousarray(self.colors))
        if self.profile:
            image.info["icc_profile"] = self.profile
        image = to_rgb(image, rendering)
        if self.unknown is None or not self.unknown.any():
            return image
        if self.unknown.all():
            raise ImageProblem(NO_FINITE_VALUE)
        image.paste((0, 0, 0), mask=Image.fromarray(self.unknown.astype(np.uint8) * 255))
        return image

    def _stretched(self, rendering: Rendering) -> Image.Image:
        values = self.values
        refuse_unknown(values)
        if self.alpha is not None:  # transparent pixels do not affect the stretch
            values = values.astype(_floating(values.dtype))
            values[self.alpha == 0] = np.nan
        return Image.fromarray(stretch(values, rendering)).convert("RGB")


def refuse_unknown(*planes: NDArray[Any]) -> None:
    """Raise ImageProblem if no pixel of any plane has a finite value."""
    if not any(plane.dtype.kind in "iub" or np.isfinite(plane).any() for plane in planes):
        raise ImageProblem(NO_FINITE_VALUE)


def _floating(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the smallest floating-point type that keeps the precision of ``dtype``."""
    if dtype.kind == "f":
        return dtype.newbyteorder("=")
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
