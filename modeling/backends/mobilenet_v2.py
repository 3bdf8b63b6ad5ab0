"""Describe MobileNetV2 with Keras's ImageNet weights.

Sandler et al. (2018), "MobileNetV2: inverted residuals and linear bottlenecks", CVPR.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeling.backends.batch_norm import Layers
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.keras_weights import fold_convolutions, read_layers
from modeling.backends.lite_graph import LiteGraph

EPSILON = 1e-3
# Number of blocks and stride of the first, for each stage.
STAGES = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))


def averages(graph: LiteGraph | KerasGraph, file: Path) -> Any:
    """Return the 1,280 averages of the last feature map, from pixels in 0 … 255. Raises as `read_layers` does."""
    names = [layer for name in _convolutions() for layer in (name, _norm_of(name))]
    layers = fold_convolutions(read_layers(file, names), _norm_of, EPSILON)
    pixels = graph.scale(graph.image, 1 / 127.5, -1.0)
    values = graph.convolve(pixels, *layers["Conv1"], stride=2, activation="relu6")
    for name, stride in _blocks():
        values = _block(graph, layers, name, values, stride)
    return graph.average(graph.convolve(values, *layers["Conv_1"], activation="relu6"))


def _blocks() -> Iterator[tuple[str, int]]:
    """Yield the name of each block in Keras, and its stride."""
    number = 0
    for n_blocks, stride in STAGES:
        for block in range(n_blocks):
            yield f"block_{number}" if number else "expanded_conv", 1 if block else stride
            number += 1


def _convolutions() -> Iterator[str]:
    """Yield Keras's names of the convolutions, in its order."""
    yield "Conv1"
    for name, _ in _blocks():
        parts = ("depthwise", "project") if name == "expanded_conv" else ("expand", "depthwise", "project")
        yield from (f"{name}_{part}" for part in parts)
    yield "Conv_1"


def _norm_of(name: str) -> str:
    """Return Keras's name of the normalization after a convolution."""
    return {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(name, f"{name}_BN")


def _block(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any, stride: int) -> Any:
    """Add a block: widen, filter each channel and narrow again, plus the input where its shape is the same."""
    inner = values
    if f"{name}_expand" in layers:
        inner = graph.convolve(inner, *layers[f"{name}_expand"], activation="relu6")
    inner = graph.filter_channels(inner, *layers[f"{name}_depthwise"], stride=stride, activation="relu6")
    inner = graph.convolve(inner, *layers[f"{name}_project"])
    return graph.add(inner, values) if inner.shape == values.shape else inner
