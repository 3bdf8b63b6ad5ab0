"""Describe ResNet18 with torchvision's ImageNet weights.

He et al. (2016), "Deep residual learning for image recognition", CVPR. Needs neither torch nor torchvision: the network
is small, and its weights are a dictionary of arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modeling.backends.batch_norm import Layers
from modeling.backends.keras_graph import KerasGraph
from modeling.backends.lite_graph import LiteGraph
from modeling.backends.torch_file import fold_convolutions, read_tensors

EPSILON = 1e-5
# ImageNet means and standard deviations of red, green and blue in 0 … 1.
_MEAN, _DEVIATION = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))


def averages(graph: LiteGraph | KerasGraph, file: Path) -> Any:
    """Return the 512 averages of the last feature map, from pixels in 0 … 255.

    Raises
    ------
    OSError, ValueError, KeyError
        If the file does not contain weights of this network.
    """
    layers = fold_convolutions(read_tensors(file), _norm_of, EPSILON)
    pixels = graph.scale(graph.image, 1 / (255 * _DEVIATION), -_MEAN / _DEVIATION)
    values = _convolve(graph, layers, "conv1", pixels, stride=2, activation="relu")
    values = graph.max_pool(graph.pad(values, 1), 3, stride=2)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            values = _block(graph, layers, f"layer{stage}.{block}", values, 2 if stage > 1 and block == 0 else 1)
    return graph.average(values)


def _norm_of(convolution: str) -> str:
    """Return torchvision's name of the normalization after a convolution: conv1 -> bn1, downsample.0 -> .1."""
    if convolution.endswith("downsample.0"):
        return convolution.removesuffix("0") + "1"
    return convolution.replace("conv", "bn")


def _block(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any, stride: int) -> Any:
    inner = _convolve(graph, layers, f"{name}.conv1", values, stride=stride, activation="relu")
    inner = _convolve(graph, layers, f"{name}.conv2", inner)
    if f"{name}.downsample.0" in layers:
        values = _convolve(graph, layers, f"{name}.downsample.0", values, stride=stride)
    return graph.add(values, inner, activation="relu")


def _convolve(graph: LiteGraph | KerasGraph, layers: Layers, name: str, values: Any, **options: Any) -> Any:
    """Add a convolution with torch's padding: half of the kernel on each side, whatever the stride."""
    kernel, bias = layers[name]
    if kernel.shape[0] > 1:
        values = graph.pad(values, kernel.shape[0] // 2)
    return graph.convolve(values, kernel, bias, is_padded=False, **options)
