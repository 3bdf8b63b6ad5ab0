"""Assemble MobileNetV2 with Keras's ImageNet weights as a LiteRT file, without TensorFlow.

Sandler et al. (2018), "MobileNetV2: inverted residuals and linear bottlenecks", CVPR. The normalization of each layer
is folded into its convolution.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modeling.backends.lite_graph import Floats, LiteGraph, Tensor

EPSILON = 1e-3
# Number of blocks and stride of the first, for each stage.
STAGES = ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1))
# Kernel and bias of each convolution, by Keras's name.
Layers = dict[str, tuple[Floats, Floats]]


def assembled(file: Path, side: int) -> bytes:
    """Return the network as a LiteRT file: (1, side, side, 3) in 0 … 255 to the 1,280 averages of its last feature map.

    Raises
    ------
    OSError, ValueError, KeyError
        If the file does not contain weights of this network.
    """
    layers = folded(file)
    graph = LiteGraph(side)
    values = graph.convolve(graph.scale(graph.image, 1 / 127.5, -1.0), *layers["Conv1"], stride=2)
    number = 0
    for n_blocks, stride in STAGES:
        for block in range(n_blocks):
            name = f"block_{number}" if number else "expanded_conv"
            values = _block(graph, layers, name, values, 1 if block else stride)
            number += 1
    return graph.content(graph.average(graph.convolve(values, *layers["Conv_1"])))


def folded(file: Path) -> Layers:
    """Return each convolution of a weights file with the following normalization folded in."""
    import h5py

    layers: Layers = {}
    with h5py.File(file) as weights:
        for name in weights:
            if "kernel" not in weights[name].get(name, ()):
                continue
            norm = weights[_norm_of(name)][_norm_of(name)]
            gamma, beta, mean, variance = (
                np.asarray(norm[part], np.float64) for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            factor = gamma / np.sqrt(variance + EPSILON)
            kernel: NDArray[np.float64] = np.asarray(weights[name][name]["kernel"], np.float64)
            scaled = kernel * (factor[:, None] if kernel.shape[-1] == 1 else factor)
            layers[name] = scaled.astype(np.float32), (beta - mean * factor).astype(np.float32)
    return layers


def _norm_of(name: str) -> str:
    """Return Keras's name of the normalization after a convolution."""
    return {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(name, f"{name}_BN")


def _block(graph: LiteGraph, layers: Layers, name: str, values: Tensor, stride: int) -> Tensor:
    """Add a block: widen, filter each channel and narrow again, plus the input where its shape is the same."""
    inner = graph.convolve(values, *layers[f"{name}_expand"]) if f"{name}_expand" in layers else values
    inner = graph.filter_channels(inner, *layers[f"{name}_depthwise"], stride=stride)
    inner = graph.convolve(inner, *layers[f"{name}_project"], relu6=False)
    return graph.add(inner, values) if inner.shape == values.shape else inner
