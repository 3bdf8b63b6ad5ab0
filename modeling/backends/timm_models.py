"""Use models of timm as encoders, named ``timm:<model>`` or ``timm:<model>@<weight file>``.

Weights come from the file, the cache of the Hugging Face hub, or a download. The model runs in a process with limits
and without a network (``modeling.backends.model_process``). Images are resized and cropped as timm's data configuration
says.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from hoshina.core.storage import replacing
from labeling.images.encoder_inputs import Pixels
from modeling.backends import model_process
from modeling.backends.encoder import Encoder, EncoderUnavailable, FloatArray, file_sha256, fingerprint, one_line
from modeling.backends.model_client import ModelProcess
from modeling.backends.timm_runner import TimmModel
from modeling.backends.weights import NotDownloaded

PREFIX = "timm:"
FOLDER = "timm"
OWN_FOLDER = "own"  # of uploads, as in modeling.backends.user_models
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_MODEL = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")
# Megabytes of a temporary file: PyTorch looks for a folder in which it can write one.
_LARGEST_FILE = 1
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_FILTERS = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
            "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}  # fmt: skip


def is_timm(backend: str) -> bool:
    """Return whether this is the name of a model of timm, with or without a weight file."""
    return backend.startswith(PREFIX) and _MODEL.fullmatch(_split(backend)[0]) is not None


def _split(backend: str) -> tuple[str, str]:
    model, _, file = backend.removeprefix(PREFIX).partition("@")
    return model, file


def require_timm() -> None:
    """Raise EncoderUnavailable if timm or PyTorch is not installed. Imports neither."""
    if missing := [name for name in ("timm", "torch", "torchvision") if find_spec(name) is None]:
        raise EncoderUnavailable(
            f"Models of timm need the Python package{'s' * (len(missing) > 1)} {', '.join(missing)}",
            'Run uv sync --extra timm, or pip install "hoshina[timm]".',
        )


# -- Descriptions ----------------------------------------------------------------------------------
def describe(model: str, graphs: Path | None) -> TimmModel:
    """Return what timm says about a model, from a file in the store or by a process that imports timm once.

    Raises
    ------
    EncoderUnavailable : timm is not installed, or has no such model.
    """
    facts = described(model, graphs)
    if facts is not None:
        return facts
    require_timm()
    if not _MODEL.fullmatch(model):
        raise EncoderUnavailable(f"{model[:60]!r} is not a name of a timm model", "See timm.list_models().")
    process = ModelProcess("timm", largest_file=_LARGEST_FILE)
    try:
        found = process.ask(model_process.describe_timm, model)
    finally:
        process.end()
    if graphs is not None:
        with replacing(_description_file(model, graphs)) as stream:
            stream.write(json.dumps(asdict(found)).encode())
    return found


def described(model: str, graphs: Path | None) -> TimmModel | None:
    """Return the description in the store, without importing anything; None if the model was never looked up."""
    if graphs is None or not _MODEL.fullmatch(model):
        return None
    try:
        content = json.loads(_description_file(model, graphs).read_text(encoding="utf-8"))
        return TimmModel(**content)
    except (OSError, ValueError, TypeError):  # from an earlier version, or never written: it is looked up again
        return None


def listed(graphs: Path | None) -> list[str]:
    """Return the names of the models that were looked up, and of those whose weights were uploaded."""
    if graphs is None:
        return []
    return [PREFIX + file.stem for file in sorted((graphs / FOLDER).glob("*.json"))] + uploaded(graphs)


def _description_file(model: str, graphs: Path) -> Path:
    return graphs / FOLDER / f"{model}.json"


# -- Weights ---------------------------------------------------------------------------------------
def weights_of(backend: str, facts: TimmModel | None, folders: list[Path], *, may_download: bool) -> Path:
    """Return the weight file of a model: the named one, else that of the hub's cache, else a download.

    Raises
    ------
    NotDownloaded : it is not here and ``may_download`` is false.
    EncoderUnavailable : there is no such file, or it cannot be downloaded.
    """
    model, name = _split(backend)
    if name:
        found = next((path for path in _candidates(name, folders) if path.is_file()), None)
        if found is None:
            raise EncoderUnavailable(f"There is no weight file {name}", "Put it into AL_WEIGHTS_DIR, or give its path.")
        return found
    if facts is None or not facts.hub:
        raise EncoderUnavailable(f"timm has no weights for {model}", f"Name a weight file: timm:{model}@FILE.")
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    for file in _HUB_FILES:
        if isinstance(cached := try_to_load_from_cache(facts.hub, file), str):
            return Path(cached)
    if not may_download:
        raise NotDownloaded(f"The weights of {model} are at huggingface.co/{facts.hub}")
    try:
        return Path(hf_hub_download(facts.hub, _HUB_FILES[0]))
    except Exception as error:
        raise EncoderUnavailable(
            f"The weights of {model} could not be downloaded from huggingface.co/{facts.hub} ({one_line(error)})",
            f"Download them elsewhere, put the file into AL_WEIGHTS_DIR, and choose timm:{model}@FILE.",
        ) from error


def uploaded(graphs: Path) -> list[str]:
    """Return the names of models whose weights were uploaded, in the order of the files."""
    named = ((file, _model_of(file)) for file in sorted((graphs / OWN_FOLDER).glob("*")) if is_weight_file(file.name))
    return [name_of(model, file.name) for file, model in named if model]


def name_of(model: str, file: str) -> str:
    """Return the name of the encoder that is a model with the weights in a file."""
    return f"{PREFIX}{model}@{file}"


def is_weight_file(name: str) -> bool:
    """Return whether a file can have weights of timm or OpenCLIP, by its name."""
    return name.lower().endswith(WEIGHT_SUFFIXES)


def note_model(file: Path, model: str) -> None:
    """Note beside an uploaded file whose weights it has."""
    with replacing(note_of(file)) as stream:
        stream.write(json.dumps({"timm": model}).encode())


def note_of(file: Path) -> Path:
    """Return the JSON file beside uploaded weights."""
    return file.with_name(f"{file.name}.json")


def _model_of(file: Path) -> str:
    """Return the model whose weights an uploaded file has; "" if its note is missing or damaged."""
    try:
        model = json.loads(note_of(file).read_text(encoding="utf-8"))["timm"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return model if isinstance(model, str) and _MODEL.fullmatch(model) else ""


def _candidates(name: str, folders: list[Path]) -> list[Path]:
    path = Path(name)
    return [path] if path.is_absolute() else [folder / name for folder in folders if path.name == name]


# -- The encoder -----------------------------------------------------------------------------------
class TimmEncoder(Encoder):
    """Encode images by a model of timm: its features before the classifier."""

    batch_size = 32
    is_plain = False

    def __init__(self, backend: str, folders: list[Path], graphs: Path | None = None) -> None:
        require_timm()
        model, _ = _split(backend)
        self._facts = facts = describe(model, graphs)
        file = weights_of(backend, facts, folders, may_download=True)
        self._process = ModelProcess(f"the timm model {model}", largest_file=_LARGEST_FILE)
        try:
            self.dim = self._process.ask(model_process.open_timm, model, str(file))
        except EncoderUnavailable:
            self._process.end()
            raise
        self.name = f"timm {model}"[:60]
        self.input_side = facts.side
        self.reason = f"timm's {model} with the weights {file.name}, license {facts.license or 'unknown'}."
        self.fingerprint = fingerprint(
            architecture=f"timm {model}, features", weights=file_sha256(file), side=facts.side, mean=str(facts.mean),
            std=str(facts.std), crop=facts.crop, crop_mode=facts.crop_mode, resize=facts.interpolation,
        )  # fmt: skip

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive

    @property
    def decode_side(self) -> int:
        """Return a side at which the shorter side of most images is still as long as timm resizes it."""
        return 2 * math.floor(self.input_side / self._facts.crop)

    def prepare(self, image: Image.Image) -> Pixels:
        return prepared(image, self._facts)

    def encode_prepared(self, pixels: Pixels) -> FloatArray:
        if not len(pixels):
            return np.empty((0, self.dim), np.float32)
        content = cast(bytes, np.ascontiguousarray(pixels).data.cast("B"))  # without a copy
        vectors = np.frombuffer(self._process.ask(model_process.encode_timm, content), "<f4")
        found: FloatArray = np.nan_to_num(vectors.reshape(len(pixels), self.dim))
        return found


def prepared(image: Image.Image, facts: TimmModel) -> Pixels:
    """Resize and crop an image as timm's evaluation transform does: uint8 (side, side, 3)."""
    if image.mode != "RGB":
        image = image.convert("RGB")
    scaled, side = math.floor(facts.side / facts.crop), facts.side
    width, height = image.size
    if facts.crop_mode == "squash":
        size = (scaled, scaled)
    elif facts.crop_mode == "border":
        longest = max(width, height)
        size = (round(width * scaled / longest), round(height * scaled / longest))
    elif width <= height:
        size = (scaled, int(scaled * height / width))
    else:
        size = (int(scaled * width / height), scaled)
    small = image.resize(size, _FILTERS.get(facts.interpolation, Image.Resampling.BICUBIC))
    left, top = (_offset(length, side) for length in size)
    if left >= 0 and top >= 0:
        return np.asarray(small.crop((left, top, left + side, top + side)), np.uint8)
    fill = tuple(round(255 * value) for value in facts.mean) if facts.crop_mode == "border" else (0, 0, 0)
    canvas = Image.new("RGB", (side, side), fill)
    canvas.paste(small, (-left, -top))
    return np.asarray(canvas, np.uint8)


def _offset(length: int, side: int) -> int:
    """Return where a crop of ``side`` begins, negative for padding, rounded as torchvision does."""
    return round((length - side) / 2) if length >= side else -((side - length) // 2)
