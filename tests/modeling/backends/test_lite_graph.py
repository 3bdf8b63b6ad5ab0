"""Assemble LiteRT files, and compare each layer with a plain computation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from modeling.backends.lite_graph import LiteGraph, Tensor
from modeling.backends.litert import interpreters_of

Floats = NDArray[np.float32]
SIDE = 7


def run(build: Callable[[LiteGraph], Tensor], image: Floats) -> Floats:
    """Return the output of a graph for an image (1, side, side, 3)."""
    graph = LiteGraph(image.shape[1])
    interpreter = interpreters_of(graph.content(build(graph)))[0]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    output: Floats = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output


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
def test_convolutions(image: Floats, stride: int, size: int) -> None:
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(size, size, 3, 4)).astype(np.float32) * 3, np.float32([1, -1, 0, 9])
    expected = filtered(image, kernel, bias, stride)
    plain = run(lambda graph: graph.convolve(graph.image, kernel, bias, stride=stride, relu6=False), image)
    np.testing.assert_allclose(plain, expected, atol=1e-4)
    limited = run(lambda graph: graph.convolve(graph.image, kernel, bias, stride=stride), image)
    np.testing.assert_allclose(limited, np.clip(expected, 0, 6), atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_filters_of_channels(image: Floats, stride: int) -> None:
    rng = np.random.default_rng(2)
    kernel, bias = rng.normal(size=(3, 3, 3, 1)).astype(np.float32), np.float32([0.5, 0, 3])
    found = run(lambda graph: graph.filter_channels(graph.image, kernel, bias, stride=stride), image)
    for channel in range(3):
        own = filtered(image[..., channel : channel + 1], kernel[:, :, channel : channel + 1], bias[[channel]], stride)
        np.testing.assert_allclose(found[..., [channel]], np.clip(own, 0, 6), atol=1e-4)


def test_scaling_sums_and_averages(image: Floats) -> None:
    def build(graph: LiteGraph) -> Tensor:
        scaled = graph.scale(graph.image, 2, -1)
        return graph.average(graph.add(scaled, graph.image))

    np.testing.assert_allclose(run(build, image), (3 * image - 1).mean(axis=(1, 2)), atol=1e-5)


def test_weights_that_do_not_fit_are_refused() -> None:
    graph = LiteGraph(SIDE)
    with pytest.raises(ValueError, match="does not fit 3 channels"):
        graph.convolve(graph.image, np.zeros((3, 3, 5, 4), np.float32), np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="does not fit 3 channels"):
        graph.filter_channels(graph.image, np.zeros((3, 3, 5, 1), np.float32), np.zeros(5, np.float32))
    narrow = graph.convolve(graph.image, np.zeros((3, 3, 3, 2), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="cannot be added"):
        graph.add(graph.image, narrow)
