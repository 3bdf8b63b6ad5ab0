"""Define the parts of reports that all table imports share."""

from __future__ import annotations

from dataclasses import dataclass, field

from labeling.tables.encoding import guessed_note

# Number of names that a report lists of each kind. Others are only counted.
LISTED = 1000
# Number of them that a page shows.
SHOWN = 50


@dataclass
class Names:
    """A number of lines, and the first distinct names on them."""

    lines: int = 0
    names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Count a line about ``name``."""
        self.lines += 1
        if len(self.names) < LISTED:
            self.names.setdefault(name)

    @property
    def shown(self) -> list[str]:
        """Return the names that a page shows."""
        return list(self.names)[:SHOWN]


@dataclass
class TableReport:
    """The result of a table import.

    ``rows``: lines of the file. ``key_column``: the file's name of the column that names the images. ``by_name``: lines
    whose item was found by its file name although a path was expected. ``ambiguous``: file names of several items.
    ``unknown``: names of no item.
    """

    rows: int = 0
    by_name: int = 0
    encoding: str = ""
    key_column: str = ""
    unknown: Names = field(default_factory=Names)
    ambiguous: Names = field(default_factory=Names)

    @property
    def encoding_note(self) -> str:
        """Return what to check if the encoding is a guess; empty if it is certain."""
        return guessed_note(self.encoding)

    def common_json(self) -> dict[str, object]:
        """Return the entries that all imports report for ``--json``. Lists have at most 1000 names."""
        return {
            "rows": self.rows,
            "key_column": self.key_column,
            "found_by_name": self.by_name,
            "encoding": self.encoding,
            "ambiguous_names": list(self.ambiguous.names),
            "lines_with_ambiguous_name": self.ambiguous.lines,
        }
