"""Read workbooks of Excel and LibreOffice."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import python_calamine

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows

# Members by which a ZIP archive is known as a workbook: Excel's two formats, and OpenDocument.
_MEMBERS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
# A small file may unpack to far more than a sheet of a million rows.
_MOST_UNPACKED = 2**30


class Spreadsheet(Importer):
    """Read the first sheet that has rows."""

    name = "spreadsheet"
    title = "Excel or OpenDocument spreadsheet"
    sentence = "The first sheet with rows of an .xlsx, .xlsb, .xls or .ods file. Its first row names the columns."
    library = "openpyxl"
    order = 10

    def recognizes(self, file: File) -> bool:
        """Return whether the file is a workbook."""
        if file.head.startswith(_OLD_EXCEL):
            return True
        return file.head.startswith(b"PK\x03\x04") and bool(set(_MEMBERS) & set(_members(file)))

    def rows(self, file: File) -> Rows:
        """Read the sheet."""
        unpacked = sum(_members(file).values())
        if unpacked > _MOST_UNPACKED:
            limit = _MOST_UNPACKED // 2**20
            raise Refusal(f"The workbook unpacks to more than {limit:,} MiB.", "Save the sheet as CSV.")
        try:
            book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(file.content()))
            sheets = [book.get_sheet_by_name(name).to_python() for name in book.sheet_names]
        except python_calamine.CalamineError as error:
            raise Refusal(
                f"This looks like a workbook, not a text file but an Excel workbook that can't be read ({error}).",
                "Save the sheet as CSV in UTF-8.",
            ) from error
        filled = next((rows for rows in sheets if any(_has_values(row) for row in rows)), None)
        if filled is None:
            raise Refusal("The workbook is empty.")
        top = next(number for number, row in enumerate(filled) if _has_values(row))
        headers = tuple(str(value) for value in filled[top])
        return Rows(headers, lambda: _numbered(filled, top))


def _numbered(rows: Sequence[Sequence[Any]], top: int) -> Iterator[tuple[int, Sequence[Any]]]:
    yield from ((number + 1, rows[number]) for number in range(top + 1, len(rows)))


def _has_values(row: Sequence[Any]) -> bool:
    return any(value not in ("", None) for value in row)


def _members(file: File) -> dict[str, int]:
    """Return the sizes of the files in a ZIP archive; empty if it is none."""
    try:
        with zipfile.ZipFile(file.stream) as archive:
            return {member.filename: member.file_size for member in archive.infolist()}
    except zipfile.BadZipFile:
        return {}
