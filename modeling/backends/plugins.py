"""Use encoders of other packages, which register them as entry points of the group ``hoshina.encoders``.

A package names a class in its ``pyproject.toml``::

    [project.entry-points."hoshina.encoders"]
    birds = "my_package.encoder:Birds"
"""

from __future__ import annotations

import logging
import re
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import metadata

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, fingerprint, one_line

log = logging.getLogger(__name__)

GROUP = "hoshina.encoders"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}")
_MAX_DIM = 65_536


class ImageEncoder(ABC):
    """Represent an encoder of another package.

    Import large libraries in :meth:`load`: pages list encoders without loading them.

    Attributes
    ----------
    title
        Display name.
    license
        License of the weights, such as ``MIT``.
    about
        A sentence about it for the list of encoders.
    input_size
        Side in pixels of the square images that :meth:`encode` takes.
    dim
        Length of a vector.
    version
        Change it whenever the same image gives another vector: embeddings of two versions are never mixed.
    """

    title: str
    license: str = ""
    about: str = ""
    input_size: int = 224
    dim: int
    version: str = "1"

    def check(self) -> str:
        """Return why it cannot be used on this machine; "" if it can. Called by pages, so load nothing."""
        return ""

    @abstractmethod
    def load(self) -> None:
        """Load the weights. Called once, before :meth:`encode`."""

    @abstractmethod
    def encode(self, batch: Pixels) -> FloatArray:
        """Encode uint8 (n, input_size, input_size, 3), RGB, as float32 (n, dim)."""


@dataclass(frozen=True)
class Plugin:
    """Represent an entry point: its ``encoder``, or the ``problem`` that keeps it from being used."""

    name: str
    package: str
    encoder: ImageEncoder | None
    problem: str = ""


@cache
def plugins() -> dict[str, Plugin]:
    """Return the encoders of other packages by name, those that cannot be loaded included; each is logged once."""
    found: dict[str, Plugin] = {}
    for point in metadata.entry_points(group=GROUP):
        package = point.dist.name if point.dist is not None else "a package"
        if point.name in found:
            log.warning("Two packages register an encoder %s; that of %s is left out.", point.name, package)
            continue
        found[point.name] = _loaded(point, package)
        if problem := found[point.name].problem:
            log.warning("%s", problem)
    return found


def _loaded(point: metadata.EntryPoint, package: str) -> Plugin:
    try:
        encoder = point.load()()
        _require_sound(point.name, encoder)
    except Exception as error:  # noqa: BLE001 - code of other packages raises anything; the others must go on
        problem = f"The encoder {point.name} of {package} cannot be loaded ({type(error).__name__}: {one_line(error)})."
        return Plugin(point.name, package, None, problem)
    return Plugin(point.name, package, encoder)


def _require_sound(name: str, encoder: object) -> None:
    if not isinstance(encoder, ImageEncoder):
        raise TypeError("it is not a subclass of modeling.backends.plugins.ImageEncoder")
    if not _NAME.fullmatch(name):
        raise ValueError("its name must consist of lower-case letters, digits and _ . -")
    if not encoder.title or not 8 <= encoder.input_size <= 2048 or not 1 <= encoder.dim <= _MAX_DIM:
        raise ValueError("its title, input_size (8 to 2048) or dim (1 to 65536) is invalid")


class PluginEncoder(Encoder):
    """Run an encoder of another package."""

    batch_size = 32

    def __init__(self, plugin: Plugin) -> None:
        self._plugin, self._encoder = plugin, ready(plugin)
        try:
            self._encoder.load()
        except Exception as error:
            log.exception("The encoder %s of %s could not be loaded", plugin.name, plugin.package)
            raise EncoderUnavailable(
                f"The encoder {plugin.name} of {plugin.package} could not be loaded ({one_line(error)})",
                "See the log of the worker, or ask the authors of the package.",
            ) from error
        self._lock = threading.Lock()
        self.name = self._encoder.title
        self.dim = self._encoder.dim
        self.input_side = self._encoder.input_size
        self.reason = f"From the package {plugin.package}."
        self.fingerprint = fingerprint(
            plugin=plugin.name,
            package=plugin.package,
            version=self._encoder.version,
            side=self.input_side,
            dim=self.dim,
        )

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        with self._lock:  # packages need not be thread-safe
            vectors = np.asarray(self._encoder.encode(pixels))
        if vectors.shape != (len(pixels), self.dim) or vectors.dtype.kind not in "fiu":
            raise EncoderUnavailable(
                f"The encoder {self._plugin.name} of {self._plugin.package} returned {vectors.dtype} {vectors.shape}",
                f"It must return numbers of shape ({len(pixels)}, {self.dim}).",
            )
        found: FloatArray = np.nan_to_num(vectors.astype(np.float32, copy=False))
        return found


def ready(plugin: Plugin) -> ImageEncoder:
    """Return the encoder. Raises EncoderUnavailable if it cannot be loaded, or says that it cannot be used here."""
    if plugin.encoder is None:
        raise EncoderUnavailable(plugin.problem, "Update or remove the package.")
    try:
        reason = plugin.encoder.check()
    except Exception as error:  # noqa: BLE001 - code of other packages
        reason = f"{type(error).__name__}: {one_line(error)}"
    if reason:
        raise EncoderUnavailable(f"{plugin.encoder.title} cannot be used: {reason}")
    return plugin.encoder
