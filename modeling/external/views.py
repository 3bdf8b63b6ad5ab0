"""Show the forms that import embeddings and predictions, and how the last import ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods
from django_htmx.http import trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.external.jobs import embedding_lines, prediction_lines, queue_embeddings, queue_predictions

# Larger files need the command, which reads them where they are.
MAX_UPLOAD = 512 * 2**20
# The page has other forms with fields of the same names.
_IDS = "import_%s"
_EMBEDDINGS, _PREDICTIONS = "modeling/external/_embeddings.html", "modeling/external/_predictions.html"


def _refuse_large(upload: UploadedFile[Any] | None, command: str) -> None:
    if upload is not None and (upload.size or 0) > MAX_UPLOAD:
        raise forms.ValidationError(
            f"The file is larger than {MAX_UPLOAD >> 20} MiB. Import it where HOSHINA runs: hoshina {command} FILE"
        )


class EmbeddingsForm(forms.Form):
    """Hold the form of embeddings to import."""

    file = forms.FileField(
        label="Embeddings",
        error_messages={"required": "Choose a file first.", "empty": "The file is empty."},
        widget=forms.FileInput(attrs={"accept": ".npy,.npz,.parquet"}),
        help_text="A .npy, .npz or .parquet file with one embedding a row.",
    )
    ids = forms.FileField(
        label="Keys",
        required=False,
        widget=forms.FileInput(attrs={"accept": ".txt,.csv,.tsv,.npy"}),
        help_text="For .npy files: a text or CSV file with one item id, path, file name or SHA-256 a line.",
    )
    name = forms.CharField(
        label="Name",
        required=False,
        max_length=80,
        help_text="For example dinov2-base. Left empty: the name of the file.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    replace = forms.BooleanField(label="Replace earlier embeddings of this name", required=False)
    use = forms.BooleanField(label="Use them now", required=False, initial=True)

    def clean_file(self) -> Any:
        _refuse_large(self.cleaned_data["file"], "import_embeddings")
        return self.cleaned_data["file"]

    def clean_ids(self) -> Any:
        _refuse_large(self.cleaned_data["ids"], "import_embeddings")
        return self.cleaned_data["ids"]


@require_http_methods(["GET", "HEAD", "POST"])
def embeddings(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the form of embeddings and the last import, or queue another one."""
    return _form_page(request, slug, EmbeddingsForm, embeddings_context, _EMBEDDINGS, _queue_embeddings)


def _queue_embeddings(dataset: Dataset, values: Mapping[str, Any], user: Any) -> None:
    options = {"name": values["name"].strip(), "replace": values["replace"], "use": values["use"]}
    queue_embeddings(dataset, values["file"], values["ids"], options, user)


def embeddings_context(dataset: Dataset) -> dict[str, Any]:
    """Return the context of the form, with the last import."""
    return _context(dataset, "import_embeddings", EmbeddingsForm(label_suffix="", auto_id=_IDS), embedding_lines)


class PredictionsForm(forms.Form):
    """Hold the form of predictions to import."""

    file = forms.FileField(
        label="Predictions",
        error_messages={"required": "Choose a file first.", "empty": "The file is empty."},
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.txt,.npz,.parquet"}),
        help_text="A CSV, .npz or Parquet file: a column that names the image, and a column p:<class> for each class; "
        "or the columns label and score.",
    )
    name = forms.CharField(
        label="Name",
        required=False,
        max_length=80,
        help_text="Left empty: the name of the file.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    create = forms.BooleanField(label="Create missing classes", required=False)
    use = forms.BooleanField(label="Use it now", required=False, initial=True)

    def clean_file(self) -> Any:
        _refuse_large(self.cleaned_data["file"], "import_predictions")
        return self.cleaned_data["file"]


@require_http_methods(["GET", "HEAD", "POST"])
def predictions(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the form of predictions and the last import, or queue another one."""
    return _form_page(request, slug, PredictionsForm, predictions_context, _PREDICTIONS, _queue_predictions)


def _queue_predictions(dataset: Dataset, values: Mapping[str, Any], user: Any) -> None:
    options = {"name": values["name"].strip(), "create": values["create"], "use": values["use"]}
    queue_predictions(dataset, values["file"], options, user)


def predictions_context(dataset: Dataset) -> dict[str, Any]:
    """Return the context of the form, with the last import."""
    return _context(dataset, "import_predictions", PredictionsForm(label_suffix="", auto_id=_IDS), prediction_lines)


def _form_page(
    request: HtmxHttpRequest,
    slug: str,
    form_class: type[forms.Form],
    context_of: Callable[[Dataset], dict[str, Any]],
    template: str,
    queue: Callable[[Dataset, Mapping[str, Any], Any], None],
) -> HttpResponse:
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method != "POST":
        return _shown(request, context_of(dataset), template)
    form = form_class(request.POST, request.FILES, label_suffix="", auto_id=_IDS)
    if form.is_valid():
        try:
            queue(dataset, form.cleaned_data, request.user)
        except Refusal as refusal:
            form.add_error("file", str(refusal))
        else:
            return trigger_client_event(_shown(request, context_of(dataset), template), "hoshina:job")
    return _shown(request, {**context_of(dataset), "form": form}, template, status=422)


def _context(
    dataset: Dataset, kind: str, form: forms.Form, lines: Callable[[Mapping[str, Any]], list[str]]
) -> dict[str, Any]:
    job = Job.objects.filter(kind=kind, dataset_id=dataset.pk).order_by("-created_at").first()
    return {
        "dataset": dataset,
        "form": form,
        "job": job,
        "lines": lines(job.result) if job is not None and job.state == Job.State.SUCCEEDED else [],
        "max_mib": MAX_UPLOAD >> 20,
    }


def _shown(request: HtmxHttpRequest, context: dict[str, Any], template: str, status: int = 200) -> HttpResponse:
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
