"""The network of a quick training by itself: real TensorFlow, real weights, tiny images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling.backends.quick.keras_loop import Diverged, Epoch, TrainingData, balanced_weights, train
from modeling.backends.quick.network import QuickNetwork
from modeling.backends.weights import MOBILENET_V2
from modeling.quick.options import QuickOptions
from tests.modeling.weights import real_weights_dir

pytestmark = pytest.mark.slow

SIDE = 32


def weights() -> Path:
    return real_weights_dir() / MOBILENET_V2.file


FROZEN = QuickOptions(image_side=SIDE, batch_size=8, epochs=3, early_stopping=0)
FINE = replace(FROZEN, is_fine_tuned=True, epochs=1)


class Ledger:
    """A watcher that writes everything down."""

    def __init__(self, stop_at: int = 0) -> None:
        self.stages: list[tuple[str, int]] = []
        self.batches: list[tuple[int, int, int]] = []
        self.epochs: list[Epoch] = []
        self.best: list[list[np.ndarray]] = []
        self.stop_at = stop_at

    def preparing(self, stage: str, total: int) -> None:
        self.stages.append((stage, total))

    def prepared(self, n: int) -> None:
        pass

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        self.batches.append((epoch, batch, batches))
        if len(self.batches) == self.stop_at:
            raise KeyboardInterrupt

    def epoch(self, epoch: Epoch, best: Callable[[], list[np.ndarray]] | None) -> None:
        self.epochs.append(epoch)
        if best is not None:
            self.best.append([np.array(one) for one in best()])


def training_data(n: int = 60, seed: int = 0, **more: Any) -> TrainingData:
    """Return bright and dark noise of two classes; every fifth image is watched only."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    pixels = rng.integers(0, 60, (n, SIDE, SIDE, 3), dtype=np.uint8) + (150 * y).astype(np.uint8)[:, None, None, None]
    watched = np.arange(n) % 5 == 4
    given = {"weight": np.ones(n, np.float32), "train": np.flatnonzero(~watched), "stopping": np.flatnonzero(watched)}
    return TrainingData(pixels, y, **{**given, **more})


@pytest.fixture(scope="module")
def network() -> QuickNetwork:
    """Provide a frozen backbone and a classifier; tests teach it one after the other."""
    return QuickNetwork(FROZEN, 2, weights())


def test_a_classifier_on_a_frozen_backbone_learns(network: QuickNetwork) -> None:
    before = [np.array(one) for one in network.backbone.get_weights()]
    ledger, taught = Ledger(), training_data()
    best = train(network, taught, ledger)
    assert all((a == b).all() for a, b in zip(before, network.backbone.get_weights(), strict=True))
    assert [one.epoch for one in ledger.epochs] == [1, 2, 3]
    assert ledger.batches[:6] == [(1, batch, 6) for batch in range(1, 7)]
    assert ledger.epochs[best - 1].val_loss == min(one.val_loss for one in ledger.epochs)
    logits = network.logits(taught.pixels, taught.stopping)
    assert (logits.argmax(axis=1) == taught.y[taught.stopping]).mean() > 0.9
    # What it says are the logits of the model as a whole, also when its parts are asked one after the other.
    whole = network.model.predict_on_batch(taught.pixels[taught.stopping].astype(np.float32))
    np.testing.assert_allclose(logits, whole, atol=1e-4)
    assert all((a == b).all() for a, b in zip(network.weights(), ledger.best[-1], strict=True))


def test_for_many_images_it_is_frozen_and_answers_alike(network: QuickNetwork) -> None:
    pixels = training_data(10).pixels
    plain = network.features(pixels)
    network.expect(10)
    assert network._fast is None, "not worth it for a few"
    network.expect(10_000)
    assert network._fast is not None
    np.testing.assert_allclose(network.features(pixels), plain, atol=1e-3)


@pytest.mark.parametrize("names", [(), ("flip", "zoom")])
def test_the_same_seed_teaches_the_same(network: QuickNetwork, names: tuple[str, ...]) -> None:
    network.options = replace(FROZEN, epochs=2, **dict.fromkeys(names, True))
    ends = []
    for _ in range(2):
        network.keras.utils.set_random_seed(3)
        train(network, training_data(), Ledger())
        ends.append(network.weights())
    network.options = FROZEN
    for a, b in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_ends_early_with_the_best_weights(network: QuickNetwork) -> None:
    """Labels of the watched images are wrong: the more it learns, the worse for them."""
    taught = training_data()
    taught.y[taught.stopping] = 1 - taught.y[taught.stopping]
    network.options = replace(FROZEN, epochs=40, early_stopping=2)
    ledger = Ledger()
    best = train(network, taught, ledger)
    network.options = FROZEN
    assert len(ledger.epochs) == best + 2 < 40
    assert all((a == b).all() for a, b in zip(network.weights(), ledger.best[-1], strict=True))


def test_a_loss_that_is_no_number_ends_it(network: QuickNetwork) -> None:
    taught = training_data(weight=np.full(60, np.inf, np.float32))
    with pytest.raises(Diverged):
        train(network, taught, Ledger())


def test_whoever_watches_can_stop_it_at_a_batch(network: QuickNetwork) -> None:
    ledger = Ledger(stop_at=8)
    with pytest.raises(KeyboardInterrupt):
        train(network, training_data(), ledger)
    assert ledger.batches[-1] == (2, 2, 6)
    assert len(ledger.best) == 1


def test_fine_tuning_teaches_the_network_but_not_its_normalisation() -> None:
    network = QuickNetwork(FINE, 2, weights())
    kernel = network.backbone.get_layer("block_1_expand")
    normal = network.backbone.get_layer("block_1_expand_BN")
    before = [np.array(one) for layer in (kernel, normal) for one in layer.get_weights()]
    ledger = Ledger()
    train(network, training_data(24), ledger)
    after = [one for layer in (kernel, normal) for one in layer.get_weights()]
    assert (before[0] != after[0]).any()
    assert all((a == b).all() for a, b in zip(before[1:], after[1:], strict=True))
    assert ledger.stages == [("Computing image features", 20)], "its classifier comes first"
    assert len(network.weights()) == len(network.model.get_weights())
    other = QuickNetwork(FINE, 2, weights())
    other.set_weights(network.weights())
    pixels = training_data(8).pixels
    np.testing.assert_allclose(other.logits(pixels, np.arange(8)), network.logits(pixels, np.arange(8)), atol=1e-5)


def test_balanced_weights_make_classes_count_the_same() -> None:
    y = np.array([0] * 90 + [2] * 10)
    weights = balanced_weights(y, 4)
    assert weights[y == 0].sum() == pytest.approx(weights[y == 2].sum())
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize("backbone", ["efficientnet_b0", "resnet50"])
def test_the_other_backbones_with_random_weights(backbone: str) -> None:
    network = QuickNetwork(replace(FROZEN, backbone=backbone), 3, None)
    logits = network.logits(training_data(4).pixels, np.arange(4))
    assert logits.shape == (4, 3)
    assert np.isfinite(logits).all()


def test_one_that_begins_at_random_learns_its_normalisation_too() -> None:
    """Its means have to follow within an epoch: with Keras's momentum of 0.999 they would hardly have begun to."""
    network, ledger = QuickNetwork(replace(FINE, weights="random", batch_size=4), 2, None), Ledger()
    normal = network.backbone.get_layer("bn_Conv1")
    train(network, training_data(), ledger)
    assert ledger.stages == [], "there is nothing to ask it before"
    gamma, _, _, variance = normal.get_weights()
    assert (gamma != 1).all()
    assert variance.max() < 0.6, "begun at 1, it is most of the way to that of these images"
