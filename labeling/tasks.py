"""Define the background jobs of this app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hoshina.core.errors import Refusal
from hoshina.core.storage import remove
from hoshina.jobs.registry import background
from hoshina.jobs.runner import Run
from labeling.apps import read_new_cards
from labeling.fields.header_fields import KIND, read_cards
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.importing.class_folders import folder_labels
from labeling.importing.detections import ANIMAL, CropOptions, crop_detections, read_detections
from labeling.importing.detections import KIND as CROPS
from labeling.ingest.demo_images import demo_folder, write_digits
from labeling.ingest.scan import ingest
from labeling.models import Dataset


def changed_files(result: dict[str, Any]) -> str:
    """Return what a scan found: "12 new, 3 changed"; or that nothing changed."""
    counts = {name: result.get(name, 0) for name in ("new", "changed", "moved", "missing")}
    counts["could not be read"] = result.get("n_failed", 0)
    return ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) or "No file changed"


@background(
    kind="ingest",
    queue="heavy",
    title="Reading the folder",
    restartable=True,
    key="ingest:{dataset_id}",
    unit="images",
    is_silent=True,
    summary=changed_files,
)
def run_ingest(run: Run) -> dict[str, Any]:
    """Update a dataset from its folder.

    Parameters: ``extensions``, ``reread`` (unchanged files too), ``settled`` (skip files written within that many
    seconds), ``grouping`` (the template by which several files make one item from now on, or ""),
    ``labels_from_folders`` (label undecided images by their class folders).
    """
    dataset = Dataset.objects.get(pk=run.dataset_id)
    if dataset.root == str(demo_folder().resolve()):
        write_digits(demo_folder())
    extensions = run.params.get("extensions") or DEFAULT_EXTENSIONS
    settled = float(run.params.get("settled") or 0)
    result = ingest(
        dataset,
        run,
        extensions,
        reread=run.params.get("reread") is True,
        settled=settled,
        grouping=run.params.get("grouping"),
    )
    if run.params.get("labels_from_folders") is True:
        run.stage("Reading labels from the folders")
        report = folder_labels(dataset, run.job.created_by)
        result["folder_labels"] = {"applied": report.applied, "classes": report.created_classes}
    return result


@background(
    kind=CROPS,
    queue="heavy",
    title="Cropping detections",
    restartable=True,
    key="crop_detections:{dataset_id}",
    unit="images",
)
def run_crop_detections(run: Run) -> dict[str, Any]:
    """Make a dataset of the detections in the MegaDetector file ``file``.

    Parameters: ``threshold`` and ``category`` as in CropOptions; ``is_upload``: delete the file afterwards.
    """
    dataset, file = Dataset.objects.get(pk=run.dataset_id), Path(run.params["file"])
    options = CropOptions(run.params.get("threshold"), run.params.get("category") or ANIMAL)
    try:
        with file.open("rb") as stream:
            document = read_detections(stream, file.name)
    except OSError as error:
        raise Refusal(f"{file} could not be read: {error.strerror or error}.", "Choose the file again.") from error
    result = crop_detections(dataset, document, options, run)
    if run.params.get("is_upload") is True:
        remove(file)
    return result


@background(
    kind=KIND,
    queue="heavy",
    title="Reading header cards",
    restartable=True,
    key="read_cards:{dataset_id}:{cards}",
    unit="images",
)
def run_read_cards(run: Run) -> dict[str, Any]:
    """Create fields from the header cards ``cards``; without any, update existing fields from new files."""
    dataset = Dataset.objects.get(pk=run.dataset_id)
    result = read_cards(dataset, run, list(run.params.get("cards") or ()))
    # Files that an ingest added before a field needed their headers.
    read_new_cards(Dataset, dataset_id=dataset.pk)
    return result
