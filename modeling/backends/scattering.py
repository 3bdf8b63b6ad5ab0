"""Compute wavelet scattering vectors: an encoder that needs no weights and no network, better than gradients alone.

Wavelets of several scales and directions, the modulus of their responses, wavelets again, and averages over patches of
the image: Bruna and Mallat (2013), "Invariant scattering convolution networks", IEEE PAMI; logarithms as in Oyallon and
Mallat (2015), "Deep roto-translation scattering for object classification", CVPR. Nothing is trained, so an image has
the same vector on every machine. Computed in the Fourier domain, each map at the resolution that its scale needs.
"""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray
from modeling.backends.hog import COLOUR_DIM, colour_histogram
from modeling.backends.litert import n_cores
from modeling.backends.plugins import ImageEncoder

SIDE = 32
SCALES = 3
DIRECTIONS = 4
# Number of patches per side of the image.
PATCHES = SIDE // 2**SCALES
_PATHS_1 = SCALES * DIRECTIONS
_PATHS_2 = DIRECTIONS**2 * SCALES * (SCALES - 1) // 2
GREY_PATHS, COLOUR_PATHS = 1 + _PATHS_1 + _PATHS_2, 1 + _PATHS_1
DIM = (GREY_PATHS + 2 * COLOUR_PATHS) * PATCHES**2 + COLOUR_DIM
# Added before the logarithm: about the magnitude of a difference of one gray level in 255.
_FLOOR = 1e-3
_BATCH = 64

Complex = npt.NDArray[np.complex64]


class PooledEncoder(ImageEncoder):
    """Represent an encoder without weights that describes shares of a batch in threads."""

    license = "MIT"
    share = 16
    is_thread_safe = True

    @abstractmethod
    def describe(self, pixels: Pixels) -> FloatArray:
        """Compute features float32 (n, dim) of images uint8 (n, side, side, 3), n at most ``share``. Thread-safe."""

    def load(self) -> None:
        self._pool = ThreadPoolExecutor(n_cores(), thread_name_prefix="encoder")

    def encode(self, batch: Pixels) -> FloatArray:
        shares = [batch[start : start + self.share] for start in range(0, len(batch), self.share)]
        return np.concatenate(list(self._pool.map(self.describe, shares)))


class PatchesEncoder(PooledEncoder):
    """Scattering of brightness (two orders) and of two color differences (one order), and a color histogram."""

    title = "Scattering"
    about = "Wavelets over patches of the image, and colors, without gradients."
    dim = DIM
    input_size = SIDE
    batch_size = _BATCH

    def facts(self) -> dict[str, str | int | float]:
        return {
            "architecture": "scattering",
            "side": SIDE,
            "scales": SCALES,
            "directions": DIRECTIONS,
            "floor": _FLOOR,
            "colours": "r-g, b-(r+g)/2, histogram",
            "resize": "bilinear squash",
        }

    def describe(self, pixels: Pixels) -> FloatArray:
        return described(pixels)


def described(pixels: Pixels) -> FloatArray:
    """Encode uint8 (n, 32, 32, 3) as float32 (n, DIM)."""
    rgb = np.moveaxis(pixels.astype(np.float32) / 255, -1, 0)
    grey = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    colours = (rgb[0] - rgb[1], rgb[2] - (rgb[0] + rgb[1]) / 2)
    parts = [scattering(grey, orders=2), *(scattering(channel, orders=1) for channel in colours)]
    features = [np.log(np.abs(part) + _FLOOR) for part in parts]
    return np.concatenate([*features, np.sqrt(colour_histogram(pixels))], axis=1, dtype=np.float32)


def scattering(images: FloatArray, *, orders: int) -> FloatArray:
    """Return averages (n, paths * 16) over 4 x 4 patches of float32 images (n, 32, 32) and of their wavelet moduli.

    Order of the paths: the image; then for each scale and direction its modulus, followed by the modulus of that at
    every coarser scale.
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
    """Return |image * wavelet| at every 2^scale-th pixel: a wavelet of that scale has no finer detail."""
    found = spectrum * wavelet(spectrum.shape[-1], scale, direction)
    strength: FloatArray = np.abs(scipy.fft.ifft2(_thinned(found, SIDE >> scale)))
    return strength


def _averages(spectrum: Complex) -> FloatArray:
    """Return the patch averages (n, 16) of the map with the given spectrum."""
    found = _thinned(spectrum * average(spectrum.shape[-1]), PATCHES)
    return scipy.fft.ifft2(found).real.reshape(len(found), -1)  # type: ignore[no-any-return]


def _thinned(spectrum: Complex, size: int) -> Complex:
    """Subsample the map with the given spectrum to ``size`` x ``size`` pixels; aliased frequencies are added."""
    times = spectrum.shape[-1] // size
    if times == 1:
        return spectrum
    found: Complex = spectrum.reshape(len(spectrum), times, size, times, size).sum(axis=(1, 3)) / np.float32(times**2)
    return found


# -- Filters -----------------------------------------------------------------------------------------
@cache
def wavelet(size: int, scale: int, direction: int) -> FloatArray:
    """Return the Fourier transform, float32 (size, size), of a Morlet wavelet: a wave times a Gaussian, with mean 0."""
    width, frequency = 0.8 * 2**scale, 0.375 / 2**scale
    angle = np.pi * direction / DIRECTIONS
    wave = _bell(width, angle, frequency)
    still = _bell(width, angle, 0.0)
    found = wave - still * (wave[0, 0] / still[0, 0])
    return _on_grid(found / np.abs(found).max(), size)


@cache
def average(size: int) -> FloatArray:
    """Return the Fourier transform, float32 (size, size), of the Gaussian that averages patches."""
    return _on_grid(_bell(0.8 * 2 ** (SCALES - 1), 0.0, 0.0, is_round=True), size)


def _bell(width: float, angle: float, frequency: float, *, is_round: bool = False) -> npt.NDArray[np.float64]:
    """Return the Fourier transform (32, 32) of a wave times a Gaussian with standard deviation ``width`` pixels.

    It is again a Gaussian, centered on the wave's frequency, wider across its direction, and wrapped around
    periodically.
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
    """Return a filter for maps subsampled to ``size`` pixels per side."""
    times = SIDE // size
    found: FloatArray = filter_.reshape(times, size, times, size).sum(axis=(0, 2)).astype(np.float32)
    return found
