"""The colour images that are made of an item's frames: small and full, kept like all other pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.views.decorators.http import require_safe

from labeling.decoding import decoders, pictures
from labeling.files import inside, is_current
from labeling.framing import Together, together
from labeling.images import thumbnails
from labeling.images.problems import ImageProblem
from labeling.models import Frame
from labeling.views.media import not_found


@require_safe
def colour(request: HttpRequest, item_id: int, size: int) -> HttpResponse:
    """The colour image of an item, its longer side at most ``size``: a thumbnail's, or 0 for all there is."""
    if size not in (0, *thumbnails.THUMBNAIL_SIZES):
        return not_found("There is no colour image of that size.")
    frames = list(Frame.objects.filter(item_id=item_id).select_related("dataset").order_by("id"))
    shown = together(frames[0].dataset, frames) if frames else None
    if shown is None or not shown.bands:
        return not_found("This item has no bands for a colour image.")
    rendering = shown.dataset.shown_as
    etag = f'"{shown.colour_hash}-{size}{rendering.key and "-"}{rendering.key}"'
    if etag in request.headers.get("If-None-Match", ""):
        return _kept(request, HttpResponseNotModified(), shown, etag)
    try:
        content, suffix, is_same = _made(shown, size or thumbnails.FULL_SIZE)
    except FileNotFoundError:
        return not_found("The file of a band is missing.")
    except OSError as error:
        return not_found(f"The file of a band cannot be read ({error.strerror or error}).")
    except ImageProblem as problem:
        return not_found(problem.reason)
    response = HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix])
    if is_same:
        return _kept(request, response, shown, etag)
    response["Cache-Control"] = "no-store"
    return response


def _made(shown: Together, size: int) -> tuple[bytes, str, bool]:
    """The picture, its suffix, and whether it is of the files as they were ingested: only then it is kept."""
    files: dict[str, Path] = {}
    is_same = True
    for role, frame in shown.bands.items():
        file = inside(frame)
        if file is None:
            raise ImageProblem("A band lies outside of the dataset's folder, so it is not shown.")
        is_same &= is_current(frame, file)
        files[role] = file
    if not is_same:
        return *_composed(shown, files, size), False
    cache, rendering = pictures(), shown.dataset.shown_as
    place = cache.find(shown.colour_hash, size, rendering)
    if place is None:
        with cache.turn(shown.colour_hash):
            place = cache.find(shown.colour_hash, size, rendering) or cache.keep(
                *_composed(shown, files, size), shown.colour_hash, size, rendering
            )
    return place.read_bytes(), place.suffix, True


def _composed(shown: Together, files: Mapping[str, Path], size: int) -> tuple[bytes, str]:
    dataset = shown.dataset
    return decoders().colour(files, dataset.roles, shown.composition, size, dataset.shown_as)


def _kept(request: HttpRequest, response: HttpResponse, shown: Together, etag: str) -> HttpResponse:
    """Kept by the browser as other pictures are: for ever under an address that names its version."""
    is_versioned = request.GET.get("v") == shown.colour_version
    response["Cache-Control"] = f"private, {'max-age=31536000, immutable' if is_versioned else 'no-cache'}"
    response["ETag"] = etag
    return response
