"""Read tables of astronomy: ECSV and VOTable."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows


class _AstropyTable(Importer):
    """Read a table with astropy."""

    library = "astropy"
    order = 20
    format: str

    def rows(self, file: File) -> Rows:
        """Read the table."""
        from astropy.table import Table

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about units and versions of the standard
                table = Table.read(io.BytesIO(file.content()), format=self.format)
        except Exception as error:
            # Astropy raises errors of many kinds, also those of the parsers of XML and YAML.
            reason = " ".join(str(error).split())[:200]
            raise Refusal(
                f"This looks like {self.title}, but it can't be read ({reason}).", "Save it again."
            ) from error
        columns = [name for name in table.colnames if table[name].ndim == 1]

        def read() -> Iterator[tuple[int, list[Any]]]:
            values = [[_plain(value) for value in table[name].tolist()] for name in columns]
            for number, row in enumerate(zip(*values, strict=True), 1):
                yield number, list(row)

        return Rows(tuple(columns), read)


def _plain(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class Ecsv(_AstropyTable):
    """Read ECSV, the text format of astropy."""

    name = "ecsv"
    title = "ECSV"
    sentence = "Tables of text with a header of astropy."
    format = "ascii.ecsv"

    def recognizes(self, file: File) -> bool:
        """Return whether the file begins like ECSV."""
        return file.text.startswith("# %ECSV")


class VOTable(_AstropyTable):
    """Read VOTable, the XML format of the Virtual Observatory."""

    name = "votable"
    title = "VOTable"
    sentence = "XML tables of the Virtual Observatory, as of TOPCAT and Vizier."
    format = "votable"

    def recognizes(self, file: File) -> bool:
        """Return whether the file has the root element of VOTables."""
        return "<VOTABLE" in file.text[:4096]

    def rows(self, file: File) -> Rows:
        """Read the table, unless it defines entities, which may unpack to gigabytes."""
        if "<!DOCTYPE" in file.text or "<!ENTITY" in file.text:
            raise Refusal(
                "This VOTable has a document type declaration, which is not read.", "Remove the line <!DOCTYPE."
            )
        return super().rows(file)
