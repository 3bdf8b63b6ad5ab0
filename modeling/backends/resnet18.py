"""Build ResNet18 as a Keras model with torchvision's ImageNet weights.

He et al. (2016), "Deep residual learning for image recognition", CVPR. Needs neither torch nor torchvision: the network
is small, and its weights are a dictionary of arrays. The normalization of each layer is folded into its convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling.backends.torch_file import read_tensors

_EPSILON = 1e-5
# Kernel (height, width, in, out) and bias (out,) of each convolution, by torchvision's name.
Layers = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


def resnet18(keras: Any, file: Path, side: int) -> Any:
    """Return the network with a file's weights: normalized (side, side, 3) to the 512 averages of its last feature map.

    Raises
    ------
    ValueError, KeyError
        If the file does not contain weights of this network.
    """
    layers = fold_normalization(read_tensors(file))
    pixels = keras.Input((side, side, 3))
    values = _convolve(keras, layers, "conv1", pixels, stride=2)
    values = keras.layers.MaxPooling2D(3, strides=2)(keras.layers.ZeroPadding2D(1)(keras.layers.ReLU()(values)))
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            values = _block(keras, layers, f"layer{stage}.{block}", values, 2 if stage > 1 and block == 0 else 1)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(values))


def fold_normalization(state: dict[str, NDArray[Any]]) -> Layers:
    """Return each convolution with the following normalization folded in."""
    layers: Layers = {}
    for name in [name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim == 4]:
        norm = _norm_of(name)
        factor = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + _EPSILON)
        kernel = state[f"{name}.weight"] * factor[:, None, None, None]
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * factor
        layers[name] = kernel.transpose(2, 3, 1, 0).astype(np.float32), bias.astype(np.float32)
    return layers


def _norm_of(convolution: str) -> str:
    """Return torchvision's name of the normalization after a convolution: conv1 -> bn1, downsample.0 -> .1."""
    if convolution.endswith("downsample.0"):
        return convolution.removesuffix("0") + "1"
    return convolution.replace("conv", "bn")


def _block(keras: Any, layers: Layers, name: str, values: Any, stride: int) -> Any:
    residual = _convolve(keras, layers, f"{name}.conv1", values, stride)
    residual = _convolve(keras, layers, f"{name}.conv2", keras.layers.ReLU()(residual))
    if f"{name}.downsample.0" in layers:
        values = _convolve(keras, layers, f"{name}.downsample.0", values, stride)
    return keras.layers.ReLU()(keras.layers.Add()([values, residual]))


def _convolve(keras: Any, layers: Layers, name: str, values: Any, stride: int = 1) -> Any:
    """Apply a convolution with torch's padding: half of the kernel on each side, whatever the stride."""
    kernel, bias = layers[name]
    size = kernel.shape[0]
    if size > 1:
        values = keras.layers.ZeroPadding2D(size // 2)(values)
    layer = keras.layers.Conv2D(kernel.shape[3], size, strides=stride, name=name.replace(".", "_"))
    output = layer(values)
    layer.set_weights([kernel, bias])
    return output
