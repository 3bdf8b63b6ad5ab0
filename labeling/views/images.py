"""Choose how the images of a dataset are displayed, with a preview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from labeling.display.frame_file import inside
from labeling.display.item_frames import item_frames
from labeling.display.settings import compose_as, show_as
from labeling.display.stretch_limits import measured_limits
from labeling.forms import CompositionForm, RenderingForm
from labeling.images import thumbnails
from labeling.images.composite import Composition
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame
from labeling.views.datasets import remember

SIZE = 256
SAMPLES = 6
_OUTSIDE = "This file is outside of the dataset's folder, so it is not shown."


@dataclass(frozen=True)
class Sample:
    """An image of the preview: its URL, or the reason why there is none."""

    frame: Frame | None
    url: str
    reason: str
    title: str


@dataclass(frozen=True)
class Group:
    """The samples of one item, and its path."""

    path: str
    samples: list[Sample]


@dataclass(frozen=True)
class Choices:
    """The choices in a request's forms; ``composing`` is None where each file is an item."""

    showing: RenderingForm
    composing: CompositionForm | None

    @classmethod
    def of(cls, dataset: Dataset) -> Choices:
        """Return the current choices of a dataset."""
        composing = CompositionForm.showing(dataset.composed_as, dataset.roles) if dataset.roles else None
        return cls(RenderingForm.showing(dataset.shown_as), composing)

    @classmethod
    def made(cls, dataset: Dataset, given: QueryDict) -> Choices:
        """Return the choices that a person submitted."""
        composing = CompositionForm(given, roles=dataset.roles) if dataset.roles else None
        return cls(RenderingForm(given, label_suffix=""), composing)

    @property
    def forms(self) -> list[Form]:
        return [form for form in (self.composing, self.showing) if form is not None]

    @property
    def is_valid(self) -> bool:
        return all(form.is_valid() for form in self.forms)

    @property
    def rendering(self) -> Rendering:
        rendering: Rendering = self.showing.cleaned_data["rendering"]
        return rendering

    @property
    def composition(self) -> Composition:
        return self.composing.cleaned_data["composition"] if self.composing else Composition()


@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the choices and a preview; save them, after which all pictures follow."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    if request.method == "GET":
        context = _context(dataset, Choices.of(dataset), dataset.shown_as, dataset.composed_as)
        return render(request, "labeling/display/page.html", context)
    choices = Choices.made(dataset, request.POST)
    if not choices.is_valid:
        return render(request, "labeling/display/page.html", _context(dataset, choices), status=422)
    # Both, so no `or`: each is saved by itself.
    changed = [show_as(dataset, choices.rendering, request.user), _composed(dataset, choices)]
    if any(changed):
        messages.success(
            request, "Saved. Images change at once. If models see something else, a job recomputes the embeddings."
        )
    else:
        messages.info(request, "Nothing changed.")
    return redirect("labeling:images", slug=dataset.slug)


def _composed(dataset: Dataset, choices: Choices) -> bool:
    return choices.composing is not None and compose_as(dataset, choices.composition)


@require_GET
def preview(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render some images under the choices in the address, as a fragment."""
    dataset = get_object_or_404(Dataset, slug=slug)
    choices = Choices.made(dataset, request.GET)
    ways = (choices.rendering, choices.composition) if choices.is_valid else ()
    return render(request, "labeling/display/_preview.html", _context(dataset, choices, *ways))


@require_GET
def limits(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the fields of the stretch limits with values that suit all images under the choices in the address."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = RenderingForm(request.GET, label_suffix="")
    context: dict[str, Any] = {"dataset": dataset, "form": form}
    try:
        if not form.is_valid():
            raise Refusal("Another setting is invalid. Correct it first.")
        low, high = measured_limits(dataset, form.cleaned_data["rendering"])
    except Refusal as why:
        return render(request, "labeling/display/_stretch_limits.html", context | {"problem": str(why)})
    filled = request.GET.copy()
    filled["low"], filled["high"] = f"{low:.6g}", f"{high:.6g}"
    context["form"] = RenderingForm(filled, label_suffix="")
    response = render(request, "labeling/display/_stretch_limits.html", context)
    response["HX-Trigger-After-Swap"] = "hoshina:measured"
    return response


@require_GET
def picture(request: HttpRequest, frame_id: int) -> HttpResponse:
    """Serve an image of a preview."""
    frame = get_object_or_404(Frame.objects.select_related("dataset"), pk=frame_id)
    form = RenderingForm(request.GET)
    if not form.is_valid():
        return _refused("These settings are invalid. Correct them first.")
    return _answer(*_made(frame, form.cleaned_data["rendering"]))


@require_GET
def colour(request: HttpRequest, item_id: int) -> HttpResponse:
    """Serve a color image of a preview."""
    frames = list(Frame.objects.filter(item_id=item_id).select_related("dataset"))
    if not frames or not frames[0].dataset.roles:
        return _refused("This item has no bands for a color image.")
    dataset = frames[0].dataset
    choices = Choices.made(dataset, request.GET)
    if not choices.is_valid:
        return _refused("These settings are invalid. Correct them first.")
    return _answer(*_coloured(dataset, frames, choices.rendering, choices.composition))


def _refused(words: str) -> HttpResponse:
    return HttpResponseNotFound(words, content_type="text/plain; charset=utf-8")


def _answer(content: bytes, suffix: str, reason: str) -> HttpResponse:
    if reason:
        return _refused(reason)
    headers = {"Cache-Control": "private, max-age=300"}
    return HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix], headers=headers)


def _context(
    dataset: Dataset, choices: Choices, rendering: Rendering | None = None, composition: Composition | None = None
) -> dict[str, Any]:
    is_valid = rendering is not None and composition is not None
    return {
        "dataset": dataset,
        "form": choices.showing,
        "composing": choices.composing,
        "forms": choices.forms,
        "is_valid": is_valid,
        "groups": _samples(dataset, rendering, composition)
        if rendering is not None and composition is not None
        else [],
    }


def _samples(dataset: Dataset, rendering: Rendering, composition: Composition) -> list[Group]:
    """Return images of items from all over the folder, as the choices show them."""
    step = max(1, dataset.n_items // SAMPLES)
    rows = range(0, dataset.n_items, step)[:SAMPLES]
    by_item: dict[int, list[Frame]] = {}
    for frame in (
        Frame.objects.filter(dataset=dataset, item__row__in=rows).select_related("item").order_by("item__row", "id")
    ):
        frame.dataset = dataset
        by_item.setdefault(frame.item_id, []).append(frame)
    query = _fields(rendering)
    if dataset.roles and composition.is_color:
        query |= _present(CompositionForm.showing(composition, dataset.roles).initial)
        return [
            Group(frames[0].item.path, [_colour_sample(dataset, frames, rendering, composition, query)])
            for frames in by_item.values()
        ]
    made = []
    for frames in by_item.values():
        seen = item_frames(dataset, frames)
        if seen is None:
            made.append(Group(frames[0].path, [_sample(frames[0], rendering, query, frames[0].path)]))
            continue
        parts = [
            _sample(part.frame, rendering, query, part.role)
            if part.frame
            else Sample(None, "", f"no {part.role}", part.role)
            for part in seen.parts
        ]
        made.append(Group(frames[0].item.path, parts))
    return made


def _sample(frame: Frame, rendering: Rendering, query: Mapping[str, Any], words: str) -> Sample:
    address = f"{reverse('labeling:rendered', args=[frame.pk])}?{urlencode(query)}"
    return Sample(frame, address, _made(frame, rendering)[2], words)


def _colour_sample(
    dataset: Dataset, frames: list[Frame], rendering: Rendering, composition: Composition, query: Mapping[str, Any]
) -> Sample:
    address = f"{reverse('labeling:rendered_colour', args=[frames[0].item_id])}?{urlencode(query)}"
    return Sample(frames[0], address, _coloured(dataset, frames, rendering, composition)[2], frames[0].item.path)


def _fields(rendering: Rendering) -> dict[str, Any]:
    """Return the form's fields for an address."""
    return _present(RenderingForm.showing(rendering).initial)


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    # A check box that is not checked is not sent.
    return {name: value for name, value in fields.items() if value is not None and value is not False}


def _made(frame: Frame, rendering: Rendering) -> tuple[bytes, str, str]:
    """Return the picture, its suffix, and the reason if there is none."""
    file = inside(frame)
    if file is None:
        return b"", "", _OUTSIDE
    return _rendered(file, frame.picture_hash, rendering)


def _coloured(
    dataset: Dataset, frames: list[Frame], rendering: Rendering, composition: Composition
) -> tuple[bytes, str, str]:
    """Return the color image of an item's bands, its suffix, and the reason if there is none."""
    seen = item_frames(dataset, frames)
    assert seen is not None
    wanted = composition.bands_of(dataset.roles)
    files: list[tuple[str, Path, str]] = []
    for part in seen.parts:
        if part.frame is None or part.role not in wanted:
            continue
        file = inside(part.frame)
        if file is None:
            return b"", "", _OUTSIDE
        files.append((part.role, file, part.frame.picture_hash))
    return _composite(tuple(files), tuple(dataset.roles), rendering, composition)


@lru_cache(maxsize=64)
def _rendered(file: Path, sha256: str, rendering: Rendering) -> tuple[bytes, str, str]:
    """Render a picture and cache it: the preview checks that there is one, and the browser then asks for it."""
    try:
        return *decoders().picture(file, SIZE, rendering), ""
    except ImageProblem as problem:
        return b"", "", problem.reason


@lru_cache(maxsize=32)
def _composite(
    files: tuple[tuple[str, Path, str], ...], roles: tuple[str, ...], rendering: Rendering, composition: Composition
) -> tuple[bytes, str, str]:
    try:
        by_role = {role: file for role, file, _ in files}
        return *decoders().colour(by_role, roles, composition, SIZE, rendering), ""
    except ImageProblem as problem:
        return b"", "", problem.reason
