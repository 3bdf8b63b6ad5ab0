"""Show and change the metadata fields of a dataset; add fields from a table, FITS headers or EXIF data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from hoshina.core.errors import Refusal, reason_of
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.storage import StoreError
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.fields import field_edits, split_groups
from labeling.fields.header_fields import KIND, card_fields, check_cards, report_lines, sample_of
from labeling.fields.metadata_table import EXPECTED, Wish
from labeling.fields.save_table import Report, import_fields
from labeling.importing.formats.registry import reader_of
from labeling.models import Dataset, Field
from labeling.views.datasets import remember
from labeling.views.uploads import TableForm, uploaded

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ImportForm(TableForm):
    """A file of metadata, and how to read it."""

    key = forms.ChoiceField(
        label="Images are identified by",
        required=False,
        choices=[
            ("", "detected from the column"),
            ("path", "path"),
            ("item_id", "item_id"),
            ("name", "file name, with or without extension"),
        ],
    )
    columns = forms.CharField(
        label="Only these columns", required=False, help_text="Separated by commas. Left empty: all columns."
    )
    texts = forms.CharField(
        label="Text columns",
        required=False,
        help_text="Columns to read as text and not as numbers or times, separated by commas.",
    )
    field_order = ("key", "key_column", "columns", "texts")

    def wish(self) -> Wish:
        """Return the options of a valid form."""
        values = self.cleaned_data
        return Wish(values["key"], values["key_column"], _names(values["columns"]), values["encoding"])

    def kinds(self) -> dict[str, str]:
        """Return the kinds set in a valid form."""
        return dict.fromkeys(_names(self.cleaned_data["texts"]), Field.Kind.TEXT.value)


class FieldForm(forms.Form):
    """Name and kind of a field."""

    name = forms.CharField(required=False, strip=False)
    kind = forms.ChoiceField(choices=Field.Kind.choices)


@dataclass(frozen=True)
class Open:
    """The open row of the list: its purpose, and the error, if any."""

    field: Field
    mode: Literal["edit", "delete"]
    form: FieldForm | None = None
    problem: str = ""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """List the fields of a dataset; add those of an uploaded table."""
    dataset = get_object_or_404(Dataset, slug=slug)
    remember(request, dataset)
    context: dict[str, Any] = {"expected": EXPECTED, "form": ImportForm(label_suffix="")}
    status = 200
    if request.method == "POST":
        form = context["form"] = ImportForm(request.POST, label_suffix="")
        try:
            report = _import(request, dataset, form)
        except Refusal as problem:
            context["problem"] = str(problem)
            status = 422
        else:
            context["report"] = report
    name = "labeling/fields/_import.html" if request.htmx else "labeling/fields/page.html"
    response = render(request, name, context | _context(dataset), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _import(request: HtmxHttpRequest, dataset: Dataset, form: ImportForm) -> Report:
    table = uploaded(request, dataset, form, expected=EXPECTED, command="import_fields")
    stream, read_layout = cast("BinaryIO", table.file), reader_of(table.name or "")
    return import_fields(dataset, stream, form.wish(), form.kinds(), read_layout=read_layout)


def _context(dataset: Dataset, **context: Any) -> dict[str, Any]:
    fields = list(Field.objects.filter(dataset=dataset))
    return {
        "dataset": dataset,
        "fields": fields,
        "kinds": Field.Kind.choices,
        **_together(dataset, fields),
    } | context


def _together(dataset: Dataset, fields: list[Field]) -> dict[str, Any]:
    """Return the field by which images are grouped for splits, and the groups that result."""
    field = next((candidate for candidate in fields if candidate.pk == dataset.together_by_id), None)
    try:
        return {"chosen": field, "tally": split_groups.tally_of(dataset, field) if field else None}
    except StoreError as damaged:
        return {"chosen": field, "together_problem": str(damaged)}


# -- The list -----------------------------------------------------------------------------------------------
@require_GET
def field_list(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Render the list alone, after an import and for Cancel."""
    return _list(request, get_object_or_404(Dataset, slug=slug))


@require_http_methods(["GET", "POST"])
def edit(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change the name or the kind of a field."""
    field = _field(slug, pk)
    if request.method == "GET":
        form = FieldForm({"name": field.name, "kind": field.kind})
        return _list(request, field.dataset, opened=Open(field, "edit", form))
    form = FieldForm(request.POST)
    try:
        if not form.is_valid():
            raise Refusal("Choose number, text or time.")
        if form.cleaned_data["name"] != field.name:
            field_edits.rename(field, form.cleaned_data["name"])
        if form.cleaned_data["kind"] != field.kind:
            field_edits.change_kind(field, Field.Kind(form.cleaned_data["kind"]))
    except Refusal as problem:
        return _list(request, field.dataset, opened=Open(field, "edit", form, str(problem)), status=422)
    return _list(request, field.dataset, message=f"Saved {field.name}.")


@require_http_methods(["GET", "POST"])
def delete(request: HtmxHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Ask whether to delete a field, and delete it."""
    field = _field(slug, pk)
    if request.method == "GET":
        return _list(request, field.dataset, opened=Open(field, "delete"))
    field.delete()
    return _list(request, field.dataset, message=f"Deleted {field.name}.")


@require_POST
def field_together(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Choose the field by which images are grouped for splits."""
    dataset = get_object_or_404(Dataset, slug=slug)
    problem = reason_of(lambda: split_groups.choose(dataset, request.POST.get("field", "")))
    result = {"together_problem": problem} if problem else {"is_chosen_now": True}
    context = _context(dataset, **result)
    return render(request, "labeling/fields/_split_groups.html", context, status=422 if problem else 200)


def _field(slug: str, pk: int) -> Field:
    return get_object_or_404(Field.objects.select_related("dataset"), dataset__slug=slug, pk=pk)


def _list(request: HtmxHttpRequest, dataset: Dataset, *, status: int = 200, **context: Any) -> HttpResponse:
    return render(request, "labeling/fields/_list.html", _context(dataset, **context), status=status)


# -- Header cards ---------------------------------------------------------------------------------------------
@require_http_methods(["GET", "POST"])
def cards(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """List the header cards found in some of the files; while a job reads them, its progress (``job``)."""
    dataset = get_object_or_404(Dataset, slug=slug)
    context: dict[str, Any] = {}
    status = 200
    newest = Job.objects.filter(kind=KIND, dataset_id=dataset.pk).order_by("-created_at")
    job = newest.filter(state__in=Job.ACTIVE).first()
    if request.method == "POST":
        try:
            job = enqueue(
                KIND,
                dataset_id=dataset.pk,
                params={"cards": check_cards(dataset, request.POST.getlist("card"))},
                user=request.user,
            )
        except Refusal as problem:
            context["cards_problem"], status = str(problem), 422
    if job is None:
        watched = request.GET.get("job", "")
        ended = newest.filter(pk=watched).first() if _UUID.fullmatch(watched) else None
        context |= {"sample": sample_of(dataset), "ended": ended, "out_of_band": ended is not None}
        if ended is not None and ended.state == Job.State.SUCCEEDED:
            context["report_lines"] = report_lines(ended.result)
    context |= _context(dataset) | {"job": job, "sources": {field.source for field in card_fields(dataset)}}
    return render(request, "labeling/fields/_header_fields.html", context, status=status)
