"""Render small pictures of images once, and cache them under the hash of the original and the rendering."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from labeling.images.open_image import open_for_resizing
from labeling.images.rendering import DEFAULT, Rendering

log = logging.getLogger(__name__)

# The sides in pixels that pages may request, that of a tile first. A picture is never larger than its original.
TILE = 256
THUMBNAIL_SIZES = (TILE, 512)
# The side of the full view of files that browsers cannot show. Browsers fail on much larger pictures.
FULL_SIZE = 8192

CONTENT_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}
_PICTURE = re.compile(r"[0-9a-f]{64}-.*\.(png|jpg)")
_ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9"}
# Up to this side pictures are lossless, because such images are viewed enlarged.
_EXACT_SIDE = 64
# A full view up to this many pixels is lossless as well; beyond, PNG takes seconds.
_EXACT_PIXELS = 4_000_000

# Down to this multiple of its final size a picture is reduced by averaging, which is several times faster without a
# visible difference.
_GAP = 1.5

_SHARDS = 256
# Number of pictures added to a shard between checks of its size.
_LOOK_EVERY = 16
# A picture's time of use is updated once a day: doing so at every request would write as much as is read.
_USED = 24 * 3600.0
# Seconds to wait for another process that renders a picture of the same shard.
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache of pictures: a folder with 256 shards by hash, each with its share of ``megabytes``.

    The least recently used pictures are removed first. A shard is searched when a picture is added to it, so a request
    never searches more than a 256th of the pictures.
    """

    folder: Path
    megabytes: int

    def find(self, sha256: str, size: int, rendering: Rendering = DEFAULT) -> Path | None:
        """Return the picture if it is cached."""
        return self.find_by_key(sha256, size, rendering.key)

    def find_by_key(self, sha256: str, size: int, rendering_key: str) -> Path | None:
        """Return the picture with the rendering of that key if it is cached."""
        for suffix in CONTENT_TYPES:
            place = self._place(sha256, size, suffix, rendering_key)
            try:
                used_at = place.stat().st_mtime
            except OSError:
                continue
            if not _is_whole(place):
                log.warning("%s is damaged. The picture is rendered again.", place)
                place.unlink(missing_ok=True)
                continue
            if time.time() - used_at > _USED:
                with suppress(OSError):  # of another user, or just removed: no reason to fail
                    os.utime(place)
            return place
        return None

    def keep(self, content: bytes, suffix: str, sha256: str, size: int, rendering: Rendering = DEFAULT) -> Path:
        """Write a picture atomically, and make room if its shard is full. Raises OSError."""
        target = self._place(sha256, size, suffix, rendering.key)
        try:
            write_whole(target, content)
        except PermissionError:
            # Windows does not replace a file that is being read; another request has rendered the same picture then.
            if not target.exists():
                raise
        # One in 16 hashes ends in this digit, so no counter is needed.
        if int(sha256[-2:], 16) % _LOOK_EVERY == 0:
            self.make_room(target)
        return target

    def make_room(self, newest: Path) -> None:
        """Remove pictures from the shard of ``newest``, but not that one, until the shard is within its limit."""
        pictures = []
        for entry in os.scandir(newest.parent):
            if entry.name != newest.name and entry.name.endswith(tuple(CONTENT_TYPES)):
                try:
                    status = entry.stat()
                except OSError:  # another process made room in the meantime
                    continue
                pictures.append((status.st_mtime, status.st_size, entry.path))
        over = sum(size for _, size, _ in pictures) - self.megabytes * 2**20 // _SHARDS
        for _, size, path in sorted(pictures):
            if over <= 0:
                return
            try:
                Path(path).unlink(missing_ok=True)
            except PermissionError:  # Windows: a process reads it
                continue
            over -= size

    def forget(self, starts: NDArray[np.uint64], check: Callable[[], None]) -> int:
        """Remove all pictures whose hash starts with one of these 16 digits, as numbers; return the bytes removed.

        ``check`` is called for each shard and may raise what stops the caller.
        """
        n_bytes = 0
        for shard in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            check()
            files = [entry for entry in os.scandir(shard) if _PICTURE.match(entry.name)]
            hashes = np.array([int(entry.name[:16], 16) for entry in files], dtype=np.uint64)
            for number in np.flatnonzero(np.isin(hashes, starts)):
                with suppress(OSError):  # removed meanwhile, or on Windows in use
                    size = files[number].stat().st_size
                    Path(files[number].path).unlink()
                    n_bytes += size
        return n_bytes

    def find_or_make(self, sha256: str, size: int, rendering: Rendering, make: Callable[[], tuple[bytes, str]]) -> Path:
        """Return the picture, rendered and cached if missing, once for all concurrent requests. Raises OSError."""
        if place := self.find(sha256, size, rendering):
            return place
        with self._turn(sha256):
            return self.find(sha256, size, rendering) or self.keep(*make(), sha256, size, rendering)

    @contextmanager
    def _turn(self, sha256: str) -> Iterator[None]:
        """Wait for other processes that render a picture of the same shard, perhaps the same picture."""
        folder = self.folder / sha256[:2]
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "making.lock")
        with suppress(Timeout):  # rendering it twice is better than not at all
            lock.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            lock.release()

    def _place(self, sha256: str, size: int, suffix: str, rendering_key: str) -> Path:
        way = f"-{rendering_key}" if rendering_key else ""
        return self.folder / sha256[:2] / f"{sha256}-{size}{way}{suffix}"


def write_whole(target: Path, content: bytes) -> None:
    """Write a cached file atomically. Readers check it, because waiting for the disk would take too long."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def thumbnail(file: Path, sha256: str, size: int, cache: Cache, rendering: Rendering = DEFAULT) -> Path:
    """Return the picture of ``file`` with its longer side at most ``size`` pixels, from the cache or newly rendered.

    Any number of threads and processes may request the same picture at once: it is rendered once. Raises ImageProblem,
    and OSError if it cannot be written.
    """
    return cache.find_or_make(sha256, size, rendering, lambda: render(file, size, rendering))


def render(file: Path, size: int, rendering: Rendering = DEFAULT) -> tuple[bytes, str]:
    """Return the bytes of the picture and its suffix, ``.png`` or ``.jpg``. Raises ImageProblem."""
    return render_opened(open_for_resizing(file, size, rendering), size)


def render_opened(image: Image.Image, size: int) -> tuple[bytes, str]:
    """Return bytes and suffix of the picture of an image that was opened for that size."""
    image.thumbnail((size, size), Image.Resampling.HAMMING, reducing_gap=_GAP)
    return encoded(image, size)


def encoded(image: Image.Image, size: int) -> tuple[bytes, str]:
    """Return a picture of that size as bytes, with its suffix."""
    buffer = io.BytesIO()
    if _is_kept_exact(image, size):
        image.save(buffer, "PNG", compress_level=1 if size == FULL_SIZE else 6)
        return buffer.getvalue(), ".png"
    if size == FULL_SIZE:
        image.save(buffer, "JPEG", quality=92, subsampling=0)
    else:
        image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), ".jpg"


def _is_kept_exact(image: Image.Image, size: int) -> bool:
    if size == FULL_SIZE:
        return image.width * image.height <= _EXACT_PIXELS
    return max(image.size) <= _EXACT_SIDE


def _is_whole(place: Path) -> bool:
    """Return whether a cached picture is complete; a power failure may have cut it."""
    end = _ENDS[place.suffix]
    try:
        with place.open("rb") as stream:
            stream.seek(-len(end), os.SEEK_END)
            return stream.read() == end
    except OSError:  # shorter than its end
        return False
