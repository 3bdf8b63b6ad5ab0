"""The real MobileNetV2 weights, where this machine has them."""

import os
from pathlib import Path

from modeling.backends.weights import MOBILENET_V2
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
