"""Choose how the images of a dataset are displayed, with a preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from labeling.display.applicable import not_applicable
from labeling.display.frame_file import inside
from labeling.display.item_frames import item_frames
from labeling.display.settings import compose_as, measured_limits, show_as
from labeling.forms import CompositionForm, RenderingForm
from labeling.images import thumbnails
from labeling.images.composite import Composition
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.models import Dataset, Frame
from labeling.views.datasets import remember
from labeling.views.media import not_found

SIZE = 256
SAMPLES = 6
_INVALID = "These settings are invalid. Correct them first."
# The bytes of a picture and its suffix.
_Picture = tuple[bytes, str]


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
    """The forms of a request, with the chosen rendering and composition, None if a form is invalid.

    ``composing`` is None if each file is an item.
    """

    showing: RenderingForm
    composing: CompositionForm | None
    chosen: tuple[Rendering, Composition] | None

    @classmethod
    def of(cls, dataset: Dataset) -> Choices:
        """Return the current choices of a dataset."""
        composing = CompositionForm.showing(dataset.composed_as, dataset.roles) if dataset.roles else None
        return cls(RenderingForm.showing(dataset.shown_as), composing, (dataset.shown_as, dataset.composed_as))

    @classmethod
    def made(cls, dataset: Dataset, data: QueryDict) -> Choices:
        """Return the submitted choices."""
        showing = RenderingForm(data, label_suffix="")
        composing = CompositionForm(data, roles=dataset.roles) if dataset.roles else None
        if not showing.is_valid() or (composing and not composing.is_valid()):
            return cls(showing, composing, None)
        composition = composing.cleaned_data["composition"] if composing else Composition()
        return cls(showing, composing, (showing.cleaned_data["rendering"], composition))

    @property
    def forms(self) -> list[Form]:
        return [form for form in (self.composing, self.showing) if form is not None]


@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the display settings with a preview, or save them."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    if request.method == "GET":
        return _page(request, dataset, Choices.of(dataset))
    choices = Choices.made(dataset, request.POST)
    if choices.chosen is None:
        return _page(request, dataset, choices, status=422)
    rendering, composition = choices.chosen
    # No `or`, because both have to be saved.
    changed = [show_as(dataset, rendering, request.user), bool(dataset.roles) and compose_as(dataset, composition)]
    if any(changed):
        messages.success(request, "Saved. If the images of the models change too, a job recomputes the embeddings.")
    else:
        messages.info(request, "Nothing changed.")
    return redirect("labeling:images", slug=dataset.slug)


def _page(request: HtmxHttpRequest, dataset: Dataset, choices: Choices, status: int = 200) -> HttpResponse:
    """Render the page; options that apply to none of the files are folded away unless one of them is set."""
    folded = not_applicable(dataset)
    changed = set(dataset.shown_as.as_params())
    is_open = bool(changed & folded) or any(name in choices.showing.errors for name in folded)
    context = {"folded": folded, "is_folded_open": is_open, **_context(dataset, choices)}
    return render(request, "labeling/display/page.html", context, status=status)


@require_GET
def preview(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render some images with the settings in the URL, as a fragment."""
    dataset = get_object_or_404(Dataset, slug=slug)
    return render(request, "labeling/display/_preview.html", _context(dataset, Choices.made(dataset, request.GET)))


@require_GET
def limits(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the fields of the stretch limits with values that suit all images under the settings in the URL."""
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
        return not_found(_INVALID)
    return _answer(partial(_picture, frame, form.cleaned_data["rendering"]))


@require_GET
def colour(request: HttpRequest, item_id: int) -> HttpResponse:
    """Serve a color image of a preview."""
    frames = list(Frame.objects.filter(item_id=item_id).select_related("dataset"))
    if not frames or not frames[0].dataset.roles:
        return not_found("This item has no bands for a color image.")
    dataset = frames[0].dataset
    choices = Choices.made(dataset, request.GET)
    if choices.chosen is None:
        return not_found(_INVALID)
    return _answer(partial(_color_picture, dataset, frames, *choices.chosen))


def _answer(make: Callable[[], _Picture]) -> HttpResponse:
    try:
        content, suffix = make()
    except ImageProblem as problem:
        return not_found(problem.reason)
    headers = {"Cache-Control": "private, max-age=300"}
    return HttpResponse(content, content_type=thumbnails.CONTENT_TYPES[suffix], headers=headers)


def _context(dataset: Dataset, choices: Choices) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "form": choices.showing,
        "composing": choices.composing,
        "forms": choices.forms,
        "is_valid": choices.chosen is not None,
        "groups": _samples(dataset, *choices.chosen) if choices.chosen else [],
    }


def _samples(dataset: Dataset, rendering: Rendering, composition: Composition) -> list[Group]:
    """Return images of items spread over the folder, rendered with the settings."""
    step = max(1, dataset.n_items // SAMPLES)
    rows = range(0, dataset.n_items, step)[:SAMPLES]
    by_item: dict[int, list[Frame]] = {}
    stored = Frame.objects.filter(item__dataset=dataset, item__row__in=rows).select_related("item")
    for frame in stored.order_by("item__row", "id"):
        frame.dataset = dataset
        by_item.setdefault(frame.item_id, []).append(frame)
    if dataset.roles and composition.is_color:
        query = _fields(rendering) | _present(CompositionForm.showing(composition, dataset.roles).initial)
        return [_color_group(dataset, frames, rendering, composition, query) for frames in by_item.values()]
    return [_group(dataset, frames, rendering) for frames in by_item.values()]


def _group(dataset: Dataset, frames: list[Frame], rendering: Rendering) -> Group:
    item = item_frames(dataset, frames)
    if item is None:
        return Group(frames[0].path, [_sample(frames[0], rendering, frames[0].path)])
    samples = [
        _sample(part.frame, rendering, part.role) if part.frame else Sample(None, "", f"no {part.role}", part.role)
        for part in item.parts
    ]
    return Group(frames[0].item.path, samples)


def _sample(frame: Frame, rendering: Rendering, title: str) -> Sample:
    address = f"{reverse('labeling:rendered', args=[frame.pk])}?{urlencode(_fields(rendering))}"
    return Sample(frame, address, _reason(partial(_picture, frame, rendering)), title)


def _color_group(
    dataset: Dataset, frames: list[Frame], rendering: Rendering, composition: Composition, query: Mapping[str, Any]
) -> Group:
    path = frames[0].item.path
    address = f"{reverse('labeling:rendered_colour', args=[frames[0].item_id])}?{urlencode(query)}"
    reason = _reason(partial(_color_picture, dataset, frames, rendering, composition))
    return Group(path, [Sample(frames[0], address, reason, path)])


def _reason(make: Callable[[], _Picture]) -> str:
    """Return why there is no picture; "" if there is one, which the browser then requests."""
    try:
        make()
    except ImageProblem as problem:
        return problem.reason
    return ""


def _fields(rendering: Rendering) -> dict[str, Any]:
    """Return the form's fields for a URL."""
    return _present(RenderingForm.showing(rendering).initial)


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    # A check box that is not checked is not sent.
    return {name: value for name, value in fields.items() if value is not None and value is not False}


def _picture(frame: Frame, rendering: Rendering) -> _Picture:
    return _rendered(inside(frame), frame.picture_hash, rendering)


def _color_picture(dataset: Dataset, frames: list[Frame], rendering: Rendering, composition: Composition) -> _Picture:
    """Return the color image of an item's bands."""
    item = item_frames(dataset, frames)
    assert item is not None
    wanted = composition.bands_of(dataset.roles)
    bands = [part.frame for part in item.parts if part.frame is not None and part.role in wanted]
    files = tuple((frame.role, inside(frame), frame.picture_hash) for frame in bands)
    return _composite(files, tuple(dataset.roles), rendering, composition)


@lru_cache(maxsize=64)
def _rendered(file: Path, sha256: str, rendering: Rendering) -> _Picture:
    """Render a picture and cache it: the preview checks that it exists, and the browser then requests it."""
    return decoders().picture(file, SIZE, rendering)


@lru_cache(maxsize=32)
def _composite(
    files: tuple[tuple[str, Path, str], ...], roles: tuple[str, ...], rendering: Rendering, composition: Composition
) -> _Picture:
    by_role = {role: file for role, file, _ in files}
    return decoders().colour(by_role, roles, composition, SIZE, rendering)
