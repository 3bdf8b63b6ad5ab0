"""Scattering: an encoder that needs no weights and no network, and tells more than outlines do.

Wavelets at several scales and directions, the modulus of what they find, wavelets again, and averages over patches of
the image: Bruna and Mallat (2013), "Invariant scattering convolution networks", IEEE PAMI; logarithms as in Oyallon and
Mallat (2015), "Deep roto-translation scattering for object classification", CVPR. Nothing is learnt, so that the same
image has the same vector on every machine. Computed in Fourier's domain, each map at the size that its scale needs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray, PooledEncoder, fingerprint
from modeling.backends.hog import COLOUR_DIM, colour_histogram
from modeling.backends.litert import n_cores

SIDE = 32
SCALES = 3
DIRECTIONS = 4
# The image is described in patches of this many by this many.
PATCHES = SIDE // 2**SCALES
_PATHS_1 = SCALES * DIRECTIONS
_PATHS_2 = DIRECTIONS**2 * SCALES * (SCALES - 1) // 2
GREY_PATHS, COLOUR_PATHS = 1 + _PATHS_1 + _PATHS_2, 1 + _PATHS_1
DIM = (GREY_PATHS + 2 * COLOUR_PATHS) * PATCHES**2 + COLOUR_DIM
# Added before the logarithm: about the strength of a difference of one grey value in 255.
_FLOOR = 1e-3
_BATCH = 64

Complex = npt.NDArray[np.complex64]


class PatchesEncoder(PooledEncoder):
    """Scattering of brightness (two orders) and of two colour differences (one), and a histogram of colours."""

    name = "Scattering"
    dim = DIM
    input_side = SIDE
    batch_size = _BATCH

    def __init__(self, reason: str) -> None:
        super().__init__(reason, n_cores())
        self.fingerprint = fingerprint(
            architecture="scattering",
            side=SIDE,
            scales=SCALES,
            directions=DIRECTIONS,
            floor=_FLOOR,
            colours="r-g, b-(r+g)/2, histogram",
            resize="bilinear squash",
        )

    def describe(self, pixels: Pixels) -> FloatArray:
        return described(pixels)


def described(pixels: Pixels) -> FloatArray:
    """uint8 (n, 32, 32, 3) -> float32 (n, DIM)."""
    rgb = np.moveaxis(pixels.astype(np.float32) / 255, -1, 0)
    grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    colours = (rgb[0] - rgb[1], rgb[2] - (rgb[0] + rgb[1]) / 2)
    parts = [scattering(grey, orders=2), *(scattering(one, orders=1) for one in colours)]
    told = [np.log(np.abs(part) + _FLOOR) for part in parts]
    return np.concatenate([*told, np.sqrt(colour_histogram(pixels))], axis=1, dtype=np.float32)


def scattering(images: FloatArray, *, orders: int) -> FloatArray:
    """float32 (n, 32, 32) -> (n, paths * 16): averages over 4 x 4 patches of the image and of its wavelets' moduli.

    The order of paths: the image; for each scale and direction its modulus, followed by that modulus's own at every
    coarser scale.
    """
    spectrum = scipy.fft.fft2(images.astype(np.float32, copy=False))
    paths = [_averages(spectrum)]
    for scale, direction in _wavelets():
        strength = scipy.fft.fft2(_modulus(spectrum, scale, direction))
        paths.append(_averages(strength))
        if orders == 2:
            coarser = [(other, turned) for other, turned in _wavelets() if other > scale]
            paths += [_averages(scipy.fft.fft2(_modulus(strength, *wavelet))) for wavelet in coarser]
    return np.concatenate(paths, axis=1)


def _wavelets() -> list[tuple[int, int]]:
    return [(scale, direction) for scale in range(SCALES) for direction in range(DIRECTIONS)]


def _modulus(spectrum: Complex, scale: int, direction: int) -> FloatArray:
    """|image * wavelet| at every 2^scale-th pixel of the image: a wavelet of that scale has no finer detail."""
    found = spectrum * wavelet(spectrum.shape[-1], scale, direction)
    strength: FloatArray = np.abs(scipy.fft.ifft2(_thinned(found, SIDE >> scale)))
    return strength


def _averages(spectrum: Complex) -> FloatArray:
    """The map under the spectrum, averaged over patches: (n, 16)."""
    found = _thinned(spectrum * average(spectrum.shape[-1]), PATCHES)
    return scipy.fft.ifft2(found).real.reshape(len(found), -1)  # type: ignore[no-any-return]


def _thinned(spectrum: Complex, size: int) -> Complex:
    """Of the map under the spectrum every so manieth pixel, ``size`` x ``size``: what coincides is added."""
    times = spectrum.shape[-1] // size
    if times == 1:
        return spectrum
    found: Complex = spectrum.reshape(len(spectrum), times, size, times, size).sum(axis=(1, 3)) / np.float32(times**2)
    return found


# -- Filters -----------------------------------------------------------------------------------------
@cache
def wavelet(size: int, scale: int, direction: int) -> FloatArray:
    """The Fourier transform, float32 (size, size), of Morlet's wavelet: a wave under a bell, of mean 0."""
    width, frequency = 0.8 * 2**scale, 0.375 / 2**scale
    angle = np.pi * direction / DIRECTIONS
    wave = _bell(width, angle, frequency)
    still = _bell(width, angle, 0.0)
    found = wave - still * (wave[0, 0] / still[0, 0])
    return _on_grid(found / np.abs(found).max(), size)


@cache
def average(size: int) -> FloatArray:
    """The Fourier transform, float32 (size, size), of the bell by which patches are averaged."""
    return _on_grid(_bell(0.8 * 2 ** (SCALES - 1), 0.0, 0.0, is_round=True), size)


def _bell(width: float, angle: float, frequency: float, *, is_round: bool = False) -> npt.NDArray[np.float64]:
    """A bell of a standard deviation of ``width`` pixels, wider across its direction, times a wave; (32, 32).

    In Fourier's domain a bell again, around the wave's frequency; its tails come in again on the other side.
    """
    across = 1.0 if is_round else DIRECTIONS / 4
    steps = np.fft.fftfreq(SIDE)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    found = np.zeros((SIDE, SIDE))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            along = (columns + right) * np.cos(angle) + (rows + down) * np.sin(angle) - frequency
            beside = (-(columns + right) * np.sin(angle) + (rows + down) * np.cos(angle)) * across
            found += np.exp(-2 * (np.pi * width) ** 2 * (along**2 + beside**2))
    return found


def _on_grid(filter_: npt.NDArray[np.float64], size: int) -> FloatArray:
    """A filter for maps that were thinned out to ``size`` pixels a side."""
    times = SIDE // size
    found: FloatArray = filter_.reshape(times, size, times, size).sum(axis=(0, 2)).astype(np.float32)
    return found
