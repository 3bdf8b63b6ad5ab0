"""Export a dataset as a ZIP archive, and import labels."""

from __future__ import annotations

from typing import Any, BinaryIO, Literal

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from ninja import File, Form, Query, Router
from ninja.files import UploadedFile
from pydantic import BaseModel, Field

from hoshina.api.common import JsonObject, Slug, Strict, Text, dataset_of
from hoshina.api.guard import body_limit
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.problems import problem
from hoshina.core.roles import Role, may, requires
from labeling.exporting import Export, refusal, sections
from labeling.exporting.form import NO_IMAGES, ExportForm
from labeling.exporting.images import images_size
from labeling.history.archive import is_record
from labeling.history.restore import preview_record, restore
from labeling.importing import save_table
from labeling.importing.columns import Choice
from labeling.models import Dataset
from labeling.models import Field as MetadataField
from labeling.views.uploads import MAX_UPLOAD, size_problem

router = Router(tags=["Export and import"])
# What multipart bodies have besides the file.
_OVERHEAD = 64 * 1024


class ExportQuery(BaseModel):
    """Hold the options of an export, as those of `hoshina export`."""

    layout: Text = Field("csv", description="How images and labels are arranged, such as imagefolder or coco.")
    role: Text | None = Field(None, description="Of items with several files: which one other layouts contain.")
    images: bool | None = Field(None, description="Include the image files; by default if they total less than 1 GB.")
    val: int = Field(10, ge=0, le=100, description="Percentage of the validation set.")
    test: int = Field(10, ge=0, le=100, description="Percentage of the test set.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of the splits.")
    group_by: Text | None = Field(
        None, description="Items with equal values in this field share a split; empty for none."
    )
    escape_formulas: bool = Field(False, description="Put an apostrophe before texts that a spreadsheet would run.")
    as_of: Text = Field("", description="Rebuild the export of an earlier time, or of a round by its number.")
    number_annotators: bool = Field(False, description="Give people numbers in place of their names.")
    unsure: bool = Field(False, description="Other layouts than csv: add unsure and skipped images as two classes.")
    extra: list[Text] = Field([], max_length=20, description="A section to include, such as rounds. May be repeated.")


class ImportOptions(Strict):
    """Define how to read a table of labels; empty options are detected."""

    create_classes: bool = Field(False, description="Create the classes that the file names and the dataset lacks.")
    preview: bool = Field(False, description="Save nothing: return the report that the import would give.")
    key_column: Text = Field("", description="The column that names the images.")
    label_column: Text = Field("", description="The column with the labels.")
    encoding: Text = Field("", description="Of text, such as utf-8 or cp1252.")
    same_numbers: Literal["", "merge", "keep"] = Field(
        "", description="Whether labels such as 1 and 01 are one class (merge) or several (keep)."
    )


@router.get(
    "/datasets/{slug:slug}/export", url_name="export", summary="Export a dataset",
    openapi_extra={
        "responses": {
            200: {
                "description": "The archive, streamed while it is written.",
                "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            }
        }
    },
)  # fmt: skip
@requires(Role.MANAGER)
def export(request: HtmxHttpRequest, slug: Slug, query: Query[ExportQuery]) -> Any:
    """Stream a ZIP archive with the labels, classes and splits, and on request image files and sections."""
    dataset = dataset_of(slug)
    form = _form(dataset, query)
    if form.is_valid() and (reason := refusal(dataset, form.options())):
        form.add_error(None, reason)
    if not form.is_valid():
        field, messages = next(iter(form.errors.items()))
        return problem(422, " ".join(map(str, messages)), field="" if field == "__all__" else field)
    return StreamingHttpResponse(
        iter(Export(dataset, form.options())),
        content_type="application/zip",
        headers={"Content-Disposition": content_disposition_header(True, f"{dataset.slug}.zip") or ""},
    )


def _form(dataset: Dataset, query: ExportQuery) -> ExportForm:
    """Return the form of the Export page with these options."""
    fields = list(MetadataField.objects.filter(dataset=dataset))
    chosen = next((field.name for field in fields if field.pk == dataset.together_by_id), "")
    names = [section.name for section in sections()]
    if unknown := [name for name in query.extra if name not in names]:
        raise Refusal(f"There is no section {unknown[0][:60]!r}.", f"The sections are {', '.join(names)}.", "extra")
    params: JsonObject = query.model_dump(
        include={"layout", "role", "val", "test", "seed", "group_by", "as_of"}, exclude_none=True
    )
    params |= dict.fromkeys(query.extra, "on")
    params["escape_formulas"] = "on" if query.escape_formulas else ""
    params |= {name: "on" for name in ("number_annotators", "unsure") if getattr(query, name)}
    if query.images is not None:
        params["images"] = "on" if query.images else NO_IMAGES
    with_images = query.images is None and images_size(dataset).is_included
    return ExportForm(params, [field.name for field in fields], chosen, dataset.roles, with_images=with_images)


@router.post("/datasets/{slug:slug}/labels", url_name="labels", response=JsonObject, summary="Import labels")
@requires(Role.MANAGER)
@body_limit(MAX_UPLOAD + _OVERHEAD)
def import_labels(
    request: HtmxHttpRequest, slug: Slug, options: Form[ImportOptions], file: File[UploadedFile]
) -> JsonObject:
    """Import the labels of a file of at most 256 MiB, and report what changed, as `hoshina import_labels --json`.

    All formats of that command are recognized: CSV, Excel, Parquet, JSON Lines, Label Studio, COCO and others. JSON,
    XML and workbooks may have 32 MiB.

    The whole file is read and checked before anything is saved. Importing a file again changes nothing.

    An archive of an export with the record of decisions (`extra=annotations`) is imported with its history, into a
    dataset without decisions and classes. The answer then has the keys of `hoshina import_labels --history --json`.
    """
    dataset = dataset_of(slug)
    if problem := size_problem(file):
        raise Refusal(problem, "Use hoshina import_labels.", "file")
    choice = Choice(
        key_column=options.key_column,
        label_column=options.label_column,
        encoding=options.encoding,
        same_numbers=options.same_numbers,
        file_name=file.name or "",
    )
    stream: Any = file.file
    try:
        if is_record(stream):
            return _import_record(request, dataset, stream, options)
        if options.preview:
            report = save_table.preview_labels(dataset, stream, choice=choice, create_classes=options.create_classes)
        else:
            report = save_table.import_labels(
                dataset, stream, user=request.user, create_classes=options.create_classes, choice=choice
            )
    except Refusal as reason:
        reason.field = reason.field or "file"
        raise
    return report.as_json()


def _import_record(request: HtmxHttpRequest, dataset: Dataset, stream: BinaryIO, options: ImportOptions) -> JsonObject:
    unfit = options.model_dump(exclude={"preview"}, exclude_defaults=True)
    if unfit:
        raise Refusal("A record of decisions is imported as it is.", "Leave out the other options.", next(iter(unfit)))
    if options.preview:
        return preview_record(dataset, stream).as_json()
    return restore(dataset, stream, may_create_people=may(request.user, Role.ADMINISTRATOR)).as_json()
