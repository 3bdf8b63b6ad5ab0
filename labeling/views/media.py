"""Pictures: thumbnails and full views, only ever of files inside of a dataset's folder."""

from __future__ import annotations

import errno
from functools import lru_cache
from pathlib import Path

from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotFound,
    HttpResponseNotModified,
)
from django.views.decorators.http import require_safe

from labeling.decoding import decoders, pictures
from labeling.files import inside, is_current
from labeling.images import thumbnails
from labeling.images.problems import ImageProblem
from labeling.images.rendering import STRETCHES, Rendering
from labeling.models import Frame

_CONTENT_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp", "GIF": "image/gif",
}  # fmt: skip
# The disk is full, or this user's share of it.
_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@require_safe
def thumbnail(request: HttpRequest, frame_id: int, size: int) -> HttpResponseBase:
    """A small picture; its longer side is one of THUMBNAIL_SIZES, or the original's if that is smaller."""
    if size not in thumbnails.THUMBNAIL_SIZES:
        sizes = " and ".join(map(str, thumbnails.THUMBNAIL_SIZES))
        return not_found(f"Thumbnails come in {sizes} pixels.")
    return _answer(request, frame_id, size)


@require_safe
def full(request: HttpRequest, frame_id: int) -> HttpResponseBase:
    """The image itself where browsers can show it as the model sees it, else a picture of its full size."""
    return _answer(request, frame_id, thumbnails.FULL_SIZE)


def _answer(request: HttpRequest, frame_id: int, size: int) -> HttpResponseBase:
    frame = Frame.objects.select_related("dataset").filter(pk=frame_id).first()
    if frame is None:
        return not_found("There is no such image.")
    rendering = frame.dataset.shown_as
    if (stretch := request.GET.get("s")) is not None:
        if stretch not in STRETCHES:
            return not_found(f"A stretch is one of {', '.join(STRETCHES)}.")
        rendering = rendering.stretched(stretch)
    etag = f'"{frame.sha256}-{size}{rendering.key and "-"}{rendering.key}"'
    if etag in request.headers.get("If-None-Match", ""):
        return _cached(request, HttpResponseNotModified(), frame, etag)
    file = inside(frame)
    if file is None:
        return not_found("This file lies outside of the dataset's folder, so it is not shown.")
    try:
        is_same = is_current(frame, file)
        response = _original(frame, file, size, rendering, is_same) or _picture(frame, file, size, rendering, is_same)
    except FileNotFoundError:
        return not_found("The file of this image is missing.")
    except OSError as error:
        return not_found(f"The file of this image cannot be read ({error.strerror or error}).")
    except ImageProblem as problem:
        return not_found(problem.reason)
    if is_same:
        return _cached(request, response, frame, etag)
    response["Cache-Control"] = "no-store"
    return response


def _original(frame: Frame, file: Path, size: int, rendering: Rendering, is_same: bool) -> HttpResponseBase | None:
    """For a full view: the file itself, streamed, where browsers show it as all else here does."""
    if size != thumbnails.FULL_SIZE:
        return None
    told = _known_format(file, frame.sha256, rendering) if is_same else decoders().format_for_browsers(file, rendering)
    content_type = _CONTENT_TYPES.get(told)
    if content_type is None:
        return None
    name = "".join(character if character.isprintable() else "_" for character in file.name)
    return FileResponse(file.open("rb"), content_type=content_type, filename=name)


@lru_cache(maxsize=10_000)
def _known_format(file: Path, sha256: str, rendering: Rendering) -> str:
    """Asked for once for each content: of a PNG file all pixels are unpacked to know it."""
    return decoders().format_for_browsers(file, rendering)


def _picture(frame: Frame, file: Path, size: int, rendering: Rendering, is_same: bool) -> HttpResponse:
    """A picture from the cache. Of a file that changed since the ingest, or where the disk is full, one made for this
    request alone."""
    made = _kept(frame, file, size, rendering) if is_same else None
    if made is not None:
        content, suffix = made.read_bytes(), made.suffix
    else:
        content, suffix = decoders().picture(file, size, rendering)
    return HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix])


def _kept(frame: Frame, file: Path, size: int, rendering: Rendering) -> Path | None:
    cache = pictures()
    try:
        return cache.find(frame.sha256, size, rendering) or decoders().thumbnail(
            file, frame.sha256, size, cache, rendering
        )
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return None


def _cached(request: HttpRequest, response: HttpResponseBase, frame: Frame, etag: str) -> HttpResponseBase:
    """Kept by the browser: for ever under an address that names this content and way, else asked for each time."""
    is_versioned = request.GET.get("v") == frame.version(frame.dataset.shown_as)
    response["Cache-Control"] = f"private, {'max-age=31536000, immutable' if is_versioned else 'no-cache'}"
    response["ETag"] = etag
    return response


def not_found(words: str) -> HttpResponse:
    return HttpResponseNotFound(words, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})
