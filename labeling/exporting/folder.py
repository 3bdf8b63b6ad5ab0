"""Write the files of an export into a folder instead of an archive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from hoshina.core.errors import Refusal
from labeling.exporting.zip_stream import Member, Written


def write_members(members: Iterable[Member], folder: Path, written: dict[str, Written], *, links: bool) -> None:
    """Write the members into ``folder``, and add each listed one to ``written`` when it is complete.

    ``links``: make hard links to image files instead of copies. Raises Refusal if the file system can't.
    """
    for member in members:
        target = folder.joinpath(*PurePosixPath(member.name).parts)
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if links and member.source is not None:
            _link(member.source, target)
            continue
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as stream:
            for chunk in member.chunks:
                stream.write(chunk)
                if member.is_listed:
                    digest.update(chunk)
                    size += len(chunk)
        if member.is_listed:
            written[member.name] = Written(size, digest.hexdigest())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        raise Refusal(
            f"No hard link to {source} could be made in the folder of the export: {error.strerror or error}.",
            "Links need both on one file system. Leave out --link to copy the files.",
        ) from error
