"""Build the networks that quick training trains: those of keras.applications, with the weights that Keras publishes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modeling.backends import weights
from modeling.backends.encoder import one_line
from modeling.backends.keras_networks import BROKEN
from modeling.backends.weights import WeightFile
from modeling.quick.options import BackboneName


def _scale_to_one(keras: Any, pixels: Any, model: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)


# ImageNet's standard deviations of red, green and blue in 0 … 1.
_DEVIATION = (0.229, 0.224, 0.225)


def _scale_for_efficientnet(keras: Any, pixels: Any, model: Any) -> Any:
    """Scale pixels for the ImageNet weights of Keras's EfficientNet.

    The first layers of the network divide by the square root of the deviation only. Keras adds the second division by
    it only if it loads the weights itself (``weights="imagenet"``). Here it is applied before the network, around the
    same mean.
    """
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    means = np.asarray(layer.mean).ravel().tolist()
    factors = [1 / math.sqrt(deviation) for deviation in _DEVIATION]
    offset = [255 * mean * (1 - factor) for mean, factor in zip(means, factors, strict=True)]
    return keras.layers.Rescaling(factors, offset=offset)(pixels)


def _scale_for_resnet50(keras: Any, pixels: Any, model: Any) -> Any:
    less = keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68])
    return less(keras.ops.flip(pixels, axis=-1))


@dataclass(frozen=True)
class Application:
    """Name a ``function`` of keras.applications and its weights.

    ``scaled(keras, pixels, model)`` converts 0 … 255 to the range on which the weights were trained.
    """

    function: str
    weights: WeightFile
    scaled: Callable[[Any, Any, Any], Any]

    def build(self, keras: Any, file: Path | None, side: int) -> Any:
        """Return the network for images of ``side`` pixels with the weights of a file; None initializes it randomly.

        Raises
        ------
        EncoderUnavailable
            If the file is damaged.
        """
        application = getattr(keras.applications, self.function)
        model = application(input_shape=(side, side, 3), include_top=False, pooling="avg", weights=None)
        if file is not None:
            try:
                model.load_weights(str(file))
            except BROKEN as error:
                raise weights.damaged(self.weights, file, one_line(error)) from error
        return model


APPLICATIONS: dict[BackboneName, Application] = {
    "mobilenet_v2": Application("MobileNetV2", weights.MOBILENET_V2, _scale_to_one),
    "efficientnet_b0": Application("EfficientNetB0", weights.EFFICIENTNET_B0, _scale_for_efficientnet),
    "resnet50": Application("ResNet50", weights.RESNET50, _scale_for_resnet50),
}
