"""Pretrained weight files: where each lies on this machine, or whence it comes.

Looked for by the file's own name in AL_WEIGHTS_DIR, then in the library's cache, then fetched into that cache from the
library's own address. Imports no TensorFlow.
"""

from __future__ import annotations

import http.client
import os
import queue
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modeling.backends.encoder import EncoderUnavailable, one_line

CONNECT_SECONDS = 5.0
DOWNLOAD_SECONDS = 180.0


class NotHere(EncoderUnavailable):
    """Weights are not on this machine; a download may bring them."""


@dataclass(frozen=True)
class WeightFile:
    """A network's published weights: ``title`` for people, the file's name, its address, its library's cache."""

    title: str
    file: str
    url: str
    cache: Callable[[], Path]
    library: str


def keras_cache() -> Path:
    """Where Keras keeps downloaded weights: ``$KERAS_HOME/models``, else ``~/.keras/models``."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~").expanduser() / ".keras") / "models"


def torch_cache() -> Path:
    """Where torch keeps them: ``$TORCH_HOME`` or ``~/.cache/torch``, then ``hub/checkpoints``."""
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or Path(caches) / "torch") / "hub" / "checkpoints"


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
MOBILENET_V2 = WeightFile(
    "MobileNetV2",
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    _KERAS + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    keras_cache,
    "Keras",
)
EFFICIENTNET_B0 = WeightFile(
    "EfficientNetB0",
    "efficientnetb0_notop.h5",
    "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
    keras_cache,
    "Keras",
)
RESNET50 = WeightFile(
    "ResNet50",
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    _KERAS + "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    keras_cache,
    "Keras",
)
RESNET18 = WeightFile(
    "ResNet18",
    "resnet18-f37072fd.pth",
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    torch_cache,
    "torch",
)


def locate(wanted: WeightFile, weights_dir: Path | None, *, download: bool = True) -> tuple[Path, str]:
    """The weight file and where it was found, in words.

    Raises
    ------
    EncoderUnavailable : it is not on this machine and, with ``download``, could not be fetched.
    """
    if weights_dir is not None and (weights_dir / wanted.file).is_file():
        return weights_dir / wanted.file, "from AL_WEIGHTS_DIR"
    cached = wanted.cache() / wanted.file
    if cached.is_file():
        return cached, f"from {wanted.library}'s cache"
    hint = f"Put {wanted.file} in AL_WEIGHTS_DIR to use it."
    if not download:
        raise NotHere(f"{wanted.title}'s weights are not on this machine", hint)
    try:
        _download(wanted.url, cached)
    except (OSError, http.client.HTTPException) as error:
        raise EncoderUnavailable(
            f"{wanted.title}'s weights could not be downloaded ({one_line(error)})", hint
        ) from error
    return cached, f"downloaded by {wanted.library}'s address"


def damaged(wanted: WeightFile, file: Path, why: str) -> EncoderUnavailable:
    """What to say of a weight file that cannot be used."""
    return EncoderUnavailable(
        f"{wanted.title}'s weight file {file} is damaged or of another kind ({why})",
        f"Delete it, or replace it by a whole {wanted.file}.",
    )


def _download(url: str, target: Path) -> None:
    """Fetch ``url`` to ``target``, whole or not at all; gives up after seconds where there is no network."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    target.parent.mkdir(parents=True, exist_ok=True)
    with connect(url) as answer:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                while block := answer.read(1 << 18):
                    stream.write(block)
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"not finished within {DOWNLOAD_SECONDS:.0f} s")
            expected = answer.headers.get("Content-Length")
            if expected is not None and part.stat().st_size != int(expected):
                raise OSError(f"got {part.stat().st_size} of {expected} bytes")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def connect(url: str) -> http.client.HTTPResponse:
    """Open ``url`` within CONNECT_SECONDS.

    In a thread of its own, because looking up a name knows no time limit and may take minutes offline.
    """
    answers: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))  # noqa: S310 (a fixed https address)
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_SECONDS + 1)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
