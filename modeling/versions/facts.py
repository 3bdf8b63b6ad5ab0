"""Collect the facts about a version for its page: its classes, its confusion matrix and the images behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from hoshina.core.plural import counted
from labeling.decisions.save import surviving
from labeling.models import Dataset, LabelClass
from modeling.models import ModelVersion
from modeling.versions.model_files import has_held_out


@dataclass(frozen=True)
class Named:
    """A class of a version: its own name, and the class that it is now (None: it was deleted)."""

    class_id: int
    name: str
    label: LabelClass | None

    @property
    def title(self) -> str:
        """Return the name, and whether the class was deleted or merged."""
        if self.label is None:
            return f"{self.name} (deleted)" if self.name else "deleted"
        return self.name if self.label.pk == self.class_id else f"{self.name} (now {self.label.name})"


@dataclass(frozen=True)
class Cell:
    """Images labeled as one class and predicted as another; ``href`` opens them in the grid."""

    n: int
    share: float
    is_right: bool
    title: str
    href: str


@dataclass(frozen=True)
class ConfusionRow:
    """One row of the confusion matrix: the images of one label."""

    named: Named
    cells: list[Cell]
    total: int
    recall: float | None


@dataclass(frozen=True)
class ClassLine:
    """The metrics of one class; None if nothing was held out. ``confused`` is the most frequent error."""

    named: Named
    n: int | None
    precision: float | None
    recall: float | None
    f1: float | None
    confused: Cell | None
    confused_with: str = ""


def classes_of(dataset: Dataset) -> dict[int, LabelClass]:
    """Return every class that the dataset ever had by its id; merges are followed without another query."""
    classes = {label.pk: label for label in LabelClass.objects.filter(dataset=dataset)}
    for label in classes.values():
        if label.merged_into_id in classes:
            label.merged_into = classes[label.merged_into_id]
    return classes


def survivors(classes: Mapping[int, LabelClass]) -> dict[int, LabelClass | None]:
    """Return the current class of each class by its id, None for deleted ones."""
    return {class_id: surviving(label) for class_id, label in classes.items()}


def names_of(version: ModelVersion, classes: Mapping[int, LabelClass]) -> list[Named]:
    """Return the version's classes, in the order of its columns."""
    labels = [(class_id, classes.get(class_id)) for class_id in version.class_ids]
    return [Named(class_id, label.name if label else "", surviving(label)) for class_id, label in labels]


# -- Confusion ------------------------------------------------------------------------------------
def confusion(dataset: Dataset, version: ModelVersion, names: Sequence[Named]) -> list[ConfusionRow]:
    """Return the confusion matrix, one row per label; entries link to their images while the held-out file exists."""
    counts = version.metrics.get("confusion") or []
    has_items = bool(counts) and has_held_out(version)
    rows = []
    for label, row in zip(names, counts, strict=False):  # there are none if nothing was held out
        total, cells = sum(row), []
        for predicted, n in zip(names, row, strict=True):
            is_right, ids = predicted is label, {"label": label.class_id, "predicted": predicted.class_id}
            outcome = "predicted correctly" if is_right else f"predicted as {predicted.title}"
            title = f"{n} of {total} labeled {label.title}, {outcome}"
            href = _workbench_url(dataset, **ids, confused=version.number) if n and has_items else ""
            cells.append(Cell(n, n / total if total else 0.0, is_right, title, href))
        recall = next(cell.share for cell in cells if cell.is_right) if total else None
        rows.append(ConfusionRow(label, cells, total, recall))
    return rows


def differing_url(dataset: Dataset, first: ModelVersion, second: ModelVersion, side: str) -> str:
    """Return the URL of the workbench with the images on which two versions differ and ``side`` is right."""
    return _workbench_url(dataset, differ=f"{first.number}-{second.number}", right=side)


def _workbench_url(dataset: Dataset, **filters: object) -> str:
    return f"{reverse('workbench', args=[dataset.slug])}?{urlencode({'queue': 'all', 'state': 'any', **filters})}"


# -- Classes --------------------------------------------------------------------------------------
def class_lines(version: ModelVersion, names: Sequence[Named], rows: Sequence[ConfusionRow]) -> list[ClassLine]:
    """Return a line for each class; metrics that older versions lack are computed from the confusion matrix."""
    metrics: dict[str, Any] = version.metrics
    counts = metrics.get("n_per_class") or [row.total for row in rows] or [None] * len(names)
    precision, recall = (metrics.get(name) or [None] * len(names) for name in ("precision", "recall"))
    f1 = metrics.get("f1") or [_f1(*pair) for pair in zip(precision, recall, strict=True)]
    lines = []
    for at, named in enumerate(names):
        worst = _worst(rows[at]) if rows else None
        confused = None if worst is None else rows[at].cells[worst]
        other = "" if worst is None else names[worst].title
        lines.append(ClassLine(named, counts[at], precision[at], recall[at], f1[at], confused, other))
    return lines


def _worst(row: ConfusionRow) -> int | None:
    """Return the column of the most frequent error, the first of ties."""
    wrong = [(0 if cell.is_right else cell.n) for cell in row.cells]
    return wrong.index(max(wrong)) if any(wrong) else None


def _f1(precision: float | None, recall: float | None) -> float | None:
    if recall is None:
        return None
    if not precision or not recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)


# -- Groups ---------------------------------------------------------------------------------------
def groups_text(version: ModelVersion) -> str:
    """Describe by which field images were held out together; "" if only identical files were."""
    together: dict[str, Any] | None = version.metrics.get("together")
    if not together:
        return ""
    name, n_groups, largest = (
        together["field"],
        counted(together["groups"], "group"),
        counted(together["largest"], "label"),
    )
    text = f"Images of one {name} were held out together: {n_groups}, the largest with {largest}"
    return text + (f"; {counted(together['unknown'], 'label')} without a {name}." if together["unknown"] else ".")


def other_choice(version: ModelVersion, dataset: Dataset) -> str:
    """Describe what the dataset holds out together now if that differs from the version; "" otherwise."""
    together: dict[str, Any] | None = version.metrics.get("together")
    if (together["field_id"] if together else None) == dataset.together_by_id:
        return ""
    field = dataset.together_by
    now = f"images of one {field.name} are" if field else "only identical files are"
    return f"By the current setting, {now} held out together. This applies from the next training on."
