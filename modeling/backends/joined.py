"""Join encoders: their vectors side by side, reduced to principal components that are fitted to a dataset.

Encoders err on different images, so that a classifier on several of them needs fewer labels than on the best of them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import numpy as np
from PIL import Image

from labeling.images.encoder_inputs import Pixels
from modeling.algorithms.reduction import Reduction
from modeling.backends.encoder import Encoder, FloatArray, fingerprint

SEPARATOR = "+"
# Number of components: fewer lose accuracy, more hardly gain any (docs/explanation/label-efficiency.md).
DIMS = 256


class JoinedEncoder(Encoder):
    """Several encoders of the same image. Without a reduction, vectors are those of the encoders side by side.

    ``n_encoded`` counts the images so far, and ``left_out`` sums the share of each that the reduction leaves out.
    """

    def __init__(self, encoders: Sequence[Encoder], reduction: Reduction | None = None) -> None:
        self.encoders = tuple(encoders)
        self.reduction = reduction
        self.n_encoded, self.left_out = 0, 0.0
        self._lock = threading.Lock()
        self.name = " + ".join(encoder.name for encoder in self.encoders)
        self.backend = SEPARATOR.join(encoder.backend for encoder in self.encoders)
        reasons = [encoder.reason for encoder in self.encoders if not encoder.reason.endswith("as chosen.")]
        self.reason = " ".join(reasons) or f"{self.name}, as chosen."
        self.widths = tuple(encoder.dim for encoder in self.encoders)
        self.dim = sum(self.widths) if reduction is None else reduction.dim
        self.input_side = max(encoder.input_side for encoder in self.encoders)
        self.batch_size = min(encoder.batch_size for encoder in self.encoders)
        facts = {"architecture": "joined", "encoders": " ".join(encoder.fingerprint for encoder in self.encoders)}
        self.fingerprint = fingerprint(**facts, reduction="" if reduction is None else _hash_of(reduction))

    @property
    def is_alive(self) -> bool:
        return all(encoder.is_alive for encoder in self.encoders)

    def reduced(self, reduction: Reduction) -> JoinedEncoder:
        """Return this encoder with a reduction of its vectors."""
        joined = JoinedEncoder(self.encoders, reduction)
        joined.backend, joined.reason, joined.is_fallback = self.backend, self.reason, self.is_fallback
        return joined

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        """Encode uint8 (n, input_side, input_side, 3) as float32 (n, dim)."""
        vectors = np.concatenate(
            [encoder.encode_prepared(self._prepared_for(encoder, pixels)) for encoder in self.encoders], axis=1
        )
        if self.reduction is None:
            return vectors
        features, left_out = self.reduction.apply(vectors)
        with self._lock:
            self.n_encoded += len(features)
            self.left_out += float(left_out.sum())
        return features

    def _prepared_for(self, encoder: Encoder, pixels: Pixels) -> Pixels:
        """Return the input of one of the encoders, made from the largest: images are decoded once."""
        if not len(pixels) or (encoder.is_plain and encoder.input_side == self.input_side):
            return pixels
        return np.stack([encoder.prepare(Image.fromarray(image)) for image in pixels])


def _hash_of(reduction: Reduction) -> str:
    digest = hashlib.sha256()
    for array in (reduction.mean, reduction.scale, reduction.axes):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
