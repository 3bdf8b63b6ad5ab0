"""Test scattering against a slow and simple computation, its reproducibility, and its response to features."""

import numpy as np
import pytest
from PIL import Image

from modeling.backends import scattering as scattering_module
from modeling.backends.encoder import FloatArray
from modeling.backends.plugins import LoadedEncoder
from modeling.backends.scattering import DIM, DIRECTIONS, SCALES, PatchesEncoder, average, scattering, wavelet


def noise(n: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).random((n, 32, 32)).astype(np.float32)


def through(image: np.ndarray, filter_: FloatArray) -> np.ndarray:
    return np.fft.ifft2(np.fft.fft2(image) * filter_)


def slow_scattering(image: np.ndarray, *, orders: int) -> np.ndarray:
    """Compute in double precision, every map at full size."""

    def averages(spectrum_map: np.ndarray) -> np.ndarray:
        return through(spectrum_map, average(32)).real[::8, ::8].ravel()

    wavelets = [(scale, direction) for scale in range(SCALES) for direction in range(DIRECTIONS)]
    paths = [averages(image)]
    for scale, direction in wavelets:
        strength = np.abs(through(image, wavelet(32, scale, direction)))
        paths.append(averages(strength))
        for coarser, turned in wavelets if orders == 2 else []:
            if coarser > scale:
                paths.append(averages(np.abs(through(strength, wavelet(32, coarser, turned)))))
    return np.concatenate(paths)


@pytest.mark.parametrize("orders", [1, 2])
def test_numbers_of_a_plain_computation(orders: int) -> None:
    images = noise(3)
    expected = np.array([slow_scattering(image.astype(float), orders=orders) for image in images])
    result = scattering(images, orders=orders)
    assert result.dtype == np.float32
    # Subsampling loses a little of what lies between the pixels.
    assert np.abs(result - expected).max() < 0.03 * np.abs(expected[:, 16:]).max()
    assert np.corrcoef(result.ravel(), expected.ravel())[0, 1] > 0.9999


def test_wavelets_see_nothing_in_an_even_image() -> None:
    result = scattering(np.full((1, 32, 32), 0.5, np.float32), orders=2)
    np.testing.assert_allclose(result[0, :16], 0.5, atol=1e-5)
    np.testing.assert_allclose(result[0, 16:], 0, atol=1e-5)


def test_a_wavelet_answers_to_its_own_direction() -> None:
    stripes = np.tile(np.sin(np.arange(32) * np.pi / 2).astype(np.float32), (32, 1))
    response = scattering(stripes[None], orders=1)[0].reshape(-1, 16).mean(axis=1)[1:].reshape(SCALES, DIRECTIONS)
    assert np.unravel_index(response.argmax(), response.shape)[1] == 0
    turned = scattering(stripes.T[None], orders=1)[0].reshape(-1, 16).mean(axis=1)[1:].reshape(SCALES, DIRECTIONS)
    assert np.unravel_index(turned.argmax(), turned.shape)[1] == DIRECTIONS // 2


def test_a_small_shift_changes_little_and_a_turn_much() -> None:
    image = np.zeros((32, 32), np.float32)
    image[8:24, 10:14] = 1
    original, shifted, turned = scattering(np.stack([image, np.roll(image, 1, axis=1), image.T]), orders=2)
    assert np.linalg.norm(original - shifted) < 0.5 * np.linalg.norm(original - turned)


def test_vectors() -> None:
    rng = np.random.default_rng(3)
    images = [Image.fromarray(rng.integers(0, 256, (h, 40, 3), dtype=np.uint8)) for h in range(5, 75)]
    encoder = LoadedEncoder(PatchesEncoder())
    together = encoder.encode(images)
    assert together.shape == (70, DIM) == (70, 1456)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_allclose(encoder.encode(images[67:]), together[67:], atol=1e-4)
    assert encoder.encode([]).shape == (0, DIM)


def test_black_and_white_are_finite_and_differ() -> None:
    black, white = LoadedEncoder(PatchesEncoder()).encode([Image.new("RGB", (9, 9)), Image.new("RGB", (9, 9), "white")])
    assert np.isfinite([black, white]).all()
    assert np.abs(black - white).max() > 1


def test_colours_count() -> None:
    red, green = LoadedEncoder(PatchesEncoder()).encode(
        [Image.new("RGB", (9, 9), color) for color in ("#c00000", "#006000")]
    )
    assert np.abs(red - green).max() > 0.5


def test_fingerprint_is_pinned() -> None:
    # A change here recomputes all users' vectors, so it has to be intentional.
    assert LoadedEncoder(PatchesEncoder()).fingerprint == "5fcddc0a060a1e88"


def test_the_vectors_themselves_are_pinned() -> None:
    """Check that vectors are the same on every machine and for every version with this fingerprint."""
    steps = np.arange(32 * 32 * 3, dtype=np.int64)
    pixels = (steps * steps // 7 % 251).astype(np.uint8).reshape(1, 32, 32, 3)
    vector = scattering_module.described(pixels)[0]
    values = [vector[:976].mean(), vector[976:].mean(), vector[5], vector[600], vector[-1]]
    np.testing.assert_allclose(values, [-4.70487, -2.58989, -0.65732, -3.44709, 0.17952], atol=2e-4)
