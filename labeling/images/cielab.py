"""CIE L*a*b* as TIFF packs it, for a screen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Chromaticities of the white that L*a*b* is relative to, where a file doesn't say.
D50 = (0.3457, 0.3585)
_D65 = (0.3127, 0.3290)
_SAME = 0.002
# Bradford's cone responses, and the linear sRGB of XYZ under D65.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)


def white_of(value: Any) -> tuple[float, float]:
    """The chromaticity of white, of the value of the tag WhitePoint: numbers, fractions, or their parts in a row."""
    numbers = [float(number) for number in value] if value is not None else []
    if len(numbers) == 4 and numbers[1] and numbers[3]:
        numbers = [numbers[0] / numbers[1], numbers[2] / numbers[3]]
    if len(numbers) != 2 or not all(0 < number < 1 for number in numbers):
        return D50
    return numbers[0], numbers[1]


def is_d50(white: tuple[float, float]) -> bool:
    """Return whether that is the white that others take for granted."""
    return max(abs(white[0] - D50[0]), abs(white[1] - D50[1])) < _SAME


def rgb_of_lab(pixels: NDArray[Any], white: tuple[float, float] = D50, *, is_signed: bool) -> NDArray[np.uint8]:
    """L*a*b* of 8 or 16 bits relative to ``white`` as sRGB: uint8 (h, w, 3)."""
    bits = pixels.dtype.itemsize * 8
    unit = 2.0 ** (bits - 8)
    if is_signed:
        lightness = pixels[..., 0].astype(np.float32) * (100 / (2**bits - 1))
        a, b = (pixels[..., at].astype(f"i{bits // 8}").astype(np.float32) / unit for at in (1, 2))
    else:  # as in ICC profiles
        lightness = pixels[..., 0].astype(np.float32) * (100 / (255 * unit))
        a, b = (pixels[..., at].astype(np.float32) / unit - 128 for at in (1, 2))
    fy = (lightness + 16) / 116
    curved = np.stack([fy + a / 500, fy, fy - b / 200], axis=-1)
    cubed = np.where(curved > 6 / 29, curved**3, 3 * (6 / 29) ** 2 * (curved - 4 / 29))
    linear = np.clip(cubed @ _to_linear(white).T.astype(np.float32), 0, 1)
    shown = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.asarray(np.rint(shown * 255).astype(np.uint8))


def _to_linear(white: tuple[float, float]) -> NDArray[np.float64]:
    """Shares of white to linear sRGB, adapted to the white of screens by Bradford."""
    source, target = _xyz(white), _xyz(_D65)
    adapted = np.linalg.inv(_CONES) @ np.diag((_CONES @ target) / (_CONES @ source)) @ _CONES
    return np.asarray(_SRGB @ adapted @ np.diag(source))


def _xyz(white: tuple[float, float]) -> NDArray[np.float64]:
    x, y = white
    return np.array([x / y, 1, (1 - x - y) / y])
