"""Read tables that a browser uploads."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest

from hoshina.core.errors import Refusal
from labeling.history.archive import is_record
from labeling.models import Dataset

# Uploads are written to disk as they arrive. A browser waits for the report, so larger files need the command.
MAX_UPLOAD = 256 * 2**20
# Files that are read as a whole (JSON, XML, workbooks) take up to sixteen times their size of memory. Records of
# decisions are read a line at a time.
MAX_DOCUMENT = 32 * 2**20
_DOCUMENTS = (b"{", b"[", b"<", b"PK")


class TableForm(forms.Form):
    """The options of reading a table, which replace detection."""

    key_column = forms.CharField(
        label="Column that names the images",
        required=False,
        help_text="Left empty: path, item_id, file_name, filepath, image, image_id, id, …",
    )
    encoding = forms.CharField(
        label="Encoding", required=False, help_text="Left empty: detected. For example: utf-8, cp1252, cp1251."
    )


def checked_upload(request: HttpRequest, dataset: Dataset, *, expected: str, command: str) -> UploadedFile[Any]:
    """Return the file that was sent; ``command`` imports larger ones. Raises Refusal."""
    upload = request.FILES.get("file")
    if upload is None:
        raise Refusal(f"Choose a file first. {expected}")
    if problem := size_problem(upload):
        raise Refusal(f"{problem} Import it where HOSHINA runs, with hoshina {command} FILE --dataset {dataset.slug}")
    return upload


def size_problem(upload: UploadedFile[Any]) -> str:
    """Return why a file of labels or metadata is too large to be uploaded; "" if it is not."""
    if (upload.size or 0) > MAX_UPLOAD:
        return f"The file is larger than {MAX_UPLOAD >> 20} MiB."
    if (upload.size or 0) > MAX_DOCUMENT:
        beginning = upload.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        upload.seek(0)
        if beginning.startswith(_DOCUMENTS) and not is_record(cast("BinaryIO", upload.file)):
            return f"The file is larger than {MAX_DOCUMENT >> 20} MiB, the limit for JSON, XML and workbooks."
    return ""


def uploaded(
    request: HttpRequest, dataset: Dataset, form: TableForm, *, expected: str, command: str
) -> UploadedFile[Any]:
    """Return the file that was sent with a valid ``form``, like :func:`checked_upload`. Raises Refusal."""
    upload = checked_upload(request, dataset, expected=expected, command=command)
    if not form.is_valid():
        raise Refusal("The options are invalid. Reload the page and try again.")
    return upload
