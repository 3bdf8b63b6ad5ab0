"""Compute the sky coordinates of FITS pixels: exactly at the nodes of a grid, interpolated between them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images import fits
from labeling.images.library_warnings import without_warnings
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import as_image_problems, regular_file

# Numbers of nodes along each side, tried until the interpolation error is below this fraction of a pixel.
_NODES = (3, 5, 9, 17, 33, 65)
_TOLERANCE = 0.02
# Largest number of cells whose error is measured.
_MOST_CHECKED = 1024


@dataclass(frozen=True, slots=True)
class SkyGrid:
    """Directions at ``n`` by ``n`` evenly spaced nodes, from the lower left to the upper right corner of the image.

    ``vectors``: unit vectors (n, n, 3), rows upward, NaN outside the sky. They are interpolated bilinearly between
    nodes. ``error``: largest interpolation error in pixels, measured at the centers of cells. ``kind``: the FITS name
    of the longitude, such as RA, GLON or HPLN.
    """

    kind: str
    n: int
    vectors: NDArray[np.float64]
    error: float

    def as_params(self) -> dict[str, Any]:
        """Return the grid for JSON."""
        vectors = [None if np.isnan(value) else round(float(value), 12) for value in self.vectors.reshape(-1)]
        return {"kind": self.kind, "n": self.n, "error": self.error, "vectors": vectors}


def sky_in(path: str | os.PathLike[str], rendering: Rendering = DEFAULT) -> SkyGrid | None:
    """Return the grid of the displayed image; None without a valid WCS. Raises ImageProblem."""
    with as_image_problems(), regular_file(path) as stream:
        if not fits.is_fits(stream):
            return None
        with fits.open_parts(stream) as parts:
            part = fits.select_part(parts, rendering.hdu)
            try:
                return _measured(part, fits.begins_on_top(part.header, rendering))
            except Exception:  # noqa: BLE001 - an invalid WCS raises anything; then there is no position
                return None


def _measured(part: Any, begins_on_top: bool) -> SkyGrid | None:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with without_warnings():
        world = WCS(part.header).celestial
        if not world.has_celestial:
            return None
        height, width = part.shape[-2:]
        pixel = float(np.radians(np.sqrt(np.prod(proj_plane_pixel_scales(world)))))
        for n in _NODES:
            vectors = _directions(world, *_places(n, width, height))
            error = _error(world, vectors, width, height) / pixel
            if error < _TOLERANCE:
                break
    if not np.isfinite(vectors).any() or not np.isfinite(error):
        return None
    vectors = vectors[::-1] if begins_on_top else vectors  # the file counts its rows downward
    return SkyGrid(world.wcs.lngtyp.strip(), n, vectors, float(f"{error:.2g}"))


def _places(n: int, width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the nodes in pixels. The center of the first pixel is 0, so the image begins at -0.5."""
    x, y = np.meshgrid(np.linspace(-0.5, width - 0.5, n), np.linspace(-0.5, height - 0.5, n))
    return x, y


def _directions(world: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vectors (..., 3) of pixel positions."""
    degrees = world.all_pix2world(x.reshape(-1), y.reshape(-1), 0)
    ordered = degrees if world.wcs.lng == 0 else degrees[::-1]
    longitude, latitude = (np.radians(angle).reshape(x.shape) for angle in ordered)
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=-1)


def _error(world: Any, vectors: NDArray[np.float64], width: int, height: int) -> float:
    """Return the largest angle, in radians, between interpolated and exact directions at the centers of cells."""
    n = len(vectors)
    middles = (vectors[:-1, :-1] + vectors[1:, :-1] + vectors[:-1, 1:] + vectors[1:, 1:]).reshape(-1, 3) / 4
    x, y = _places(n, width, height)
    steps = ((x[:-1, :-1] + x[1:, 1:]) / 2).reshape(-1), ((y[:-1, :-1] + y[1:, 1:]) / 2).reshape(-1)
    sample = np.arange(0, len(middles), max(1, len(middles) // _MOST_CHECKED))
    exact = _directions(world, steps[0][sample], steps[1][sample])
    interpolated = middles[sample] / np.linalg.norm(middles[sample], axis=1, keepdims=True)
    distances = np.linalg.norm(exact - interpolated, axis=1)
    finite = distances[np.isfinite(distances)]
    return float(finite.max()) if finite.size else float("nan")
