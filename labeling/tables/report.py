"""What the imports of tables report alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from labeling.tables.encoding import guessed_note

# Names that a report lists of each kind; the rest is only counted.
LISTED = 1000


@dataclass
class Names:
    """A count of lines, and the first different names on them."""

    lines: int = 0
    names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Count a line about ``name``."""
        self.lines += 1
        if len(self.names) < LISTED:
            self.names.setdefault(name)


@dataclass
class TableReport:
    """What an import of a table did. ``rows``: lines of the file; ``key_column``: what it calls the column of images.

    ``by_name``: lines whose item was found by file name where a path was looked for; ``ambiguous``: file names that
    more than one item has; ``unknown``: names of no item.
    """

    rows: int = 0
    by_name: int = 0
    encoding: str = ""
    key_column: str = ""
    unknown: Names = field(default_factory=Names)
    ambiguous: Names = field(default_factory=Names)

    @property
    def encoding_note(self) -> str:
        """Return what to check where the encoding is a guess; empty where it is certain."""
        return guessed_note(self.encoding)

    def common_json(self) -> dict[str, object]:
        """Return for ``--json`` what all imports report; the lists hold a thousand names at most."""
        return {
            "rows": self.rows,
            "key_column": self.key_column,
            "found_by_name": self.by_name,
            "encoding": self.encoding,
            "ambiguous_names": list(self.ambiguous.names),
            "lines_with_ambiguous_name": self.ambiguous.lines,
        }
