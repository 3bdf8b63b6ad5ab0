"""Add and remove uploaded model files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from hoshina.core.errors import Refusal
from hoshina.core.storage import replacing
from hoshina.jobs.models import Job
from modeling.backends import parts_of, timm_models, user_models
from modeling.encoders.choice import graphs_dir
from modeling.models import EmbeddingSet, EncoderChoice

# Larger files have to be copied into the folder.
MAX_UPLOAD = 512 * 2**20
_NAME = re.compile(r"[\w][\w .+-]{0,99}", re.ASCII)
# What files of each type have at an offset; ONNX files have nothing. PyTorch writes archives, and once wrote pickles.
_PYTORCH = [(0, b"PK\x03\x04"), (0, b"\x80\x02")]
_MARKS = {
    ".keras": [(0, b"PK\x03\x04")], ".h5": [(0, b"\x89HDF\r\n")], ".tflite": [(4, b"TFL3")],
    ".safetensors": [(8, b"{")], ".pth": _PYTORCH, ".pt": _PYTORCH, ".bin": _PYTORCH,
}  # fmt: skip


def add_own(upload: UploadedFile[Any], preprocessing: str = "", title: str = "", model: str = "") -> str:
    """Save an uploaded model file as an encoder, and return the name by which it is chosen.

    ``model`` is the model of timm whose weights the file has.

    Raises
    ------
    Refusal : it is too large, of another type, its name is taken, or the model is unknown.
    """
    name = Path(str(upload.name)).name
    _require_sound(name, upload)
    target = graphs_dir() / user_models.FOLDER / name
    if _is_taken(name, target):
        raise Refusal(f"There is already a model file {name}. Rename this one.")
    if timm_models.is_weight_file(name):
        return _add_weights(upload, target, model)
    if model:
        raise Refusal(f"{name} is a whole model. Name a model of timm only for a file of weights.")
    said = {"preprocessing": preprocessing, "name": title}
    with replacing(target) as stream:
        for block in upload.chunks():
            stream.write(block)
        if any(said.values()):
            text = json.dumps({key: value for key, value in said.items() if value}, ensure_ascii=False)
            user_models.json_files(target)[0].write_text(text, encoding="utf-8")
    return user_models.PREFIX + name


def _add_weights(upload: UploadedFile[Any], target: Path, model: str) -> str:
    """Save weights of a timm model, whose license and input size are looked up first."""
    model = model.removeprefix(timm_models.PREFIX)
    if not model:
        raise Refusal(
            f"{target.name} has weights without a model.", "Name the model of timm, such as vit_small_patch14_dinov2."
        )
    timm_models.describe(model, graphs_dir())
    with replacing(target) as stream:
        for block in upload.chunks():
            stream.write(block)
    timm_models.note_model(target, model)
    return timm_models.name_of(model, target.name)


def removable() -> set[str]:
    """Return the names of encoders from uploaded files, which can be removed; those in AL_WEIGHTS_DIR cannot."""
    folder = graphs_dir() / user_models.FOLDER
    own = [path for path in user_models.list_files(settings.WEIGHTS_DIR, graphs_dir()) if path.parent == folder]
    return {*(user_models.PREFIX + path.name for path in own), *timm_models.uploaded(graphs_dir())}


def remove_own(backend: str) -> None:
    """Remove an uploaded model file and its settings. Embeddings that it computed stay.

    Raises
    ------
    Refusal : there is none of that name, or it is in use.
    """
    if backend not in removable():
        raise Refusal("No model file of that name was added here.")
    is_weights = backend.startswith(timm_models.PREFIX)
    name = backend.partition("@")[2] if is_weights else backend.removeprefix(user_models.PREFIX)
    if user := _user_of(backend):
        raise Refusal(f"{name} is in use: {user}. Switch to another encoder there first.")
    target = graphs_dir() / user_models.FOLDER / name
    if is_weights:
        timm_models.note_of(target).unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        return
    for path in (target, *user_models.json_files(target)):
        # birds.json may belong to birds.onnx as well as to birds.keras.
        is_shared = path == target.with_suffix(".json") and len(list(target.parent.glob(f"{target.stem}.*"))) > 1
        if not is_shared:
            path.unlink(missing_ok=True)


def _user_of(backend: str) -> str:
    """Describe what uses the encoder; "" for nothing."""
    for choice in EncoderChoice.objects.filter(backend__contains=backend).select_related("dataset"):
        if _names(choice.backend, backend):
            return f"it is the encoder of {choice.dataset}"
    active = EmbeddingSet.objects.filter(backend__contains=backend, is_active=True).select_related("dataset")
    for embeddings in active:
        if _names(embeddings.backend, backend):
            return f"the embeddings of {embeddings.dataset} come from it"
    if _names(settings.EMBEDDING_BACKEND, backend):
        return "AL_EMBEDDING_BACKEND names it"
    requests = Job.objects.filter(kind="embed", state__in=Job.ACTIVE).values_list("params", flat=True)
    if any(_names(str(params.get("backend", "")), backend) for params in requests):
        return "embeddings are being computed with it"
    return ""


def _names(text: str, backend: str) -> bool:
    """Return whether the name of an encoder is, or joins, this one, with or without a preprocessing."""
    return any(part == backend or part.startswith(f"{backend}@") for part in parts_of(text))


def _is_taken(name: str, target: Path) -> bool:
    existing = [path.name for path in user_models.list_files(settings.WEIGHTS_DIR, graphs_dir())]
    existing += [weights.partition("@")[2] for weights in timm_models.uploaded(graphs_dir())]
    return target.exists() or name.lower() in map(str.lower, existing)


def _require_sound(name: str, upload: UploadedFile[Any]) -> None:
    suffix, expected = Path(name).suffix.lower(), (*user_models.SUFFIXES, *timm_models.WEIGHT_SUFFIXES)
    if suffix not in expected:
        raise Refusal(f"{name} is not a model file. Expected one of {', '.join(expected)}.")
    if not _NAME.fullmatch(name):
        raise Refusal("Its name may contain only letters, digits, spaces and . _ + -, and at most 100 characters.")
    if (upload.size or 0) > MAX_UPLOAD:
        raise Refusal(
            f"It is larger than {MAX_UPLOAD >> 20} MiB. Copy it into AL_WEIGHTS_DIR on the machine where HOSHINA runs."
        )
    beginning = upload.read(16)
    upload.seek(0)
    marks = _MARKS.get(suffix, [(0, b"")])
    if not any(beginning[place:].startswith(mark) for place, mark in marks):
        raise Refusal(f"{name} does not start like a {suffix} file. It may have another format, or be damaged.")
