"""Build EfficientNet-Lite2 with ImageNet weights from a torch file, as a LiteRT file or as a Keras model.

Tan and Le (2019), "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML, in the variant for
phones: no squeeze-and-excitation, ReLU6 as the activation, and first and last layers that are not widened. Convolutions
are padded as TensorFlow's "SAME". The normalization of each layer is folded into its convolution.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.backends.keras_graph import KerasGraph
from modeling.backends.lite_graph import LiteGraph
from modeling.backends.torch_file import read_tensors

SIDE = 260
EPSILON = 1e-3
# Number of blocks and stride of the first, for each stage.
STAGES = ((1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1))
# Kernel and bias of each convolution, by the file's name.
Layers = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
# The normalization after each convolution of a block, and of the first and last layer.
_NORMS = {
    "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2", "_conv_stem": "_bn0",
    "_conv_head": "_bn1",
}  # fmt: skip


def efficientnet_lite2(keras: Any, file: Path, side: int) -> Any:
    """Return the network with a file's weights: scaled (side, side, 3) to the 1,280 averages of its last feature map.

    Raises
    ------
    ValueError, KeyError
        If the file does not contain weights of this network.
    """
    graph = KerasGraph(keras, side)
    return keras.Model(graph.image, _averages(graph, file, graph.image))


def assembled(file: Path, side: int) -> bytes:
    """Return the same as a LiteRT file, for pixels in 0 … 255. Raises ValueError and KeyError."""
    graph = LiteGraph(side)
    return graph.content(_averages(graph, file, graph.scale(graph.image, 1 / 128, -127 / 128)))


def _averages(graph: LiteGraph | KerasGraph, file: Path, pixels: Any) -> Any:
    layers = fold_normalization(read_tensors(file))
    values = graph.convolve(pixels, *layers["_conv_stem"], stride=2)
    numbers = itertools.count()
    for n_blocks, stride in STAGES:
        for block in range(n_blocks):
            values = _block(graph, layers, f"_blocks.{next(numbers)}", values, 1 if block else stride)
    return graph.average(graph.convolve(values, *layers["_conv_head"]))


def fold_normalization(state: dict[str, NDArray[Any]]) -> Layers:
    """Return each convolution with the following normalization folded in, as `LiteGraph` takes them."""
    layers: Layers = {}
    for name in [name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim == 4]:
        folder, _, convolution = name.rpartition(".")
        norm = f"{folder}.{_NORMS[convolution]}".removeprefix(".")
        factor = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        kernel = (state[f"{name}.weight"] * factor[:, None, None, None]).transpose(2, 3, 1, 0)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
        if convolution == "_depthwise_conv":
            kernel = kernel.transpose(0, 1, 3, 2)
        layers[name] = kernel.astype(np.float32), bias.astype(np.float32)
    return layers


def _block(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any, stride: int) -> Any:
    """Add a block: widen, filter each channel and narrow again, plus the input where its shape is the same."""
    inner = values
    if f"{name}._expand_conv" in layers:
        inner = graph.convolve(inner, *layers[f"{name}._expand_conv"])
    inner = graph.filter_channels(inner, *layers[f"{name}._depthwise_conv"], stride=stride)
    inner = graph.convolve(inner, *layers[f"{name}._project_conv"], relu6=False)
    return graph.add(inner, values) if inner.shape == values.shape else inner
