"""Make images of the detections in a MegaDetector file: crops in a dataset of their own, each with its source and box.

The crops are files in the store, so images are never changed, and backups hold them. Their metadata fields name the
source and the box; exports have them. Crops of one source are grouped, so that they never cross splits.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.db.models import Min

from hoshina.core.errors import Refusal
from hoshina.core.storage import replacing, require_space
from hoshina.jobs.runner import Run
from labeling.exporting.canonical_text import csv_line
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.fields.split_groups import Groups, choose, chosen
from labeling.images.crops import Box
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.importing.formats.base import File
from labeling.importing.formats.coco import MegaDetector, MegaDetectorFile
from labeling.ingest.dataset_folder import NAME_LENGTH, UPLOADS, create_dataset, stored_root
from labeling.ingest.scan import ingest
from labeling.models import Dataset, Field, Frame
from labeling.tables.item_column import ANY
from labeling.tables.item_lookup import SEVERAL
from labeling.tables.match_rows import Matcher

KIND = "crop_detections"
ANIMAL = "animal"
# MegaDetector's own recommendation, where the file has none.
_THRESHOLD = 0.2
_COLUMNS = (
    "path", "source_path", "source_item_id", "box", "detection_category", "detection_confidence", "classification",
    "classification_confidence",
)  # fmt: skip
_BATCH = 200
_LONGEST_NAME = 100
_SPARE = 256 * 2**20
_SHOWN = 100


@dataclass(frozen=True)
class CropOptions:
    """Say which detections become images: those of a ``category`` with at least this confidence (None: recommended)."""

    threshold: float | None = None
    category: str = ANIMAL


@dataclass(frozen=True)
class _Crop:
    """Represent a detection: its box, and its values for metadata."""

    box: Box
    values: tuple[Any, ...]

    @property
    def corners(self) -> str:
        """Return the box in its file's name, in ten-thousandths of the image."""
        return "-".join(f"{round(share * 10_000):05d}" for share in self.box)

    def name(self, source: Frame) -> str:
        """Return the path of its file, the same each time."""
        path = PurePosixPath(source.path)
        stem = path.name.replace(".", "_").encode()[:_LONGEST_NAME].decode(errors="ignore")
        return str(path.parent / f"{stem}-{source.item_id}-{self.corners}{suffix_of(source)}")


@dataclass
class _Counts:
    """Count what a run did; ``failed`` has the first images that could not be read."""

    images: int = 0
    crops: int = 0
    new: int = 0
    unknown: int = 0
    ambiguous: int = 0
    n_failed: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)


def read_detections(stream: BinaryIO, name: str = "") -> MegaDetectorFile:
    """Return the content of a MegaDetector file. Raises Refusal if it is none."""
    file = File(stream, name)
    importer = MegaDetector()
    if not importer.recognizes(file):
        raise Refusal(
            "This is not a file of MegaDetector: it has no detection_categories.", "Only detections can become crops."
        )
    return importer.document(file)


def threshold_of(document: MegaDetectorFile, options: CropOptions) -> float:
    """Return the smallest confidence of detections that become images. Raises Refusal if no category fits."""
    if options.category not in document.detection_categories.values():
        names = ", ".join(document.detection_categories.values())
        raise Refusal(f"The file has no category {options.category!r}.", f"Its categories are {names}.")
    if options.threshold is not None:
        return options.threshold
    recommended = document.info.detector_metadata.get("typical_detection_threshold")
    return float(recommended) if isinstance(recommended, (int, float)) and 0 <= recommended <= 1 else _THRESHOLD


def crop_detections(dataset: Dataset, document: MegaDetectorFile, options: CropOptions, run: Run) -> dict[str, Any]:
    """Make a dataset of the detections of a dataset's images; running it again only adds what is missing.

    Returns ``dataset slug images crops new unknown ambiguous n_failed failed threshold seconds``, where ``images`` have
    crops, and ``unknown`` images of the file are not in the dataset. Raises Refusal if there is nothing to crop.
    """
    if settings.DATA_DIR is not None:
        raise Refusal("AL_DATA_DIR replaces the folder of every dataset, so there is none for crops.", "Unset it.")
    threshold = threshold_of(document, options)
    folder = Path(settings.STORE_DIR) / UPLOADS / f"crops-of-{dataset.pk}"
    wanted = list(_wanted(document, options.category, threshold))
    counts = _Counts()
    group = chosen(dataset)
    with tempfile.TemporaryFile() as spooled:
        table = cast("BinaryIO", spooled)
        columns = (*_COLUMNS, group_column(group)) if group else _COLUMNS
        table.write(csv_line(columns).encode())
        run.stage("Cropping the detections")
        _write_all(dataset, wanted, folder, group, table, counts, run)
        if not counts.crops:
            raise Refusal(_nothing(len(document.images), counts, options.category, threshold))
        made = _dataset_of(folder, f"{dataset.name[: NAME_LENGTH - 9]} crops")
        result = ingest(made, run)
        run.stage("Saving sources and boxes")
        table.seek(0)
        texts = dict.fromkeys(set(columns) - {"path", "source_item_id", "detection_confidence",
                                              "classification_confidence"}, Field.Kind.TEXT.value)  # fmt: skip
        used = _used_columns(columns, wanted)
        kinds = {name: texts[name] for name in used if name in texts}
        # An image may be in the file twice.
        import_fields(made, table, Wish("path", "path", used), kinds, last_applies=True)
        choose(made, columns[-1] if group else "source_path")
    return {
        "dataset": made.name, "slug": made.slug, "images": counts.images, "crops": counts.crops, "new": counts.new,
        "unknown": counts.unknown, "ambiguous": counts.ambiguous, "n_failed": counts.n_failed, "failed": counts.failed,
        "threshold": threshold, "seconds": result["seconds"],
    }  # fmt: skip


def _dataset_of(folder: Path, name: str) -> Dataset:
    """Return the dataset of the crops, whatever it is called by now, or a new one."""
    root = Path(os.path.realpath(folder))
    found = Dataset.objects.present().filter(root=stored_root(root)).first()
    return found or create_dataset(name, root)


def group_column(group: Field) -> str:
    """Return the name of the field that groups crops like their sources."""
    return f"source {group.name}" if group.name.lower() in (*_COLUMNS, "item_id") else group.name


def suffix_of(source: Frame) -> str:
    """Return the suffix of crops: JPEG is not decoded and packed without loss, other formats are."""
    return ".jpg" if source.format == "JPEG" else ".png"


# -- The file ------------------------------------------------------------------------------------------
def _wanted(document: MegaDetectorFile, category: str, threshold: float) -> Iterator[tuple[str, list[_Crop]]]:
    """Yield the images with detections that become images. Detections in frames of videos are left out."""
    ids = {key for key, name in document.detection_categories.items() if name == category}
    for image in document.images:
        found = [
            _Crop(_checked(each.bbox, image.file), (category, each.conf, *document.classification(each)))
            for each in sorted(image.detections or (), key=lambda each: each.conf)
            if each.category in ids and each.conf >= threshold and each.frame_number is None
        ]
        if found:  # of equal boxes the last one, with the highest confidence
            yield image.file, list({crop.corners: crop for crop in found}.values())


def _checked(box: Sequence[float] | None, file: str) -> Box:
    """Return a box. Raises Refusal if it is none."""
    is_sound = box is not None and len(box) == 4 and all(-0.01 <= share <= 1.01 for share in box)
    if box is None or not is_sound or box[2] <= 0 or box[3] <= 0:
        raise Refusal(
            f"A detection in {file[:100]!r} has the box {box}, which is not left, top, width and height as shares of "
            "the image.",
            "Run MegaDetector again, or correct the file.",
        )
    left, top, width, height = (min(1.0, max(0.0, share)) for share in box)
    return left, top, width, height


def _used_columns(columns: Sequence[str], wanted: Sequence[tuple[str, list[_Crop]]]) -> tuple[str, ...]:
    """Return the columns that become fields: those of classifications only if there are any."""
    is_classified = any(crop.values[2] for _, crops in wanted for crop in crops)
    return tuple(name for name in columns[1:] if is_classified or not name.startswith("classification"))


# -- The crops -----------------------------------------------------------------------------------------
def _write_all(
    dataset: Dataset,
    wanted: Sequence[tuple[str, list[_Crop]]],
    folder: Path,
    group: Field | None,
    table: BinaryIO,
    counts: _Counts,
    run: Run,
) -> None:
    """Write the missing crops, and a line of the table for each."""
    match, groups = Matcher(dataset, ANY), Groups(group) if group else None
    rest, done = iter(wanted), 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="crops") as pool:
        while batch := list(islice(rest, _BATCH)):
            items = match([file for file, _ in batch])
            sources = _sources([item.pk for item in items if item.pk >= 0])
            counts.ambiguous += sum(item == SEVERAL for item in items)
            found = [(sources[item.pk], crops) for item, (_, crops) in zip(items, batch, strict=True)
                     if item.pk in sources]  # fmt: skip
            counts.unknown += len(batch) - len(found) - sum(item == SEVERAL for item in items)
            values = _group_values(groups, [source for source, _ in found])
            outcomes = pool.map(lambda pair: _written(dataset, pair[0], pair[1], folder), found)
            for (source, crops), value, outcome in zip(found, values, outcomes, strict=True):
                _note(table, source, crops, value, outcome, counts)
            done += len(batch)
            run.progress(done, len(wanted))


def _sources(items: list[int]) -> dict[int, Frame]:
    """Return the first file of each item that is there."""
    firsts = Frame.objects.filter(item__in=items, item__is_available=True).values("item").annotate(first=Min("pk"))
    frames = Frame.objects.filter(pk__in=[each["first"] for each in firsts]).select_related("dataset", "item")
    return {frame.item_id: frame for frame in frames}


def _group_values(groups: Groups | None, sources: Sequence[Frame]) -> list[str]:
    """Return the value by which each source is grouped, its path if it has none; "" without groups."""
    if groups is None:
        return [""] * len(sources)
    texts = groups.texts(array("q", (source.item.row for source in sources)))
    return [text or source.path for text, source in zip(texts, sources, strict=True)]


def _written(dataset: Dataset, source: Frame, crops: Sequence[_Crop], folder: Path) -> int | ImageProblem | OSError:
    """Write the missing crops of an image. Return how many, or why it cannot be read."""
    missing = [crop for crop in crops if not (folder / crop.name(source)).exists()]
    if not missing:
        return 0
    try:
        contents = decoders().crops(source.file, [crop.box for crop in missing], suffix_of(source), dataset.shown_as)
    except (ImageProblem, OSError) as problem:
        return problem
    require_space(folder, sum(map(len, contents)) + _SPARE)
    for crop, content in zip(missing, contents, strict=True):
        with replacing(folder / crop.name(source)) as stream:
            stream.write(content)
    return len(missing)


def _note(
    table: BinaryIO, source: Frame, crops: Sequence[_Crop], group: str, outcome: int | Exception, counts: _Counts
) -> None:
    if isinstance(outcome, Exception):
        counts.n_failed += 1
        if len(counts.failed) < _SHOWN:
            counts.failed.append({"path": source.path, "reason": str(outcome)})
        return
    counts.images += 1
    counts.crops += len(crops)
    counts.new += outcome
    for crop in crops:
        line = (crop.name(source), source.path, source.item_id, json.dumps(crop.box), *crop.values)
        table.write(csv_line((*line, group) if group else line).encode())


def _nothing(n_images: int, counts: _Counts, category: str, threshold: float) -> str:
    if counts.n_failed:
        return f"No image could be read. {counts.failed[0]['path']}: {counts.failed[0]['reason']}"
    if counts.unknown or counts.ambiguous:
        return "The file names no image of this dataset. Run MegaDetector on the dataset's folder with relative paths."
    return (
        f"None of the {n_images:,} images in the file has a detection of {category} with a confidence of at least "
        f"{threshold:g}. Choose a lower one with --crop-threshold."
    )
