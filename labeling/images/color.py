"""Convert 8-bit images to sRGB: color profiles, palettes, CMYK and transparency."""

from __future__ import annotations

import io
import logging
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from labeling.images.rendering import Rendering

log = logging.getLogger(__name__)

# Modes that a color profile can describe.
_PROFILED = frozenset({"RGB", "CMYK", "L"})
# The gamma of a PNG is applied if it differs from that of sRGB by more than libpng's threshold.
_SRGB_GAMMA, _GAMMA_THRESHOLD = 0.45455, 0.05


def to_rgb(image: Image.Image, rendering: Rendering) -> Image.Image:
    """Return the loaded ``image`` in sRGB, with transparent areas over the rendering's background color."""
    profile = image.info.get("icc_profile")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in _PROFILED or alpha is not None:
        image = image.convert("RGB")
    if profile:
        image = _by_profile(image, profile)
    elif gamma := unusual_gamma(image):
        image = image.point(_gamma_table(gamma) * len(image.getbands()))
    if image.mode != "RGB":
        image = image.convert("RGB")
    if rendering.is_inverted:
        image = ImageChops.invert(image)
    return image if alpha is None else over_ground(image, alpha, rendering)


def unusual_gamma(image: Image.Image) -> float:
    """Return the gamma (gAMA chunk) of a PNG if it differs from that of sRGB; 0 for all other images.

    A color profile and the sRGB chunk take precedence, as the PNG specification requires.
    """
    gamma = float(image.info.get("gamma", 0))
    if "icc_profile" in image.info or "srgb" in image.info or gamma <= 0:
        return 0
    return gamma if abs(gamma / _SRGB_GAMMA - 1) > _GAMMA_THRESHOLD else 0


@lru_cache(maxsize=32)
def _gamma_table(gamma: float) -> list[int]:
    """Return the sRGB values of the 256 samples of a channel that is stored with ``gamma``."""
    linear = (np.arange(256) / 255) ** (1 / gamma)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return [int(value) for value in np.rint(255 * encoded)]


def over_ground(image: Image.Image, alpha: Image.Image, rendering: Rendering) -> Image.Image:
    """Place ``image`` (RGB) over the rendering's background color, with ``alpha`` (L) as opacity."""
    ground = Image.new("RGB", image.size, rendering.ground)
    ground.paste(image, mask=alpha)
    return ground


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB with the image's color profile; return the image unchanged if the profile is broken."""
    from PIL import ImageCms

    try:
        transform = _transform(profile, image.mode)
        return image if transform is None else ImageCms.applyTransform(image, transform) or image
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError) as error:
        log.debug("Ignored a broken color profile: %s", error)
        return image


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Any:
    """Return the transform from ``profile`` to sRGB, or None if the profile already is sRGB."""
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
