"""Test joined encoders: what they see, and how they are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling.algorithms.reduction import Reduction
from modeling.backends import EncoderUnavailable, JoinedEncoder, choose_encoder, likely, parts_of
from modeling.backends.hog import HogEncoder
from modeling.backends.plugins import LoadedEncoder
from modeling.backends.scattering import PatchesEncoder


def images(n: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(256, size=(90, 70, 3), dtype=np.uint8)) for _ in range(n)]


def test_vectors_stand_side_by_side() -> None:
    joined = choose_encoder("hog+patches")
    assert isinstance(joined, JoinedEncoder)
    assert joined.dim == sum(joined.widths)
    vectors = joined.encode(images(3))
    np.testing.assert_array_equal(vectors[:, : HogEncoder.dim], LoadedEncoder(HogEncoder()).encode(images(3)))
    small = [Image.fromarray(joined.prepare(image)) for image in images(3)]
    np.testing.assert_array_equal(vectors[:, HogEncoder.dim :], LoadedEncoder(PatchesEncoder()).encode(small))
    assert joined.encode([]).shape == (0, joined.dim)
    assert joined.encode_prepared(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, joined.dim)


def test_the_fingerprint_covers_encoders_and_components() -> None:
    joined = choose_encoder("hog+patches")
    assert isinstance(joined, JoinedEncoder)
    X = np.random.default_rng(0).normal(size=(30, joined.dim)).astype(np.float32)
    fits = [Reduction.fit(X[:n], joined.widths, 8, rng=np.random.default_rng(0)) for n in (30, 29, 30)]
    first, second, third = (joined.reduced(fit).fingerprint for fit in fits)
    assert first == third
    assert len({first, second, joined.fingerprint, choose_encoder("patches+hog").fingerprint}) == 4
    reduced = joined.reduced(fits[0])
    assert reduced.encode(images(4)).shape == (4, 8)
    assert reduced.n_encoded == 4
    assert 0 < reduced.left_out < 4


@pytest.mark.parametrize(
    ("backend", "parts"),
    [
        ("hog", ["hog"]),
        ("hog+scattering", ["hog+scattering"]),  # an encoder of its own
        ("resnet50+hog+patches", ["resnet50", "hog", "patches"]),
        ("file:birds.onnx+hog", ["file:birds.onnx", "hog"]),
        ("file:birds.onnx@imagenet+hog", ["file:birds.onnx@imagenet", "hog"]),
        ("file:a+b.onnx", ["file:a+b.onnx"]),
        ("hog+hog", ["hog+hog"]),
        ("hog+magic", ["hog+magic"]),
    ],
)
def test_names(backend: str, parts: list[str]) -> None:
    assert parts_of(backend) == parts


def test_a_line_says_what_is_missing(tmp_path: Path) -> None:
    line = likely("patches+hog", tmp_path)
    assert (line.encoder, line.available, line.side) == ("Scattering + HOG + color", True, 64)
    line = likely("hog+file:birds.onnx", tmp_path)
    assert not line.available
    assert "birds.onnx" in line.reason
    with pytest.raises(EncoderUnavailable, match=r"birds\.onnx"):
        choose_encoder("hog+file:birds.onnx", tmp_path)
    with pytest.raises(EncoderUnavailable, match="no encoder called 'hog\\+magic'"):
        choose_encoder("hog+magic", tmp_path)
