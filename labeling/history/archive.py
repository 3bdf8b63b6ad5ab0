"""Open an export, a ZIP archive or a folder, and check that its files are those that its manifest lists."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from hoshina.core.errors import Refusal

CSV = "annotations.csv"
_CHUNK = 2**20
# The largest file that is read as a whole: a manifest or the classes.
_MAX_WHOLE = 64 * 2**20
# Longer lines than those of a path of 1,000 characters and a few names are no lines of an export.
_MAX_LINE = 2**20
# How JSON writes the null character.
NUL = b"\\u0000"
_NO_EXPORT = "Give the archive or the folder of `hoshina export --with-annotations`."
# The record at the end of a ZIP archive, which a comment may follow, and where its list of members has its size. The
# list of an archive that someone sends is read up to that size; each member takes several times as much memory.
_END, _END_BYTES, _MOST_COMMENT, _SIZE_AT = b"PK\x05\x06", 22, 2**16, 12
_LONG_END, _LONG_END_BYTES = b"PK\x06\x07", 20
_MOST_LISTED = 16 * 2**20


class ExportFiles:
    """Hold the files of an export. Each is checked against the manifest before it is used."""

    def __init__(self, source: Path | zipfile.ZipFile) -> None:
        self._source = source
        try:
            with self.open("manifest.json") as stream:
                manifest: Any = json.loads(stream.read(_MAX_WHOLE))
        except (KeyError, FileNotFoundError, ValueError) as error:
            raise Refusal("This is no export: it has no manifest.json.", _NO_EXPORT) from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise Refusal("This is no export: its manifest.json lists no files.", _NO_EXPORT)
        self.manifest: dict[str, Any] = manifest

    @property
    def is_escaped(self) -> bool:
        """Return whether its tables have apostrophes before formulas."""
        options = self.manifest.get("options")
        return bool(isinstance(options, dict) and options.get("escape_formulas"))

    def has(self, name: str) -> bool:
        """Return whether the manifest lists a file."""
        return name in self.manifest["files"]

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file of the export."""
        if isinstance(self._source, Path):
            with (self._source / name).open("rb") as stream:
                yield stream
        else:
            with self._source.open(name) as member:
                yield cast(BinaryIO, member)

    def check(self, name: str) -> None:
        """Raise Refusal if the file is missing, or is not the one that the manifest lists."""
        listed = self.manifest["files"].get(name)
        if not isinstance(listed, dict):
            raise Refusal(f"The export has no {name}.", "Export the dataset again with --with-annotations.")
        digest = hashlib.sha256()
        try:
            with self.open(name) as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise Refusal(f"{name} is missing from the export or damaged.", "Export the dataset again.") from error
        if digest.hexdigest() != listed.get("sha256"):
            hint = "A record is imported as it was exported, or not at all: export the dataset again."
            raise Refusal(f"{name} was changed after the export.", hint)

    def read(self, name: str) -> bytes:
        """Return a whole file. Raises Refusal if it is larger than any of an export."""
        with self.open(name) as stream:
            content = stream.read(_MAX_WHOLE + 1)
        if len(content) > _MAX_WHOLE:
            raise Refusal(f"{name} has more than {_MAX_WHOLE >> 20} MiB.", "Export the dataset again.")
        return content

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a file with their ends. Raises Refusal if one is longer than any of an export."""
        with self.open(name) as stream, io.BufferedReader(cast(Any, stream)) as buffered:
            while line := buffered.readline(_MAX_LINE):
                if len(line) == _MAX_LINE:
                    raise Refusal(f"{name} has a line of more than {_MAX_LINE:,} bytes.", "Export the dataset again.")
                yield line

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a file of JSON Lines."""
        for line in self.lines(name):
            yield _object(name, line)


def _object(name: str, line: bytes) -> dict[str, Any]:
    # PostgreSQL refuses the null character.
    row = None
    if NUL not in line:
        with suppress(ValueError):
            row = json.loads(line)
    if not isinstance(row, dict):
        raise Refusal(f"{name} has a line that is no JSON object.", "Export the dataset again.")
    return row


@contextmanager
def opened_export(source: Path | BinaryIO) -> Iterator[ExportFiles]:
    """Open an archive or a folder. Raises Refusal if it is no export."""
    if isinstance(source, Path) and source.is_dir():
        yield ExportFiles(source)
        return
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise Refusal("This is neither a ZIP archive nor a folder.", _NO_EXPORT) from error
    with archive:
        yield ExportFiles(archive)


def is_record(stream: BinaryIO) -> bool:
    """Return whether a file that someone sent is the archive of an export with its record."""
    try:
        if not 0 < _listed_bytes(stream) <= _MOST_LISTED:
            return False
        with zipfile.ZipFile(stream) as archive:
            return {"manifest.json", CSV} <= archive.NameToInfo.keys()
    except zipfile.BadZipFile:
        return False
    finally:
        stream.seek(0)


def _listed_bytes(stream: BinaryIO) -> int:
    """Return the size of the list of members of a ZIP archive, 0 if it is none or one with 64-bit sizes."""
    n_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, n_bytes - _END_BYTES - _MOST_COMMENT - _LONG_END_BYTES))
    tail = stream.read()
    place = tail.rfind(_END, 0, len(tail) - _END_BYTES + len(_END))
    if place < 0 or tail[max(0, place - _LONG_END_BYTES) :].startswith(_LONG_END):
        return 0
    (size,) = struct.unpack_from("<I", tail, place + _SIZE_AT)
    return int(size)
