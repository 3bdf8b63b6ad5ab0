"""Show the forms that import embeddings and predictions, and how the last import ended."""

from __future__ import annotations

from typing import Any, cast

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
from modeling.external.jobs import embedding_lines, queue_embeddings

# Larger files need the command, which reads them where they are.
MAX_UPLOAD = 512 * 2**20
# The page has other forms with fields of the same names.
_IDS = "import_%s"


def _refuse_large(upload: UploadedFile[Any] | None, command: str) -> None:
    if upload is not None and (upload.size or 0) > MAX_UPLOAD:
        raise forms.ValidationError(
            f"The file is larger than {MAX_UPLOAD >> 20} MiB. Import it where HOSHINA runs: hoshina {command} FILE"
        )


class EmbeddingsForm(forms.Form):
    """The form of embeddings to import."""

    file = forms.FileField(
        label="Embeddings",
        error_messages={"required": "Choose a file first.", "empty": "The file is empty."},
        widget=forms.ClearableFileInput(attrs={"accept": ".npy,.npz,.parquet"}),
        help_text="A .npy, .npz or .parquet file with one embedding a row.",
    )
    ids = forms.FileField(
        label="Keys",
        required=False,
        widget=forms.ClearableFileInput(attrs={"accept": ".txt,.csv,.tsv,.npy"}),
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
    dataset = get_object_or_404(Dataset, slug=slug)
    if request.method != "POST":
        return _shown(request, embeddings_context(dataset))
    form = EmbeddingsForm(request.POST, request.FILES, label_suffix="", auto_id=_IDS)
    if form.is_valid():
        values = form.cleaned_data
        options = {"name": values["name"].strip(), "replace": values["replace"], "use": values["use"]}
        file, ids = cast("UploadedFile[Any]", values["file"]), cast("UploadedFile[Any] | None", values["ids"])
        try:
            queue_embeddings(dataset, file, ids, options, request.user)
        except Refusal as refusal:
            form.add_error("file", str(refusal))
        else:
            return trigger_client_event(_shown(request, embeddings_context(dataset)), "hoshina:job")
    return _shown(request, {**embeddings_context(dataset), "form": form}, status=422)


def embeddings_context(dataset: Dataset) -> dict[str, Any]:
    """Return the context of the form, with the last import."""
    job = Job.objects.filter(kind="import_embeddings", dataset_id=dataset.pk).order_by("-created_at").first()
    return {
        "dataset": dataset,
        "form": EmbeddingsForm(label_suffix="", auto_id=_IDS),
        "job": job,
        "lines": embedding_lines(job.result) if job is not None and job.state == Job.State.SUCCEEDED else [],
        "max_mib": MAX_UPLOAD >> 20,
    }


def _shown(request: HtmxHttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    response = render(request, "modeling/external/_embeddings.html", context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
