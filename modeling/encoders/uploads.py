"""Add and remove uploaded model files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q

from hoshina.core.errors import Refusal
from hoshina.core.storage import replacing
from hoshina.jobs.models import Job
from modeling.backends import user_models
from modeling.encoders.choice import graphs_dir
from modeling.models import EmbeddingSet, EncoderChoice

# Larger files have to be copied into the folder.
MAX_UPLOAD = 512 * 2**20
_NAME = re.compile(r"[\w][\w .+-]{0,99}", re.ASCII)
# The first bytes of each file type, and their offset; ONNX files have none.
_MARKS = {".keras": (0, b"PK\x03\x04"), ".h5": (0, b"\x89HDF\r\n"), ".tflite": (4, b"TFL3")}


def add_own(upload: UploadedFile[Any], preprocessing: str = "", title: str = "") -> str:
    """Save an uploaded model file as an encoder, and return the name by which it is chosen.

    Raises
    ------
    Refusal : it is too large, of another type, or its name is taken.
    """
    name = Path(str(upload.name)).name
    _require_sound(name, upload)
    target = graphs_dir() / user_models.FOLDER / name
    if _is_taken(name, target):
        raise Refusal(f"There is already a model file {name}. Rename this one.")
    said = {"preprocessing": preprocessing, "name": title}
    with replacing(target) as stream:
        for block in upload.chunks():
            stream.write(block)
        if any(said.values()):
            text = json.dumps({key: value for key, value in said.items() if value}, ensure_ascii=False)
            user_models.json_files(target)[0].write_text(text, encoding="utf-8")
    return user_models.PREFIX + name


def removable() -> set[str]:
    """Return the names of encoders from uploaded files, which can be removed; those in AL_WEIGHTS_DIR cannot."""
    folder = graphs_dir() / user_models.FOLDER
    return {
        user_models.PREFIX + path.name
        for path in user_models.list_files(settings.WEIGHTS_DIR, graphs_dir())
        if path.parent == folder
    }


def remove_own(backend: str) -> None:
    """Remove an uploaded model file and its settings. Embeddings that it computed stay.

    Raises
    ------
    Refusal : there is none of that name, or it is in use.
    """
    if backend not in removable():
        raise Refusal("No model file of that name was added here.")
    name = backend.removeprefix(user_models.PREFIX)
    if user := _user_of(backend):
        raise Refusal(f"{name} is in use: {user}. Switch to another encoder there first.")
    target = graphs_dir() / user_models.FOLDER / name
    for path in (target, *user_models.json_files(target)):
        # birds.json may belong to birds.onnx as well as to birds.keras.
        is_shared = path == target.with_suffix(".json") and len(list(target.parent.glob(f"{target.stem}.*"))) > 1
        if not is_shared:
            path.unlink(missing_ok=True)


def _user_of(backend: str) -> str:
    """Describe what uses the encoder; "" for nothing."""
    named = Q(backend=backend) | Q(backend__startswith=f"{backend}@")
    if chosen := EncoderChoice.objects.filter(named).select_related("dataset").first():
        return f"it is the encoder of {chosen.dataset}"
    if active := EmbeddingSet.objects.filter(named, is_active=True).select_related("dataset").first():
        return f"the embeddings of {active.dataset} come from it"
    if settings.EMBEDDING_BACKEND.partition("@")[0] == backend:
        return "AL_EMBEDDING_BACKEND names it"
    requests = Job.objects.filter(kind="embed", state__in=Job.ACTIVE).values_list("params", flat=True)
    if any(str(params.get("backend", "")).partition("@")[0] == backend for params in requests):
        return "embeddings are being computed with it"
    return ""


def _is_taken(name: str, target: Path) -> bool:
    existing = user_models.list_files(settings.WEIGHTS_DIR, graphs_dir())
    return target.exists() or any(path.name.lower() == name.lower() for path in existing)


def _require_sound(name: str, upload: UploadedFile[Any]) -> None:
    suffix = Path(name).suffix.lower()
    if suffix not in user_models.SUFFIXES:
        raise Refusal(f"{name} is not a model file. Expected one of {', '.join(user_models.SUFFIXES)}.")
    if not _NAME.fullmatch(name):
        raise Refusal("Its name may contain only letters, digits, spaces and . _ + -, and at most 100 characters.")
    if (upload.size or 0) > MAX_UPLOAD:
        raise Refusal(
            f"It is larger than {MAX_UPLOAD >> 20} MiB. Copy it into AL_WEIGHTS_DIR on the machine where HOSHINA runs."
        )
    place, mark = _MARKS.get(suffix, (0, b""))
    beginning = upload.read(place + len(mark))
    upload.seek(0)
    if beginning[place:] != mark:
        raise Refusal(f"{name} does not start like a {suffix} file. It may have another format, or be damaged.")
