"""Use model files of users as encoders, named ``file:<file name>``, such as ``file:birds.onnx``.

Any image model in a ``.tflite``, ``.onnx``, ``.keras`` or ``.h5`` file (a whole model, not only weights) in
AL_WEIGHTS_DIR or in :func:`own_folder`. Size, layout (height, width, channels or channels first), number type and
quantization of its input are read from the file. The first output is used: a feature map is averaged over the image,
anything else is flattened.

A file does not specify how pixels have to be scaled. This is guessed (``user_model_runners.guess``), or stated
in a JSON file of the same name beside it (``birds.json`` or ``birds.onnx.json``)::

    {"preprocessing": "0..255", "name": "Birds, quick training 3", "side": 224}

``preprocessing`` is one of ``0..255`` (unchanged), ``0..1``, ``-1..1``, ``imagenet`` (0..1, then standardized with
ImageNet's mean and standard deviation, as torch models expect). ``name`` is the display name. ``side`` in pixels is
used only if the file leaves its input size open. All three are optional. The preprocessing can also follow the name:
``file:birds.onnx@imagenet``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from labeling.images.encoder_inputs import Pixels, squash
from modeling.backends import model_process, weights
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, file_sha256, fingerprint
from modeling.backends.keras_networks import require_tensorflow
from modeling.backends.litert import cached
from modeling.backends.model_client import ModelProcess, freeze
from modeling.backends.model_process import Opened
from modeling.backends.user_model_runners import require_onnx

PREFIX = "file:"
FOLDER = "own"
SUFFIXES = (".keras", ".h5", ".tflite", ".onnx")
PREPROCESSINGS = ("0..255", "0..1", "-1..1", "imagenet")
BATCH = 32
# A longer vector does not describe an image any more; it is another image.
MAX_DIM = 65_536
MAX_NAME_LENGTH = 60
_PUBLISHED = {value.file for value in vars(weights).values() if isinstance(value, weights.WeightFile)}


@dataclass(frozen=True)
class UserModelFile:
    """A model file and its description; ``preprocessing`` is empty if it has to be guessed."""

    path: Path
    title: str
    preprocessing: str = ""
    side: int = 224

    @property
    def backend(self) -> str:
        return PREFIX + self.path.name


def own_folder(store_dir: Path) -> Path:
    """Return the folder of uploaded and trained model files, beside those frozen to LiteRT."""
    return Path(store_dir) / "encoders" / FOLDER


def list_files(weights_dir: Path | None, graphs: Path | None) -> list[Path]:
    """List all model files by name. If both folders have a file of the same name, the one in the store is ignored."""
    files: dict[str, Path] = {}
    for folder in _folders(weights_dir, graphs):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix.lower() in SUFFIXES and path.name not in _PUBLISHED and path.is_file():
                files.setdefault(path.name, path)
    return [files[name] for name in sorted(files)]


def find(backend: str, weights_dir: Path | None, graphs: Path | None) -> UserModelFile:
    """Return the file that ``file:<name>`` or ``file:<name>@<preprocessing>`` refers to, with its description.

    Raises
    ------
    EncoderUnavailable
        If there is no such file, or its description is invalid.
    """
    reference = backend.removeprefix(PREFIX)
    name, preprocessing = reference, ""
    if "@" in reference and reference.rpartition("@")[2] in PREPROCESSINGS:
        name, _, preprocessing = reference.rpartition("@")
    for folder in _folders(weights_dir, graphs):
        path = folder / name
        if name == Path(name).name and path.suffix.lower() in SUFFIXES and path.is_file():
            return described(path, preprocessing)
    raise EncoderUnavailable(
        f"There is no model file {name!r}",
        f"Put it into AL_WEIGHTS_DIR, or add it on the page Encoders; its name ends in {', '.join(SUFFIXES)}.",
    )


def described(path: Path, preprocessing: str = "") -> UserModelFile:
    """Return a model file with the description in its JSON file; ``preprocessing`` overrides that of the file."""
    facts = _facts(path)
    scaling = preprocessing or facts.get("preprocessing") or ""
    name = facts.get("name") or path.stem
    side = facts.get("side") or 224
    if scaling and scaling not in PREPROCESSINGS:
        raise _bad_facts(path, f"preprocessing {scaling!r} is not one of {', '.join(PREPROCESSINGS)}")
    if not isinstance(name, str):
        raise _bad_facts(path, "name is not a string")
    if not isinstance(side, int) or not 8 <= side <= 2048:
        raise _bad_facts(path, "side is not an integer from 8 to 2048")
    title = name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
    return UserModelFile(path, title, str(scaling), side)


def stamp(backend: str, weights_dir: Path | None, graphs: Path | None) -> tuple[int, ...]:
    """Return numbers that change when a model file or its description changes; empty for other encoders.

    Reads only file attributes.
    """
    if not backend.startswith(PREFIX):
        return ()
    try:
        path = find(backend, weights_dir, graphs).path
    except EncoderUnavailable:
        return ()
    stats = [file.stat() for file in (path, *json_files(path)) if file.is_file()]
    return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size))


def require_runnable(path: Path) -> None:
    """Raise EncoderUnavailable if a package that the file needs is not installed. Imports nothing."""
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        require_onnx(path)
    elif suffix != ".tflite":
        require_tensorflow(path.name)


def json_files(path: Path) -> list[Path]:
    """Return the possible JSON descriptions of a model file; the first that exists is used."""
    return [path.with_name(path.name + ".json"), path.with_suffix(".json")]


class UserModelEncoder(Encoder):
    """Encode images by a user's model file, which a separate process runs."""

    batch_size = BATCH
    is_plain = False

    def __init__(self, file: UserModelFile, graphs: Path | None = None) -> None:
        """Open the file. ``graphs`` is the cache of frozen Keras models; None freezes them each time."""
        require_runnable(file.path)
        sha256 = file_sha256(file.path)
        graph = _graph_of(file, sha256, graphs)
        self._process = ModelProcess(file.path.name)
        try:
            opened = self._process.ask(model_process.open_file, file.path, graph, file.side, file.preprocessing)
            _require_usable(file.path, opened)
        except EncoderUnavailable:
            self._process.end()
            raise
        self._input = opened.input
        self.name = file.title
        self.dim = opened.dim
        self.input_side = max(self._input.height, self._input.width)
        self.reason = (
            f"The model file {file.path.name}; pixels scaled to {opened.preprocessing}, {opened.scaling_reason}."
        )
        self.fingerprint = fingerprint(
            architecture="own file, first output, maps averaged",
            weights=sha256,
            height=self._input.height,
            width=self._input.width,
            resize="bilinear squash",
            normalisation=opened.preprocessing,
            library=opened.library,
        )

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    def prepare(self, image: Image.Image) -> Pixels:
        if self._input.channels == 1:
            image = image.convert("L")
        return squash(image, self._input.width, self._input.height)

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        content = cast(bytes, np.ascontiguousarray(pixels).data.cast("B"))  # without a copy
        vectors = np.frombuffer(self._process.ask(model_process.encode, content), "<f4")
        found: FloatArray = np.nan_to_num(vectors.reshape(len(pixels), self.dim))
        return found


def _graph_of(file: UserModelFile, sha256: str, graphs: Path | None) -> bytes:
    """Return the frozen model of a Keras file; empty for others."""
    if file.path.suffix.lower() not in (".keras", ".h5"):
        return b""
    return cached(
        graphs,
        f"own-{sha256[:16]}-{file.side}",
        lambda: freeze(file.path.name, model_process.freeze_file, file.path, file.side),
    )


def _require_usable(path: Path, opened: Opened) -> None:
    if opened.dim > MAX_DIM:
        raise EncoderUnavailable(
            f"{path.name} gives {opened.dim:,} values per image",
            f"An encoder gives at most {MAX_DIM:,}. Cut the model off at a layer near its end.",
        )
    if not opened.is_sound:
        raise EncoderUnavailable(
            f"The output of {path.name} is not finite",
            "Check that the file is complete and its preprocessing right.",
        )


def _folders(weights_dir: Path | None, graphs: Path | None) -> list[Path]:
    return [folder for folder in (weights_dir, graphs and graphs / FOLDER) if folder is not None]


def _facts(path: Path) -> dict[str, object]:
    """Return the content of a model file's JSON description; empty if there is none."""
    for beside in json_files(path):
        try:
            content = json.loads(beside.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise _bad_facts(path, f"{beside.name} cannot be read as JSON") from error
        if not isinstance(content, dict):
            raise _bad_facts(path, f"{beside.name} contains no JSON object")
        return content
    return {}


def _bad_facts(path: Path, problem: str) -> EncoderUnavailable:
    message = f"The description of {path.name} is invalid: {problem}"
    return EncoderUnavailable(message, "Correct the JSON file beside it.")
