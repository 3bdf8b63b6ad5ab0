"""Import labels: upload a file, preview what it changes, import it, and undo that."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event

from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest, holder
from hoshina.core.roles import Role, may, requires
from hoshina.core.storage import remove
from hoshina.jobs.lifecycle import enqueue
from labeling.history.archive import is_record
from labeling.history.restore import preview_record, restore
from labeling.importing import uploads
from labeling.importing.class_folders import write_table
from labeling.importing.class_spellings import KEEP, MERGE, NumbersQuestion
from labeling.importing.columns import EXPECTED, TITLES, Choice
from labeling.importing.detections import KIND as CROPS
from labeling.importing.detections import CropOptions, read_detections, threshold_of
from labeling.importing.formats.coco import MegaDetector
from labeling.importing.formats.registry import importers
from labeling.importing.label_table import table_of
from labeling.importing.preview import preview
from labeling.importing.save_table import import_labels
from labeling.importing.undo import past_imports, undo_import
from labeling.ingest.folder_listing import names_of_folders
from labeling.models import Dataset
from labeling.tables.report import SHOWN
from labeling.views.uploads import checked_upload

# The client event after which the form on the Export page counts again.
LABELS_CHANGED = "hoshina:labels"
_COLUMN = "column-"
_CHUNK = 2**20


@requires(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show the form for a file of labels; keep the file and go to its preview."""
    dataset = get_object_or_404(Dataset, slug=slug)
    problem = ""
    if request.method == "POST":
        try:
            return _to_preview(request, dataset, _kept(request, dataset))
        except Refusal as refusal:
            problem = str(refusal)
    return _page(request, dataset, "", status=422 if problem else 200, problem=problem)


def _kept(request: HtmxHttpRequest, dataset: Dataset) -> str:
    """Keep the uploaded file if it is of a known format, and return its token."""
    upload = checked_upload(request, dataset, expected=EXPECTED, command="import_labels")
    stream = cast("BinaryIO", upload.file)
    if not is_record(stream):
        table_of(stream, Choice(file_name=upload.name or "", encoding=request.POST.get("encoding", "")))
        stream.seek(0)
    return uploads.keep(upload.chunks(), upload.name or "", user_pk=request.user.pk, dataset=dataset)


def _to_preview(request: HtmxHttpRequest, dataset: Dataset, token: str) -> HttpResponse:
    query = {"upload": token} | {name: request.POST[name] for name in ("encoding",) if request.POST.get(name)}
    address = f"{reverse('labeling:import_preview', args=[dataset.slug])}?{urlencode(query)}"
    return HttpResponseClientRedirect(address) if request.htmx else HttpResponseRedirect(address, status=303)


@requires(Role.MANAGER)
@require_POST
def import_folders(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Preview labels from the class folders of the undecided images."""
    dataset = get_object_or_404(Dataset, slug=slug)
    with tempfile.TemporaryFile() as file:
        stream = cast("BinaryIO", file)
        if not write_table(dataset, stream):
            problem = "No undecided image is in a class folder."
            return _page(request, dataset, "", status=422, problem=problem)
        stream.seek(0)
        chunks = iter(lambda: stream.read(_CHUNK), b"")
        token = uploads.keep(chunks, "class folders", user_pk=request.user.pk, dataset=dataset)
    query = urlencode({"upload": token, "column-2": "field"})
    return HttpResponseRedirect(f"{reverse('labeling:import_preview', args=[dataset.slug])}?{query}", status=303)


@requires(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def import_preview(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Show what the kept file ``upload`` would change, with the meanings of its columns. Nothing is saved."""
    dataset = get_object_or_404(Dataset, slug=slug)
    values = request.POST if request.method == "POST" else request.GET
    token = values.get("upload", "")
    creates = request.method == "GET" or "create_classes" in values
    context: dict[str, Any] = {"token": token, "creates": creates, "encoding": values.get("encoding", "")}
    try:
        upload = uploads.find(token, user_pk=request.user.pk, dataset=dataset)
        with upload.opened() as stream:
            if is_record(stream):
                return _page(request, dataset, "preview", **context, **_record(request, dataset, upload.name, stream))
        choice = _choice(request, upload.name)
        context |= {"same_numbers": choice.same_numbers, "file_name": upload.name}
        with upload.opened() as stream:
            context["preview"] = preview(dataset, stream, choice, create_classes=creates)
    except Refusal as problem:
        return _page(request, dataset, "preview", status=422, problem=str(problem), **context)
    context["has_detections"] = context["preview"].format == MegaDetector.title
    context |= {"titles": [(str(role), title) for role, title in TITLES.items()]}
    if report := context["preview"].report:
        context |= _details(report)
    return _page(request, dataset, "preview", **context)


@requires(Role.MANAGER)
@require_POST
def import_apply(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Import the kept file ``upload`` as its preview said, and show what changed."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        upload = uploads.find(request.POST.get("upload", ""), user_pk=request.user.pk, dataset=dataset)
        with upload.opened() as stream:
            if is_record(stream):
                restored = restore(dataset, stream, may_create_people=may(request.user, Role.ADMINISTRATOR))
                uploads.forget(upload)
                response = _page(request, dataset, "report", restored=restored)
                return trigger_client_event(response, LABELS_CHANGED)
            report = import_labels(
                dataset,
                stream,
                user=request.user,
                create_classes="create_classes" in request.POST,
                choice=_choice(request, upload.name),
            )
    except NumbersQuestion:
        return import_preview(request, slug)
    except Refusal as problem:
        return _page(request, dataset, "report", status=422, problem=str(problem))
    uploads.forget(upload)
    response = _page(request, dataset, "report", **_details(report))
    return trigger_client_event(response, LABELS_CHANGED)


@requires(Role.MANAGER)
@require_POST
def import_crops(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Start a job that makes a dataset of the detections in the kept file ``upload``."""
    dataset = get_object_or_404(Dataset, slug=slug)
    try:
        threshold = _threshold(request.POST.get("threshold", ""))
        upload = uploads.find(request.POST.get("upload", ""), user_pk=request.user.pk, dataset=dataset)
        with upload.opened() as stream:
            threshold_of(read_detections(stream, upload.name), CropOptions(threshold))
        _start_crops(request, dataset, uploads.claimed(upload), threshold)
    except Refusal as problem:
        return _page(request, dataset, "report", status=422, problem=str(problem))
    return trigger_client_event(_page(request, dataset, "report", is_cropping=True), "hoshina:job")


def _record(request: HtmxHttpRequest, dataset: Dataset, name: str, stream: BinaryIO) -> dict[str, Any]:
    """Return what the preview of a record of decisions shows. Raises Refusal if it can't be imported."""
    record = preview_record(dataset, stream)
    needs_administrator = bool(record.new_people) and not may(request.user, Role.ADMINISTRATOR)
    return {"record": record, "file_name": name, "needs_administrator": needs_administrator}


def _start_crops(request: HtmxHttpRequest, dataset: Dataset, file: Path, threshold: float | None) -> None:
    """Start the job. Raises Refusal if it runs with another file."""
    params = {"file": str(file), "threshold": threshold, "is_upload": True}
    job = enqueue(CROPS, dataset_id=dataset.pk, params=params, user=request.user)
    if job.params != params:
        remove(file)
        raise Refusal("Detections of another file are being cropped.", "Wait until that is done, see Jobs.")


def _threshold(text: str) -> float | None:
    try:
        threshold = float(text) if text.strip() else None
    except ValueError:
        threshold = -1
    if threshold is not None and not 0 <= threshold <= 1:
        raise Refusal("The confidence must be a number from 0 to 1.")
    return threshold


@require_http_methods(["GET", "POST"])
def undo(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Ask whether to undo the import ``import``; undo it: items decided since keep their decision."""
    dataset = get_object_or_404(Dataset, slug=slug)
    values = request.POST if request.method == "POST" else request.GET
    identity = values.get("import", "").replace("\x00", "")
    context: dict[str, Any] = {"dataset": dataset}
    if request.method == "GET":
        context["asked"] = identity
    else:
        try:
            context["n_undone"] = undo_import(dataset, identity, user=request.user, holder=holder(request))
        except Refusal as problem:
            context["undo_problem"] = str(problem)
    context["past_imports"] = past_imports(dataset)
    is_refused = "undo_problem" in context
    response = render(request, "labeling/importing/_past_imports.html", context, status=422 if is_refused else 200)
    return trigger_client_event(response, LABELS_CHANGED) if "n_undone" in context else response


def _choice(request: HtmxHttpRequest, file_name: str) -> Choice:
    """Return the options of the preview's form: the roles of the columns by index, if it was sent."""
    values = request.POST if request.method == "POST" else request.GET
    roles: dict[str | int, str] = {
        int(number): str(role)
        for name, role in values.items()
        if (number := name.removeprefix(_COLUMN)) != name and number.isdecimal() and len(number) < 6
    }
    same_numbers = values.get("same_numbers", "")
    return Choice(
        encoding=values.get("encoding", ""),
        same_numbers=same_numbers if same_numbers in (MERGE, KEEP) else "",
        roles=roles,
        file_name=file_name,
    )


def _details(report: Any) -> dict[str, Any]:
    return {
        "report": report,
        "merged": list(report.merged.items())[:SHOWN],
        "replaced_by": sorted(report.replaced.by.items(), key=lambda pair: -pair[1])[:SHOWN],
        "new_classes": list(report.new_classes.items())[:SHOWN],
    }


def _page(request: HtmxHttpRequest, dataset: Dataset, part: str, *, status: int = 200, **context: Any) -> HttpResponse:
    """Render the page with a part of it, or for htmx the part alone."""
    context |= {
        "dataset": dataset,
        "part": part,
        "expected": EXPECTED,
        "class_folders": [] if part else names_of_folders(dataset.data_dir),
        "formats": [importer.title for importer in importers().values()],
        "past_imports": past_imports(dataset),
    }
    fragment = "preview" if part == "preview" else "report"
    name = f"labeling/importing/_{fragment}.html" if request.htmx else "labeling/importing/page.html"
    response = render(request, name, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
