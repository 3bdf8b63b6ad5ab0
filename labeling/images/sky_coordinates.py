"""Where in the sky each pixel of a FITS image is: exact at the nodes of a grid, and close enough between them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images import fits
from labeling.images.library_warnings import silenced
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import in_plain_words, regular_file

# Nodes along each side: more are taken until what lies between them is right to this share of a pixel.
_NODES = (3, 5, 9, 17, 33, 65)
_CLOSE = 0.02
# Of the largest grids only some cells are looked at.
_MOST_CHECKED = 1024


@dataclass(frozen=True, slots=True)
class SkyGrid:
    """Directions at ``n`` by ``n`` places, evenly from the image's lower left corner to its upper right one.

    ``vectors``: unit vectors (n, n, 3), rows upwards, not-a-number outside of the sky. Between nodes they are
    interpolated in both directions at once; ``error`` is by how many pixels that is wrong at most, as measured
    at the middles of cells. ``kind`` is FITS' name of the longitude, such as RA, GLON or HPLN.
    """

    kind: str
    n: int
    vectors: NDArray[np.float64]
    error: float

    def as_params(self) -> dict[str, Any]:
        """For JSON."""
        told = [None if np.isnan(value) else round(float(value), 12) for value in self.vectors.reshape(-1)]
        return {"kind": self.kind, "n": self.n, "error": self.error, "vectors": told}


def sky_in(path: str | os.PathLike[str], rendering: Rendering = DEFAULT) -> SkyGrid | None:
    """The grid of the image that is shown; None without a WCS that makes sense. Raises ImageProblem."""
    with in_plain_words(), regular_file(path) as stream:
        if not fits.is_fits(stream):
            return None
        with fits.parts_of(stream) as parts:
            part = fits.chosen(parts, rendering.hdu)
            try:
                return _measured(part, fits.begins_on_top(part.header, rendering))
            except Exception:  # noqa: BLE001 - a WCS that makes no sense fails in many ways: then there is no position
                return None


def _measured(part: Any, begins_on_top: bool) -> SkyGrid | None:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with silenced():
        world = WCS(part.header).celestial
        if not world.has_celestial:
            return None
        height, width = part.shape[-2:]
        pixel = float(np.radians(np.sqrt(np.prod(proj_plane_pixel_scales(world)))))
        for n in _NODES:
            vectors = _directions(world, *_places(n, width, height))
            error = _error(world, vectors, width, height) / pixel
            if error < _CLOSE:
                break
    if not np.isfinite(vectors).any() or not np.isfinite(error):
        return None
    vectors = vectors[::-1] if begins_on_top else vectors  # the file counts its rows downwards
    return SkyGrid(world.wcs.lngtyp.strip(), n, vectors, float(f"{error:.2g}"))


def _places(n: int, width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels count from 0 at their middle, so the image begins at -0.5."""
    x, y = np.meshgrid(np.linspace(-0.5, width - 0.5, n), np.linspace(-0.5, height - 0.5, n))
    return x, y


def _directions(world: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (..., 3) of pixel places."""
    found = world.all_pix2world(x.reshape(-1), y.reshape(-1), 0)
    longitude, latitude = (np.radians(one).reshape(x.shape) for one in (found if world.wcs.lng == 0 else found[::-1]))
    flat = np.cos(latitude)
    return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=-1)


def _error(world: Any, vectors: NDArray[np.float64], width: int, height: int) -> float:
    """The largest angle, in radians, between what is interpolated in the middle of a cell and what is so."""
    n = len(vectors)
    middles = (vectors[:-1, :-1] + vectors[1:, :-1] + vectors[:-1, 1:] + vectors[1:, 1:]).reshape(-1, 3) / 4
    x, y = _places(n, width, height)
    steps = ((x[:-1, :-1] + x[1:, 1:]) / 2).reshape(-1), ((y[:-1, :-1] + y[1:, 1:]) / 2).reshape(-1)
    some = np.arange(0, len(middles), max(1, len(middles) // _MOST_CHECKED))
    exact = _directions(world, steps[0][some], steps[1][some])
    guessed = middles[some] / np.linalg.norm(middles[some], axis=1, keepdims=True)
    apart = np.linalg.norm(exact - guessed, axis=1)
    known = apart[np.isfinite(apart)]
    return float(known.max()) if known.size else float("nan")
