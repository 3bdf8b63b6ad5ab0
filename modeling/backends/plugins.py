"""Define the interface of encoders, and find them: ours and those of other packages are registered in the same way.

A package names a class in its ``pyproject.toml``, as this one does::

    [project.entry-points."hoshina.encoders"]
    birds = "my_package.encoder:Birds"
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from labeling.images.encoder_inputs import Pixels
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, fingerprint, one_line
from modeling.backends.weights import NotDownloaded

log = logging.getLogger(__name__)

GROUP = "hoshina.encoders"
OURS = "hoshina"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}")
_MAX_DIM = 65_536


class ImageEncoder(ABC):
    """Represent an encoder: one of ours or of another package.

    Import large libraries in :meth:`load`: pages list encoders without loading them. A new object is made for each
    use, without arguments.

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
    batch_size
        Preferred number of images for :meth:`encode`.
    is_thread_safe
        Whether several threads may call :meth:`encode` at the same time.
    weights_dir
        The folder AL_WEIGHTS_DIR, if any; set before the first call.
    """

    title: str
    license: str = ""
    about: str = ""
    input_size: int = 224
    dim: int
    version: str = "1"
    batch_size: int = 32
    is_thread_safe: bool = False
    weights_dir: Path | None = None

    def check(self) -> str:
        """Return why it cannot be used on this machine; "" if it can. Called by pages, so load nothing.

        It may also raise EncoderUnavailable with a hint, or NotDownloaded if :meth:`load` will download the weights.
        """
        return ""

    def source(self) -> str:
        """Return a sentence that says where the weights come from; "" if there is nothing to say."""
        return ""

    @abstractmethod
    def load(self) -> None:
        """Load the weights. Called once, before :meth:`encode`."""

    @abstractmethod
    def encode(self, batch: Pixels) -> FloatArray:
        """Encode uint8 (n, input_size, input_size, 3), RGB, as float32 (n, dim)."""

    def facts(self) -> dict[str, str | int | float]:
        """Return what determines the vectors, once loaded; {} if that is package, name and version."""
        return {}


@dataclass(frozen=True)
class Plugin:
    """Represent an entry point: its class ``kind``, or the ``problem`` that keeps it from being used."""

    name: str
    package: str
    kind: type[ImageEncoder] | None
    problem: str = ""

    @property
    def is_ours(self) -> bool:
        return self.package == OURS

    @property
    def title(self) -> str:
        return self.name if self.kind is None else self.kind.title

    def made(self, weights_dir: Path | None) -> ImageEncoder:
        """Return a new encoder, not yet loaded. Raises EncoderUnavailable if the entry point is broken."""
        if self.kind is None:
            raise EncoderUnavailable(self.problem, "Update or remove the package.")
        encoder = self.kind()
        encoder.weights_dir = weights_dir
        return encoder


# -- Entry points ------------------------------------------------------------------------------------
@cache
def entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points by name, ours first. Imports nothing."""
    found: dict[str, metadata.EntryPoint] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: _package_of(point) != OURS):
        if point.name in found:
            package = _package_of(point)
            log.warning("Two packages register an encoder %s; that of %s is left out.", point.name, package)
        else:
            found[point.name] = point
    return found


@cache
def plugin(name: str) -> Plugin:
    """Return the encoder of a name in :func:`entry_points`. If it cannot be loaded, that is logged once."""
    point = entry_points()[name]
    package = _package_of(point)
    try:
        kind = point.load()
        _require_sound(name, package, kind)
    except Exception as error:  # noqa: BLE001 - code of other packages raises anything; the others must go on
        problem = f"The encoder {name} of {package} cannot be loaded ({type(error).__name__}: {one_line(error)})."
        log.warning("%s", problem)
        return Plugin(name, package, None, problem)
    return Plugin(name, package, kind)


def missing_names(names: Iterable[str]) -> list[str]:
    """Return those of our encoders that the installed metadata of this package does not list. Imports nothing."""
    try:
        listed = {point.name for point in metadata.distribution(OURS).entry_points if point.group == GROUP}
    except metadata.PackageNotFoundError:
        listed = set()
    return [name for name in names if name not in listed]


def _package_of(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a package"


def _require_sound(name: str, package: str, kind: object) -> None:
    if not isinstance(kind, type) or not issubclass(kind, ImageEncoder):
        raise TypeError("it is not a subclass of modeling.backends.plugins.ImageEncoder")
    if not _NAME.fullmatch(name) and package != OURS:  # a plus sign joins names, and is in one of our first names
        raise ValueError("its name must consist of lower-case letters, digits and _ . -")
    encoder = kind()
    if not encoder.title or not 8 <= encoder.input_size <= 2048 or not 1 <= encoder.dim <= _MAX_DIM:
        raise ValueError("its title, input_size (8 to 2048) or dim (1 to 65536) is invalid")


# -- Use ---------------------------------------------------------------------------------------------
def require_usable(encoder: ImageEncoder) -> None:
    """Raise EncoderUnavailable if the encoder says that it cannot be used here."""
    try:
        reason = encoder.check()
    except EncoderUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - code of other packages
        reason = f"{type(error).__name__}: {one_line(error)}"
    if reason:
        raise EncoderUnavailable(f"{encoder.title} cannot be used: {reason}")


class LoadedEncoder(Encoder):
    """Run an ImageEncoder, which is loaded here. ``name`` and ``package`` are those of its entry point."""

    def __init__(self, encoder: ImageEncoder, name: str = "", package: str = OURS) -> None:
        self._encoder, self._label = encoder, f"The encoder {name} of {package}"
        with contextlib.suppress(NotDownloaded):  # it downloads them
            require_usable(encoder)
        try:
            encoder.load()
        except EncoderUnavailable:
            raise
        except Exception as error:
            log.exception("%s could not be loaded", self._label)
            raise EncoderUnavailable(
                f"{self._label} could not be loaded ({one_line(error)})",
                "See the log of the worker, or ask the authors of the package.",
            ) from error
        self._turn = contextlib.nullcontext() if encoder.is_thread_safe else threading.Lock()
        self.backend, self.name = name, encoder.title
        self.dim, self.input_side, self.batch_size = encoder.dim, encoder.input_size, encoder.batch_size
        chosen = f"{encoder.title}, as chosen." if package == OURS else f"From the package {package}."
        self.reason = encoder.source() or chosen
        own = {"plugin": name, "package": package, "version": encoder.version, "side": self.input_side, "dim": self.dim}
        self.fingerprint = fingerprint(**(encoder.facts() or own))

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        with self._turn:
            vectors = np.asarray(self._encoder.encode(pixels))
        if vectors.shape != (len(pixels), self.dim) or vectors.dtype.kind not in "fiu":
            raise EncoderUnavailable(
                f"{self._label} returned {vectors.dtype} {vectors.shape}",
                f"It must return numbers of shape ({len(pixels)}, {self.dim}).",
            )
        found: FloatArray = vectors.astype(np.float32, copy=False)
        # One NaN would corrupt every later step.
        return found if np.isfinite(found).all() else np.nan_to_num(found)
