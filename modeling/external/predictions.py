"""Import predictions from a file as a model version of the kind "external"."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.core.storage import block_lengths, require_space
from labeling.decisions import classes as label_classes
from labeling.importing.class_spellings import word_of
from labeling.models import Dataset, LabelClass
from labeling.tables.report import Names
from labeling.tables.row_finder import RowFinder
from modeling import signals, store
from modeling.algorithms.calibration import softmax
from modeling.algorithms.measure import Measured, logits_of, measure
from modeling.assistive.training_set import TrainingSet, read_training_set
from modeling.backends.encoder import file_sha256
from modeling.encoders.pipeline import count_rows
from modeling.external import prediction_files
from modeling.external.prediction_files import Batch, PredictionFile
from modeling.models import ModelVersion
from modeling.versions import model_files

# How far the probabilities of a row may be from a sum of 1: files round them.
TOLERANCE = 0.02
# How much two predictions of one image may differ.
CLOSE = 1e-3
MAX_CLASSES = 10_000
_NAME = re.compile(r"[^\x00-\x1f]{1,80}")

Tell = Callable[[str, int, int], None]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Request:
    """Represent an import of predictions.

    ``title`` is the name of the file for people; ``kind`` says what its keys are.
    """

    file: Path
    name: str = ""
    kind: str = ""
    may_create: bool = False
    title: str = ""
    by: str = ""

    @property
    def file_name(self) -> str:
        return self.title or self.file.name

    @property
    def version_name(self) -> str:
        """Return the name of the model: by default that of the file. Raises Refusal."""
        name = self.name.strip() or Path(self.file_name).stem
        if not _NAME.fullmatch(name):
            raise Refusal("The name of a model has at most 80 characters.", field="name")
        return name


@dataclass
class Report:
    """Hold the result of an import of predictions; see docs/reference/json.md for the keys of :meth:`as_json`."""

    name: str
    key: str
    classes: list[str] = field(default_factory=list)
    created_classes: list[str] = field(default_factory=list)
    rows: int = 0
    items: int = 0
    duplicates: int = 0
    without_prediction: int = 0
    unknown: Names = field(default_factory=Names)
    ambiguous: Names = field(default_factory=Names)
    not_numbers: Names = field(default_factory=Names)
    negative: Names = field(default_factory=Names)
    wrong_sum: Names = field(default_factory=Names)

    def as_json(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if not isinstance(value, Names)}
        for name in ("unknown", "ambiguous", "not_numbers", "negative", "wrong_sum"):
            names: Names = getattr(self, name)
            values |= {name: names.lines, f"{name}_names": list(names.names)}
        return values


def import_predictions(
    dataset: Dataset, request: Request, tell: Tell = lambda stage, done, total: None
) -> tuple[ModelVersion, Report]:
    """Import a file of predictions. Nothing changes if it is refused or interrupted.

    The probabilities are calibrated on the current labels and measured on them. The caller decides whether the version
    is used.

    Raises
    ------
    Refusal : the file cannot be read, names classes that the dataset does not have (unless ``may_create``), contradicts
        itself, or has no usable row.
    """
    name = request.version_name
    folder = Path(settings.STORE_DIR) / "imports"
    folder.mkdir(parents=True, exist_ok=True)
    tell("Reading the file", 0, 0)
    with prediction_files.opened(request.file, request.kind, folder) as opened:
        report = Report(name, opened.kind)
        named = opened.classes if opened.classes is not None else _labels_in(opened)
        columns = _columns(dataset, named, request.may_create, report)
        with _draft(folder, count_rows(dataset), len(named)) as P:
            _fill(P, dataset, opened, {label: place for place, label in enumerate(named)}, report, tell)
            has = ~np.isnan(P[:, 0])
            report.items = int(np.count_nonzero(has))
            report.without_prediction = max(0, dataset.n_items - dataset.n_missing - report.items)
            _refuse_nothing(report)
            return _saved(dataset, request, report, P, has, columns, tell), report


# -- Classes ---------------------------------------------------------------------------------------
def _labels_in(opened: PredictionFile) -> list[str]:
    """Return the distinct labels of a file with a label and a score a row."""
    found: dict[str, None] = {}
    for batch in opened.batches():
        found |= dict.fromkeys(label for label in batch.labels or () if label.strip())
        _refuse_many(len(found))
    return list(found)


def _refuse_many(n_classes: int) -> None:
    if n_classes > MAX_CLASSES:
        raise Refusal(f"The file has more than {MAX_CLASSES:,} classes.", "Is the column of labels the right one?")


def _columns(dataset: Dataset, named: list[str], may_create: bool, report: Report) -> list[int | str]:
    """Return the id of the class of each column, or its name if it has to be created. Raises Refusal."""
    _refuse_many(len(named))
    if len(named) < 2:
        raise Refusal(
            f"The file has predictions of {counted(len(named), 'class', 'classes')}.", "A model needs two classes."
        )
    by_word = {word_of(label.name): label for label in LabelClass.objects.active().filter(dataset=dataset)}
    spellings = [word_of(name) for name in named]
    counts = Counter(spellings)
    if repeated := next((name for name, word in zip(named, spellings, strict=True) if counts[word] > 1), None):
        raise Refusal(f"Several columns or labels are about the class {repeated!r}.", "Give each class one name.")
    unknown = [name for name, word in zip(named, spellings, strict=True) if word not in by_word]
    if unknown and not may_create:
        shown = ", ".join(name[:60] for name in unknown[:10]) + (" …" if len(unknown) > 10 else "")
        raise Refusal(
            f"The dataset does not have {counted(len(unknown), 'class', 'classes')} of the file: {shown}.",
            "Create them (--create-classes), or rename the columns to the classes of the dataset.",
        )
    report.created_classes = [label_classes.tidy_name(name) for name in unknown]
    return [
        by_word[word].pk if word in by_word else label_classes.tidy_name(name)
        for name, word in zip(named, spellings, strict=True)
    ]


# -- Rows ------------------------------------------------------------------------------------------
@contextmanager
def _draft(folder: Path, n_rows: int, n_classes: int) -> Iterator[Floats]:
    """Yield a temporary array float32 (n_rows, n_classes) on disk, filled with NaN."""
    require_space(folder, 2 * n_rows * n_classes * 4)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as copies:
        P: Any = np.lib.format.open_memmap(
            Path(copies) / "predictions.npy", mode="w+", dtype=np.float32, shape=(n_rows, n_classes)
        )
        P[:] = np.nan
        yield P


def _fill(
    P: Floats, dataset: Dataset, opened: PredictionFile, places: Mapping[str, int], report: Report, tell: Tell
) -> None:
    """Write the sound predictions of all known images. Raises Refusal if an image has two different ones."""
    finder, differing = RowFinder(dataset, opened.kind), Names()
    for batch in opened.batches():
        values = _probabilities(batch, places)
        sound = _sound(batch, values, report)
        found = finder(batch.keys, report.rows + 1)
        for position in found.unknown:
            report.unknown.add(batch.keys[position])
        for position in found.ambiguous:
            report.ambiguous.add(batch.keys[position])
        for position, row in zip(found.positions.tolist(), found.rows.tolist(), strict=True):
            if not sound[position]:
                continue
            if np.isnan(P[row, 0]):
                P[row] = values[position] / values[position].sum()
            elif np.abs(P[row] - values[position]).max() <= CLOSE + TOLERANCE:
                report.duplicates += 1
            else:
                differing.add(batch.keys[position])
        report.rows += len(batch.keys)
        tell(f"Reading predictions, {report.rows:,} so far", 0, 0)
    if differing.lines:
        raise Refusal(
            f"{counted(differing.lines, 'row')} about an image with another prediction in an earlier row, such as "
            f"{next(iter(differing.names))}.",
            "Keep one prediction for each image.",
        )


def _probabilities(batch: Batch, places: Mapping[str, int]) -> NDArray[np.float64]:
    """Return the probabilities (m, c): a score belongs to its label, and the rest to all other classes alike."""
    if batch.labels is None:
        return batch.values
    rest = (1 - batch.values) / (len(places) - 1)
    values = np.repeat(rest[:, None], len(places), axis=1)
    for position, label in enumerate(batch.labels):
        if label in places:
            values[position, places[label]] = batch.values[position]
        else:
            values[position] = np.nan
    return values


def _sound(batch: Batch, values: NDArray[np.float64], report: Report) -> NDArray[np.bool_]:
    """Return which rows are probabilities (m,), and count those that are not."""
    with np.errstate(invalid="ignore"):
        is_finite = np.isfinite(values).all(axis=1)
        is_negative = is_finite & (values < 0).any(axis=1)
        is_wrong = is_finite & ~is_negative & (np.abs(values.sum(axis=1) - 1) > TOLERANCE)
    for mask, names in ((~is_finite, report.not_numbers), (is_negative, report.negative), (is_wrong, report.wrong_sum)):
        for position in np.flatnonzero(mask).tolist():
            names.add(batch.keys[position])
    return np.asarray(is_finite & ~is_negative & ~is_wrong)


def _refuse_nothing(report: Report) -> None:
    if report.items:
        return
    facts = {
        "about images that this dataset does not have": report.unknown,
        "with missing values or text instead of numbers": report.not_numbers,
        "with negative values": report.negative,
        "whose probabilities do not sum to 1": report.wrong_sum,
    }
    problems = [f"{counted(names.lines, 'row')} {what} (such as {next(iter(names.names))})"
            for what, names in facts.items() if names.lines]  # fmt: skip
    raise Refusal(
        f"The file has no usable prediction: {'; '.join(problems) or 'it has no rows'}.",
        "Probabilities are between 0 and 1 and sum to 1. Percentages and logits have to be converted.",
    )


# -- Version ---------------------------------------------------------------------------------------
def _saved(
    dataset: Dataset,
    request: Request,
    report: Report,
    P: Floats,
    has: NDArray[np.bool_],
    columns: list[int | str],
    tell: Tell,
) -> ModelVersion:
    """Calibrate, measure and save a version; delete it again if that fails."""
    tell("Calibrating on the labels", 0, 0)
    ids = [column for column in columns if isinstance(column, int)]
    labels = read_training_set(dataset, store.Vectors(P, has, 0, ""))
    extra = [class_id for class_id in labels.class_ids if class_id not in ids]
    measured = _measured(P, labels, columns, extra)
    with transaction.atomic():
        created = {name: label_classes.add(dataset, name).pk for name in report.created_classes}
        class_ids = [column if isinstance(column, int) else created[column] for column in columns] + extra
        version = _new_version(dataset, request, report, class_ids, labels, measured, len(P))
    try:
        with model_files.save_probabilities(version, len(P), len(class_ids)) as out:
            _write(out, P, measured, tell)
        if len(labels.rows):
            held = model_files.HeldOut(
                labels.rows, _positions(labels, class_ids), measured.held_out, labels.holdout.groups()
            )
            model_files.save_held_out(version, held)
    except BaseException:
        model_files.delete_files(version)
        version.delete()
        LabelClass.objects.filter(pk__in=created.values(), n_items=0).delete()
        raise
    names = dict(LabelClass.objects.filter(pk__in=class_ids).values_list("pk", "name"))
    report.classes = [names[class_id] for class_id in class_ids]
    signals.trained.send(sender=ModelVersion, version=version)
    return version


def _measured(P: Floats, labels: TrainingSet, columns: list[int | str], extra: list[int]) -> Measured:
    """Measure the predictions on the labels; a labeled class that the file lacks has probability 0."""
    places = {class_id: place for place, class_id in enumerate([*columns, *extra])}
    y = np.array([places[labels.class_ids[at]] for at in labels.y.tolist()], np.int64)
    probabilities = np.pad(P[labels.rows], ((0, 0), (0, len(extra))))
    return measure(probabilities, y, is_audit=labels.is_audit, groups=labels.holdout.groups())


def _positions(labels: TrainingSet, class_ids: list[int]) -> NDArray[np.int64]:
    places = np.array([class_ids.index(class_id) for class_id in labels.class_ids], np.int64)
    return places[labels.y]


def _write(out: Floats, P: Floats, measured: Measured, tell: Tell) -> None:
    """Write the calibrated probabilities of all images."""
    start, n_extra = 0, out.shape[1] - P.shape[1]
    for count in block_lengths(len(P), 4 * out.shape[1]):
        block = np.pad(P[start : start + count], ((0, 0), (0, n_extra)))
        out[start : start + count] = softmax(measured.calibration.logits(logits_of(block)))
        start += count
        tell("Writing the predictions", start, len(P))


def _new_version(
    dataset: Dataset,
    request: Request,
    report: Report,
    class_ids: list[int],
    labels: TrainingSet,
    measured: Measured,
    n_rows: int,
) -> ModelVersion:
    newest = ModelVersion.objects.filter(dataset=dataset).aggregate(newest=Max("number"))["newest"] or 0
    return ModelVersion.objects.create(
        dataset=dataset,
        kind=ModelVersion.Kind.EXTERNAL,
        options={
            "name": report.name,
            "file": request.file_name,
            "sha256": file_sha256(request.file),
            "imported_at": timezone.now().isoformat(timespec="seconds"),
            "by": request.by,
            "images": report.items,
        },
        number=newest + 1,
        class_ids=class_ids,
        n_labels=len(labels.y),
        n_rows=n_rows,
        n_decisions=labels.n_decisions,
        calibration_method=measured.calibration.method,
        calibration_params=measured.calibration.params,
        temperature=measured.calibration.temperature,
        is_calibrated=measured.is_calibrated,
        calibration_note=measured.note,
        metrics=measured.metrics,
    )
