"""Build Keras models by the methods of :class:`modeling.backends.lite_graph.LiteGraph`, for GPUs."""

from __future__ import annotations

from typing import Any

from modeling.backends.lite_graph import Floats


class KerasGraph:
    """Build a Keras model layer by layer; see `LiteGraph` for the methods."""

    def __init__(self, keras: Any, side: int) -> None:
        self._layers = keras.layers
        self.image = keras.Input((side, side, 3))

    def convolve(self, values: Any, kernel: Floats, bias: Floats, *, stride: int = 1, relu6: bool = True) -> Any:
        layer = self._layers.Conv2D(kernel.shape[3], kernel.shape[0], strides=stride, padding="same")
        return self._with_weights(layer, values, kernel, bias, relu6=relu6)

    def filter_channels(self, values: Any, kernel: Floats, bias: Floats, *, stride: int = 1) -> Any:
        layer = self._layers.DepthwiseConv2D(kernel.shape[0], strides=stride, padding="same")
        return self._with_weights(layer, values, kernel, bias, relu6=True)

    def add(self, first: Any, second: Any) -> Any:
        return self._layers.Add()([first, second])

    def average(self, values: Any) -> Any:
        return self._layers.GlobalAveragePooling2D()(values)

    def _with_weights(self, layer: Any, values: Any, kernel: Floats, bias: Floats, *, relu6: bool) -> Any:
        output = layer(values)
        layer.set_weights([kernel, bias])
        return self._layers.ReLU(max_value=6)(output) if relu6 else output
