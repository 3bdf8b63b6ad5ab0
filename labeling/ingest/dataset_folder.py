"""Find or create the dataset of a folder."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from django.conf import settings
from django.utils.text import slugify

from hoshina.core.errors import Refusal
from labeling.images.containers import is_archive
from labeling.models import Dataset

log = logging.getLogger(__name__)

NAME_LENGTH = 120
# One slash as well, because paths lose the second.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/\\])", re.IGNORECASE)
_SLUG_LENGTH = 60
# Folders of the store that hold images: uploaded ones, and those of the demo.
UPLOADS, DEMO = "uploads", "demo"


def dataset_for(data_dir: str | os.PathLike[str], name: str | None = None) -> Dataset:
    """Return the dataset of a folder, creating it if necessary.

    Without ``name``, it is the dataset with this root, or a new one named after the folder. With ``name``, it is the
    dataset of that name, or a new one. An existing dataset whose folder no longer exists moves to this folder. Raises
    Refusal if the folder is missing or cannot be read, or ``name`` belongs to another folder that still exists.
    """
    path = Path(os.path.abspath(Path(data_dir).expanduser()))  # noqa: PTH100 - resolves ".." before links
    problem = url_problem(str(data_dir)) or folder_problem(path)
    if problem:
        raise Refusal(problem)
    root = Path(os.path.realpath(path))
    try:
        str(root).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refusal(f"The name of the folder {path!r} is not valid UTF-8. Rename it.") from error
    _refuse_two_folders(root)
    name_given = (name or "").strip()
    if name_given:
        return _named(name_given, root)
    dataset = Dataset.objects.present().filter(root=stored_root(root)).order_by("pk").first()
    if dataset is not None:
        return dataset
    if settings.DATA_DIR is not None and Dataset.objects.present().count() == 1:
        return Dataset.objects.present().get()  # AL_DATA_DIR is where its folder is now
    return create_dataset(_free_name(root), root)


def url_problem(folder: str) -> str:
    """Return why an address such as ``s3://bucket`` is not a folder, and what to do; empty if it is a path."""
    match = _URL.match(folder)
    if match is None:
        return ""
    programs = {"s3": "aws s3 sync", "gs": "gsutil rsync", "gcs": "gsutil rsync", "az": "azcopy", "abfs": "azcopy"}
    program = programs.get(match[1].lower(), "curl, wget or rclone")
    return (
        f"{folder[:200]} is an address, and images are read from folders. Copy them to this machine first (for example "
        f"with {program}), or mount them as a folder (rclone mount), and specify that folder."
    )


def folder_problem(folder: Path) -> str:
    """Return why a folder cannot be read; empty if it can."""
    if not is_allowed(folder):
        roots = ", ".join(str(root) for root in settings.ROOTS)
        return f"Datasets may only lie under {roots} (AL_ROOTS). Choose a folder there."
    try:
        with os.scandir(folder):
            return ""
    except FileNotFoundError:
        return f"The folder {folder} does not exist."
    except NotADirectoryError:
        if is_archive(folder.name):
            return f"{folder} is an archive. Unpack it, or run hoshina ingest --data-dir {folder} --unpack."
        return f"{folder} is a file. Specify the folder that contains the images."
    except PermissionError:
        return f"HOSHINA has no permission to read the folder {folder}."
    except OSError as error:
        return f"The folder {folder} cannot be read ({error.strerror or error})."


def is_allowed(folder: Path) -> bool:
    """Return whether AL_ROOTS allows datasets in a folder, wherever links lead. Images of the store always may be."""
    if not settings.ROOTS:
        return True
    real = Path(os.path.realpath(folder))
    roots = [*settings.ROOTS, settings.STORE_DIR / UPLOADS, settings.STORE_DIR / DEMO]
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)


def stored_root(root: Path) -> str:
    """Return a folder as the database has it: that of uploaded images is relative to the store, which may move."""
    store = Path(os.path.realpath(settings.STORE_DIR))
    return root.relative_to(store).as_posix() if root.is_relative_to(store / UPLOADS) else str(root)


def _refuse_two_folders(root: Path) -> None:
    override = settings.DATA_DIR
    if override is not None and Path(os.path.realpath(override)) != root:
        raise Refusal(
            f"AL_DATA_DIR is {override}, which replaces the folder of every dataset, but the folder is {root}.",
            "Unset AL_DATA_DIR, or specify that folder.",
        )


def _named(name: str, root: Path) -> Dataset:
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise Refusal(f"The name of a dataset must have at most {NAME_LENGTH} printable characters.")
    dataset = Dataset.objects.filter(name=name).first()
    if dataset is None:
        return create_dataset(name, root)
    if dataset.root == stored_root(root) or settings.DATA_DIR is not None:
        return dataset
    if dataset.data_dir.exists():
        raise Refusal(
            f"The dataset {name!r} belongs to the folder {dataset.data_dir}, not to {root}.",
            "Choose another --dataset. If the images were moved, set AL_DATA_DIR to their new folder, "
            "or ingest again after removing the old folder.",
        )
    log.warning("The dataset %r moved from %s, which no longer exists, to %s.", name, dataset.root, root)
    Dataset.objects.filter(pk=dataset.pk).update(root=stored_root(root))
    dataset.root = stored_root(root)
    return dataset


def _free_name(root: Path) -> str:
    """Return the folder's name, with a number appended if another dataset has that name."""
    base = "".join(character for character in root.name if character.isprintable()).strip() or "images"
    base = base[: NAME_LENGTH - 8]
    first = Dataset.objects.filter(name=base).first()
    if first is not None and not first.data_dir.exists():
        log.warning(
            "The folder of the dataset %r, %s, no longer exists. If it moved here, ingest with --dataset %r.",
            base, first.root, base,
        )  # fmt: skip
    return _first_free("name", base, " ")


def create_dataset(name: str, root: Path) -> Dataset:
    """Create a dataset; if its name is taken, with a number after it.

    Callers have checked ``root`` or will write it.
    """
    base = slugify(name)[: _SLUG_LENGTH - 8].strip("-") or "dataset"
    return Dataset.objects.create(
        name=_first_free("name", name, " "), slug=_first_free("slug", base, "-"), root=stored_root(root)
    )


def _first_free(field: str, base: str, joint: str) -> str:
    number, text = 1, base
    while Dataset.objects.filter(**{field: text}).exists():
        number += 1
        text = f"{base}{joint}{number}"
    return text
