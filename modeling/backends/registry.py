"""The encoders that there are, which of them run on this machine, and the one that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modeling.backends import keras_networks, user_models, weights
from modeling.backends.encoder import Encoder, EncoderUnavailable
from modeling.backends.hog import HogEncoder
from modeling.backends.hog_scattering import HogScatteringEncoder
from modeling.backends.keras_networks import KerasEncoder, KerasNetwork
from modeling.backends.scattering import PatchesEncoder

log = logging.getLogger(__name__)

AUTO = "auto"


@dataclass(frozen=True)
class Places:
    """Where files lie: pretrained weights, and frozen networks with own models beside them."""

    weights_dir: Path | None = None
    graphs: Path | None = None


@dataclass(frozen=True)
class Kind:
    """One encoder of the registry.

    ``look(places)`` says in words why it can be used; it imports and downloads nothing. ``make(places)`` makes it. Both
    raise EncoderUnavailable where it cannot be used. ``side`` is its ``input_side``.
    """

    backend: str
    title: str
    about: str
    look: Callable[[Places], str]
    make: Callable[[Places], Encoder]
    side: int


@dataclass(frozen=True)
class Line:
    """One encoder as it is listed: could it be used here, and why or why not.

    ``may_download`` is true where only its weights are missing, which are asked for when it is used. ``side`` is that
    of the square that an ingest may keep for it (``Encoder.is_plain``), as far as that is known without loading it.
    """

    backend: str
    encoder: str
    available: bool
    reason: str
    about: str = ""
    may_download: bool = False
    side: int | None = None


# -- Each kind ---------------------------------------------------------------------------------------
def _look_for_keras(network: KerasNetwork, places: Places) -> str:
    keras_networks.require_tensorflow(network.title)
    return f"Weights {weights.locate(network.weights, places.weights_dir, download=False)[1]}."


def _make_keras(network: KerasNetwork, places: Places) -> Encoder:
    keras_networks.require_tensorflow(network.title)
    return KerasEncoder(network, *weights.locate(network.weights, places.weights_dir), places.graphs)


def _keras_kind(network: KerasNetwork, about: str) -> Kind:
    return Kind(
        network.backend,
        network.title,
        about,
        partial(_look_for_keras, network),
        partial(_make_keras, network),
        KerasEncoder.input_side,
    )


KINDS: dict[str, Kind] = {
    kind.backend: kind
    for kind in (
        _keras_kind(
            keras_networks.MOBILENET_V2,
            "Small and quick, learnt from a million photos. The best choice for most images.",
        ),
        _keras_kind(
            keras_networks.EFFICIENTNET_B0, "Learnt from the same photos, told apart more finely; half as quick."
        ),
        _keras_kind(keras_networks.RESNET50, "Large, learnt from the same photos; several times slower."),
        _keras_kind(keras_networks.RESNET18, "torchvision's small network, trained on the same photos."),
        Kind(
            "hog+scattering",
            "HOG + Scattering",
            "Outlines, wavelets and colors. The best of those that need no weights.",
            lambda places: "Needs nothing; less accurate on photos.",
            lambda places: HogScatteringEncoder("HOG + Scattering, as it was chosen."),
            HogScatteringEncoder.input_side,
        ),
        Kind(
            "patches",
            "Scattering",
            "Wavelets over patches of the image, and colors, without outlines.",
            lambda places: "Needs nothing; less accurate on photos.",
            lambda places: PatchesEncoder("Scattering, as it was chosen."),
            PatchesEncoder.input_side,
        ),
        Kind(
            "hog",
            "HOG + colour",
            "Outlines and colours. The quickest of all.",
            lambda places: "Needs nothing; less accurate on photos.",
            lambda places: HogEncoder("HOG + colour, as it was chosen."),
            HogEncoder.input_side,
        ),
    )
}
# Names by which an encoder was known before there were several of a library.
ALIASES = {"tensorflow": "mobilenet_v2", "torch": "resnet18"}
BEST, FALLBACK = "mobilenet_v2", "hog+scattering"
# What was the fallback before: datasets with its vectors keep it while there is nothing better than a fallback.
OLD_FALLBACK = "patches"
AUTO_WITH_OLD_FALLBACK = f"{AUTO}/{OLD_FALLBACK}"
BACKENDS = (AUTO, *ALIASES, *KINDS)


# -- Choosing ----------------------------------------------------------------------------------------
def is_backend(backend: str) -> bool:
    """Is that the name of an encoder, or of a model file, whether or not it can be used here?"""
    return backend in BACKENDS or (backend.startswith(user_models.PREFIX) and len(backend) > len(user_models.PREFIX))


def choose_encoder(backend: str, weights_dir: Path | None = None, graphs: Path | None = None) -> Encoder:
    """An encoder that is ready to run, with its ``reason`` in words.

    Parameters
    ----------
    backend : ``auto`` takes MobileNetV2 where TensorFlow and the weights are at hand, else HOG + Scattering, which
        needs no weights (``auto/patches``: else Scattering); any other name insists: one of BACKENDS, or
        ``file:<name>`` for a model file (see ``modeling.backends.user_models``).
    weights_dir : the folder of pretrained weight files, if there is one.
    graphs : where frozen networks are kept, so that TensorFlow need not be loaded a second time; own model files lie
        in a folder of it.

    Raises
    ------
    EncoderUnavailable : the encoder that was insisted on cannot run here, or there is no such encoder.
    """
    places = Places(weights_dir, graphs)
    fallback = _fallback_of(backend)
    if not fallback:
        return _insisted(backend, places)
    try:
        return _made(KINDS[BEST], places)
    except EncoderUnavailable as error:
        encoder = _made(KINDS[fallback], places)
        log.info("%s; using %s", error.message, encoder.name)
        encoder.reason = f"{error.message}; using {encoder.name}. {error.hint}".strip()
        encoder.is_fallback = True
        return encoder


def survey(weights_dir: Path | None = None, graphs: Path | None = None) -> list[Line]:
    """Every encoder and model file: could it be used here, and why or why not. Imports and downloads nothing."""
    places = Places(weights_dir, graphs)
    lines = [_line(kind, places) for kind in KINDS.values()]
    return lines + [_own_line(path) for path in user_models.list_files(weights_dir, graphs)]


def likely(backend: str, weights_dir: Path | None = None, graphs: Path | None = None) -> Line:
    """The line of :func:`survey` that :func:`choose_encoder` will most likely go by."""
    places = Places(weights_dir, graphs)
    if fallback := _fallback_of(backend):
        best = _line(KINDS[BEST], places)
        return best if best.available else _line(KINDS[fallback], places)
    kind = KINDS.get(ALIASES.get(backend, backend))
    if kind is not None:
        return _line(kind, places)
    try:
        file = user_models.find(backend, weights_dir, graphs)
    except EncoderUnavailable as error:
        return Line(backend, backend, False, _words(error))
    return _own_line(file.path, backend)


def _fallback_of(backend: str) -> str:
    """Return the encoder that ``auto`` takes without weights; empty where ``backend`` insists on one."""
    return {AUTO: FALLBACK, AUTO_WITH_OLD_FALLBACK: OLD_FALLBACK}.get(backend, "")


def _insisted(backend: str, places: Places) -> Encoder:
    kind = KINDS.get(ALIASES.get(backend, backend))
    if kind is not None:
        return _made(kind, places)
    if backend.startswith(user_models.PREFIX):
        encoder = user_models.OwnEncoder(user_models.find(backend, places.weights_dir, places.graphs), places.graphs)
        encoder.backend = backend
        return encoder
    raise EncoderUnavailable(
        f"There is no encoder called {backend!r}",
        f"Choose one of {', '.join(BACKENDS)}, or file:NAME for a model file.",
    )


def _made(kind: Kind, places: Places) -> Encoder:
    encoder = kind.make(places)
    encoder.backend = kind.backend
    return encoder


def _line(kind: Kind, places: Places) -> Line:
    try:
        return Line(kind.backend, kind.title, True, kind.look(places), kind.about, side=kind.side)
    except weights.NotHere as error:
        words = f"{_words(error)} Otherwise they are downloaded first."
        return Line(kind.backend, kind.title, False, words, kind.about, may_download=True, side=kind.side)
    except EncoderUnavailable as error:
        return Line(kind.backend, kind.title, False, _words(error), kind.about)


def _own_line(path: Path, backend: str = "") -> Line:
    backend = backend or user_models.PREFIX + path.name
    try:
        file = user_models.described(path)
        user_models.require_runnable(path)
    except EncoderUnavailable as error:
        return Line(backend, path.stem, False, _words(error), f"The model file {path.name}.")
    pixels = f"pixels as {file.preprocessing}" if file.preprocessing else "what its pixels are scaled to is guessed"
    return Line(backend, file.title, True, f"From {path.parent}.", f"The model file {path.name}; {pixels}.")


def _words(error: EncoderUnavailable) -> str:
    return f"{error.message}. {error.hint}".strip()
