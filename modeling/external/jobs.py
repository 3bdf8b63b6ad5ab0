"""Run imports as jobs, delete uploaded files afterwards, and describe the result in sentences."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.jobs.errors import Stopping, Superseded
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from labeling.models import Dataset
from modeling.assistive.policy import retrain_after_embedding
from modeling.encoders import choice as encoder_choice
from modeling.external.embeddings import Request, import_embeddings
from modeling.maps.projections import maps_after_embedding
from modeling.models import IMPORTED

SHOWN = 5


def queue_embeddings(
    dataset: Dataset, file: UploadedFile[Any], ids: UploadedFile[Any] | None, options: Mapping[str, Any], user: User
) -> Job:
    """Save uploaded embeddings, and queue the job that imports them with ``options`` (name, key, replace, use)."""
    files = {"file": file} if ids is None else {"file": file, "ids": ids}
    return _queue("import_embeddings", dataset, files, options, user)


def _queue(
    kind: str, dataset: Dataset, files: Mapping[str, UploadedFile[Any]], options: Mapping[str, Any], user: User
) -> Job:
    if Job.objects.filter(kind=kind, dataset_id=dataset.pk, state__in=Job.ACTIVE).exists():
        raise Refusal("Another import is running.", "Wait for it, or cancel it on the Jobs page.")
    folder = uploads_folder() / uuid.uuid4().hex
    folder.mkdir(parents=True)
    params = {**options, "title": Path(str(files["file"].name)).name, "upload": folder.name}
    for role, upload in files.items():
        target = folder / f"{role}{Path(str(upload.name)).suffix.lower()}"
        with target.open("xb") as stream:
            for block in upload.chunks():
                stream.write(block)
        params[role] = str(target)
    return enqueue(kind, dataset_id=dataset.pk, params=params, user=user)


def uploads_folder() -> Path:
    """Return the folder of uploaded files that wait for their import."""
    return Path(settings.STORE_DIR) / "imports"


@contextmanager
def _upload_of(run: Run) -> Iterator[None]:
    """Delete the uploaded files of a job when it ends; a job that goes back to the queue still needs them."""
    try:
        yield
    except (Superseded, Stopping):
        raise
    except BaseException:
        _delete_upload(run)
        raise
    _delete_upload(run)


def _delete_upload(run: Run) -> None:
    if name := run.params.get("upload"):
        shutil.rmtree(uploads_folder() / Path(str(name)).name, ignore_errors=True)


def teller(run: Run) -> Callable[[str, int, int], None]:
    """Return a function that reports the stages of an import as those of the run."""

    def tell(stage: str, done: int, total: int) -> None:
        if run.job.stage != stage:
            run.stage(stage, total=total)
        if total:
            run.progress(done, total)

    return tell


def author(run: Run) -> str:
    """Return the name of the person who started a job."""
    return str(run.params.get("by") or (run.job.created_by.get_username() if run.job.created_by else ""))


# -- Embeddings ------------------------------------------------------------------------------------
def run_embeddings(run: Run) -> dict[str, Any]:
    """Run the job ``import_embeddings``. Returns what ``import_embeddings --json`` prints."""
    began = time.monotonic()
    dataset = Dataset.objects.get(pk=run.dataset_id)
    params = run.params
    request = Request(
        Path(params["file"]),
        Path(params["ids"]) if params.get("ids") else None,
        params.get("name", ""),
        params.get("key", ""),
        bool(params.get("replace")),
        params.get("title", ""),
        author(run),
    )
    with _upload_of(run):
        result = import_embeddings(dataset, request, teller(run)).as_json()
    result |= _use(dataset, IMPORTED + result["name"], bool(params.get("use", True)), run)
    return result | {"seconds": round(time.monotonic() - began, 3)}


def _use(dataset: Dataset, backend: str, is_wanted: bool, run: Run) -> dict[str, Any]:
    """Use imported embeddings if wanted. If models and queues used them before, have these take up the new ones."""
    found = encoder_choice.imported_set(dataset, backend)
    if found is not None and found.is_active:
        retrain_after_embedding(dataset.pk)
        maps_after_embedding(dataset.pk)
        return {"used": True, "note": ""}
    if not is_wanted:
        return {"used": False, "note": ""}
    try:
        encoder_choice.use(dataset, backend, run.job.created_by)
    except Refusal as refusal:  # the embeddings are there, and can be chosen later
        return {"used": False, "note": str(refusal)}
    return {"used": True, "note": ""}


def embedding_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the result of an import of embeddings as sentences."""
    rows, converted = result["rows"], result["dtype"] != "float32"
    facts = (
        (True, f"{result['name']}: {counted(result['items'], 'image')} of this dataset "
               f"{'has' if result['items'] == 1 else 'have'} an embedding of {result['dim']:,} values; "
               f"{result['added']:,} are new, {result['unchanged']:,} unchanged, of {counted(rows, 'row')}."),
        (result["permuted"], "The rows were in another order than the images, and matched by their keys."),
        (converted, f"Numbers of type {result['dtype']} were converted to float32."),
        (result["duplicates"], f"{counted(result['duplicates'], 'row')} repeated an image with the same embedding."),
        (result["not_finite"], f"{counted(result['not_finite'], 'row')} with NaN or infinite values left out: "
                               f"{_some(result['not_finite_names'])}."),
        (result["unknown"], f"{counted(result['unknown'], 'row')} about images that this dataset does not have: "
                            f"{_some(result['unknown_names'])}."),
        (result["ambiguous"], f"{counted(result['ambiguous'], 'row')} about several images of the same file name: "
                              f"{_some(result['ambiguous_names'])}. Use their paths."),
        (result["unavailable"], f"{counted(result['unavailable'], 'row')} about images whose files are missing."),
        (result["without_embedding"], f"{counted(result['without_embedding'], 'image')} without an embedding from "
                                      f"{result['name']}: queues, models and maps leave them out."),
        (result["used"], "Models, queues and maps use these embeddings now."),
        (not result["used"] and not result["note"], "To use them, choose them on the page Encoders."),
        (result["note"], f"They are not used yet. {result['note']}"),
    )  # fmt: skip
    return [sentence for is_so, sentence in facts if is_so]


def _some(names: Iterable[str]) -> str:
    listed = [name[:60] for name in names]
    return ", ".join(listed[:SHOWN]) + (" …" if len(listed) > SHOWN else "")
