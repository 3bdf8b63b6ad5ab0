"""Show what an import would do: what each column is, what matches, and which labels would change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import BinaryIO

from hoshina.core.errors import Refusal
from labeling.importing.class_spellings import NumbersQuestion
from labeling.importing.columns import TITLES, Choice, Role, detected, problem_of
from labeling.importing.label_table import sample_of, table_of
from labeling.importing.save_table import Report, preview_labels
from labeling.models import Dataset
from labeling.tables.encoding import guessed_note, seekable

_EXAMPLES, _EXAMPLE_LENGTH = 3, 60


@dataclass(frozen=True)
class ColumnPreview:
    """Represent a column of the file: its index, header and role, and its first values."""

    index: int
    header: str
    role: Role
    examples: list[str]

    def as_json(self) -> dict[str, object]:
        """Return it for ``import_labels --preview --json``."""
        return {"name": self.header, "role": str(self.role), "meaning": TITLES[self.role], "examples": self.examples}


@dataclass
class Preview:
    """Tell what an import would do.

    Without ``report``, there is a ``problem`` or a ``question`` about equal numbers.
    """

    format: str
    encoding_note: str
    columns: list[ColumnPreview]
    report: Report | None = None
    problem: str = ""
    question: list[list[str]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the preview for ``import_labels --preview --json``."""
        report = self.report.as_json() if self.report else {"format": self.format}
        return {
            "preview": True,
            "columns": [column.as_json() for column in self.columns],
            "problem": self.problem,
            "same_numbers": self.question,
            "new_classes": self.report.new_classes if self.report else {},
        } | report


def preview(dataset: Dataset, stream: BinaryIO, choice: Choice, *, create_classes: bool) -> Preview:
    """Read the file and compare it with the dataset, without saving. Raises Refusal if it is not a table."""
    with seekable(stream) as file:
        table = table_of(file, choice)
        sample = sample_of(file, table)
        roles, _ = detected(table.headers, choice, table.roles, sample)
        columns = [
            ColumnPreview(place, header, role, _examples(sample, place))
            for place, (header, role) in enumerate(zip(table.headers, roles, strict=True))
        ]
        shown = Preview(table.format, guessed_note(table.encoding), columns)
        problem = problem_of(table.headers, roles, choice)
        if problem is not None:
            return replace(shown, problem=str(problem))
        try:
            report = preview_labels(dataset, file, choice=choice, create_classes=create_classes)
        except NumbersQuestion as question:
            return replace(shown, question=[list(group) for group in question.groups])
        except Refusal as refusal:
            return replace(shown, problem=str(refusal))
    return replace(shown, report=report)


def _examples(sample: list[list[str]], place: int) -> list[str]:
    values = dict.fromkeys(row[place][:_EXAMPLE_LENGTH] for row in sample if place < len(row) and row[place].strip())
    return list(values)[:_EXAMPLES]
