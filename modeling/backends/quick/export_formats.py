"""Write the files of a trained network, in each format that the libraries support, with its description.

All formats take pixels from 0 to 255 and return calibrated probabilities, so that users need not know how images are
scaled or which temperature was fitted.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modeling.backends.encoder import one_line
from modeling.backends.keras_networks import quiet
from modeling.backends.quick.network import QuickNetwork

# The network without its classifier, for use as an encoder.
FEATURES = "features.keras"
N_STEPS = 4


def write_files(
    folder: Path,
    network: QuickNetwork,
    graph: bytes,
    *,
    temperature: float,
    about: Mapping[str, Any],
    step: Callable[[], None],
) -> list[str]:
    """Write the network into ``folder`` in each format. Return why formats are missing.

    ``graph`` is the frozen network that returns probabilities, ``about`` becomes classes.json. ``step`` is called after
    each of ``N_STEPS`` files and may raise to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(graph)
    (folder / "classes.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    step()
    model = network.probabilities_model(temperature)
    with _silent():
        model.save(folder / "model.keras")
        network.features_model.save(folder / FEATURES)
    step()
    _write_saved_model(model, folder / "saved_model.zip")
    step()
    note = _write_onnx(model, folder / "model.onnx")
    step()
    return [note] if note else []


def _write_saved_model(model: Any, target: Path) -> None:
    """Write TensorFlow's SavedModel folder as one archive."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, _silent():
        model.export(folder, format="tf_saved_model", verbose=False)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file():
                    archive.write(file, Path("saved_model") / file.relative_to(folder))


def _write_onnx(model: Any, target: Path) -> str:
    """Write the model as ONNX if the libraries for it are installed and support it. Return why not, or ""."""
    missing = [name for name in ("tf2onnx", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        return f"No ONNX file: {' and '.join(missing)} not installed (uv sync --extra onnx)."
    try:
        with _silent():
            model.export(target, format="onnx", verbose=False)
    except Exception as error:  # noqa: BLE001 (errors of an external converter; the other files are written)
        target.unlink(missing_ok=True)
        return f"No ONNX file: tf2onnx could not convert the network ({one_line(error)})."
    return ""


@contextlib.contextmanager
def _silent() -> Any:
    """Suppress what Keras prints about the files."""
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        yield
