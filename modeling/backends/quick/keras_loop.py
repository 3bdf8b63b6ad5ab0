"""Train the network of a quick training: epochs of batches with early stopping on the best validation loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.algorithms.fit_scaling import fit_temperature
from modeling.backends.encoder import FloatArray
from modeling.backends.keras_networks import quiet
from modeling.backends.quick.augmentation import augmented_batch
from modeling.backends.quick.network import Positions, QuickNetwork

Batch = tuple[FloatArray, Positions, FloatArray]

# Learning rates: the classifier only, a whole pretrained network, a randomly initialized network.
HEAD_RATE, FINE_RATE, RANDOM_RATE = 1e-3, 3e-4, 1e-3
# The default 0.999 of these networks suits a million images: running means would lag for hundreds of batches.
MOMENTUM = 0.9
# Epochs in which only the classifier is trained before fine-tuning: an untrained one would disturb the backbone.
WARM_UP = 5
# Standard deviation of the prior on log temperature: networks trained to the end may be far too confident.
TEMPERATURE_PRIOR_SD = 0.5


class Diverged(Exception):
    """The loss is not finite, so continuing is useless."""


@dataclass(frozen=True)
class TrainingData:
    """Images and labels, split into a training set and a validation set for early stopping.

    ``pixels`` uint8 (n, side, side, 3), possibly memory-mapped; ``y`` int64 (n,) positions of classes; ``weight``
    float32 (n,) of the labels; ``train`` and ``stopping`` int64, positions in these.
    """

    pixels: Pixels
    y: Positions
    weight: FloatArray
    train: Positions
    stopping: Positions


@dataclass(frozen=True)
class Epoch:
    """The result of an epoch: mean loss and accuracy of its batches, and those of the validation set after it."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 6) for name, value in asdict(self).items()}


class Watcher(Protocol):
    """Receives the progress of a training; each method may raise to stop it."""

    def preparing(self, stage: str, total: int) -> None:
        """Report that a preparation of ``total`` steps starts."""

    def prepared(self, n: int) -> None:
        """Report that ``n`` more of its steps are done."""

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        """Report that ``batch`` of ``batches`` of an epoch is done; both count from 1."""

    def epoch(self, epoch: Epoch, best: Callable[[], list[FloatArray]] | None) -> None:
        """Report that an epoch is done; ``best()`` returns its weights if it is the best so far."""


def balanced_weights(y: Positions, n_classes: int) -> FloatArray:
    """Return weights float32 (n,) that give every class with labels the same total, with mean 1."""
    counts = np.bincount(y, minlength=n_classes)
    weights: FloatArray = (len(y) / (np.count_nonzero(counts) * counts[y])).astype(np.float32)
    return weights


def train(network: QuickNetwork, data: TrainingData, watcher: Watcher) -> int:
    """Train the network as its options specify, and set the weights of the best epoch. Return that epoch, from 1.

    A frozen backbone computes features once per image (or once per epoch with augmentation), and the classifier is
    trained on them in seconds.

    Raises
    ------
    Diverged
        If the loss is not finite.
    Exception
        Whatever ``watcher`` raises.
    """
    if not network.options.is_end_to_end:
        return _train_classifier(network, data, watcher)
    if network.options.weights == "imagenet":
        _warm_up(network, data, watcher)
    return _train_whole(network, data, watcher)


# -- The classifier alone ------------------------------------------------------------------------------
class _Classifier:
    """The last layer on standardized features; its weights are written to the network's own layer."""

    def __init__(self, network: QuickNetwork, features: FloatArray) -> None:
        keras = network.keras
        self.mean = features.mean(axis=0)
        deviation = features.std(axis=0)
        self.scale = np.where(deviation > 1e-6, deviation, 1).astype(np.float32)
        with quiet():
            inputs = keras.Input((network.dim,))
            dropped = keras.layers.Dropout(0.5, seed=network.options.seed)(inputs)
            # At the start every class is equally likely.
            self.layer = keras.layers.Dense(network.n_classes, kernel_initializer="zeros")
            self.model = keras.Model(inputs, self.layer(dropped))
        _compile(network, self.model, HEAD_RATE)

    def standardize(self, features: FloatArray) -> FloatArray:
        standard: FloatArray = (features - self.mean) / self.scale
        return standard

    def logits(self, standard: FloatArray) -> FloatArray:
        kernel, bias = self.layer.get_weights()
        logits: FloatArray = standard @ kernel + bias
        return logits

    def raw_weights(self) -> list[FloatArray]:
        """Return kernel and bias for features that are not standardized."""
        kernel, bias = self.layer.get_weights()
        folded = kernel / self.scale[:, None]
        return [folded, bias - self.mean @ folded]


def _train_classifier(network: QuickNetwork, data: TrainingData, watcher: Watcher) -> int:
    options = network.options
    augmented = data.train if not options.is_augmented else np.tile(data.train, options.epochs)
    network.expect(len(augmented) + len(data.stopping))
    head, standardized = _new_classifier(network, data, watcher)
    stopping = head.standardize(_features(network, data.pixels, data.stopping, watcher))

    def batches(epoch: int) -> Iterator[Batch]:
        for positions in _order(data, options.batch_size, options.seed, epoch):
            x = standardized[positions]
            if options.is_augmented:
                pixels = augmented_batch(data.pixels, positions.tolist(), options, epoch=epoch)
                x = head.standardize(network.features(pixels))
            yield x, data.y[positions], data.weight[positions]

    best, weights = _run_epochs(
        network, head.model, data, watcher, batches, head.raw_weights, lambda: head.logits(stopping)
    )
    network.classifier.set_weights(weights)
    return best


def _warm_up(network: QuickNetwork, data: TrainingData, watcher: Watcher) -> None:
    """Train the classifier before the backbone is fine-tuned."""
    network.expect(len(data.train))
    head, standardized = _new_classifier(network, data, watcher)
    for epoch in range(1, WARM_UP + 1):
        for positions in _order(data, 32, network.options.seed, -epoch):
            head.model.train_on_batch(standardized[positions], data.y[positions], sample_weight=data.weight[positions])
            watcher.prepared(0)
    network.classifier.set_weights(head.raw_weights())


def _new_classifier(network: QuickNetwork, data: TrainingData, watcher: Watcher) -> tuple[_Classifier, FloatArray]:
    """Return a classifier, and its inputs float32 (n, dim), which are 0 outside the training set."""
    features = _features(network, data.pixels, data.train, watcher)
    classifier = _Classifier(network, features)
    standardized = np.zeros((len(data.y), network.dim), np.float32)
    standardized[data.train] = classifier.standardize(features)
    return classifier, standardized


def _features(network: QuickNetwork, pixels: Pixels, positions: Positions, watcher: Watcher) -> FloatArray:
    """Return features float32 (m, dim) of the images at ``positions`` (m,), in blocks so that a cancel takes effect."""
    watcher.preparing("Computing image features", len(positions))
    parts = [np.empty((0, network.dim), np.float32)]
    for start in range(0, len(positions), 256):
        block = positions[start : start + 256]
        parts.append(network.features(pixels[block]))
        watcher.prepared(len(block))
    return np.concatenate(parts)


# -- The whole network ---------------------------------------------------------------------------------
def _train_whole(network: QuickNetwork, data: TrainingData, watcher: Watcher) -> int:
    options = network.options
    is_random = options.weights == "random"
    batch_normalization = network.keras.layers.BatchNormalization
    network.backbone.trainable = True
    for layer in network.backbone.layers:
        is_batch_normalization = isinstance(layer, batch_normalization)
        layer.trainable = is_random or not is_batch_normalization
        if is_batch_normalization:
            layer.momentum = MOMENTUM
    steps = options.epochs * _n_batches(data, options.batch_size)
    schedule = network.keras.optimizers.schedules.CosineDecay(RANDOM_RATE if is_random else FINE_RATE, steps)
    _compile(network, network.model, schedule)

    def batches(epoch: int) -> Iterator[Batch]:
        def make_batch(positions: Positions) -> Batch:
            pixels = augmented_batch(data.pixels, positions.tolist(), options, epoch=epoch)
            return pixels.astype(np.float32), data.y[positions], data.weight[positions]

        # The next batch is prepared while the network trains on this one.
        with ThreadPoolExecutor(1, thread_name_prefix="augment") as pool:
            upcoming = None
            for positions in _order(data, options.batch_size, options.seed, epoch):
                current, upcoming = upcoming, pool.submit(make_batch, positions)
                if current is not None:
                    yield current.result()
            if upcoming is not None:
                yield upcoming.result()

    def stopping_logits() -> FloatArray:
        return network.logits(data.pixels, data.stopping)

    best, weights = _run_epochs(network, network.model, data, watcher, batches, network.weights, stopping_logits)
    network.set_weights(weights)
    return best


# -- Epochs --------------------------------------------------------------------------------------------
def _run_epochs(
    network: QuickNetwork,
    model: Any,
    data: TrainingData,
    watcher: Watcher,
    batches: Callable[[int], Iterator[Batch]],
    weights: Callable[[], list[FloatArray]],
    stopping_logits: Callable[[], FloatArray],
) -> tuple[int, list[FloatArray]]:
    """Train epochs up to the last, or until the validation loss stops improving. Return the best one and its weights.

    ``batches`` of an epoch train ``model``; ``weights`` and ``stopping_logits`` are those after it.
    """
    options, n_batches = network.options, _n_batches(data, network.options.batch_size)
    best, best_loss, best_weights = 0, float("inf"), list[FloatArray]()
    for epoch in range(1, options.epochs + 1):
        began = time.perf_counter()
        sums, n = np.zeros(2), 0
        for number, (x, y, weight) in enumerate(batches(epoch), start=1):
            # Loss and accuracy of each batch are measured before its update.
            result = model.train_on_batch(x, y, sample_weight=weight, return_dict=True)
            sums += len(y) * np.array([result["loss"], result["accuracy"]], dtype=float)
            n += len(y)
            watcher.batch(epoch, number, n_batches, *(sums / n).tolist())
        loss, accuracy = (sums / n).tolist()
        val_loss, val_accuracy = _validate(stopping_logits(), data)
        if not np.isfinite([loss, val_loss]).all():
            raise Diverged
        done = Epoch(epoch, loss, accuracy, val_loss, val_accuracy, time.perf_counter() - began)
        is_best = val_loss < best_loss
        if is_best:
            best, best_loss, best_weights = epoch, val_loss, weights()
        watcher.epoch(done, partial(list, best_weights) if is_best else None)
        if options.early_stopping and epoch - best >= options.early_stopping:
            break
    return best, best_weights


def _validate(logits: FloatArray, data: TrainingData) -> tuple[float, float]:
    """Return loss and accuracy on the validation set, with the loss at its best temperature.

    The finished network is calibrated in the same way. So mere overconfidence, which all networks reach after long
    training, does not count against it.
    """
    if not np.isfinite(logits).all():
        return float("nan"), 0.0
    y = data.y[data.stopping]
    logits = logits / np.float32(fit_temperature(logits, y, prior_sd=TEMPERATURE_PRIOR_SD))
    top = logits.max(axis=1)
    losses = np.log(np.exp(logits - top[:, None]).sum(axis=1)) - (logits[np.arange(len(y)), y] - top)
    weighted = np.average(losses, weights=data.weight[data.stopping])
    return float(weighted), float((logits.argmax(axis=1) == y).mean())


def _order(data: TrainingData, batch_size: int, seed: int, epoch: int) -> list[Positions]:
    """Return the positions of each batch of an epoch, reshuffled; batches are as even as possible."""
    order = np.random.default_rng((seed, epoch + 1000)).permutation(data.train)
    return np.array_split(order, _n_batches(data, batch_size))


def _n_batches(data: TrainingData, batch_size: int) -> int:
    return -(-len(data.train) // batch_size)


def _compile(network: QuickNetwork, model: Any, rate: Any) -> None:
    keras = network.keras
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"], jit_compile=False)
