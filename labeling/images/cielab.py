"""Convert CIE L*a*b* pixels, as TIFF stores them, to sRGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Chromaticity of the white point that L*a*b* refers to if the file declares none.
D50 = (0.3457, 0.3585)
_D65 = (0.3127, 0.3290)
_TOLERANCE = 0.002
# Bradford cone response matrix, and the matrix from XYZ (D65) to linear sRGB.
_CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)


def white_point_in(value: Any) -> tuple[float, float]:
    """Return the chromaticity (x, y) in a TIFF WhitePoint tag; D50 if it is missing or invalid.

    ``value`` holds two numbers, two fractions, or numerators and denominators in one flat sequence.
    """
    numbers = [float(number) for number in value] if value is not None else []
    if len(numbers) == 4 and numbers[1] and numbers[3]:
        numbers = [numbers[0] / numbers[1], numbers[2] / numbers[3]]
    if len(numbers) != 2 or not all(0 < number < 1 for number in numbers):
        return D50
    return numbers[0], numbers[1]


def is_d50(white: tuple[float, float]) -> bool:
    """Return whether a white point is D50, which other programs assume."""
    return max(abs(white[0] - D50[0]), abs(white[1] - D50[1])) < _TOLERANCE


def rgb_of_lab(pixels: NDArray[Any], white: tuple[float, float] = D50, *, is_signed: bool) -> NDArray[np.uint8]:
    """Convert 8 or 16-bit L*a*b* relative to ``white`` to sRGB, uint8 (h, w, 3)."""
    bits = pixels.dtype.itemsize * 8
    unit = 2.0 ** (bits - 8)
    if is_signed:
        lightness = pixels[..., 0].astype(np.float32) * (100 / (2**bits - 1))
        a, b = (pixels[..., at].astype(f"i{bits // 8}").astype(np.float32) / unit for at in (1, 2))
    else:  # the encoding of ICC profiles
        lightness = pixels[..., 0].astype(np.float32) * (100 / (255 * unit))
        a, b = (pixels[..., at].astype(np.float32) / unit - 128 for at in (1, 2))
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ _to_linear(white).T.astype(np.float32), 0, 1)
    shown = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.asarray(np.rint(shown * 255).astype(np.uint8))


def _to_linear(white: tuple[float, float]) -> NDArray[np.float64]:
    """Return the matrix from XYZ relative to ``white`` to linear sRGB, with Bradford adaptation to D65."""
    source, target = _xyz(white), _xyz(_D65)
    adapted = np.linalg.inv(_CONES) @ np.diag((_CONES @ target) / (_CONES @ source)) @ _CONES
    return np.asarray(_SRGB @ adapted @ np.diag(source))


def _xyz(white: tuple[float, float]) -> NDArray[np.float64]:
    x, y = white
    return np.array([x / y, 1, (1 - x - y) / y])
