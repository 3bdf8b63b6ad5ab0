"""Save images that a browser sends into a folder of the store, which becomes a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify

from hoshina.core.errors import Refusal
from hoshina.core.storage import replacing
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.ingest.dataset_folder import NAME_LENGTH, UPLOADS, dataset_for
from labeling.models import Dataset

# What some system cannot have in a file name.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_MOST_BYTES = 150

Upload: TypeAlias = "UploadedFile[Any]"


def new_uploads(name: str) -> Dataset:
    """Create a dataset whose images will be uploaded. Raises Refusal."""
    name = " ".join(name.split()) or "Uploaded images"
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise Refusal(f"The name of a dataset must have at most {NAME_LENGTH} printable characters.")
    if Dataset.objects.filter(name__iexact=name).exists():
        raise Refusal(f"There is already a dataset “{name}”. Choose another name.")
    return dataset_for(_new_folder(slugify(name)[:40] or "images"), name)


def _new_folder(base: str) -> Path:
    number, folder = 1, settings.STORE_DIR / UPLOADS / base
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
            folder = settings.STORE_DIR / UPLOADS / f"{base}-{number}"


def is_uploaded(dataset: Dataset) -> bool:
    """Return whether the images of the dataset were uploaded into the store."""
    return dataset.root.startswith(f"{UPLOADS}/")


def sort_out(files: Iterable[Upload]) -> tuple[list[Upload], list[str]]:
    """Return the files that are images by their names, and a sentence about each other one."""
    images, problems = list[Upload](), list[str]()
    for file in files:
        name = safe_name(file.name or "")
        if name.lower().endswith(DEFAULT_EXTENSIONS):
            images.append(file)
        else:
            problems.append(f"{name or 'A file without a name'} is not an image in a format that HOSHINA reads.")
    return images, problems


def save_images(dataset: Dataset, images: Iterable[Upload]) -> int:
    """Save images in the dataset's folder. Return how many were saved. Raises Refusal and OSError.

    A file of the same name and content is saved once; one with other content gets a number.
    """
    if not is_uploaded(dataset):
        raise Refusal(
            f"The images of {dataset.name} are in a folder of their own.", "Copy more images there and press Rescan."
        )
    return sum(_save(dataset.data_dir, safe_name(image.name or ""), image) for image in images)


def safe_name(name: str) -> str:
    """Return a file name that every system can store, without folders; "" if nothing is left of it."""
    name = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(" .")
    if _RESERVED.match(name):
        name = f"_{name}"
    stem, extension = _split(name)
    most = _MOST_BYTES - len(extension.encode())
    return stem.encode()[:most].decode(errors="ignore") + extension


def _split(name: str) -> tuple[str, str]:
    """Return a file name without its extension, and the extension, which may have two dots: ``.fits.gz``."""
    lengths = [len(extension) for extension in DEFAULT_EXTENSIONS if name.lower().endswith(extension)]
    length = max(lengths, default=len(Path(name).suffix))
    return name[: len(name) - length], name[len(name) - length :]


def _save(folder: Path, name: str, file: Upload) -> bool:
    (stem, extension), target, number = _split(name), folder / name, 1
    while target.exists():
        if _has_content(target, file):
            return False
        number += 1
        target = folder / f"{stem}-{number}{extension}"
    with replacing(target) as stream:
        for chunk in file.chunks():
            stream.write(chunk)
    return True


def _has_content(target: Path, file: Upload) -> bool:
    """Return whether a saved file has the content of an upload, without reading large files into memory."""
    if target.stat().st_size != file.size:
        return False
    with target.open("rb") as stream:
        return all(stream.read(len(chunk)) == chunk for chunk in file.chunks())
