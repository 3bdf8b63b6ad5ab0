"""Build Keras models by the methods of :class:`modeling.backends.lite_graph.LiteGraph`, for GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np

from modeling.backends.batch_norm import Floats
from modeling.backends.lite_graph import Activation, Scales


class KerasGraph:
    """Build a Keras model layer by layer; see `LiteGraph` for the methods."""

    def __init__(self, keras: Any, side: int) -> None:
        self._layers = keras.layers
        self.image = keras.Input((side, side, 3))

    def scale(self, values: Any, factor: Scales, offset: Scales) -> Any:
        return self._layers.Rescaling(*(np.asarray(numbers).tolist() for numbers in (factor, offset)))(values)

    def convolve(
        self, values: Any, kernel: Floats, bias: Floats, *, stride: int = 1, activation: Activation = "linear",
        is_padded: bool = True,
    ) -> Any:  # fmt: skip
        padding = "same" if is_padded else "valid"
        layer = self._layers.Conv2D(
            kernel.shape[3], kernel.shape[0], strides=stride, padding=padding, activation=activation
        )
        return _with_weights(layer, values, kernel, bias)

    def filter_channels(
        self, values: Any, kernel: Floats, bias: Floats, *, stride: int = 1, activation: Activation = "linear"
    ) -> Any:
        layer = self._layers.DepthwiseConv2D(kernel.shape[0], strides=stride, padding="same", activation=activation)
        return _with_weights(layer, values, kernel, bias)

    def pad(self, values: Any, n: int) -> Any:
        return self._layers.ZeroPadding2D(n)(values)

    def max_pool(self, values: Any, size: int, *, stride: int) -> Any:
        return self._layers.MaxPooling2D(size, strides=stride)(values)

    def add(self, first: Any, second: Any, *, activation: Activation = "linear") -> Any:
        return self._layers.Activation(activation)(self._layers.Add()([first, second]))

    def multiply(self, values: Any, factors: Any) -> Any:
        return self._layers.Multiply()([values, factors])

    def average(self, values: Any, *, keeps_axes: bool = False) -> Any:
        return self._layers.GlobalAveragePooling2D(keepdims=keeps_axes)(values)


def _with_weights(layer: Any, values: Any, kernel: Floats, bias: Floats) -> Any:
    output = layer(values)
    layer.set_weights([kernel, bias])
    return output
