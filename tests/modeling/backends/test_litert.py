"""Run networks on all cores."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import FloatArray
from modeling.backends.litert import PerCore


def images(n: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (n, 2, 2, 3), dtype=np.uint8)


class Function:
    """Return the pixels of an image as its vector; remember whether two threads ran it at the same time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.overlapped = False
        self.n = 0

    def __call__(self, pixels: Pixels) -> FloatArray:
        if not self.lock.acquire(blocking=False):
            self.overlapped = True
            return np.zeros(12, np.float32)
        try:
            self.n += 1
            time.sleep(0.001 * float(pixels[0, 0, 0, 0] % 4))
            return pixels.astype(np.float32).ravel()
        finally:
            self.lock.release()


def test_batches_at_the_same_time_share_the_functions() -> None:
    functions = [Function(), Function(), Function()]
    network = PerCore(functions, np.zeros((1, 2, 2, 3), np.uint8))
    batches = [images(n, n) for n in (20, 1, 0, 33, 7)]
    with ThreadPoolExecutor(len(batches)) as pool:
        vectors = list(pool.map(network.run, batches))
    for batch, found in zip(batches, vectors, strict=True):
        np.testing.assert_array_equal(found, batch.reshape(len(batch), 12))
    assert not any(function.overlapped for function in functions)
    assert all(function.n for function in functions)


def test_a_function_that_failed_is_used_again() -> None:
    def fail_on_white(pixels: Pixels) -> FloatArray:
        if pixels.all():
            raise ValueError("white")
        return pixels.astype(np.float32).ravel()

    network = PerCore([fail_on_white], np.zeros((1, 2, 2, 3), np.uint8))
    for _ in range(3):
        try:
            network.run(np.full((4, 2, 2, 3), 255, np.uint8))
        except ValueError:
            continue
        raise AssertionError("The error was lost.")
    black = np.zeros((4, 2, 2, 3), np.uint8)
    np.testing.assert_array_equal(network.run(black), np.zeros((4, 12)))
