"""Read and write backup archives: ZIP files whose manifest holds the SHA-256 of every other member."""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from hoshina.core import schema
from hoshina.core.errors import Refusal
from hoshina.core.storage import replacing

FORMAT = 1
_MANIFEST = "manifest.json"
_BLOCK = 2**20
# What zipfile raises for damaged files; NotImplementedError for a compression that it does not know.
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError)


class Member(msgspec.Struct, frozen=True):
    """Describe a file of an archive; ``size`` in bytes before compression."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """Describe the contents of an archive.

    Attributes
    ----------
    format : grows when older versions can no longer read the archive.
    version : of HOSHINA.
    kind : "full" or "labels".
    database : "sqlite" or "postgresql".
    schema : the applied migrations, as pairs of app and name.
    counts : of datasets, items and decisions.
    members : by name; those of the store begin with ``store/``.
    tables : of a PostgreSQL database: the columns of each table, in the order of its member.
    """

    format: int
    version: str
    created_at: str
    kind: str
    database: str
    schema: list[tuple[str, str]]
    counts: dict[str, int]
    members: dict[str, Member]
    tables: dict[str, list[str]] = {}


# -- Writing --------------------------------------------------------------------------------------
class Writer:
    """Add members to an archive that is being written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.members: dict[str, Member] = {}

    def add(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Add a member from pieces of its content."""
        digest, size = hashlib.sha256(), 0
        with self._archive.open(_info(name), "w", force_zip64=True) as stream:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                stream.write(piece)
        self.members[name] = Member(digest.hexdigest(), size)

    def add_file(self, name: str, file: Path) -> None:
        """Add a member from a file."""
        with file.open("rb") as stream:
            self.add(name, iter(lambda: stream.read(_BLOCK), b""))

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest, which completes the archive."""
        self._archive.writestr(_info(_MANIFEST), msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info._compresslevel = 1  # type: ignore[attr-defined]  # more takes several times as long and saves little
    info.external_attr = 0o600 << 16
    return info


@contextmanager
def writing_archive(target: Path) -> Iterator[Writer]:
    """Yield a writer whose archive becomes ``target`` if the block succeeds; readable only by its owner."""
    with replacing(target) as stream:
        Path(stream.name).chmod(0o600)  # it holds password hashes
        with zipfile.ZipFile(stream, "w") as archive:
            yield Writer(archive)


# -- Reading --------------------------------------------------------------------------------------
class Archive:
    """Read an archive whose manifest and names were checked."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self.manifest = self._read_manifest()
        _refuse_newer(path, self.manifest)
        self._check_names()

    def _read_manifest(self) -> Manifest:
        try:
            content = self._archive.read(_MANIFEST)
        except KeyError as error:
            raise Refusal(f"{self.path} is not a backup of HOSHINA: it has no {_MANIFEST}.") from error
        try:
            return msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            raise damaged(self.path, f"{_MANIFEST}: {error}") from error

    def _check_names(self) -> None:
        names = [info.filename for info in self._archive.infolist()]
        if sorted(names) != sorted([*self.manifest.members, _MANIFEST]):
            raise damaged(self.path, "its files are not those that it lists")
        for info in self._archive.infolist():
            if not _is_safe(info.filename) or stat.S_ISLNK(info.external_attr >> 16) or info.is_dir():
                raise Refusal(f"{self.path} holds the file {info.filename!r}, which no backup has.", "Don't use it.")

    @property
    def size(self) -> int:
        """Return the size of all members in bytes."""
        return sum(member.size for member in self.manifest.members.values())

    def verify(self) -> None:
        """Raise Refusal unless every member has its recorded size and hash."""
        for name in self.manifest.members:
            for _ in self.read(name):
                pass

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member in pieces. Raises Refusal at its end if it is not the recorded content."""
        member, digest, size = self.manifest.members[name], hashlib.sha256(), 0
        try:
            with self._archive.open(name) as stream:
                while piece := stream.read(_BLOCK):
                    digest.update(piece)
                    size += len(piece)
                    if size > member.size:
                        break
                    yield piece
        except _DAMAGES as error:
            raise damaged(self.path, f"{name}: {error}") from error
        if (digest.hexdigest(), size) != (member.sha256, member.size):
            raise damaged(self.path, f"the content of {name} has another SHA-256")

    def extract(self, name: str, target: Path) -> None:
        """Write a member to a new file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            for piece in self.read(name):
                stream.write(piece)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive of this version or an older one. Raises Refusal for any other file."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise Refusal(f"There is no file {path}.") from error
    except _DAMAGES as error:
        raise damaged(path, str(error)) from error
    with archive:
        yield Archive(path, archive)


def damaged(path: Path, reason: str) -> Refusal:
    """Return the refusal of a damaged archive."""
    return Refusal(f"{path} is damaged: {reason}.", "Use another backup.")


def _refuse_newer(path: Path, manifest: Manifest) -> None:
    if manifest.format > FORMAT or schema.later_than_this(manifest.schema):
        raise Refusal(f"{path} was made by HOSHINA {manifest.version}, which is newer.", "Update HOSHINA first.")


def _is_safe(name: str) -> bool:
    """Return whether a name stays inside the folder that it is extracted to, on every system."""
    return (
        bool(re.fullmatch(r"[^\\:\x00-\x1f]+", name))
        and not name.startswith("/")
        and not ({"..", "."} & set(PurePosixPath(name).parts) or "//" in name)
    )
