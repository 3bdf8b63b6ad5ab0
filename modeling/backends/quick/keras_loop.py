"""Teaching the network of a quick training: epochs of batches, watched, stopped early, the best weights kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.algorithms.calibration import fit_temperature
from modeling.backends.encoder import FloatArray
from modeling.backends.keras_networks import quiet
from modeling.backends.quick.augmentation import augmented_batch
from modeling.backends.quick.network import Positions, QuickNetwork

Batch = tuple[FloatArray, Positions, FloatArray]

# Learning rates: the classifier alone, all of a network that knows ImageNet, one that knows nothing.
HEAD_RATE, FINE_RATE, RANDOM_RATE = 1e-3, 3e-4, 1e-3
# Keras's own 0.999 of these networks was meant for a million images: means would lag behind for hundreds of batches.
MOMENTUM = 0.9
# Before a network is fine-tuned its classifier learns for so many epochs: an ignorant one would spoil the rest.
WARM_UP = 5
# Of log temperature: networks that were trained to the end may be far too sure of themselves.
TEMPERATURE_PRIOR_SD = 0.5


class Diverged(Exception):
    """The loss is no number any more: nothing good can come of going on."""


@dataclass(frozen=True)
class Lessons:
    """Images and labels, which of them are learnt from, and which only say when to stop.

    ``pixels`` uint8 (n, side, side, 3), a map of a file perhaps; ``y`` int64 (n,) positions of classes; ``weight``
    float32 (n,) of the labels; ``train`` and ``stopping`` int64, positions in these.
    """

    pixels: Pixels
    y: Positions
    weight: FloatArray
    train: Positions
    stopping: Positions


@dataclass(frozen=True)
class Epoch:
    """How an epoch went: mean loss and accuracy of its batches, and those of the stopping half after it."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


class Watcher(Protocol):
    """Who is told of a training as it goes on; any of these may raise to stop it."""

    def preparing(self, words: str, total: int) -> None:
        """Something else comes first, of ``total`` steps."""

    def prepared(self, n: int) -> None:
        """``n`` more steps of it are done."""

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        """``batch`` of ``batches`` of an epoch is done; both count from 1."""

    def epoch(self, epoch: Epoch, best: Callable[[], list[FloatArray]] | None) -> None:
        """An epoch is done; ``best()`` gives its weights where it is the best so far."""


def balanced_weights(y: Positions, n_classes: int) -> FloatArray:
    """Weights float32 (n,) with which every class that has labels counts the same; their mean is 1."""
    counts = np.bincount(y, minlength=n_classes)
    weights: FloatArray = (len(y) / (np.count_nonzero(counts) * counts[y])).astype(np.float32)
    return weights


def train(network: QuickNetwork, lessons: Lessons, watcher: Watcher) -> int:
    """Teach the network as its options say; it has the best epoch's weights then. Returns that epoch, from 1.

    A backbone that does not learn is asked once for each image (or once an epoch where images are augmented), and
    the classifier learns from its answers, in seconds.

    Raises
    ------
    Diverged : the loss became infinite or no number.
    Whatever ``watcher`` raises.
    """
    if not network.options.is_end_to_end:
        return _train_classifier(network, lessons, watcher)
    if network.options.weights == "imagenet":
        _warm_up(network, lessons, watcher)
    return _train_whole(network, lessons, watcher)


# -- The classifier alone ------------------------------------------------------------------------------
class _Classifier:
    """The last layer on standardised features; what it learns is written to the network's own layer."""

    def __init__(self, network: QuickNetwork, features: FloatArray, rate: float) -> None:
        keras = network.keras
        self.network = network
        self.mean = features.mean(axis=0)
        deviation = features.std(axis=0)
        self.scale = np.where(deviation > 1e-6, deviation, 1).astype(np.float32)
        with quiet():
            inputs = keras.Input((network.dim,))
            dropped = keras.layers.Dropout(0.5, seed=network.options.seed)(inputs)
            # Nothing known at first: every class is as likely.
            self.layer = keras.layers.Dense(network.n_classes, kernel_initializer="zeros")
            self.model = keras.Model(inputs, self.layer(dropped))
        _compile(network, self.model, rate)

    def standardised(self, features: FloatArray) -> FloatArray:
        standard: FloatArray = (features - self.mean) / self.scale
        return standard

    def logits(self, standard: FloatArray) -> FloatArray:
        kernel, bias = self.layer.get_weights()
        logits: FloatArray = standard @ kernel + bias
        return logits

    def plain(self) -> list[FloatArray]:
        """Kernel and bias for plain features."""
        kernel, bias = self.layer.get_weights()
        folded = kernel / self.scale[:, None]
        return [folded, bias - self.mean @ folded]


def _train_classifier(network: QuickNetwork, lessons: Lessons, watcher: Watcher) -> int:
    options = network.options
    seen = lessons.train if not options.is_augmented else np.tile(lessons.train, options.epochs)
    network.expect(len(seen) + len(lessons.stopping))
    features = _features(network, lessons.pixels, lessons.train, watcher)
    head = _Classifier(network, features, HEAD_RATE)
    known = np.zeros((len(lessons.y), network.dim), np.float32)
    known[lessons.train] = head.standardised(features)
    stopping = head.standardised(_features(network, lessons.pixels, lessons.stopping, watcher))

    def batches(epoch: int) -> Iterator[Batch]:
        for positions in _order(lessons, options.batch_size, options.seed, epoch):
            x = known[positions]
            if options.is_augmented:
                pixels = augmented_batch(lessons.pixels, positions.tolist(), options, epoch=epoch)
                x = head.standardised(network.features(pixels))
            yield x, lessons.y[positions], lessons.weight[positions]

    loop = _Loop(network, head.model, lessons, watcher, head.plain, lambda: head.logits(stopping))
    best = loop.run(batches, options.epochs, options.early_stopping)
    network.classifier.set_weights(loop.best_weights)
    return best


def _warm_up(network: QuickNetwork, lessons: Lessons, watcher: Watcher) -> None:
    """A classifier that knows something already, before the backbone listens to what it says."""
    network.expect(len(lessons.train))
    features = _features(network, lessons.pixels, lessons.train, watcher)
    head = _Classifier(network, features, HEAD_RATE)
    known = np.zeros((len(lessons.y), network.dim), np.float32)
    known[lessons.train] = head.standardised(features)
    for epoch in range(1, WARM_UP + 1):
        for positions in _order(lessons, 32, network.options.seed, -epoch):
            head.model.train_on_batch(known[positions], lessons.y[positions], sample_weight=lessons.weight[positions])
            watcher.prepared(0)
    network.classifier.set_weights(head.plain())


def _features(network: QuickNetwork, pixels: Pixels, positions: Positions, watcher: Watcher) -> FloatArray:
    """Features float32 (m, dim) of the images at ``positions`` (m,), some hundreds at a time: a cancel is heard."""
    watcher.preparing("Asking the network about the images", len(positions))
    parts = [np.empty((0, network.dim), np.float32)]
    for start in range(0, len(positions), 256):
        block = positions[start : start + 256]
        parts.append(network.features(pixels[block]))
        watcher.prepared(len(block))
    return np.concatenate(parts)


# -- The whole network ---------------------------------------------------------------------------------
def _train_whole(network: QuickNetwork, lessons: Lessons, watcher: Watcher) -> int:
    options = network.options
    is_random = options.weights == "random"
    normalisation = network.keras.layers.BatchNormalization
    network.backbone.trainable = True
    for layer in network.backbone.layers:
        is_normalisation = isinstance(layer, normalisation)
        layer.trainable = is_random or not is_normalisation
        if is_normalisation:
            layer.momentum = MOMENTUM
    steps = options.epochs * _n_batches(lessons, options.batch_size)
    schedule = network.keras.optimizers.schedules.CosineDecay(RANDOM_RATE if is_random else FINE_RATE, steps)
    _compile(network, network.model, schedule)

    def batches(epoch: int) -> Iterator[Batch]:
        def made(positions: Positions) -> Batch:
            pixels = augmented_batch(lessons.pixels, positions.tolist(), options, epoch=epoch)
            return pixels.astype(np.float32), lessons.y[positions], lessons.weight[positions]

        # The next batch is made while the network learns from this one.
        with ThreadPoolExecutor(1, thread_name_prefix="augment") as pool:
            coming = None
            for positions in _order(lessons, options.batch_size, options.seed, epoch):
                present, coming = coming, pool.submit(made, positions)
                if present is not None:
                    yield present.result()
            if coming is not None:
                yield coming.result()

    loop = _Loop(
        network,
        network.model,
        lessons,
        watcher,
        network.weights,
        lambda: network.logits(lessons.pixels, lessons.stopping),
    )
    best = loop.run(batches, options.epochs, options.early_stopping)
    network.set_weights(loop.best_weights)
    return best


# -- Epochs --------------------------------------------------------------------------------------------
class _Loop:
    """Epochs until the last one, or until the stopping half says that no better one will come."""

    def __init__(
        self,
        network: QuickNetwork,
        model: Any,
        lessons: Lessons,
        watcher: Watcher,
        weights: Callable[[], list[FloatArray]],
        stopping_logits: Callable[[], FloatArray],
    ) -> None:
        self.model, self.lessons, self.watcher = model, lessons, watcher
        self.weights, self.stopping_logits = weights, stopping_logits
        self.n_batches = _n_batches(lessons, network.options.batch_size)
        self.best_weights: list[FloatArray] = []

    def run(self, batches: Callable[[int], Iterator[Batch]], epochs: int, patience: int) -> int:
        best, best_loss = 0, float("inf")
        for epoch in range(1, epochs + 1):
            began = time.perf_counter()
            loss, accuracy = self._learn(epoch, batches(epoch))
            val_loss, val_accuracy = self._stopping()
            _require_numbers(loss, val_loss)
            told = Epoch(epoch, loss, accuracy, val_loss, val_accuracy, time.perf_counter() - began)
            is_best = val_loss < best_loss
            if is_best:
                best, best_loss = epoch, val_loss
                self.best_weights = self.weights()
            self.watcher.epoch(told, self._best if is_best else None)
            if patience and epoch - best >= patience:
                break
        return best

    def _best(self) -> list[FloatArray]:
        return self.best_weights

    def _learn(self, epoch: int, batches: Iterator[Batch]) -> tuple[float, float]:
        """One epoch; the mean loss and accuracy of its batches, as the network was when it met them."""
        sums, n = np.zeros(2), 0
        for number, (x, y, weight) in enumerate(batches, start=1):
            told = self.model.train_on_batch(x, y, sample_weight=weight, return_dict=True)
            sums += len(y) * np.array([told["loss"], told["accuracy"]], dtype=float)
            n += len(y)
            self.watcher.batch(epoch, number, self.n_batches, *(sums / n).tolist())
        loss, accuracy = (sums / n).tolist()
        return loss, accuracy

    def _stopping(self) -> tuple[float, float]:
        """Loss and accuracy of the stopping half: the loss at the temperature that suits it best.

        So will the finished network be calibrated. A network that is merely too sure of itself, as all become that
        learn for long, is none the worse for it.
        """
        logits, y = self.stopping_logits(), self.lessons.y[self.lessons.stopping]
        if not np.isfinite(logits).all():
            return float("nan"), 0.0
        logits = logits / np.float32(fit_temperature(logits, y, prior_sd=TEMPERATURE_PRIOR_SD))
        top = logits.max(axis=1)
        losses = np.log(np.exp(logits - top[:, None]).sum(axis=1)) - (logits[np.arange(len(y)), y] - top)
        weighted = np.average(losses, weights=self.lessons.weight[self.lessons.stopping])
        return float(weighted), float((logits.argmax(axis=1) == y).mean())


def _require_numbers(*losses: float) -> None:
    if not np.isfinite(losses).all():
        raise Diverged


def _order(lessons: Lessons, batch_size: int, seed: int, epoch: int) -> list[Positions]:
    """Positions of each batch of an epoch, shuffled anew; the batches are as even as they can be."""
    order = np.random.default_rng((seed, epoch + 1000)).permutation(lessons.train)
    return np.array_split(order, _n_batches(lessons, batch_size))


def _n_batches(lessons: Lessons, batch_size: int) -> int:
    return -(-len(lessons.train) // batch_size)


def _compile(network: QuickNetwork, model: Any, rate: Any) -> None:
    keras = network.keras
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"], jit_compile=False)
