"""Import embeddings and predictions that other programs computed."""

from __future__ import annotations

from typing import Annotated

from ninja import File, Form, Router, Status
from ninja.files import UploadedFile
from pydantic import Field

from hoshina.api.common import Slug, Strict, Text, dataset_of
from hoshina.api.endpoints.jobs import JobOut, describe_jobs
from hoshina.api.guard import body_limit
from hoshina.core.errors import Refusal
from hoshina.core.http import HtmxHttpRequest
from modeling.external.jobs import queue_embeddings, queue_predictions
from modeling.external.views import MAX_UPLOAD

router = Router(tags=["Export and import"])
# What multipart bodies have besides the files.
_OVERHEAD = 64 * 1024


class EmbeddingsOptions(Strict):
    """Tell what to do with the embeddings of a file."""

    name: Annotated[Text, Field(max_length=80)] = Field("", description="Such as dinov2-base; by default of the file.")
    replace: bool = Field(False, description="Replace earlier embeddings of this name.")
    use: bool = Field(True, description="Use them for queues, models and maps from now on.")


class PredictionsOptions(Strict):
    """Tell what to do with the predictions of a file."""

    name: Annotated[Text, Field(max_length=80)] = Field("", description="By default the name of the file.")
    create: bool = Field(False, description="Create missing classes.")
    use: bool = Field(True, description="Activate the model version.")


@router.post(
    "/datasets/{slug:slug}/embeddings", url_name="embeddings", response={202: JobOut}, summary="Import embeddings"
)  # fmt: skip
@body_limit(MAX_UPLOAD + _OVERHEAD)
def import_embeddings(
    request: HtmxHttpRequest,
    slug: Slug,
    options: Form[EmbeddingsOptions],
    file: File[UploadedFile],
    ids: File[UploadedFile] | None = None,
) -> Status[JobOut]:
    """Start a job that imports a .npy, .npz or .parquet file with one embedding a row.

    A .npy file needs `ids`: a text, CSV or .npy file with one item id, path, file name or SHA-256 a row.
    """
    dataset = dataset_of(slug)
    _require_content(file)
    return Status(202, describe_jobs([queue_embeddings(dataset, file, ids, options.model_dump(), request.user)])[0])


@router.post(
    "/datasets/{slug:slug}/predictions", url_name="predictions", response={202: JobOut}, summary="Import predictions"
)  # fmt: skip
@body_limit(MAX_UPLOAD + _OVERHEAD)
def import_predictions(
    request: HtmxHttpRequest, slug: Slug, options: Form[PredictionsOptions], file: File[UploadedFile]
) -> Status[JobOut]:
    """Start a job that imports predictions as a model version, from a .csv, .npz or .parquet file.

    Beside a column that names the image there is a column `p:<class>` for each class, or `label` and `score`.
    """
    dataset = dataset_of(slug)
    _require_content(file)
    return Status(202, describe_jobs([queue_predictions(dataset, file, options.model_dump(), request.user)])[0])


def _require_content(file: UploadedFile) -> None:
    if not file.size:
        raise Refusal("The file is empty.", "Send another one.", field="file")
