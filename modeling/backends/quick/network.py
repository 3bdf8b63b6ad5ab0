"""Build the network of a quick training: a Keras backbone, its pooled features, and a classifier on top.

Besides ``export_formats``, the only module of quick training that imports TensorFlow, and only when a network is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.encoder_inputs import Pixels
from modeling.backends import gpu, litert
from modeling.backends.encoder import FloatArray
from modeling.backends.keras_networks import import_tensorflow, quiet
from modeling.backends.quick.applications import APPLICATIONS
from modeling.quick.options import QuickOptions

Positions = NDArray[np.int64]

DROPOUT = 0.2
_BLOCK = 64
# Below this many images, freezing the network takes longer than it saves.
_MIN_IMAGES_TO_FREEZE = 600


class QuickNetwork:
    """A backbone and a classifier, from pixels 0 … 255 to one logit per class.

    ``keras`` and ``tensorflow`` are the imported libraries, ``dim`` is the length of the pooled features. With a GPU
    (``has_gpu``) Keras is faster than LiteRT on the CPU.
    """

    def __init__(self, options: QuickOptions, n_classes: int, file: Path | None) -> None:
        """Build the network with ImageNet weights from ``file``; None initializes it randomly with ``options.seed``."""
        application = APPLICATIONS[options.backbone]
        self.tensorflow, self.keras = import_tensorflow()
        # The same seed gives the same weights; the cost is not measurable.
        self.tensorflow.config.experimental.enable_op_determinism()
        self.has_gpu = gpu.is_available(self.tensorflow)
        self.keras.utils.set_random_seed(options.seed)
        self.options = options
        layers = self.keras.layers
        side = options.image_side
        with quiet():
            self.backbone = application.build(self.keras, file, side)
            self.dim = int(self.backbone.output.shape[-1])
            pixels = self.keras.Input((side, side, 3), name="pixels")
            # With ImageNet weights, the stored means and deviations are better than those of a batch of few images. A
            # randomly initialized network has to learn its own.
            training = False if options.weights == "imagenet" else None
            features = self.backbone(application.scaled(self.keras, pixels, self.backbone), training=training)
            logits = layers.Dense(n_classes, name="logits")(layers.Dropout(DROPOUT, name="dropout")(features))
            self.features_model = self.keras.Model(pixels, features)
            self.model = self.keras.Model(pixels, logits)
        self._fast: litert.Network | None = None

    @property
    def n_classes(self) -> int:
        return int(self.model.output.shape[-1])

    @property
    def classifier(self) -> Any:
        return self.model.get_layer("logits")

    # -- Answers -------------------------------------------------------------------------------------
    def features(self, pixels: Pixels) -> FloatArray:
        """Return pooled features float32 (n, dim) of uint8 (n, side, side, 3), from a frozen backbone."""
        if self._fast is None:
            return gpu.KerasRunner(self.features_model).run(pixels)
        return self._fast.run(pixels)

    def expect(self, n_images: int) -> None:
        """Prepare for features of ``n_images``: for many, freezing the network saves more than the seconds it takes."""
        if self._fast is None and n_images >= _MIN_IMAGES_TO_FREEZE and not self.has_gpu:
            self._fast = litert.Network(self.frozen(self.features_model))

    def logits(self, pixels: Pixels, positions: Positions) -> FloatArray:
        """Return logits float32 (m, c) of the images at ``positions`` (m,), with the current weights."""
        blocks = (positions[start : start + _BLOCK] for start in range(0, len(positions), _BLOCK))
        parts = [self._logits(pixels[block]) for block in blocks]
        return np.concatenate([np.empty((0, self.n_classes), np.float32), *parts])

    def _logits(self, pixels: Pixels) -> FloatArray:
        if self.options.is_end_to_end:
            return gpu.KerasRunner(self.model).run(pixels)
        kernel, bias = self.classifier.get_weights()
        logits: FloatArray = self.features(pixels) @ kernel + bias
        return logits

    def predictor(self, graph: bytes, temperature: float) -> Callable[[Pixels], FloatArray]:
        """Return the fastest function from uint8 (n, side, side, 3) to calibrated probabilities (n, c).

        ``graph`` is the frozen :meth:`probabilities_model`, which runs on all cores if there is no GPU.
        """
        if self.has_gpu:
            return gpu.KerasRunner(self.probabilities_model(temperature)).run
        return litert.Network(graph).run

    # -- Weights -------------------------------------------------------------------------------------
    def weights(self) -> list[FloatArray]:
        """Return the weights changed by this training: all, or those of the classifier only."""
        return [np.array(array) for array in self._trained_part().get_weights()]

    def set_weights(self, weights: Sequence[FloatArray]) -> None:
        self._trained_part().set_weights(list(weights))

    def _trained_part(self) -> Any:
        return self.model if self.options.is_end_to_end else self.classifier

    # -- Files ---------------------------------------------------------------------------------------
    def frozen(self, model: Any) -> bytes:
        """Freeze a model with its weights to a LiteRT file for one image: float32 (1, side, side, 3) in 0 … 255."""
        side = self.options.image_side
        image = self.keras.Input((side, side, 3), batch_size=1, name="pixels")
        with quiet():
            return litert.frozen(self.tensorflow, self.keras.Model(image, model(image)))

    def probabilities_model(self, temperature: float) -> Any:
        """Return a Keras model from pixels 0 … 255 to calibrated probabilities."""
        layers = self.keras.layers
        with quiet():
            tempered = layers.Rescaling(1 / temperature, name="temperature")(self.model.output)
            return self.keras.Model(self.model.input, layers.Softmax(name="probabilities")(tempered))
