"""Keep image files from outside a dataset as examples of Similar, and compute their embeddings.

An example is a copy in the store, named after the SHA-256 of its content. It is no item of the dataset and no part of
an export. The encoder is imported inside the functions: only workers and commands load it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.images.decoder_pool import decoders, pictures
from labeling.images.problems import ImageProblem
from labeling.images.thumbnails import TILE
from labeling.models import Dataset
from modeling.encoders.input_spec import InputSpec
from modeling.encoders.neighbor_cache import cache_of
from modeling.models import EmbeddingSet

Floats = NDArray[np.float32]
MAX_BYTES = 64 * 1024 * 1024
# Files per dataset; those that nobody searched with for longest make room.
MAX_FILES = 200
# The vector depends on the file and the encoder alone, so there is one generation.
_GENERATION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


def keep(dataset: Dataset, source: BinaryIO) -> str:
    """Copy an image file into the store after a decoder has read it, and return the SHA-256 of its content.

    Raises Refusal if the file is too large or no image, or if an item of the dataset has several files.
    """
    _require_single_files(dataset)
    folder = _folder(dataset.pk)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".part", dir=folder)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            sha256 = _copy(source, target)
        (found,) = decoders().examined([draft], dataset.shown_as)
        if isinstance(found, ImageProblem):
            raise Refusal(f"The example cannot be read as an image: {found.reason}", "Choose another file.")
        draft.replace(folder / sha256)
    finally:
        draft.unlink(missing_ok=True)
    _make_room(folder)
    return sha256


def names_in(text: str) -> list[str]:
    """Return the examples named in ``SimilarParams.file``, or none if one is no SHA-256."""
    names = list(dict.fromkeys(filter(None, text.split(","))))
    return names if all(map(_SHA256.fullmatch, names)) else []


def file_of(dataset_id: int, name: str) -> Path:
    """Return the file of an example. Raises Refusal if it is not there, or ``name`` is no SHA-256."""
    file = _folder(dataset_id) / name
    if not _SHA256.fullmatch(name) or not file.is_file():
        raise Refusal("This example is no longer in the store.", "Upload the file again.")
    return file


def thumbnail_of(dataset: Dataset, name: str) -> Path:
    """Return the small picture of an example. Raises Refusal, ImageProblem and OSError."""
    return decoders().thumbnail(file_of(dataset.pk, name), name, TILE, pictures(), dataset.shown_as)


def vectors_of(dataset: Dataset, embedding_set: EmbeddingSet, names: Sequence[str]) -> Floats:
    """Return the embeddings (n, d) of examples by the encoder of ``embedding_set``, computed once for each.

    Raises Refusal if a file is gone or unreadable, or if the encoder is not the one of the embeddings.
    """
    return np.stack([_vector_of(dataset, embedding_set, name) for name in names])


def _vector_of(dataset: Dataset, embedding_set: EmbeddingSet, name: str) -> Floats:
    file = file_of(dataset.pk, name)
    with suppress(OSError):
        os.utime(file)  # it was used, so it stays longer
    cache = cache_of(embedding_set)
    made = cache.array_of(f"example{name}", _GENERATION, lambda: _encoded(dataset, embedding_set, file))
    return cast(Floats, np.asarray(made))


def _encoded(dataset: Dataset, embedding_set: EmbeddingSet, file: Path) -> Floats:
    from modeling.encoders.choice import fingerprint_of
    from modeling.encoders.frames import encode_files
    from modeling.encoders.pipeline import encoder_of
    from modeling.encoders.reductions import reduced_for

    _require_single_files(dataset)
    if embedding_set.is_imported:
        raise Refusal(
            f"The embeddings of {embedding_set.encoder} were imported, so an image from elsewhere has none.",
            "Choose another encoder to search with such images.",
        )
    spec = InputSpec.of(dataset)
    # Embeddings of an early version do not tell their encoder's name.
    encoder = reduced_for(embedding_set, encoder_of(embedding_set.backend)) if embedding_set.backend else None
    if encoder is None or fingerprint_of(encoder, spec) != embedding_set.fingerprint:
        raise Refusal(
            f"The embeddings of this dataset were computed with {embedding_set}, which this worker does not have.",
            "Compute the embeddings again, or give all workers the same AL_WEIGHTS_DIR.",
        )
    vectors, readable, problems = encode_files(encoder, [file], lambda n: None, spec.rendering)
    if not readable[0]:
        raise Refusal(f"The example cannot be read: {problems[0][1]}", "Upload another file.")
    vector: Floats = vectors[0]
    return vector


def forget(dataset_id: int) -> None:
    """Delete the examples of a dataset."""
    shutil.rmtree(_folder(dataset_id), ignore_errors=True)


def _folder(dataset_id: int) -> Path:
    return Path(settings.STORE_DIR) / "examples" / str(dataset_id)


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    digest, n_bytes = hashlib.sha256(), 0
    while block := source.read(1 << 20):
        n_bytes += len(block)
        if n_bytes > MAX_BYTES:
            raise Refusal(f"The example is larger than {MAX_BYTES >> 20} MiB.", "Choose a smaller file.")
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


def _make_room(folder: Path) -> None:
    files = [file for file in folder.iterdir() if _SHA256.fullmatch(file.name)]
    for file in sorted(files, key=lambda file: file.stat().st_mtime)[:-MAX_FILES]:
        file.unlink(missing_ok=True)


def _require_single_files(dataset: Dataset) -> None:
    spec = InputSpec.of(dataset)
    if spec.roles and (spec.is_concatenated or not spec.has_parts):
        raise Refusal(
            f"Items of this dataset have several files ({', '.join(spec.roles)}), so one file cannot be compared.",
            "Find one similar item, and press S on it.",
        )
