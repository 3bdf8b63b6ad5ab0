"""Keep an uploaded file of labels between its preview and its import, for one person and dataset."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from uuid import uuid4

import msgspec
from django.conf import settings
from django.core import signing

from hoshina.core.errors import Refusal
from hoshina.core.storage import remove, writing
from labeling.models import Dataset

SECONDS = 24 * 3600
_FOLDER = "imports"
_SALT = "hoshina.import"
_NAME = re.compile(r"[0-9a-f]{32}")
_MOST_NAME = 100
_BLOCK = 2**20


class _Claim(msgspec.Struct):
    """Tell what a token says."""

    file: str
    name: str
    user: int | None
    dataset: int


@dataclass(frozen=True)
class Upload:
    """Represent a kept file: its path in the store, and the name that it had."""

    path: Path
    name: str

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file. Raises Refusal if it was removed."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            raise _gone() from None
        with stream:
            yield stream


def keep(chunks: Iterable[bytes], name: str, *, user_pk: int | None, dataset: Dataset) -> str:
    """Save an uploaded file, and return the token by which this person finds it for a day. Raises StoreError."""
    file = uuid4().hex
    with writing(_folder() / file) as stream:
        for chunk in chunks:
            stream.write(chunk)
    short = PurePosixPath(name.replace("\\", "/")).name[-_MOST_NAME:]
    claim = _Claim(file, short, user_pk, dataset.pk)
    return signing.dumps(msgspec.to_builtins(claim), salt=_SALT)


def find(token: str, *, user_pk: int | None, dataset: Dataset) -> Upload:
    """Return the file of a token. Raises Refusal if the token is not valid for this person and dataset."""
    try:
        claim = msgspec.convert(signing.loads(token, salt=_SALT, max_age=SECONDS), _Claim)
    except (signing.BadSignature, msgspec.ValidationError):
        raise _gone() from None
    path = _folder() / claim.file
    is_theirs = (claim.user, claim.dataset) == (user_pk, dataset.pk)
    if not is_theirs or not _NAME.fullmatch(claim.file) or not path.is_file():
        raise _gone()
    return Upload(path, claim.name)


def claimed(upload: Upload) -> Path:
    """Return a copy of a file for a job, which deletes it. Raises Refusal and StoreError."""
    copy = _folder() / uuid4().hex
    with upload.opened() as source, writing(copy) as stream:
        while block := source.read(_BLOCK):
            stream.write(block)
    return copy


def forget(upload: Upload) -> None:
    """Delete a file that was imported."""
    remove(upload.path)


def forget_old() -> None:
    """Delete files whose tokens have expired."""
    oldest = time.time() - SECONDS
    for path in _folder().glob("*"):
        try:
            if os.stat(path).st_mtime < oldest:  # noqa: PTH116 - one system call
                remove(path)
        except FileNotFoundError:  # another worker was faster
            continue


def _folder() -> Path:
    return Path(settings.STORE_DIR) / _FOLDER


def _gone() -> Refusal:
    return Refusal("The uploaded file is no longer here: it was imported, or is older than a day.", "Choose it again.")
