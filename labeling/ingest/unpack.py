"""Unpack a ZIP or TAR archive of images into a folder of the store, all or nothing."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

from django.conf import settings
from django.utils.text import slugify

from hoshina.core.errors import Refusal
from hoshina.core.storage import require_space
from labeling.images.containers import ARCHIVES, is_archive
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.ingest.dataset_folder import UPLOADS
from labeling.ingest.image_uploads import safe_name

MAX_FILES = 2_000_000
# Images hardly get smaller by packing. Far more unpacked than packed bytes are a trap, above a size that harms.
MAX_RATIO = 100
_HARMLESS = 256 * 2**20
MAX_BYTES = 2 * 2**40
_MOST_DEPTH = 30
_BLOCK = 2**20


@dataclass
class Unpacked:
    """Hold the folder with the images, their number, and the names that were left out, as counts by reason."""

    folder: Path
    n_images: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_file: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path) -> Unpacked:
    """Unpack the images of an archive into a new folder of the store.

    Paths keep their folders. Absolute paths, paths with ``..``, links, devices and other files than images are left
    out. Raises Refusal if the file is not an archive, has too many or too large files, unpacks to far more than its
    size, or has no image. Nothing is left in the store then.
    """
    if not is_archive(archive.name):
        raise Refusal(f"{archive} is not an archive.", f"Archives end in {', '.join(ARCHIVES)}.")
    uploads = Path(settings.STORE_DIR) / UPLOADS
    draft = uploads / f".unpacking-{uuid4().hex[:12]}"
    result = Unpacked(draft)
    try:
        draft.mkdir(parents=True)
        with _members(archive) as members:
            _write(archive, members, result)
        if not result.n_images:
            raise Refusal(f"There are no images in {archive}.", "Choose another archive.")
        result.folder = _put_in_place(draft, uploads, archive.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError is what zipfile raises for encrypted members.
        raise Refusal(
            f"{archive} cannot be unpacked ({error}).", "Download it again, or unpack it yourself."
        ) from error
    except OSError as error:
        raise Refusal(f"{archive} cannot be unpacked ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return result


def _put_in_place(draft: Path, uploads: Path, name: str) -> Path:
    ending = next(extension for extension in ARCHIVES if name.lower().endswith(extension))
    base = slugify(name[: -len(ending)])[:40] or "images"
    number, folder = 1, uploads / base
    while folder.exists():
        number += 1
        folder = uploads / f"{base}-{number}"
    draft.rename(folder)
    return folder


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as unzipped:
            yield (_of_zip(unzipped, member) for member in unzipped.infolist())
        return
    with tarfile.open(archive) as untarred:
        yield (_of_tar(untarred, member) for member in untarred)


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Member:
    kind = member.external_attr >> 28
    return _Member(
        member.filename, member.file_size, kind in (0, 8) and not member.is_dir(), lambda: archive.open(member)
    )


def _of_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> _Member:
    return _Member(member.name, member.size, member.isreg(), lambda: archive.extractfile(member))


def _write(archive: Path, members: Iterator[_Member], result: Unpacked) -> None:
    packed, total = archive.stat().st_size, 0
    for number, member in enumerate(members):
        if number >= MAX_FILES:
            raise Refusal(f"{archive} has more than {MAX_FILES:,} files.", "Unpack it yourself, in parts.")
        reason = _reason_to_skip(member)
        if reason:
            result.left_out[reason] = result.left_out.get(reason, 0) + 1
            continue
        total += member.size
        _check_size(archive, packed, total)
        require_space(result.folder, member.size + _HARMLESS)
        target = result.folder.joinpath(*map(safe_name, PurePosixPath(member.name.replace("\\", "/")).parts))
        if target.exists():
            result.left_out["repeated names"] = result.left_out.get("repeated names", 0) + 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(archive, member, target)
        result.n_images += 1


def _check_size(archive: Path, packed: int, total: int) -> None:
    if total > MAX_BYTES or total > max(_HARMLESS, packed * MAX_RATIO):
        raise Refusal(
            f"{archive} unpacks to {total / 1e9:.1f} GB or more from {packed / 1e9:.3f} GB, which is not like images.",
            "If it is what you expect, unpack it yourself.",
        )


def _reason_to_skip(member: _Member) -> str:
    """Return why a member is left out; empty if it is an image with a safe path."""
    name = member.name.replace("\\", "/")
    path = PurePosixPath(name)
    if name.endswith("/"):
        return "folders"
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        return "unsafe paths"
    if not member.is_file:
        return "links, folders and devices"
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    if is_hidden or not name.lower().endswith(DEFAULT_EXTENSIONS):
        return "other files"
    return "too many folders within each other" if len(path.parts) > _MOST_DEPTH else ""


def _copy(archive: Path, member: _Member, target: Path) -> None:
    """Write a member, no more than the size that the archive states for it."""
    source = member.open()
    if source is None:
        raise Refusal(f"{archive} cannot be unpacked: {member.name[:100]} has no content.")
    left = member.size
    with source, target.open("xb") as stream:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise Refusal(f"{archive} is damaged: {member.name[:100]} is larger than stated.", "Download it again.")
            stream.write(block)
