"""Show the page Encoders: list encoders and their embeddings, switch between them, add and remove model files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, may, requires_to_change
from hoshina.jobs.lifecycle import enqueue
from labeling.models import Dataset
from modeling.backends import Line, timm_models
from modeling.backends.joined import SEPARATOR
from modeling.backends.user_models import PREPROCESSINGS
from modeling.encoders import choice as encoder_choice
from modeling.encoders.uploads import MAX_UPLOAD, add_own, removable, remove_own
from modeling.external.views import embeddings_context
from modeling.models import EmbeddingSet, EncoderChoice


class OwnModelForm(forms.Form):
    """The form of a model file to add, and of the preprocessing that it needs."""

    file = forms.FileField(
        label="Model file",
        error_messages={"required": "Choose a file first.", "empty": "The file is empty."},
        widget=forms.ClearableFileInput(attrs={"accept": ".keras,.h5,.tflite,.onnx,.safetensors,.pth,.pt,.bin"}),
    )
    model = forms.CharField(
        label="Model of timm",
        required=False,
        max_length=100,
        help_text="Only for weights (.safetensors, .pth, .pt, .bin): the model that they belong to.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    preprocessing = forms.ChoiceField(
        label="Preprocessing of pixels",
        required=False,
        choices=[("", "detect from the file"), *((name, name) for name in PREPROCESSINGS)],
        error_messages={"invalid_choice": "Choose one from the list."},
    )
    name = forms.CharField(
        label="Name",
        required=False,
        max_length=60,
        help_text="Left empty: the name of the file.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


@dataclass(frozen=True)
class _Row:
    """One encoder in the list, with the embeddings that it computed."""

    line: Line
    is_selected: bool
    sets: list[EmbeddingSet]
    is_removable: bool

    @property
    def can_be_used(self) -> bool:
        return self.line.available or self.line.may_download

    @property
    def can_be_joined(self) -> bool:
        return self.can_be_used and SEPARATOR not in self.line.backend


@require_GET
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the page, or only the list for htmx requests."""
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.htmx:
        return _listed(request, dataset)
    context = {**_context(dataset), "form": OwnModelForm(label_suffix=""), "may_add": may_add_models(request)}
    context |= {"imported": embeddings_context(dataset), "max_mib": MAX_UPLOAD >> 20}
    response = render(request, "modeling/encoders/page.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response


@require_POST
def use(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Switch to the encoder ``backend``, or to several joined; if empty, to that of AL_EMBEDDING_BACKEND."""
    dataset = get_object_or_404(Dataset, slug=slug)
    backends = request.POST.getlist("backend")
    if "join" in request.POST and len(backends) < 2:
        return _listed(request, dataset, problem="Select at least two encoders to join.")
    try:
        encoder_choice.use(dataset, SEPARATOR.join(backends), request.user)
    except Refusal as problem:
        return _listed(request, dataset, problem=str(problem))
    return trigger_client_event(_listed(request, dataset), "hoshina:job")


@require_POST
def look_up(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Add the timm model ``model`` to the list, with its license and input size; nothing is downloaded."""
    dataset = get_object_or_404(Dataset, slug=slug)
    name = request.POST.get("model", "").strip().removeprefix(timm_models.PREFIX)
    if not name:
        return _listed(request, dataset, problem="Give the name of a model.")
    try:
        timm_models.describe(name, encoder_choice.graphs_dir())
    except Refusal as problem:
        return _listed(request, dataset, problem=str(problem))
    return _listed(request, dataset)


@require_POST
def refit(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Request that the components of joined encoders are fitted to the current images, and all embeddings computed."""
    dataset = get_object_or_404(Dataset, slug=slug)
    enqueue("embed", dataset_id=dataset.pk, params={"is_refit": True}, user=request.user)
    return trigger_client_event(_listed(request, dataset), "hoshina:job")


@require_POST
def delete(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Delete a set of embeddings that nothing uses."""
    dataset = get_object_or_404(Dataset, slug=slug)
    vectors = get_object_or_404(EmbeddingSet.objects.select_related("dataset"), dataset=dataset, pk=pk)
    try:
        encoder_choice.delete_set(vectors)
    except Refusal as problem:
        return _listed(request, dataset, problem=str(problem))
    return _listed(request, dataset)


@requires_to_change(Role.ADMINISTRATOR)
@require_POST
def add(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Add an uploaded model file; show the form again, with errors, if it is refused."""
    dataset = get_object_or_404(Dataset, slug=slug)
    form = OwnModelForm(request.POST, request.FILES, label_suffix="")
    if form.is_valid():
        said = form.cleaned_data
        try:
            file = cast("UploadedFile[Any]", said["file"])
            added = add_own(file, said["preprocessing"], said["name"].strip(), said["model"].strip())
        except Refusal as problem:
            form.add_error("file", str(problem))
        else:
            context = {"dataset": dataset, "form": OwnModelForm(label_suffix=""), "added": added}
            response = render(request, "modeling/encoders/_add.html", {**context, "max_mib": MAX_UPLOAD >> 20})
            return trigger_client_event(response, "hoshina:encoders")
    context = {"dataset": dataset, "form": form, "max_mib": MAX_UPLOAD >> 20}
    return render(request, "modeling/encoders/_add.html", context, status=422)


@requires_to_change(Role.ADMINISTRATOR)
@require_POST
def remove(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Remove the uploaded model file ``backend`` if nothing uses it."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        remove_own(request.POST.get("backend", ""))
    except Refusal as problem:
        return _listed(request, dataset, problem=str(problem))
    return _listed(request, dataset)


def may_add_models(request: HtmxHttpRequest) -> bool:
    """Return whether the user may add model files, which run on the server."""
    return may(request.user, Role.ADMINISTRATOR)


def _listed(request: HtmxHttpRequest, dataset: Dataset, *, problem: str = "") -> HttpResponse:
    context = {**_context(dataset), "may_add": may_add_models(request), "problem": problem}
    response = render(request, "modeling/encoders/_list.html", context, status=422 if problem else 200)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _context(dataset: Dataset) -> dict[str, Any]:
    sets = list(EmbeddingSet.objects.filter(dataset=dataset).order_by("-is_active", "-updated_at"))
    wanted = encoder_choice.likely(encoder_choice.backend_of(dataset.pk))
    ours = removable()
    return {
        "dataset": dataset,
        "rows": [
            _Row(
                line,
                line.backend == wanted.backend,
                [embeddings for embeddings in sets if embeddings.backend == line.backend],
                line.backend in ours,
            )
            for line in _lines(wanted, sets)
        ],
        "active": next((embeddings for embeddings in sets if embeddings.is_active), None),
        "selected": wanted,
        "is_chosen": EncoderChoice.objects.filter(dataset=dataset).exists(),
        "setting": settings.EMBEDDING_BACKEND,
        "job": encoder_choice.embedding_job(dataset),
    }


def _lines(wanted: Line, sets: list[EmbeddingSet]) -> list[Line]:
    """Return all available encoders, and those that are requested or have computed embeddings but are missing now."""
    found = {line.backend: line for line in encoder_choice.survey()}
    found.setdefault(wanted.backend, wanted)
    for embeddings in sets:
        if embeddings.backend not in found:
            gone = (
                encoder_choice.likely(embeddings.backend).reason
                if embeddings.backend
                else "From an earlier version of HOSHINA."
            )
            found[embeddings.backend] = Line(embeddings.backend, embeddings.encoder, False, gone)
    return list(found.values())
