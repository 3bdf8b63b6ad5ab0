"""Read tables of text: CSV, TSV and other separators."""

from __future__ import annotations

from labeling.importing.formats.base import File, Importer, Rows
from labeling.importing.formats.unsupported import appearance_of
from labeling.tables import layout as tables
from labeling.tables.layout import Layout, Rank


class Delimited(Importer):
    """Read CSV and TSV in any encoding and with the usual separators."""

    name = "csv"
    title = "CSV"
    sentence = "Tables of text with commas, semicolons, tabs or bars between the columns."
    library = "pandas"
    order = 100

    def recognizes(self, file: File) -> bool:
        """Return whether no other format is apparent."""
        return not appearance_of(file)

    def layout(self, file: File, rank: Rank) -> Layout:
        """Detect encoding and separator."""
        return tables.layout_of(file.stream, rank, file.encoding)

    def rows(self, file: File) -> Rows:
        """Read the table. Importers of formats within CSV files use it."""
        layout = tables.layout_of(file.stream, lambda headers: 1, file.encoding)
        return Rows(layout.headers, lambda: tables.rows_of(file.stream, layout))
