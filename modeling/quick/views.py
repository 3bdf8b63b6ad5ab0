"""Show quick training: the dialog with the form, the live curves and the outcome; serve its files."""

from __future__ import annotations

import io
from dataclasses import asdict
from itertools import chain
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import numpy as np
from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers
from django_htmx.http import trigger_client_event
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.parsing import parse_options
from hoshina.core.plural import counted
from hoshina.core.roles import Role, requires
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from hoshina.jobs.runner import seconds_left
from hoshina.jobs.views import span, waiting_reason
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.models import Dataset, Frame, State
from modeling.backends.quick import augmentation
from modeling.encoders import choice as encoder_choice
from modeling.models import ModelVersion
from modeling.quick.data import facts_of, usual_options
from modeling.quick.form import QuickForm
from modeling.quick.options import AUGMENTATIONS, BACKBONES, QuickOptions, remarks
from modeling.quick.pipeline import make_encoder
from modeling.versions.model_files import quick_files
from modeling.versions.plots import epochs_plots

# The sheet of samples: number of images, of augmented copies of each, and size of a tile in pixels.
IMAGES, TIMES, TILE = 6, 3, 72
NUMBERS = ("epochs", "batch_size", "image_side", "validation_share", "early_stopping")


@require_http_methods(["GET", "POST"])
@never_cache
def quick_page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the form or the running training, in the dialog or on a page of its own; a POST starts a training."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method == "POST":
        return _begin(request, dataset)
    job = Job.objects.filter(kind="quick_train", dataset_id=dataset.pk).order_by("-created_at").first()
    if job is not None and (job.is_active or "last" in request.GET):
        return _answer(request, dataset, _running(dataset, job))
    return _answer(request, dataset, _asking(dataset, _form(dataset), job))


@require_GET
@never_cache
def live(request: HtmxHttpRequest, slug: str, pk: UUID) -> HttpResponse:
    """Show one training: its curves while it runs, and how it ended. Status 286 ends the polling."""
    dataset = get_object_or_404(Dataset, slug=slug)
    job = get_object_or_404(Job, pk=pk, kind="quick_train", dataset_id=dataset.pk)
    context = {"dataset": dataset, **_running(dataset, job)}
    return render(request, "modeling/quick/_live.html", context, status=200 if job.is_active else 286)


@require_GET
@never_cache
def check(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show what the current options mean; requested when one changes."""
    dataset = get_object_or_404(Dataset, slug=slug)
    context = {"dataset": dataset, **_checked(_form(dataset, request.GET.dict()))}
    return render(request, "modeling/quick/_check.html", context)


@require_GET
def samples(request: HttpRequest, slug: str) -> HttpResponse:
    """Serve a sheet of some of the dataset's images: unchanged, and below augmented as in training."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = _form(dataset, request.GET.dict())
    options = form.cleaned_data.get("options") if form.is_valid() else None
    images = _some_images(dataset)
    if options is None or not images:
        return HttpResponse(status=204)
    plain = augmentation.samples(images, QuickOptions(image_side=options.image_side), len(images))
    augmented = augmentation.samples(images, options, TIMES * len(images))
    stream = io.BytesIO()
    _sheet(np.concatenate([plain, augmented]), len(images)).save(stream, "PNG")
    return HttpResponse(stream.getvalue(), content_type="image/png", headers={"Cache-Control": "private, max-age=600"})


@require_POST
def finish(request: HtmxHttpRequest, slug: str, pk: UUID) -> HttpResponse:
    """Make a version of the best weights that were saved by a training that ended early."""
    dataset = get_object_or_404(Dataset, slug=slug)
    stopped = get_object_or_404(Job, pk=pk, kind="quick_train", dataset_id=dataset.pk, result__has_key="kept")
    return _start(request, dataset, {"finish": str(stopped.pk)})


@require_POST
def embed_with(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """Make the network of a quick training the dataset's encoder."""
    version = _version(slug, number)
    try:
        encoder_choice.use(version.dataset, make_encoder(version), request.user)
    except Refusal as problem:
        messages.error(request, str(problem))
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return trigger_client_event(HttpResponse(status=204), "hoshina:job")


@requires(Role.MANAGER)
@require_GET
def model_file(request: HttpRequest, slug: str, number: int, name: str) -> HttpResponseBase:
    """Serve one of the files of a quick training."""
    version = _version(slug, number)
    file = next((file for file in quick_files(version) if file.name == name), None)
    if file is None:
        raise Http404("This version has no such file.")
    return FileResponse(file.open("rb"), as_attachment=True, filename=f"{slug}-model-{number}-{name}")


# -- Starting ---------------------------------------------------------------------------------------
def _begin(request: HtmxHttpRequest, dataset: Dataset) -> HttpResponse:
    form = _form(dataset, request.POST.dict())
    if form.is_valid():
        form.refuse_missing_weights()
    if not form.is_valid():
        return _answer(request, dataset, _asking(dataset, form, None), status=422)
    options: QuickOptions = form.cleaned_data["options"]
    return _start(request, dataset, asdict(options))


def _start(request: HtmxHttpRequest, dataset: Dataset, params: dict[str, Any]) -> HttpResponse:
    """Queue a training, unless one is already running, and show it."""
    job = enqueue("quick_train", dataset_id=dataset.pk, params=params, user=request.user)
    return trigger_client_event(_answer(request, dataset, _running(dataset, job)), "hoshina:job")


@vary_on_headers("HX-Request")
def _answer(request: HtmxHttpRequest, dataset: Dataset, context: dict[str, Any], status: int = 200) -> HttpResponse:
    name = "modeling/quick/_dialog.html" if request.htmx else "modeling/quick/page.html"
    return render(request, name, {"dataset": dataset, **context}, status=status)


def _form(dataset: Dataset, data: dict[str, str] | None = None) -> QuickForm:
    return QuickForm(facts_of(dataset), usual_options(dataset), data)


def _asking(dataset: Dataset, form: QuickForm, last: Job | None) -> dict[str, Any]:
    networks = [
        {
            "name": name,
            "title": backbone.title,
            "summary": backbone.summary,
            "origin": augmentation.origin_of(name, settings.WEIGHTS_DIR),
            "is_chosen": name == form["backbone"].value(),
        }
        for name, backbone in BACKBONES.items()
    ]
    return {
        "form": form,
        "networks": networks,
        "numbers": [form[name] for name in NUMBERS],
        "augmentations": [form[name] for name in AUGMENTATIONS],
        "more": [form[name] for name in ("weights", "class_weights", "seed")],
        "last": _running(dataset, last) if last is not None else {},
        **_checked(form),
    }


def _checked(form: QuickForm) -> dict[str, Any]:
    """Return the remarks about a form, and the sizes of the training, validation and test sets."""
    data = form.data if form.is_bound else {name: form[name].value() for name in form.fields}
    bound = form if form.is_bound else QuickForm(form.facts, QuickOptions(), data)
    if not bound.is_valid():
        return {"check": bound, "remarks": []}
    options: QuickOptions = bound.cleaned_data["options"]
    n_held_out = int(options.validation_share * form.facts.n_labelled)
    return {
        "check": bound,
        "remarks": remarks(options, form.facts),
        "n_train": form.facts.n_labelled - n_held_out,
        "n_stopping": n_held_out - n_held_out // 2,
        "n_test": n_held_out // 2,
        "samples_query": urlencode(data) if options.is_augmented else "",
    }


# -- Running and finished trainings -------------------------------------------------------------------
def _running(dataset: Dataset, job: Job) -> dict[str, Any]:
    result = job.result
    version = ModelVersion.objects.filter(dataset=dataset, pk=result.get("version")).first()
    left = seconds_left(job) if job.state == Job.State.RUNNING else None
    return {
        "job": job,
        "result": result,
        "options": _summary(job),
        "version": version,
        "curves": epochs_plots(result.get("epochs") or [], "quick", int(job.params.get("epochs") or 1)),
        "percent": min(100, 100 * job.done // job.total) if job.total else None,
        "left": "" if left is None else f"{span(left)} left",
        "waiting": waiting_reason(job) if job.state == Job.State.QUEUED else "",
        "files": [file.name for file in quick_files(version)] if version else [],
    }


def _summary(job: Job) -> str:
    """Describe the options of a training in one line."""
    if "finish" in job.params:
        return "best epoch of a training that ended early"
    options = parse_options(QuickOptions, job.params)
    trained = "whole network" if options.is_fine_tuned else "classifier only"
    epochs = counted(options.epochs, "epoch")
    return f"{BACKBONES[options.backbone].title}, {trained}, at most {epochs}, {options.image_side} px"


# -- Samples ------------------------------------------------------------------------------------------
def _some_images(dataset: Dataset) -> list[Image.Image]:
    """Return the first readable images, labeled ones first."""
    frames = Frame.objects.filter(dataset=dataset, item__is_available=True).select_related("dataset")
    is_labelled = Q(item__state=State.LABELLED)
    candidates = [frames.filter(state).order_by("item__row")[: 2 * IMAGES] for state in (is_labelled, ~is_labelled)]
    images: list[Image.Image] = []
    for frame in chain(*candidates):
        try:
            content, _ = decoders().picture(frame.file, 2 * TILE, dataset.shown_as)
        except ImageProblem:
            continue  # its reason is on the Problems page; another image will do here
        images.append(Image.open(io.BytesIO(content)).convert("RGB"))
        if len(images) == IMAGES:
            break
    return images


def _sheet(pixels: np.ndarray[Any, np.dtype[np.uint8]], columns: int) -> Image.Image:
    """Arrange tiles in a grid of ``columns`` columns, with gaps between them."""
    rows, step = -(-len(pixels) // columns), TILE + 4
    sheet = Image.new("RGBA", (columns * step - 4, rows * step - 4))
    for number, image in enumerate(pixels):
        tile = Image.fromarray(image).resize((TILE, TILE), Image.Resampling.BILINEAR)
        sheet.paste(tile, (number % columns * step, number // columns * step))
    return sheet


def _version(slug: str, number: int) -> ModelVersion:
    return get_object_or_404(
        ModelVersion.objects.select_related("dataset"), dataset__slug=slug, number=number, kind=ModelVersion.Kind.QUICK
    )
