"""Which encoder to use: the best that runs on this machine, or the one that was asked for."""

from __future__ import annotations

import logging
from pathlib import Path

from modeling.backends import mobilenet
from modeling.backends.encoder import Encoder, EncoderUnavailable
from modeling.backends.hog import HogEncoder

log = logging.getLogger(__name__)

BACKENDS = ("auto", "tensorflow", "torch", "hog")


def choose_encoder(backend: str, weights_dir: Path | None = None, graphs: Path | None = None) -> Encoder:
    """An encoder that is ready to run, with its ``reason`` in words.

    Parameters
    ----------
    backend : ``auto`` takes MobileNetV2 where TensorFlow and the weights are at hand, else HOG + colour;
        ``tensorflow`` and ``hog`` insist.
    weights_dir : the folder of pretrained weight files, if there is one.
    graphs : where frozen networks are kept, so that TensorFlow need not be loaded a second time.

    Raises
    ------
    EncoderUnavailable : the backend that was insisted on cannot run here, or there is no such backend.
    """
    if backend == "hog":
        return HogEncoder("HOG + colour, as AL_EMBEDDING_BACKEND says.")
    if backend == "tensorflow":
        return _mobilenet(weights_dir, graphs)
    if backend == "torch":
        raise EncoderUnavailable(
            "There is no encoder for torch in this version",
            "Choose AL_EMBEDDING_BACKEND=auto, tensorflow or hog.",
        )
    if backend != "auto":
        raise EncoderUnavailable(f"There is no encoder called {backend!r}", f"Choose one of {', '.join(BACKENDS)}.")
    try:
        return _mobilenet(weights_dir, graphs)
    except EncoderUnavailable as error:
        log.info("%s; using HOG + colour", error.message)
        return HogEncoder(f"{error.message}; using HOG + colour. {error.hint}".strip(), is_fallback=True)


def survey(weights_dir: Path | None = None) -> list[dict[str, str | bool]]:
    """For each backend: could it run here, and why or why not. Imports and downloads nothing."""
    found: list[dict[str, str | bool]] = []
    try:
        _, origin = _mobilenet_weights(weights_dir, download=False)
        found.append(_line("tensorflow", "MobileNetV2", True, f"Weights {origin}."))
    except EncoderUnavailable as error:
        found.append(_line("tensorflow", "MobileNetV2", False, f"{error.message}. {error.hint}"))
    found.append(_line("torch", "ResNet18", False, "Not in this version."))
    found.append(_line("hog", "HOG + colour", True, "Needs nothing; less accurate on photos."))
    return found


def likely(backend: str, weights_dir: Path | None = None) -> dict[str, str | bool]:
    """The line of :func:`survey` that :func:`choose_encoder` will most likely go by."""
    lines = survey(weights_dir)
    return next(line for line in lines if line["backend"] == backend or (backend == "auto" and line["available"]))


def _line(backend: str, encoder: str, available: bool, reason: str) -> dict[str, str | bool]:
    return {"backend": backend, "encoder": encoder, "available": available, "reason": reason}


def _mobilenet(weights_dir: Path | None, graphs: Path | None) -> Encoder:
    weights, origin = _mobilenet_weights(weights_dir, download=True)
    return mobilenet.MobileNetEncoder(weights, origin, graphs)


def _mobilenet_weights(weights_dir: Path | None, *, download: bool) -> tuple[Path, str]:
    if not mobilenet.is_installed():
        raise EncoderUnavailable("TensorFlow is not installed", "Install it to use MobileNetV2.")
    return mobilenet.locate_weights(weights_dir, download=download)
