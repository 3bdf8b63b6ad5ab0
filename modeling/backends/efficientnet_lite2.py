"""Describe EfficientNet-Lite2 with ImageNet weights from a torch file.

Tan and Le (2019), "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML, in the variant for
phones: no squeeze-and-excitation, ReLU6 as the activation, and first and last layers that are not widened. Convolutions
are padded as TensorFlow's "SAME".
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from modeling.backends.batch_norm import Layers
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.lite_graph import LiteGraph
from modeling.backends.torch_file import fold_convolutions, read_tensors

SIDE = 260
EPSILON = 1e-3
# Number of blocks and stride of the first, for each stage.
STAGES = ((1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1))
# The normalization after each convolution of a block, and of the first and last layer.
_NORMS = {
    "_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2", "_conv_stem": "_bn0",
    "_conv_head": "_bn1",
}  # fmt: skip


def averages(graph: LiteGraph | KerasGraph, file: Path) -> Any:
    """Return the 1,280 averages of the last feature map, from pixels in 0 … 255.

    Raises
    ------
    OSError, ValueError, KeyError
        If the file does not contain weights of this network.
    """
    layers = fold_convolutions(read_tensors(file), _norm_of, EPSILON)
    pixels = graph.scale(graph.image, 1 / 128, -127 / 128)
    values = graph.convolve(pixels, *layers["_conv_stem"], stride=2, activation="relu6")
    numbers = itertools.count()
    for n_blocks, stride in STAGES:
        for block in range(n_blocks):
            values = _block(graph, layers, f"_blocks.{next(numbers)}", values, 1 if block else stride)
    return graph.average(graph.convolve(values, *layers["_conv_head"], activation="relu6"))


def _norm_of(name: str) -> str:
    """Return the file's name of the normalization after a convolution."""
    folder, _, convolution = name.rpartition(".")
    return f"{folder}.{_NORMS[convolution]}".removeprefix(".")


def _block(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any, stride: int) -> Any:
    """Add a block: widen, filter each channel and narrow again, plus the input where its shape is the same."""
    inner = values
    if f"{name}._expand_conv" in layers:
        inner = graph.convolve(inner, *layers[f"{name}._expand_conv"], activation="relu6")
    inner = graph.filter_channels(inner, *layers[f"{name}._depthwise_conv"], stride=stride, activation="relu6")
    inner = graph.convolve(inner, *layers[f"{name}._project_conv"])
    return graph.add(inner, values) if inner.shape == values.shape else inner
