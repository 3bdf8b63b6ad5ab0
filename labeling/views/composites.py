"""The colour images that are made of an item's frames: small and full, kept like all other pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.views.decorators.http import require_safe

from labeling.framing import Together, together
from labeling.images import thumbnails
from labeling.images.lupton import composite
from labeling.images.problems import ImageProblem
from labeling.models import Frame
from labeling.views.media import inside, not_found


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
        content, suffix, is_current = _made(shown, size or thumbnails.FULL_SIZE)
    except FileNotFoundError:
        return not_found("The file of a band is missing.")
    except OSError as error:
        return not_found(f"The file of a band cannot be read ({error.strerror or error}).")
    except ImageProblem as problem:
        return not_found(problem.reason)
    response = HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix])
    if is_current:
        return _kept(request, response, shown, etag)
    response["Cache-Control"] = "no-store"
    return response


def _made(shown: Together, size: int) -> tuple[bytes, str, bool]:
    """The picture, its suffix, and whether it is of the files as they were ingested: only then it is kept."""
    files: dict[str, Path] = {}
    is_current = True
    for role, frame in shown.bands.items():
        file = inside(frame)
        if file is None:
            raise ImageProblem("A band lies outside of the dataset's folder, so it is not shown.")
        status = file.stat()
        is_current &= (status.st_size, status.st_mtime_ns) == (frame.size, frame.mtime_ns)
        files[role] = file
    dataset, rendering = shown.dataset, shown.dataset.shown_as
    folder = Path(settings.STORE_DIR) / "thumbnails"
    made = thumbnails.cached(shown.colour_hash, size, folder, rendering) if is_current else None
    if made is None:
        composition = replace(dataset.composed_as, layout="rgb")
        image = composite(files, dataset.roles, composition, rendering, size)
        content, suffix = thumbnails.encoded(image, size)
        if not is_current:
            return content, suffix, False
        made = thumbnails.keep(content, suffix, shown.colour_hash, size, folder, rendering)
    return made.read_bytes(), made.suffix, True


def _kept(request: HttpRequest, response: HttpResponse, shown: Together, etag: str) -> HttpResponse:
    """Kept by the browser as other pictures are: for ever under an address that names its version."""
    is_versioned = request.GET.get("v") == shown.colour_version
    response["Cache-Control"] = f"private, {'max-age=31536000, immutable' if is_versioned else 'no-cache'}"
    response["ETag"] = etag
    return response
