"""Define the options of a quick training, check that they are possible, and suggest some for a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from hoshina.core.parsing import MAX_SEED, about

BackboneName = Literal["mobilenet_v2", "efficientnet_b0", "resnet50"]
ClassWeights = Literal["equal", "balanced"]
Weights = Literal["imagenet", "random"]

MIN_LABELS = 10
# A network that halves the image five times needs about this size: smaller images are enlarged to it.
SMALL_SIDE = 96
MAX_EPOCHS, MAX_BATCH, MAX_SIDE = 200, 512, 512
# Only this share of the free memory is used, so that the rest of the machine keeps working.
MEMORY_SHARE = 0.8
AUGMENTATIONS = ("flip", "rotate", "zoom", "brightness")


@dataclass(frozen=True)
class Backbone:
    """A network that can be trained: its title, the image sizes that it takes in pixels, and its memory use."""

    title: str
    smallest_side: int
    usual_side: int
    # Bytes per pixel of a batch while all layers are trained.
    bytes_per_pixel: int
    summary: str


BACKBONES: dict[str, Backbone] = {
    "mobilenet_v2": Backbone("MobileNetV2", 32, 224, 1600, "small and fast, suitable for a CPU"),
    "efficientnet_b0": Backbone("EfficientNetB0", 32, 224, 2400, "more accurate, about three times slower"),
    "resnet50": Backbone("ResNet50", 32, 224, 2900, "large, about eight times slower"),
}
_TITLES = {name: backbone.title for name, backbone in BACKBONES.items()}
_WEIGHTED = {"equal": "every label counts the same", "balanced": "every class counts the same"}
_BEGUN = {"imagenet": "ImageNet", "random": "random"}
_USED = "Its predictions replace those of the model in use, and automatic retraining pauses."
_PATIENCE = "Stop after this many epochs without a lower validation loss; 0: never."
_SHARE = "Share of the labels that is held out: half for validation, half for the test."
_NO_SHARE = "Give a share from 0.05 to 0.8: 0.2 is a fifth of the labels."


@dataclass(frozen=True)
class QuickOptions:
    """The options of a quick training.

    Attributes
    ----------
    backbone : a key of ``BACKBONES``.
    epochs, batch_size : number of passes over the images, and of images per step.
    image_side : images are resized to a square of this many pixels, without keeping their proportions.
    is_fine_tuned : train the network itself, not only the classifier on top.
    flip, rotate, zoom, brightness : data augmentation.
    early_stopping : stop after this many epochs without a better validation loss; 0: never.
    class_weights : ``balanced`` gives every class the same weight, however many labels it has.
    validation_share : share of the labels that is not trained on: half is the validation set, half the test set.
    weights : initial weights of the network.
    seed : determines the split, the order and the augmentation.
    is_used : predict with the network as soon as it is trained; otherwise the active model stays.
    """

    backbone: Annotated[BackboneName, about("Network", choices=_TITLES)] = "mobilenet_v2"
    epochs: Annotated[int, about("Epochs", "Passes over the training images.", ge=1, le=MAX_EPOCHS)] = 10
    batch_size: Annotated[int, about("Batch size", "Images per training step.", ge=1, le=MAX_BATCH)] = 32
    image_side: Annotated[int, about("Image size (px)", "Images are resized to this square.", ge=8, le=MAX_SIDE)] = 96
    is_fine_tuned: Annotated[bool, about("Fine-tune", "Train the network too, not only the classifier on top.")] = False
    flip: Annotated[bool, about("Flip", "Mirror half of the images.")] = False
    rotate: Annotated[bool, about("Rotate", "Turn images a little.")] = False
    zoom: Annotated[bool, about("Zoom", "Make images a little larger or smaller.")] = False
    brightness: Annotated[bool, about("Brightness", "Make images a little brighter or darker.")] = False
    early_stopping: Annotated[int, about("Patience (epochs)", _PATIENCE, ge=0, le=MAX_EPOCHS)] = 3
    class_weights: Annotated[ClassWeights, about("Class weights", choices=_WEIGHTED)] = "equal"
    validation_share: Annotated[float, about("Held out, %", _SHARE, ge=0.05, le=0.8, refusal=_NO_SHARE)] = 0.2
    weights: Annotated[Weights, about("Initial weights", choices=_BEGUN)] = "imagenet"
    seed: Annotated[int, about("Seed", "Determines the split, the order and the augmentation.", ge=0, le=MAX_SEED)] = 0
    is_used: Annotated[bool, about("Use the model as soon as it is trained", _USED)] = True

    @property
    def is_augmented(self) -> bool:
        return any(getattr(self, name) for name in AUGMENTATIONS)

    @property
    def is_end_to_end(self) -> bool:
        """Return whether the network itself is trained; otherwise its features are computed once per image."""
        return self.is_fine_tuned or self.weights == "random"


@dataclass(frozen=True)
class Facts:
    """Facts about the labels and the machine.

    Attributes
    ----------
    n_labelled : number of labels on available images.
    per_class : number of labels by class; classes without a label do not count.
    median_side : median of the images' longer sides in pixels; 0: unknown.
    memory_free : free memory in bytes; 0: unknown.
    """

    n_labelled: int
    per_class: Sequence[int] = ()
    median_side: int = 0
    memory_free: int = 0

    @property
    def n_classes(self) -> int:
        return sum(count > 0 for count in self.per_class)


def problems(options: QuickOptions, facts: Facts) -> list[tuple[str, str]]:
    """Return what makes this training impossible: pairs of (option, message), with option "" if none is to blame."""
    return [*_problems(options, facts), *_share_problems(options, facts), *_memory_problems(options, facts)]


def _problems(options: QuickOptions, facts: Facts) -> Iterator[tuple[str, str]]:
    backbone = BACKBONES[options.backbone]
    if facts.n_labelled < MIN_LABELS:
        yield "", f"Quick training needs {MIN_LABELS} labels; there are {facts.n_labelled}. Label more images first."
    if facts.n_classes < 2:
        yield "", "Quick training needs labels of two classes. Label images of another class first."
    if options.image_side < backbone.smallest_side:
        message = f"{backbone.title} needs images of at least {backbone.smallest_side} px. Choose a larger size."
        yield "image_side", message
    if options.weights == "random" and not options.is_fine_tuned:
        message = "With random initial weights, the whole network must be trained."
        yield "is_fine_tuned", f"{message} Train it, or choose ImageNet weights."


def _share_problems(options: QuickOptions, facts: Facts) -> Iterator[tuple[str, str]]:
    n_validation = _n_validation(options, facts)
    n_train = facts.n_labelled - n_validation
    if facts.n_labelled < MIN_LABELS:
        return
    if n_validation < 2:
        message = f"{options.validation_share:.0%} of {facts.n_labelled} labels is {n_validation}"
        need = "but validation and test need at least one label each. Choose a larger share."
        yield "validation_share", f"{message}, {need}"
    elif n_train < max(2, facts.n_classes):
        message = f"That leaves {n_train} labels to train {facts.n_classes} classes. Choose a smaller share."
        yield "validation_share", message


def _memory_problems(options: QuickOptions, facts: Facts) -> Iterator[tuple[str, str]]:
    n_train = max(1, facts.n_labelled - _n_validation(options, facts))
    n = min(options.batch_size, n_train)
    image_bytes = BACKBONES[options.backbone].bytes_per_pixel * options.image_side**2
    room = int(facts.memory_free * MEMORY_SHARE)
    if facts.memory_free and options.is_end_to_end and n * image_bytes > room:
        fits = room // image_bytes
        advice = f"{fits} would fit." if fits else "Choose smaller images."
        needs = f"A batch of {n} images of {options.image_side} px needs about {n * image_bytes / 1e9:.1f} GB of memory"
        yield "batch_size", f"{needs}; {facts.memory_free / 1e9:.1f} GB are free. {advice}"


def remarks(options: QuickOptions, facts: Facts) -> list[str]:
    """Return remarks about options that are possible but have drawbacks."""
    return list(_remarks(options, facts))


def _remarks(options: QuickOptions, facts: Facts) -> Iterator[str]:
    n_train = facts.n_labelled - _n_validation(options, facts)
    if options.batch_size > n_train > 0:
        yield f"The training set has {n_train} images, so a batch has {n_train}."
    if 0 < facts.median_side < options.image_side / 2 and options.image_side > SMALL_SIDE:
        yield f"Most images have {facts.median_side} px. Enlarging them only makes training slower."
    if few := sum(0 < count < 5 for count in facts.per_class):
        classes = "One class has" if few == 1 else f"{few} classes have"
        yield f"{classes} fewer than five labels, too few for training and testing."
    if options.weights == "random" and facts.n_labelled < 2000:
        yield "With random initial weights, a network needs thousands of labels. Expect a low accuracy."
    if options.rotate and facts.n_classes:
        yield "Rotation is harmful if the orientation matters for the class, as with digits (6 and 9)."


def suggest(facts: Facts) -> QuickOptions:
    """Suggest options for the images: the size by theirs, and a larger held-out share if there are few labels.

    A person compares the model with the one in use before using it.
    """
    side = SMALL_SIDE if facts.median_side <= SMALL_SIDE else 160 if facts.median_side <= 320 else 224
    counts = [count for count in facts.per_class if count]
    return QuickOptions(
        image_side=side,
        validation_share=0.3 if facts.n_labelled < 100 else 0.2,
        class_weights="balanced" if counts and max(counts) > 5 * min(counts) else "equal",
        is_used=False,
    )


def _n_validation(options: QuickOptions, facts: Facts) -> int:
    return int(options.validation_share * facts.n_labelled + 1e-9)
