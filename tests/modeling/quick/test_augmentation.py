"""Images seen a little differently: the same for the page that shows them and the training that uses them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeling.images.encoder_inputs import squash
from modeling.backends import weights
from modeling.backends.encoder import EncoderUnavailable
from modeling.backends.quick import augmentation
from modeling.quick.options import AUGMENTATIONS, QuickOptions

SIDE = 48


def picture(seed: int = 0) -> Image.Image:
    """Smooth, different on every side: a wrong turn or a wrong mirror shows."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return small.resize((90, 70), Image.Resampling.BICUBIC)


def options(*names: str, seed: int = 0) -> QuickOptions:
    return QuickOptions(image_side=SIDE, seed=seed, **dict.fromkeys(names, True))


def seen(wanted: QuickOptions, n: int = 40) -> np.ndarray:
    return augmentation.samples([picture()], wanted, n)


def test_nothing_chosen_changes_nothing() -> None:
    assert (seen(options(), 3) == squash(picture(), SIDE)).all()


def test_samples_are_what_a_training_sees() -> None:
    images = [picture(0), picture(1)]
    pixels = np.stack([squash(image, SIDE) for image in images])
    wanted = options(*AUGMENTATIONS)
    shown = augmentation.samples(images, wanted, 4)
    assert shown.shape == (4, SIDE, SIDE, 3)
    for epoch in (0, 1):
        np.testing.assert_array_equal(
            shown[2 * epoch : 2 * epoch + 2], augmentation.augmented_batch(pixels, [0, 1], wanted, epoch=epoch)
        )
    # An image is seen the same whatever else is in its batch.
    np.testing.assert_array_equal(augmentation.augmented_batch(pixels, [1], wanted, epoch=1)[0], shown[3])


def test_none_of_nothing() -> None:
    assert augmentation.samples([], options("flip"), 3).shape == (0, SIDE, SIDE, 3)
    assert augmentation.samples([picture()], options("flip"), 0).shape == (0, SIDE, SIDE, 3)


def test_the_seed_decides() -> None:
    wanted = options(*AUGMENTATIONS)
    np.testing.assert_array_equal(seen(wanted), seen(wanted))
    assert (seen(wanted) != seen(options(*AUGMENTATIONS, seed=1))).any()
    assert len(np.unique(seen(wanted).reshape(40, -1), axis=0)) == 40


def test_flip_mirrors_about_half() -> None:
    plain = squash(picture(), SIDE)
    is_plain = [(one == plain).all() for one in seen(options("flip"))]
    is_mirrored = [(one == plain[:, ::-1]).all() for one in seen(options("flip"))]
    assert [a != b for a, b in zip(is_plain, is_mirrored, strict=True)] == [True] * 40
    assert 8 < sum(is_mirrored) < 32


def test_brightness_multiplies() -> None:
    plain = squash(picture(), SIDE).astype(float)
    usable = (plain > 60) & (plain < 180)
    factors = np.array([np.median(one[usable] / plain[usable]) for one in seen(options("brightness"))])
    assert 1 - augmentation.BRIGHTNESS - 0.01 < factors.min() < 0.85
    assert 1.15 < factors.max() < 1 + augmentation.BRIGHTNESS + 0.01


def test_zoom_goes_both_ways_about_the_middle() -> None:
    ramp = np.broadcast_to(np.linspace(20, 230, SIDE)[None, :, None], (SIDE, SIDE, 3)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(ramp))
    steps = []
    for one in augmentation.samples([image], options("zoom"), 40):
        middle = one[SIDE // 2, SIDE // 4 : 3 * SIDE // 4, 0].astype(float)
        steps.append(np.polyfit(np.arange(len(middle)), middle, 1)[0])
        assert abs(middle.mean() - 125) < 4, "the middle stays where it is"
    factors = np.array(steps) / (210 / (SIDE - 1))
    assert 1 / augmentation.ZOOM - 0.03 < factors.min() < 0.9
    assert 1.1 < factors.max() < augmentation.ZOOM + 0.03


def test_rotation_turns_both_ways_and_repeats_the_edge() -> None:
    """The slope of a straight edge through the middle tells the angle."""
    half = np.zeros((SIDE, SIDE, 3), np.uint8)
    half[SIDE // 2 :] = 255
    angles = []
    for one in augmentation.samples([Image.fromarray(half)], options("rotate"), 40):
        assert set(np.unique(one[[0, -1]])) <= {0, 255}, "no strange colour comes in from outside"
        heights = (one[:, :, 0] < 128).sum(axis=0)
        columns = np.arange(SIDE // 4, 3 * SIDE // 4)
        angles.append(np.degrees(np.arctan(np.polyfit(columns, heights[columns], 1)[0])))
    assert -augmentation.MAX_ROTATION_DEGREES - 1 < min(angles) < -10
    assert 10 < max(angles) < augmentation.MAX_ROTATION_DEGREES + 1


def test_one_more_kind_leaves_the_others_as_they_were() -> None:
    plain, brighter = seen(options("rotate")), seen(options("rotate", "brightness"))
    ratio = brighter.astype(float) / np.maximum(plain, 1)
    usable = (plain > 80) & (brighter < 250)
    assert all(np.ptp(one[use]) < 0.03 for one, use in zip(ratio, usable, strict=True))


# -- Weights -----------------------------------------------------------------------------------------
@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set a proxy that does not exist and an empty cache, so that no request leaves this machine."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    augmentation._reachability.clear()


@pytest.mark.usefixtures("no_network")
def test_weights_that_cannot_be_had_are_known_before_with_what_to_do(tmp_path: Path) -> None:
    told = augmentation.weights_status("resnet50", None)
    assert (told.is_here, told.is_available) == (False, False)
    assert "does not respond" in told.message
    assert "randomly initialized" in told.message
    (tmp_path / weights.MOBILENET_V2.file).write_bytes(b"whatever")
    told = augmentation.weights_status("resnet50", tmp_path)
    assert "Choose MobileNetV2, whose weights are here" in told.message
    with pytest.raises(EncoderUnavailable, match="could not be downloaded") as refused:
        augmentation.imagenet_weights("resnet50", tmp_path)
    assert "MobileNetV2" in refused.value.hint


@pytest.mark.usefixtures("no_network")
def test_weights_that_are_here(tmp_path: Path) -> None:
    file = tmp_path / weights.EFFICIENTNET_B0.file
    file.write_bytes(b"whatever")
    told = augmentation.weights_status("efficientnet_b0", tmp_path)
    assert (told.is_here, told.is_available) == (True, True)
    assert "from AL_WEIGHTS_DIR" in told.message
    assert augmentation.imagenet_weights("efficientnet_b0", tmp_path) == file
