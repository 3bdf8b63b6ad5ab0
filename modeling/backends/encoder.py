"""What every encoder is: an image goes in, a vector comes out; a fingerprint says which kind of vector."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from labeling.images.encoder_inputs import PREPROCESSING_VERSION, Pixels, decode_side, squash

FloatArray = npt.NDArray[np.float32]


class EncoderUnavailable(Exception):
    """The wanted encoder cannot run here; ``hint`` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Encoder(ABC):
    """Turns images into vectors.

    The work is in two halves, so that decoding and resizing (Pillow, which lets go of Python's lock) can
    run in threads while the arithmetic of the batch before runs: :meth:`prepare` per image,
    :meth:`encode_prepared` per batch.

    Attributes
    ----------
    backend : its name in the registry, see ``modeling.backends.registry``.
    name : what people call it.
    fingerprint : 16 hexadecimal digits; equal for encoders whose vectors may be compared.
    dim : length of a vector.
    input_side : side in pixels of the square that the encoder sees.
    is_plain : :meth:`prepare` is only :func:`labeling.images.encoder_inputs.squash`, which an ingest may do for it.
    batch_size : how many images :meth:`encode_prepared` likes at once.
    reason : why this encoder and not a better one, in words.
    is_fallback : a better one was looked for and not found.
    """

    backend: str = ""
    name: str
    fingerprint: str
    dim: int
    input_side: int
    is_plain: bool = True
    batch_size: int
    reason: str
    is_fallback: bool = False

    @property
    def decode_side(self) -> int:
        """The side in pixels for which to open an image; more gains next to nothing."""
        return decode_side(self.input_side)

    def prepare(self, image: Image.Image) -> Pixels:
        """One upright RGB image -> uint8 (input_side, input_side, 3); safe to call from any thread."""
        return squash(image, self.input_side)

    @abstractmethod
    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        """uint8 (n, input_side, input_side, 3) -> float32 (n, dim), all finite; any n, also 0."""

    def encode(self, images: Sequence[Image.Image]) -> FloatArray:
        """RGB images of any sizes -> float32 (n, dim), all finite."""
        if not images:
            return np.empty((0, self.dim), dtype=np.float32)
        return np.concatenate(
            [
                self.encode_prepared(np.stack([self.prepare(image) for image in images[i : i + self.batch_size]]))
                for i in range(0, len(images), self.batch_size)
            ]
        )


class PooledEncoder(Encoder):
    """An encoder that describes shares of a batch in threads: :meth:`describe` is safe to call from any."""

    share = 16

    def __init__(self, reason: str, n_threads: int) -> None:
        self.reason = reason
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="encoder")

    @abstractmethod
    def describe(self, pixels: Pixels) -> FloatArray:
        """uint8 (n, input_side, input_side, 3) -> float32 (n, dim), n at most ``share``."""

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        shares = [pixels[start : start + self.share] for start in range(0, len(pixels), self.share)]
        found = list(self._pool.map(self.describe, shares))
        return np.concatenate(found) if found else np.empty((0, self.dim), np.float32)


def fingerprint(**facts: str | int | float) -> str:
    """16 hexadecimal digits over everything that decides what a vector means."""
    text = json.dumps({**facts, "preprocessing": PREPROCESSING_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def one_line(error: BaseException) -> str:
    """An error's own words, on one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"
