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
from modeling.external import predictions
from modeling.external.embeddings import Request, import_embeddings
from modeling.maps.projections import maps_after_embedding
from modeling.models import IMPORTED
from modeling.versions import active as active_version

SHOWN = 5


def queue_embeddings(
    dataset: Dataset, file: UploadedFile[Any], ids: UploadedFile[Any] | None, options: Mapping[str, Any], user: User
) -> Job:
    """Save uploaded embeddings, and queue the job that imports them with ``options`` (name, key, replace, use)."""
    files = {"file": file} if ids is None else {"file": file, "ids": ids}
    return _queue("import_embeddings", dataset, files, options, user)


def queue_predictions(dataset: Dataset, file: UploadedFile[Any], options: Mapping[str, Any], user: User) -> Job:
    """Save uploaded predictions, and queue the job that imports them with ``options`` (name, key, create, use)."""
    return _queue("import_predictions", dataset, {"file": file}, options, user)


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


# -- Predictions -----------------------------------------------------------------------------------
def run_predictions(run: Run) -> dict[str, Any]:
    """Run the job ``import_predictions``. Returns what ``import_predictions --json`` prints."""
    began = time.monotonic()
    dataset = Dataset.objects.get(pk=run.dataset_id)
    params = run.params
    request = predictions.Request(
        Path(params["file"]),
        params.get("name", ""),
        params.get("key", ""),
        bool(params.get("create")),
        params.get("title", ""),
        author(run),
    )
    with _upload_of(run):
        version, report = predictions.import_predictions(dataset, request, teller(run))
    is_used = bool(params.get("use", True))
    if is_used:
        active_version.choose(version, user=run.job.created_by)
    reported = ("accuracy", "accuracy_interval", "ece_before", "ece_after", "log_loss_before", "log_loss_after")
    return {
        "model_version": version.number,
        **report.as_json(),
        "labels": version.n_labels,
        **{name: version.metrics.get(name) for name in reported},
        "temperature": version.temperature,
        "calibrated": version.is_calibrated,
        "calibration_note": version.calibration_note,
        "used": is_used,
        "seconds": round(time.monotonic() - began, 3),
    }


def prediction_lines(result: Mapping[str, Any]) -> list[str]:
    """Return the result of an import of predictions as sentences."""
    number, without = result["model_version"], result["without_prediction"]
    low, high = result["accuracy_interval"] or (0, 0)
    note = result["calibration_note"]
    facts = (
        (True, f"Model {number} ({result['name']}): predictions of {counted(result['items'], 'image')} in "
               f"{counted(len(result['classes']), 'class', 'classes')}, from {counted(result['rows'], 'row')}."),
        (result["created_classes"], f"New classes: {_some(result['created_classes'])}."),
        (result["accuracy"] is not None,
         f"On the {counted(result['labels'], 'label')} so far, {result['accuracy'] or 0:.1%} are right (95 % interval "
         f"{low:.1%} to {high:.1%}). This is too high if the predictions come from a model trained on these labels."),
        (result["calibrated"], f"Calibrated on the labels with temperature {result['temperature']:.2f}: {note}."),
        (not result["calibrated"], f"{note[:1].upper()}{note[1:]}."),
        (result["duplicates"], f"{counted(result['duplicates'], 'row')} repeated an image with the same prediction."),
        (result["not_numbers"], f"{counted(result['not_numbers'], 'row')} with missing values or text instead of "
                                f"numbers left out: {_some(result['not_numbers_names'])}."),
        (result["negative"],
         f"{counted(result['negative'], 'row')} with negative values left out: {_some(result['negative_names'])}."),
        (result["wrong_sum"], f"{counted(result['wrong_sum'], 'row')} whose probabilities do not sum to 1 left out: "
                              f"{_some(result['wrong_sum_names'])}."),
        (result["unknown"], f"{counted(result['unknown'], 'row')} about images that this dataset does not have: "
                            f"{_some(result['unknown_names'])}."),
        (result["ambiguous"], f"{counted(result['ambiguous'], 'row')} about several images of the same file name: "
                              f"{_some(result['ambiguous_names'])}. Use their paths."),
        (without, f"{counted(without, 'image')} without a prediction of this model."),
        (result["used"], f"Model {number} is in use. Automatic retraining is paused, so that it stays."),
        (not result["used"], f"To use it, choose model {number} on the page Model."),
    )  # fmt: skip
    return [sentence for is_so, sentence in facts if is_so]


def _some(names: Iterable[str]) -> str:
    listed = [name[:60] for name in names]
    return ", ".join(listed[:SHOWN]) + (" …" if len(listed) > SHOWN else "")
