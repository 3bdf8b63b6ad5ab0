"""Assemble LiteRT files and Keras models, and compare each layer with a plain computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modeling.backends.batch_norm import fold
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.keras_networks import import_tensorflow
from modeling.backends.lite_graph import Activation, LiteGraph
from modeling.backends.litert import interpreters_of

Floats = NDArray[np.float32]
Build = Callable[[LiteGraph | KerasGraph], Any]
Run = Callable[[Build, Floats], Floats]
SIDE = 7


def run_lite(build: Build, image: Floats) -> Floats:
    """Return the output of a graph for an image (1, side, side, 3), by LiteRT."""
    graph = LiteGraph(image.shape[1])
    interpreter = interpreters_of(graph.content(build(graph)))[0]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    output: Floats = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


def run_keras(build: Build, image: Floats) -> Floats:
    """Return the same by Keras."""
    _, keras = import_tensorflow()
    graph = KerasGraph(keras, image.shape[1])
    output: Floats = keras.Model(graph.image, build(graph)).predict_on_batch(image)
    return output


@pytest.fixture(params=["lite", pytest.param("keras", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest) -> Run:
    return run_lite if request.param == "lite" else run_keras


def activated(values: Floats, activation: Activation) -> Floats:
    logistic = 1 / (1 + np.exp(-values))
    results = {"linear": values, "relu": np.maximum(values, 0), "relu6": np.clip(values, 0, 6)}
    return {**results, "swish": values * logistic, "sigmoid": logistic}[activation]


def filtered(image: Floats, kernel: Floats, bias: Floats, stride: int) -> Floats:
    """Convolve with TensorFlow's padding "SAME": what is missing is split, the larger half at the end."""
    _, side, _, _ = image.shape
    size, n_out = len(kernel), len(bias)
    n = -(-side // stride)
    missing = max((n - 1) * stride + size - side, 0)
    before = missing // 2
    padded = np.pad(image, ((0, 0), (before, missing - before), (before, missing - before), (0, 0)))
    found = np.empty((1, n, n, n_out), np.float32)
    for row in range(n):
        for column in range(n):
            part = padded[0, row * stride : row * stride + size, column * stride : column * stride + size]
            found[0, row, column] = np.tensordot(part, kernel, 3) + bias
    return found


@pytest.fixture
def image() -> Floats:
    return np.random.default_rng(0).normal(size=(1, SIDE, SIDE, 3)).astype(np.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_convolutions(run: Run, image: Floats, stride: int, size: int) -> None:
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(size, size, 3, 4)).astype(np.float32) * 3, np.float32([1, -1, 0, 9])
    expected = filtered(image, kernel, bias, stride)
    plain = run(lambda graph: graph.convolve(graph.image, kernel, bias, stride=stride), image)
    np.testing.assert_allclose(plain, expected, atol=1e-4)
    bare = run(lambda graph: graph.convolve(graph.image, kernel, bias, stride=stride, is_padded=False), image)
    windows = np.lib.stride_tricks.sliding_window_view(image[0], (size, size), axis=(0, 1))[::stride, ::stride]
    np.testing.assert_allclose(bare[0], np.einsum("yxcab,abco->yxo", windows, kernel) + bias, atol=1e-4)


@pytest.mark.parametrize("activation", ["relu", "relu6", "swish", "sigmoid"])
def test_activations(run: Run, image: Floats, activation: Activation) -> None:
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(1, 1, 3, 3)).astype(np.float32) * 3, np.float32([1, -1, 9])
    found = run(lambda graph: graph.convolve(graph.image, kernel, bias, activation=activation), image)
    np.testing.assert_allclose(found, activated(filtered(image, kernel, bias, 1), activation), atol=1e-4)
    channels = kernel[..., :1]
    found = run(lambda graph: graph.filter_channels(graph.image, channels, bias, activation=activation), image)
    np.testing.assert_allclose(found, activated(image * channels[0, 0, :, 0] + bias, activation), atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_filters_of_channels(run: Run, image: Floats, stride: int) -> None:
    rng = np.random.default_rng(2)
    kernel, bias = rng.normal(size=(3, 3, 3, 1)).astype(np.float32), np.float32([0.5, 0, 3])
    found = run(lambda graph: graph.filter_channels(graph.image, kernel, bias, stride=stride), image)
    for channel in range(3):
        own = filtered(image[..., channel : channel + 1], kernel[:, :, channel : channel + 1], bias[[channel]], stride)
        np.testing.assert_allclose(found[..., [channel]], own, atol=1e-4)


def test_scaling_sums_products_and_averages(run: Run, image: Floats) -> None:
    def build(graph: LiteGraph | KerasGraph) -> Any:
        scaled = graph.scale(graph.scale(graph.image, 2, -1), [1, 2, 3], np.array([3.0, 2, 1]))
        weighed = graph.multiply(scaled, graph.average(graph.image, keeps_axes=True))
        return graph.average(graph.add(weighed, graph.image, activation="relu"))

    scaled = (2 * image - 1) * np.float32([1, 2, 3]) + np.float32([3, 2, 1])
    total = scaled * image.mean(axis=(1, 2), keepdims=True) + image
    np.testing.assert_allclose(run(build, image), np.maximum(total, 0).mean(axis=(1, 2)), atol=1e-5)


def test_maximum_over_windows(run: Run, image: Floats) -> None:
    found = run(lambda graph: graph.max_pool(graph.pad(graph.image, 1), 3, stride=2), image)
    padded = np.pad(image[0], ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::2, ::2]
    np.testing.assert_array_equal(found[0], windows.max(axis=(3, 4)))


def test_folded_normalization(image: Floats) -> None:
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
    bias, gamma, beta, mean, variance = rng.uniform(0.5, 2, (5, 4))
    folded = filtered(image, *fold(kernel, (gamma, beta, mean, variance), 0.01, bias), 1)
    plain = filtered(image, kernel, bias, 1)
    np.testing.assert_allclose(folded, (plain - mean) / np.sqrt(variance + 0.01) * gamma + beta, atol=1e-4)


def test_weights_that_do_not_fit_are_refused() -> None:
    graph = LiteGraph(SIDE)
    with pytest.raises(ValueError, match="does not fit 3 channels"):
        graph.convolve(graph.image, np.zeros((3, 3, 5, 4), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="does not fit 3 channels"):
        graph.filter_channels(graph.image, np.zeros((3, 3, 5, 1), np.float32), np.zeros(5, np.float32))
    narrow = graph.convolve(graph.image, np.zeros((3, 3, 3, 2), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="cannot be added"):
        graph.add(graph.image, narrow)
