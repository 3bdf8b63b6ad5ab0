"""Describe ResNet50 with Keras's ImageNet weights.

He et al. (2016), "Deep residual learning for image recognition", CVPR.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modeling.backends.batch_norm import Layers
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.keras_weights import fold_convolutions, read_layers
from modeling.backends.lite_graph import LiteGraph

EPSILON = 1.001e-5
# Number of blocks of the stages conv2 … conv5.
STAGES = {2: 3, 3: 4, 4: 6, 5: 3}
# Means of red, green and blue.
_MEAN = (123.68, 116.779, 103.939)


def averages(graph: LiteGraph | KerasGraph, file: Path) -> Any:
    """Return the 2,048 averages of the last feature map, from pixels in 0 … 255. Raises as `read_layers` does."""
    layers = fold_convolutions(read_layers(file, list(_names())), _norm_of, EPSILON)
    kernel, bias = layers["conv1_conv"]
    pixels = graph.scale(graph.image, 1.0, [-mean for mean in _MEAN])
    # The network was trained with blue, green and red.
    values = graph.convolve(
        graph.pad(pixels, 3), kernel[:, :, ::-1], bias, stride=2, activation="relu", is_padded=False
    )
    values = graph.max_pool(graph.pad(values, 1), 3, stride=2)
    for name in _blocks():
        values = _block(graph, layers, name, values)
    return graph.average(values)


def _blocks() -> Iterator[str]:
    """Yield the name of each block in Keras."""
    for stage, n_blocks in STAGES.items():
        yield from (f"conv{stage}_block{block}" for block in range(1, n_blocks + 1))


def _names() -> Iterator[str]:
    """Yield Keras's names of the layers with weights, in its order: by their distance from the end."""
    yield from ("conv1_conv", "conv1_bn")
    for name in _blocks():
        yield from (f"{name}_{part}" for part in ("1_conv", "1_bn", "2_conv", "2_bn"))
        ends = ("0", "3") if name.endswith("block1") else ("3",)
        yield from (f"{name}_{end}_{kind}" for kind in ("conv", "bn") for end in ends)


def _norm_of(name: str) -> str:
    return name.removesuffix("conv") + "bn"


def _block(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any) -> Any:
    """Add a block: narrow, convolve and widen, plus the input, which the first block of a stage widens as well."""
    stride = 2 if name.endswith("block1") and not name.startswith("conv2") else 1
    inner = graph.convolve(values, *layers[f"{name}_1_conv"], stride=stride, activation="relu")
    inner = graph.convolve(inner, *layers[f"{name}_2_conv"], activation="relu")
    inner = graph.convolve(inner, *layers[f"{name}_3_conv"])
    if f"{name}_0_conv" in layers:
        values = graph.convolve(values, *layers[f"{name}_0_conv"], stride=stride)
    return graph.add(values, inner, activation="relu")
