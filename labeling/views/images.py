"""How the images of a dataset are shown: the choices, and what they make of some images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from hoshina.http import HtmxHttpRequest
from labeling.decoding import decoders
from labeling.files import inside
from labeling.forms import RenderingForm
from labeling.images import thumbnails
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame
from labeling.showing import show_as
from labeling.views.datasets import remember

SIZE = 256
SAMPLES = 6


@dataclass(frozen=True)
class Sample:
    """An image of the preview: the address of its picture, or the reason why there is none."""

    frame: Frame
    address: str
    reason: str


@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """The choices and a preview; saved, all pictures follow."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    if request.method == "GET":
        form = RenderingForm.showing(dataset.shown_as)
        return render(request, "labeling/images.html", _context(dataset, form, dataset.shown_as))
    form = RenderingForm(request.POST, label_suffix="")
    if not form.is_valid():
        return render(request, "labeling/images.html", _context(dataset, form, None), status=422)
    if show_as(dataset, form.cleaned_data["rendering"], request.user):
        messages.success(request, "Saved. Pictures follow at once, vectors by a job.")
    else:
        messages.info(request, "Nothing changed.")
    return redirect("labeling:images", slug=dataset.slug)


@require_GET
def preview(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Some images under the choices in the address, as a fragment."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = RenderingForm(request.GET, label_suffix="")
    rendering = form.cleaned_data["rendering"] if form.is_valid() else None
    return render(request, "labeling/_images_preview.html", _context(dataset, form, rendering))


@require_GET
def picture(request: HttpRequest, frame_id: int) -> HttpResponse:
    """One image of a preview."""
    frame = get_object_or_404(Frame.objects.select_related("dataset"), pk=frame_id)
    form = RenderingForm(request.GET)
    if not form.is_valid():
        return HttpResponseNotFound("These choices can't be shown.", content_type="text/plain; charset=utf-8")
    content, suffix, reason = _made(frame, form.cleaned_data["rendering"])
    if reason:
        return HttpResponseNotFound(reason, content_type="text/plain; charset=utf-8")
    headers = {"Cache-Control": "private, max-age=300"}
    return HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix], headers=headers)


def _context(dataset: Dataset, form: RenderingForm, rendering: Rendering | None) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "form": form,
        "is_valid": rendering is not None,
        "samples": _samples(dataset, rendering) if rendering is not None else [],
    }


def _samples(dataset: Dataset, rendering: Rendering) -> list[Sample]:
    """Images from all over the folder, as the rendering shows them."""
    step = max(1, dataset.n_items // SAMPLES)
    rows = range(0, dataset.n_items, step)[:SAMPLES]
    frames = Frame.objects.filter(dataset=dataset, item__row__in=rows).order_by("item__row", "id")
    some = {frame.item_id: frame for frame in reversed(frames)}
    query = urlencode(_fields(rendering))
    made = []
    for frame in sorted(some.values(), key=lambda one: one.pk):
        frame.dataset = dataset
        reason = _made(frame, rendering)[2]
        address = f"{reverse('labeling:rendered', args=[frame.pk])}?{query}"
        made.append(Sample(frame, address, reason))
    return made


def _fields(rendering: Rendering) -> dict[str, Any]:
    """The form's fields for an address."""
    fields = RenderingForm.showing(rendering).initial
    # A check box that is not checked is not sent.
    return {name: value for name, value in fields.items() if value is not None and value is not False}


def _made(frame: Frame, rendering: Rendering) -> tuple[bytes, str, str]:
    """The picture, its suffix, and the reason if there is none."""
    file = inside(frame)
    if file is None:
        return b"", "", "This file lies outside of the dataset's folder, so it is not shown."
    return _rendered(file, frame.sha256, rendering)


@lru_cache(maxsize=64)
def _rendered(file: Path, sha256: str, rendering: Rendering) -> tuple[bytes, str, str]:
    """Kept for a moment: the preview asks whether there is one, and the browser for the picture right after."""
    try:
        return *decoders().picture(file, SIZE, rendering), ""
    except ImageProblem as problem:
        return b"", "", problem.reason
