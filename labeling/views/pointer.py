"""Serve what the pointer and the scale bar need: sky coordinates, pixel values and the size of a pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from labeling.display.frame_file import inside, is_current
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.models import Frame
from labeling.views.media import not_found

# The values of larger images are not sent (4 bytes per pixel).
MAX_VALUES = 1_000_000


@require_GET
def sky(request: HttpRequest, frame_id: int) -> HttpResponse:
    """Return a grid of directions (labeling.images.sky_coordinates) as JSON; null if the file has none."""

    def build(frame: Frame, file: Path) -> HttpResponse:
        return JsonResponse(decoders().sky(file, frame.dataset.shown_as), safe=False)

    return _answer(request, frame_id, build)


@require_GET
def scale(request: HttpRequest, frame_id: int) -> HttpResponse:
    """Return the size of a pixel (labeling.images.pixel_scale) as JSON; null if the file does not give it."""

    def build(frame: Frame, file: Path) -> HttpResponse:
        return JsonResponse(decoders().scale(file, frame.dataset.shown_as), safe=False)

    return _answer(request, frame_id, build)


@require_GET
def values(request: HttpRequest, frame_id: int) -> HttpResponse:
    """Return the pixel values, rows from the top, float32, little-endian; nothing for images that are too large."""

    def build(frame: Frame, file: Path) -> HttpResponse:
        is_small = frame.width * frame.height <= MAX_VALUES
        content = decoders().values(file, frame.dataset.shown_as) if is_small else b""
        return HttpResponse(content, content_type="application/octet-stream")

    return _answer(request, frame_id, build)


def _answer(request: HttpRequest, frame_id: int, build: Callable[[Frame, Path], HttpResponse]) -> HttpResponse:
    frame = get_object_or_404(Frame.objects.select_related("dataset"), pk=frame_id)
    try:
        file = inside(frame)
        is_versioned = is_current(frame, file) and request.GET.get("v") == frame.version(frame.dataset.shown_as)
        response = build(frame, file)
    except OSError as error:
        return not_found(f"The file cannot be read ({error.strerror or error}).")
    except ImageProblem as problem:
        return not_found(problem.reason)
    response["Cache-Control"] = "private, max-age=31536000, immutable" if is_versioned else "no-store"
    return response
