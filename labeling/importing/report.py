"""Define the report of a label import, before and after it."""

from __future__ import annotations

from dataclasses import dataclass, field

from labeling.tables.report import LISTED, Names, TableReport


@dataclass(frozen=True)
class Replaced:
    """Represent a label that another one replaces."""

    path: str
    before: str
    after: str
    annotator: str

    def as_json(self) -> dict[str, str]:
        """Return it for ``--json``."""
        return dict(vars(self))


@dataclass
class Replacements:
    """Hold the number of decisions that an import replaces, by who made them, and the first of them."""

    by: dict[str, int] = field(default_factory=dict)
    examples: list[Replaced] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Return the number of decisions replaced."""
        return sum(self.by.values())

    @property
    def shown(self) -> list[Replaced]:
        """Return the examples that a page shows."""
        return self.examples[:20]


@dataclass
class Report(TableReport):
    """Hold the result of an import.

    ``applied`` and ``unchanged``: items. ``matched``: lines about items of the dataset. ``undecided``: lines without a
    label that are neither unsure nor skipped. ``repeated``: lines about items that a later line overrides. ``merged``:
    labels that were read as another spelling of a class, and the name of this class. ``import_id``: by which the import
    can be undone. ``n_new``: items without a decision before. ``replaced``: decisions before. ``new_classes``: numbers
    of items by class, for classes that do not exist (yet). ``fields``: metadata fields. ``unknown_annotators``: names
    that no account has, which are kept in the field of ``annotator_field``. ``n_remarks``: items with a flag, tags or
    notes.
    """

    applied: int = 0
    unchanged: int = 0
    matched: int = 0
    undecided: int = 0
    repeated: int = 0
    label_column: str = ""
    format: str = "CSV"
    import_id: str = ""
    n_new: int = 0
    n_remarks: int = 0
    merged: dict[str, str] = field(default_factory=dict)
    unknown_classes: Names = field(default_factory=Names)
    created_classes: list[str] = field(default_factory=list)
    new_classes: dict[str, int] = field(default_factory=dict)
    replaced: Replacements = field(default_factory=Replacements)
    fields: list[str] = field(default_factory=list)
    unknown_annotators: list[str] = field(default_factory=list)

    @property
    def is_about_nothing(self) -> bool:
        """Return whether no line is about an item of the dataset."""
        return 0 < self.rows == self.unknown.lines + self.ambiguous.lines

    def as_json(self) -> dict[str, object]:
        """Return the report for ``import_labels --json``. Lists have at most 1000 names, and ``lines_…`` counts all."""
        return self.common_json() | {
            "applied": self.applied,
            "unchanged": self.unchanged,
            "unknown_paths": list(self.unknown.names),
            "unknown_classes": list(self.unknown_classes.names),
            "created_classes": self.created_classes,
            "undecided": self.undecided,
            "repeated": self.repeated,
            "lines_with_unknown_path": self.unknown.lines,
            "lines_with_unknown_class": self.unknown_classes.lines,
            "label_column": self.label_column,
            "import_id": self.import_id if self.applied else None,
            "merged_labels": self.merged,
            "format": self.format,
            "matched": self.matched,
            "new_labels": self.n_new,
            "replaced": self.replaced.total,
            "replaced_by_annotator": self.replaced.by,
            "replaced_examples": [example.as_json() for example in self.replaced.examples[:LISTED]],
            "fields": self.fields,
            "unknown_annotators": self.unknown_annotators[:LISTED],
            "remarks": self.n_remarks,
        }
