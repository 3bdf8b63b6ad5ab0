"""Which dataset a folder belongs to; made when there is none yet."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from django.conf import settings
from django.utils.text import slugify

from hoshina.jobs.errors import JobError
from labeling.models import Dataset

log = logging.getLogger(__name__)

_NAME_LENGTH = 120
_SLUG_LENGTH = 60


def dataset_for(data_dir: str | os.PathLike[str], name: str | None = None) -> Dataset:
    """The dataset of a folder.

    Without ``name`` it is the one that has this root, or a new one called after the folder. With ``name``
    it is that dataset, or a new one of that name; an existing one whose folder is gone moves to this
    folder.

    Raises
    ------
    JobError
        When the folder is missing or cannot be read, or ``name`` belongs to another folder that is still
        there.
    """
    given = Path(os.path.abspath(Path(data_dir).expanduser()))  # noqa: PTH100 - for ".." in words
    words = folder_problem(given)
    if words:
        raise JobError(words)
    root = Path(os.path.realpath(given))
    try:
        str(root).encode("utf-8")
    except UnicodeEncodeError as error:
        raise JobError(f"The name of the folder {given!r} is not valid UTF-8; rename it.") from error
    _refuse_two_folders(root)
    wanted = (name or "").strip()
    if wanted:
        return _named(wanted, root)
    found = Dataset.objects.filter(root=str(root)).order_by("pk").first()
    if found is not None:
        return found
    if settings.DATA_DIR is not None and Dataset.objects.count() == 1:
        return Dataset.objects.get()  # the variable says where its folder is now
    return _create(_free_name(root), root)


def folder_problem(folder: Path) -> str:
    """Why a folder cannot be read, in words; empty when it can."""
    try:
        with os.scandir(folder):
            return ""
    except FileNotFoundError:
        return f"The folder {folder} does not exist."
    except NotADirectoryError:
        return f"{folder} is a file; give the folder that holds the images."
    except PermissionError:
        return f"There is no permission to read the folder {folder}."
    except OSError as error:
        return f"The folder {folder} cannot be read ({error.strerror or error})."


def _refuse_two_folders(root: Path) -> None:
    override = settings.DATA_DIR
    if override is not None and Path(os.path.realpath(override)) != root:
        raise JobError(
            f"AL_DATA_DIR is {override}, which stands for the folder of every dataset, but {root} was given.",
            "Unset AL_DATA_DIR, or give that folder.",
        )


def _named(name: str, root: Path) -> Dataset:
    if len(name) > _NAME_LENGTH or not name.isprintable():
        raise JobError(f"A dataset's name has at most {_NAME_LENGTH} characters, all of them printable.")
    dataset = Dataset.objects.filter(name=name).first()
    if dataset is None:
        return _create(name, root)
    if dataset.root == str(root) or settings.DATA_DIR is not None:
        return dataset
    if Path(dataset.root).exists():
        raise JobError(
            f"The dataset {name!r} belongs to the folder {dataset.root}, not to {root}.",
            "Give another --dataset. If the images were moved, set AL_DATA_DIR to where they are now, "
            "or ingest again once the old folder is gone.",
        )
    log.warning("The dataset %r moved from %s, which is gone, to %s.", name, dataset.root, root)
    Dataset.objects.filter(pk=dataset.pk).update(root=str(root))
    dataset.root = str(root)
    return dataset


def _free_name(root: Path) -> str:
    """The folder's name, with a number where another folder's dataset has that name."""
    base = "".join(character for character in root.name if character.isprintable()).strip() or "images"
    base = base[: _NAME_LENGTH - 8]
    first = Dataset.objects.filter(name=base).first()
    if first is not None and not Path(first.root).exists():
        log.warning(
            "There is a dataset %r whose folder %s is gone. If it moved here, ingest with --dataset %r.",
            base, first.root, base,
        )  # fmt: skip
    return _first_free("name", base, " ")


def _create(name: str, root: Path) -> Dataset:
    base = slugify(name)[: _SLUG_LENGTH - 8].strip("-") or "dataset"
    return Dataset.objects.create(name=name, slug=_first_free("slug", base, "-"), root=str(root))


def _first_free(field: str, base: str, joint: str) -> str:
    number, text = 1, base
    while Dataset.objects.filter(**{field: text}).exists():
        number += 1
        text = f"{base}{joint}{number}"
    return text
