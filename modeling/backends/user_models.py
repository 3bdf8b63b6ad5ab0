"""A person's own model files as encoders, named ``file:<file name>``, such as ``file:birds.onnx``.

Any image model in a file ``.tflite``, ``.onnx``, ``.keras`` or ``.h5`` (a whole model, not weights alone) that lies in
AL_WEIGHTS_DIR or in :func:`own_folder`. Size, layout (height, width, channels or channels first), number type and
quantisation of its input are read from the file. Of its outputs the first is taken; where that is a feature map it is
averaged over the image, otherwise flattened.

What a file cannot tell is what pixels have to be turned into. It is guessed (:func:`guess`), and can be said in a
JSON file of the same name beside it (``birds.json`` or ``birds.onnx.json``)::

    {"preprocessing": "0..255", "name": "Birds, quick training 3", "side": 224}

``preprocessing`` is one of ``0..255`` (as they are), ``0..1``, ``-1..1``, ``imagenet`` (0..1, then less ImageNet's mean
and by its deviation, as torch's models want). ``name`` is what people call it; ``side`` in pixels counts only where
the file leaves its input's size open. All three may be left out. The preprocessing may also stand behind the name:
``file:birds.onnx@imagenet``.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from labeling.images.encoder_inputs import Pixels, squash
from modeling.backends import weights
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, file_sha256, fingerprint
from modeling.backends.keras_networks import require_tensorflow
from modeling.backends.user_model_runners import Input, open_model, require_onnx

PREFIX = "file:"
FOLDER = "own"
SUFFIXES = (".keras", ".h5", ".tflite", ".onnx")
PREPROCESSINGS = ("0..255", "0..1", "-1..1", "imagenet")
BATCH = 32
# A longer vector is no description of an image any more, but another image.
LONGEST = 65_536
LONGEST_NAME = 60
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
# Layers of a Keras model by which it scales its pixels itself.
_SCALING = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Subtract")
_PUBLISHED = {one.file for one in vars(weights).values() if isinstance(one, weights.WeightFile)}


@dataclass(frozen=True)
class OwnFile:
    """A model file and what was said about it; ``preprocessing`` is empty where it has to be guessed."""

    path: Path
    title: str
    preprocessing: str = ""
    side: int = 224

    @property
    def backend(self) -> str:
        return PREFIX + self.path.name


def own_folder(store_dir: Path) -> Path:
    """Where uploaded and home-made model files lie, beside the frozen networks."""
    return Path(store_dir) / "encoders" / FOLDER


def list_files(weights_dir: Path | None, graphs: Path | None) -> list[Path]:
    """All model files, by name; of two with the same name the one in the store is not reached."""
    found: dict[str, Path] = {}
    for folder in _folders(weights_dir, graphs):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix.lower() in SUFFIXES and path.name not in _PUBLISHED and path.is_file():
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def find(backend: str, weights_dir: Path | None, graphs: Path | None) -> OwnFile:
    """The file that ``file:<name>`` or ``file:<name>@<preprocessing>`` means, with what is said about it.

    Raises
    ------
    EncoderUnavailable : there is no such file, or what is said about it makes no sense.
    """
    wanted = backend.removeprefix(PREFIX)
    name, said = wanted, ""
    if "@" in wanted and wanted.rpartition("@")[2] in PREPROCESSINGS:
        name, _, said = wanted.rpartition("@")
    for folder in _folders(weights_dir, graphs):
        path = folder / name
        if name == Path(name).name and path.suffix.lower() in SUFFIXES and path.is_file():
            return _described(path, said)
    raise EncoderUnavailable(
        f"There is no model file {name!r}",
        f"Put it into AL_WEIGHTS_DIR, or add it on the page Encoders; its name ends in {', '.join(SUFFIXES)}.",
    )


def described(path: Path) -> OwnFile:
    """A model file with what the JSON file beside it says."""
    return _described(path, "")


def stamp(backend: str, weights_dir: Path | None, graphs: Path | None) -> tuple[int, ...]:
    """Differs once a model file or what is said about it was changed; empty for any other encoder. Reads nothing."""
    if not backend.startswith(PREFIX):
        return ()
    try:
        path = find(backend, weights_dir, graphs).path
    except EncoderUnavailable:
        return ()
    found = [one.stat() for one in (path, *json_files(path)) if one.is_file()]
    return tuple(number for one in found for number in (one.st_mtime_ns, one.st_size))


def require_runnable(path: Path) -> None:
    """Raises EncoderUnavailable where a program that the file needs is not installed. Imports nothing."""
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        require_onnx(path)
    elif suffix != ".tflite":
        require_tensorflow(path.name)


def json_files(path: Path) -> list[Path]:
    """Where something may be said about a model file: the first that is there counts."""
    return [path.with_name(path.name + ".json"), path.with_suffix(".json")]


def guess(path: Path, spec: Input) -> tuple[str, str]:
    """What pixels have to be turned into for a model file that nothing is said about; and why, in words."""
    if spec.scale and (spec.low, spec.high) != (0.0, 0.0):
        if spec.low < -0.5:
            return "-1..1", "as its quantised input tells"
        return ("0..1" if spec.high < 2 else "0..255"), "as its quantised input tells"
    if spec.is_whole:
        return "0..255", "as it takes whole numbers"
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return "imagenet", "a guess, as most ONNX files come from torch"
    if suffix == ".tflite":
        return "-1..1", "a guess, as is usual for LiteRT files"
    if _scales_itself(path):
        return "0..255", "as it has layers that scale them"
    return "0..1", "a guess, as it has no layer that scales them"


class OwnEncoder(Encoder):
    """A model file that is ready to run."""

    batch_size = BATCH

    def __init__(self, file: OwnFile, graphs: Path | None = None) -> None:
        """``graphs`` is the folder in which frozen Keras models are kept; None freezes them anew."""
        sha256 = file_sha256(file.path)
        model = open_model(file.path, sha256, file.side, graphs)
        self._input = model.input
        said, why = (file.preprocessing, "as was said") if file.preprocessing else guess(file.path, model.input)
        self._preprocessing = said
        self._runner = model.start(self._values)
        self.name = file.title
        self.dim = self._runner.dim
        self.input_side = max(self._input.height, self._input.width)
        self.reason = f"The model file {file.path.name}; pixels as {said}, {why}."
        self.fingerprint = fingerprint(
            architecture="own file, first output, maps averaged",
            weights=sha256,
            height=self._input.height,
            width=self._input.width,
            resize="bilinear squash",
            normalisation=said,
            library=model.library,
        )
        self._require_usable(file.path)

    is_plain = False

    def prepare(self, image: Image.Image) -> Pixels:
        if self._input.channels == 1:
            image = image.convert("L")
        return squash(image, self._input.width, self._input.height)

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        return np.nan_to_num(self._runner.run(pixels), copy=False)

    def _values(self, pixels: Pixels) -> FloatArray:
        """uint8 (1, h, w, 3) -> float32 (1, h, w, channels), as the model was trained."""
        values = pixels.astype(np.float32)
        if self._input.channels == 1:
            values = values[..., :1]
        if self._preprocessing == "-1..1":
            return values / np.float32(127.5) - np.float32(1)
        if self._preprocessing != "0..255":
            values /= np.float32(255)
        if self._preprocessing == "imagenet":
            channels = slice(None) if self._input.channels == 3 else slice(1)
            values = (values - _MEAN[channels]) / _DEVIATION[channels]
        return values

    def _require_usable(self, path: Path) -> None:
        if self.dim > LONGEST:
            raise EncoderUnavailable(
                f"{path.name} gives {self.dim:,} numbers for an image",
                f"A model that describes an image gives at most {LONGEST:,}; cut it off at a layer near its end.",
            )
        if not self._runner.is_sound:
            raise EncoderUnavailable(
                f"{path.name} gives numbers that are not finite", "Is the file damaged, or its preprocessing another?"
            )


def _folders(weights_dir: Path | None, graphs: Path | None) -> list[Path]:
    return [folder for folder in (weights_dir, graphs and graphs / FOLDER) if folder is not None]


def _described(path: Path, preprocessing: str) -> OwnFile:
    facts = _facts(path)
    said = preprocessing or facts.get("preprocessing") or ""
    name = facts.get("name") or path.stem
    side = facts.get("side") or 224
    if said and said not in PREPROCESSINGS:
        raise _bad_facts(path, f"preprocessing {said!r} is none of {', '.join(PREPROCESSINGS)}")
    if not isinstance(name, str):
        raise _bad_facts(path, "name is not a text")
    if not isinstance(side, int) or not 8 <= side <= 2048:
        raise _bad_facts(path, "side is not a whole number from 8 to 2048")
    return OwnFile(path, name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…", str(said), side)


def _facts(path: Path) -> dict[str, object]:
    """What the JSON file beside a model file says; nothing where there is none."""
    for beside in json_files(path):
        try:
            found = json.loads(beside.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise _bad_facts(path, f"{beside.name} cannot be read as JSON") from error
        if not isinstance(found, dict):
            raise _bad_facts(path, f"{beside.name} holds no JSON object")
        return found
    return {}


def _bad_facts(path: Path, why: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"What is said about {path.name} makes no sense: {why}", "Correct the JSON file beside it."
    )


def _scales_itself(path: Path) -> bool:
    """Does a Keras model have layers that scale pixels? Read from its description, without Keras."""
    try:
        text = _keras_config(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False  # a file that cannot be read says so when it is opened
    return any(f'"class_name": "{layer}"' in text for layer in _SCALING)


def _keras_config(path: Path) -> str:
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive:
            return archive.read("config.json").decode("utf-8", errors="replace")
    import h5py

    with h5py.File(path) as file:
        config = file.attrs["model_config"]
        return config if isinstance(config, str) else bytes(config).decode("utf-8", errors="replace")
