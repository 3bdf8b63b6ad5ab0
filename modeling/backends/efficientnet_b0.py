"""Describe EfficientNetB0 with Keras's ImageNet weights.

Tan and Le (2019), "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML. Each block weighs
its channels by their averages (Hu et al., 2018, "Squeeze-and-excitation networks", CVPR).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modeling.backends.batch_norm import Layers
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.keras_weights import fold_convolutions, read_layers
from modeling.backends.lite_graph import LiteGraph

EPSILON = 1e-3
# Number of blocks and stride of the first, for each stage.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
# Keras divides by the root of the variance in the file and by this again (`quick.applications`).
_DEVIATION = np.sqrt((0.229, 0.224, 0.225))


def averages(graph: LiteGraph | KerasGraph, file: Path) -> Any:
    """Return the 1,280 averages of the last feature map, from pixels in 0 … 255. Raises as `read_layers` does."""
    arrays = read_layers(file, list(_names()))
    layers = fold_convolutions(arrays, _norm_of, EPSILON)
    mean, variance = (array.astype(np.float64) for array in arrays["normalization"][:2])
    factors = 1 / (np.sqrt(variance) * _DEVIATION)
    pixels = graph.scale(graph.image, factors / 255, -mean * factors)
    values = graph.convolve(pixels, *layers["stem_conv"], stride=2, activation="swish")
    for name, stride in _blocks():
        values = _block(graph, layers, name, values, stride)
    return graph.average(graph.convolve(values, *layers["top_conv"], activation="swish"))


def _blocks() -> Iterator[tuple[str, int]]:
    """Yield the name of each block in Keras, and its stride."""
    for stage, (n_blocks, stride) in enumerate(STAGES, 1):
        for block in range(n_blocks):
            yield f"block{stage}{'abcd'[block]}", 1 if block else stride


def _names() -> Iterator[str]:
    """Yield Keras's names of the layers with weights, in its order."""
    yield from ("normalization", "stem_conv", "stem_bn")
    for name, _ in _blocks():
        if name != "block1a":
            yield from (f"{name}_expand_conv", f"{name}_expand_bn")
        parts = ("dwconv", "bn", "se_reduce", "se_expand", "project_conv", "project_bn")
        yield from (f"{name}_{part}" for part in parts)
    yield from ("top_conv", "top_bn")


def _norm_of(name: str) -> str:
    """Return Keras's name of the normalization after a convolution: dwconv -> bn, project_conv -> project_bn."""
    if name.endswith(("se_reduce", "se_expand")):
        return ""
    return name.replace("dwconv", "bn").replace("conv", "bn")


def _block(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any, stride: int) -> Any:
    """Add a block: widen, filter, weigh the channels and narrow, plus the input where its shape is the same."""
    inner = values
    if f"{name}_expand_conv" in layers:
        inner = graph.convolve(inner, *layers[f"{name}_expand_conv"], activation="swish")
    inner = graph.filter_channels(inner, *layers[f"{name}_dwconv"], stride=stride, activation="swish")
    squeezed = graph.average(inner, keeps_axes=True)
    excited = graph.convolve(squeezed, *layers[f"{name}_se_reduce"], activation="swish")
    excited = graph.convolve(excited, *layers[f"{name}_se_expand"], activation="sigmoid")
    inner = graph.convolve(graph.multiply(inner, excited), *layers[f"{name}_project_conv"])
    return graph.add(inner, values) if inner.shape == values.shape else inner
