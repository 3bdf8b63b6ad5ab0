"""The network of a quick training: a backbone of Keras, its pooled features, and a classifier on top.

The only module of a quick training, with ``quick_files``, that imports TensorFlow, and only once a network is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.images.encoder_inputs import Pixels
from modeling.backends import gpu, litert, weights
from modeling.backends.encoder import FloatArray, one_line
from modeling.backends.keras_networks import BROKEN, NETWORKS, import_tensorflow, quiet
from modeling.quick.options import QuickOptions

Positions = NDArray[np.int64]

DROPOUT = 0.2
_BLOCK = 64
# Below so many images freezing the network takes longer than it saves.
_WORTH_FREEZING = 600


class QuickNetwork:
    """A backbone and a classifier, from pixels 0 … 255 to one logit a class.

    Attributes
    ----------
    keras : the library, loaded and quiet.
    tensorflow : likewise.
    has_gpu : TensorFlow sees one, which is then quicker than LiteRT on the processor.
    options : what was asked for.
    dim : length of the pooled features.
    """

    def __init__(self, options: QuickOptions, n_classes: int, file: Path | None) -> None:
        """``file`` is the file of ImageNet weights; None begins at random, decided by ``options.seed``."""
        self._known = next(one for one in NETWORKS if one.backend == options.backbone)
        self.tensorflow, self.keras = import_tensorflow()
        # The same seed gives the same weights; costs nothing that could be measured.
        self.tensorflow.config.experimental.enable_op_determinism()
        self.has_gpu = gpu.sees(self.tensorflow)
        self.keras.utils.set_random_seed(options.seed)
        self.options = options
        layers = self.keras.layers
        side = options.image_side
        with quiet():
            self.backbone = self._backbone(file)
            self.dim = int(self.backbone.output.shape[-1])
            pixels = self.keras.Input((side, side, 3), name="pixels")
            # With ImageNet's weights the means and deviations that the network knows are better than those of a
            # batch of few images; a network that begins at random has to learn its own.
            training = False if options.weights == "imagenet" else None
            features = self.backbone(self._known.scaled(self.keras, pixels, self.backbone), training=training)
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
        """Pooled features float32 (n, dim) of uint8 (n, side, side, 3), of a backbone that does not learn."""
        if self._fast is None:
            return self._predict(self.features_model, pixels)
        return self._fast.run(pixels)

    def expect(self, n_images: int) -> None:
        """So many images will be asked about: for many it is worth freezing the network, which takes seconds."""
        if self._fast is None and n_images >= _WORTH_FREEZING and not self.has_gpu:
            self._fast = litert.Network(self.frozen(self.features_model))

    def logits(self, pixels: Pixels, positions: Positions) -> FloatArray:
        """Logits float32 (m, c) of the images at ``positions`` (m,), with the weights of now."""
        blocks = (positions[start : start + _BLOCK] for start in range(0, len(positions), _BLOCK))
        parts = [self._logits(pixels[block]) for block in blocks]
        return np.concatenate([np.empty((0, self.n_classes), np.float32), *parts])

    def _logits(self, pixels: Pixels) -> FloatArray:
        if self.options.is_end_to_end:
            return self._predict(self.model, pixels)
        kernel, bias = self.classifier.get_weights()
        logits: FloatArray = self.features(pixels) @ kernel + bias
        return logits

    def answers(self, graph: bytes, temperature: float) -> Callable[[Pixels], FloatArray]:
        """A function from uint8 (n, side, side, 3) to calibrated probabilities (n, c), the quickest there is.

        ``graph`` is the frozen :meth:`probabilities_model`, which all cores run where there is no GPU.
        """
        if self.has_gpu:
            model = self.probabilities_model(temperature)
            return lambda pixels: self._predict(model, pixels)
        return litert.Network(graph).run

    def _predict(self, model: Any, pixels: Pixels) -> FloatArray:
        parts = [np.empty((0, int(model.output.shape[-1])), np.float32)]
        for start in range(0, len(pixels), _BLOCK):
            parts.append(np.asarray(model.predict_on_batch(pixels[start : start + _BLOCK].astype(np.float32))))
        return np.concatenate(parts)

    # -- Weights -------------------------------------------------------------------------------------
    def weights(self) -> list[FloatArray]:
        """What this training has changed: all weights, or those of the classifier alone."""
        return [np.array(one) for one in self._changing().get_weights()]

    def set_weights(self, weights: Sequence[FloatArray]) -> None:
        self._changing().set_weights(list(weights))

    def _changing(self) -> Any:
        return self.model if self.options.is_end_to_end else self.classifier

    # -- Files ---------------------------------------------------------------------------------------
    def frozen(self, model: Any) -> bytes:
        """A model with its weights as one LiteRT file that takes one image: float32 (1, side, side, 3) of 0 … 255."""
        side = self.options.image_side
        one = self.keras.Input((side, side, 3), batch_size=1, name="pixels")
        with quiet():
            return litert.frozen(self.tensorflow, self.keras.Model(one, model(one)))

    def probabilities_model(self, temperature: float) -> Any:
        """From pixels 0 … 255 to calibrated probabilities: what a user of the files wants."""
        layers = self.keras.layers
        logits = self.model.output
        with quiet():
            tempered = layers.Rescaling(1 / temperature, name="temperature")(logits)
            return self.keras.Model(self.model.input, layers.Softmax(name="probabilities")(tempered))

    # -- Making --------------------------------------------------------------------------------------
    def _backbone(self, file: Path | None) -> Any:
        side = self.options.image_side
        build = getattr(self.keras.applications, self._known.function)
        backbone = build(input_shape=(side, side, 3), include_top=False, pooling="avg", weights=None)
        if file is not None:
            try:
                backbone.load_weights(str(file))
            except BROKEN as error:
                raise weights.damaged(self._known.weights, file, one_line(error)) from error
        return backbone
