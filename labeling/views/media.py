"""Serve pictures of items: thumbnails and full views, only of files inside the dataset's folder.

Each picture has one URL and one code path: ``/api/thumb/{item_id}`` and ``/api/file/{item_id}``, with ``?frame=ROLE``
for one file of an item that has several and ``?color=1`` for the color image made of its bands.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotFound,
    HttpResponseNotModified,
    HttpResponsePermanentRedirect,
)
from django.urls import reverse
from django.views.decorators.http import require_safe

from hoshina.core.errors import Refusal
from labeling.display.frame_file import inside, is_current
from labeling.display.item_frames import ItemFrames, item_frames
from labeling.images import thumbnails
from labeling.images.decoder_pool import decoders, pictures
from labeling.images.problems import ImageProblem
from labeling.images.rendering import STRETCHES, Rendering
from labeling.models import Frame

_CONTENT_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp", "GIF": "image/gif",
}  # fmt: skip
# The disk or this user's quota is full.
_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@require_safe
def thumb(request: HttpRequest, item_id: int) -> HttpResponseBase:
    """Return a small picture of an item, its longer side at most ``size`` (256 or 512) pixels."""
    size = request.GET.get("size", str(thumbnails.TILE))
    if size not in map(str, thumbnails.THUMBNAIL_SIZES):
        sizes = " and ".join(map(str, thumbnails.THUMBNAIL_SIZES))
        return not_found(f"Thumbnails come in {sizes} pixels.")
    return _answer(request, item_id, int(size))


@require_safe
def file(request: HttpRequest, item_id: int) -> HttpResponseBase:
    """Return the full view: the file itself if browsers show it exactly as the model sees it, else a picture of it."""
    return _answer(request, item_id, thumbnails.FULL_SIZE)


@require_safe
def frame_thumbnail(request: HttpRequest, frame_id: int, size: int) -> HttpResponseBase:
    """Redirect from the former URL of a file's thumbnail."""
    return _frame_moved(request, frame_id, size)


@require_safe
def frame_full(request: HttpRequest, frame_id: int) -> HttpResponseBase:
    """Redirect from the former URL of a file's full view."""
    return _frame_moved(request, frame_id, 0)


@require_safe
def item_colors(request: HttpRequest, item_id: int, size: int) -> HttpResponseBase:
    """Redirect from the former URL of an item's color image; ``size`` 0 is the full view."""
    return _moved(request, item_id, size, color="1")


def _frame_moved(request: HttpRequest, frame_id: int, size: int) -> HttpResponseBase:
    frame = Frame.objects.filter(pk=frame_id).only("item_id", "role").first()
    return _moved(request, frame.item_id, size, frame=frame.role) if frame else not_found("There is no such image.")


def _moved(request: HttpRequest, item_id: int, size: int, **options: str) -> HttpResponseBase:
    query = request.GET.copy()
    for name, value in (options | ({"size": str(size)} if size else {})).items():
        query[name] = value
    address = reverse("labeling:thumb" if size else "labeling:file", args=[item_id])
    return HttpResponsePermanentRedirect(f"{address}?{query.urlencode()}")


@dataclass(frozen=True)
class _Picture:
    """A picture of an item: what it depends on, and how it is rendered.

    ``respond(size)`` returns it, and whether its files are as they were ingested. Raises OSError and ImageProblem.
    """

    content_hash: str
    version: str
    rendering: Rendering
    respond: Callable[[int], tuple[HttpResponseBase, bool]]


def _answer(request: HttpRequest, item_id: int, size: int) -> HttpResponseBase:
    try:
        picture = _picture_of(request, item_id)
    except Refusal as refusal:
        return not_found(str(refusal))
    key = picture.rendering.key
    etag = f'"{picture.content_hash}-{size}{key and "-"}{key}"'
    if etag in request.headers.get("If-None-Match", ""):
        return _cached(request, HttpResponseNotModified(), picture, etag)
    try:
        response, is_same = picture.respond(size)
    except FileNotFoundError:
        return not_found("The file of this image is missing.")
    except OSError as error:
        return not_found(f"The file of this image cannot be read ({error.strerror or error}).")
    except ImageProblem as problem:
        return not_found(problem.reason)
    if is_same:
        return _cached(request, response, picture, etag)
    response["Cache-Control"] = "no-store"
    return response


def _picture_of(request: HttpRequest, item_id: int) -> _Picture:
    """Return the picture of the URL; by default the one that the item's tile shows."""
    frames = list(Frame.objects.filter(item_id=item_id).select_related("dataset").order_by("id"))
    if not frames:
        raise Refusal("There is no such image.")
    role = request.GET.get("frame")
    item = item_frames(frames[0].dataset, frames)
    wants_colors = request.GET.get("color") == "1"
    if wants_colors or (role is None and item is not None and frames[0].dataset.composed_as.is_color):
        if item is not None and item.bands:
            return _color_picture(item)
        if wants_colors:
            raise Refusal("This item has no bands for a color image.")
    if role is None:
        frame = item.first if item is not None else frames[0]
        return _frame_picture(frame, _rendering_of(request, frame))
    by_role = {frame.role: frame for frame in frames}
    if role in by_role:
        return _frame_picture(by_role[role], _rendering_of(request, by_role[role]))
    names = [name for name in frames[0].dataset.roles if name in by_role] or list(by_role)
    raise Refusal(f"This item has no frame {role!r}. It has {', '.join(names)}.")


def _rendering_of(request: HttpRequest, frame: Frame) -> Rendering:
    """Return the dataset's rendering, with another stretch if the URL has one (``s``)."""
    rendering = frame.dataset.shown_as
    stretch = request.GET.get("s")
    if stretch is None:
        return rendering
    if stretch not in STRETCHES:
        raise Refusal(f"A stretch is one of {', '.join(STRETCHES)}.")
    return rendering.stretched(stretch)


# -- The picture of one file ------------------------------------------------------------------------------
def _frame_picture(frame: Frame, rendering: Rendering) -> _Picture:
    version = frame.version(frame.dataset.shown_as)
    return _Picture(frame.picture_hash, version, rendering, partial(_frame_response, frame, rendering))


def _frame_response(frame: Frame, rendering: Rendering, size: int) -> tuple[HttpResponseBase, bool]:
    file = inside(frame)
    is_same = is_current(frame, file)
    original = _original(frame, file, rendering, is_same) if size == thumbnails.FULL_SIZE else None
    return original or _rendered(frame, file, rendering, size, is_same), is_same


def _original(frame: Frame, file: Path, rendering: Rendering, is_same: bool) -> HttpResponseBase | None:
    """Return the file itself, streamed, if browsers show it exactly."""
    if is_same:
        format_ = _cached_format(file, frame.picture_hash, rendering)
    else:
        format_ = decoders().format_for_browsers(file, rendering)
    content_type = _CONTENT_TYPES.get(format_)
    if content_type is None:
        return None
    name = "".join(character if character.isprintable() else "_" for character in file.name)
    return FileResponse(file.open("rb"), content_type=content_type, filename=name)


def _rendered(frame: Frame, file: Path, rendering: Rendering, size: int, is_same: bool) -> HttpResponse:
    """Return a picture from the cache, or render it for this request only if the file changed since the ingest."""

    def cached() -> Path:
        cache, sha256 = pictures(), frame.picture_hash
        return cache.find(sha256, size, rendering) or decoders().thumbnail(file, sha256, size, cache, rendering)

    return _response(cached if is_same else None, lambda: decoders().picture(file, size, rendering))


# -- The color image of an item's bands -------------------------------------------------------------------
def _color_picture(item: ItemFrames) -> _Picture:
    # A temporary stretch does not apply, because color images have their own curve.
    rendering = item.dataset.shown_as
    return _Picture(item.colour_hash, item.colour_version, rendering, partial(_color_response, item, rendering))


def _color_response(item: ItemFrames, rendering: Rendering, size: int) -> tuple[HttpResponseBase, bool]:
    files = {role: inside(frame) for role, frame in item.bands.items()}
    unchanged = [is_current(frame, files[role]) for role, frame in item.bands.items()]

    def compose() -> tuple[bytes, str]:
        return decoders().colour(files, item.dataset.roles, item.composition, size, rendering)

    def cached() -> Path:
        return pictures().find_or_make(item.colour_hash, size, rendering, compose)

    return _response(cached if all(unchanged) else None, compose), all(unchanged)


# -- Responses ----------------------------------------------------------------------------------------------
@lru_cache(maxsize=10_000)
def _cached_format(file: Path, sha256: str, rendering: Rendering) -> str:
    """Return the format to send the file as, or "". Cached by content, because PNG files have to be unpacked."""
    return decoders().format_for_browsers(file, rendering)


def _response(cached: Callable[[], Path] | None, make: Callable[[], tuple[bytes, str]]) -> HttpResponse:
    """Return a picture from the cache, or render it for this request only if it cannot be cached."""
    try:
        place = cached() if cached else None
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = None
    content, suffix = (place.read_bytes(), place.suffix) if place else make()
    return HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix])


def _cached(request: HttpRequest, response: HttpResponseBase, picture: _Picture, etag: str) -> HttpResponseBase:
    """Let the browser cache the picture: forever if the URL names this version, else with revalidation."""
    is_versioned = request.GET.get("v") == picture.version
    response["Cache-Control"] = f"private, {'max-age=31536000, immutable' if is_versioned else 'no-cache'}"
    response["ETag"] = etag
    return response


def not_found(message: str) -> HttpResponse:
    """Return a 404 in plain text that no browser caches."""
    return HttpResponseNotFound(
        message, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
    )
