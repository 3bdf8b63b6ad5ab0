"""Open an export, a ZIP archive or a folder, and check that its files are those that its manifest lists."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from hoshina.core.errors import Refusal

_CHUNK = 2**20
_MAX_MANIFEST = 64 * 2**20
# Longer lines than those of a path of 1,000 characters and a few names are no lines of an export.
_MAX_LINE = 2**20
# How JSON writes the null character.
NUL = b"\\u0000"
_NO_EXPORT = "Give the archive or the folder of `hoshina export --with-annotations`."


class ExportFiles:
    """Hold the files of an export. Each is checked against the manifest before it is used."""

    def __init__(self, source: Path | zipfile.ZipFile) -> None:
        self._source = source
        try:
            with self.open("manifest.json") as stream:
                manifest: Any = json.loads(stream.read(_MAX_MANIFEST))
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
        """Return a whole file."""
        with self.open(name) as stream:
            return stream.read()

    def objects(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a file of JSON Lines."""
        with self.open(name) as stream:
            for line in stream:
                yield _object(name, line)


def _object(name: str, line: bytes) -> dict[str, Any]:
    # PostgreSQL refuses the null character.
    row = None
    if len(line) <= _MAX_LINE and NUL not in line:
        with suppress(ValueError):
            row = json.loads(line)
    if not isinstance(row, dict):
        raise Refusal(f"{name} has a line that is no JSON object.", "Export the dataset again.")
    return row


@contextmanager
def opened_export(path: Path) -> Iterator[ExportFiles]:
    """Open an archive or a folder. Raises Refusal if it is no export."""
    if path.is_dir():
        yield ExportFiles(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise Refusal("This is neither a ZIP archive nor a folder.", _NO_EXPORT) from error
    with archive:
        yield ExportFiles(archive)
