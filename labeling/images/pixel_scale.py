"""Read the size of a pixel, in the sky or in the specimen, from the header of a file.

Print resolutions (dots per inch) are not used: cameras and editors write 72 or 300 whatever the image shows.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

from labeling.images import dicom, fits, tiff
from labeling.images.library_warnings import without_warnings
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.source_file import as_image_problems, regular_file
from labeling.images.tiff_samples import tag_of

ARCSEC, METER = "arcsec", "m"
# Meters by the names of units in ImageJ and OME headers.
_METERS = {
    "pm": 1e-12, "å": 1e-10, "angstrom": 1e-10, "nm": 1e-9, "nanometer": 1e-9, "µm": 1e-6, "μm": 1e-6, "um": 1e-6,
    "micron": 1e-6, "microns": 1e-6, "micrometer": 1e-6, "\\u00b5m": 1e-6, "mm": 1e-3, "millimeter": 1e-3,
    "cm": 1e-2, "centimeter": 1e-2, "m": 1.0, "meter": 1.0,
}  # fmt: skip
_LONGEST_XML = 10_000_000


@dataclass(frozen=True, slots=True)
class PixelScale:
    """Give the width of a pixel in ``unit``: "arcsec" on the sky, or "m" in the specimen."""

    size: float
    unit: str

    def as_params(self) -> dict[str, Any]:
        """Return the scale for JSON."""
        return {"size": self.size, "unit": self.unit}


def scale_in(path: str | os.PathLike[str], rendering: Rendering = DEFAULT) -> PixelScale | None:
    """Return the pixel scale of the displayed image; None if the header gives none. Raises ImageProblem."""
    with as_image_problems(), without_warnings(), regular_file(path) as stream:
        if fits.is_fits(stream):
            scale = _in_fits(stream, rendering)
        elif tiff.is_tiff(stream):
            scale = _in_tiff(stream)
        elif dicom.is_dicom(stream):
            scale = _in_dicom(stream)
        else:
            return None
    return scale if scale and math.isfinite(scale.size) and scale.size > 0 else None


def _in_fits(stream: BinaryIO, rendering: Rendering) -> PixelScale | None:
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    with fits.open_parts(stream) as parts:
        try:
            world = WCS(fits.select_part(parts, rendering.hdu).header).celestial
            if not world.has_celestial:
                return None
            return PixelScale(3600 * math.sqrt(math.prod(proj_plane_pixel_scales(world))), ARCSEC)
        except Exception:  # noqa: BLE001 - an invalid WCS raises anything; then there is no scale
            return None


def _in_dicom(stream: BinaryIO) -> PixelScale | None:
    import pydicom

    # Spacing between rows, then between columns, in millimeters.
    names = ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"]
    data = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=names)
    for name in names:
        spacing = data.get(name)
        if spacing is not None and len(spacing) == 2:
            return PixelScale(float(spacing[1]) / 1000, METER)
    return None


def _in_tiff(stream: BinaryIO) -> PixelScale | None:
    with tiff.opened(stream) as file:
        return next((scale for scale in _tiff_scales(file) if scale is not None), None)


def _tiff_scales(file: Any) -> Iterator[PixelScale | None]:
    """Yield what OME, ImageJ and slide scanners write, in this order."""
    if file.is_ome and len(file.ome_metadata or "") < _LONGEST_XML:
        yield _in_ome(file.ome_metadata)
    page = tiff.first_page(file)
    if file.is_imagej:
        yield _in_imagej(page, file.imagej_metadata or {})
    if match := re.search(r"\bMPP\s*=\s*([0-9.eE+-]+)", page.description or ""):  # microns per pixel
        yield _scaled(match[1], 1e-6)


def _in_ome(xml: str) -> PixelScale | None:
    from xml.etree.ElementTree import fromstring

    try:
        pixels = next((node for node in fromstring(xml).iter() if node.tag.endswith("}Pixels")), None)  # noqa: S314
    except ParseError:
        return None
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    return _scaled(pixels.attrib["PhysicalSizeX"], _METERS.get(pixels.attrib.get("PhysicalSizeXUnit", "µm").lower()))


def _in_imagej(page: Any, metadata: dict[str, Any]) -> PixelScale | None:
    resolution = tag_of(page, 282)  # XResolution: pixels per unit, as a fraction
    meters = _METERS.get(str(metadata.get("unit", "")).lower())
    if not isinstance(resolution, tuple) or len(resolution) != 2 or not resolution[0]:
        return None
    return _scaled(resolution[1] / resolution[0], meters)


def _scaled(number: str | float, meters: float | None) -> PixelScale | None:
    try:
        return None if meters is None else PixelScale(float(number) * meters, METER)
    except ValueError:
        return None
