"""Tell the format of a file that no importer reads, by its first bytes."""

from __future__ import annotations

from labeling.importing.formats.base import File

# The first bytes, at an offset, of formats that people may take for tables of labels.
_SIGNATURES = (
    (0, b"PK\x03\x04", "a ZIP archive, such as an Excel workbook", "Unpack it, and import the table inside."),
    (0, b"\x1f\x8b", "a gzip file", "Unpack it first."),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Save the table as CSV or Parquet."),
    (0, b"SQLite format 3\0", "an SQLite database", "Save the table as CSV."),
    (0, b"\x93NUMPY", "a NumPy array", "Save paths and labels as CSV."),
    (0, b"\x80\x04", "a Python pickle, which is not opened because it may run code", "Save the table as CSV."),
    (0, b"\x80\x05", "a Python pickle, which is not opened because it may run code", "Save the table as CSV."),
    (0, b"SIMPLE  =", "a FITS file", "Save the table as CSV or VOTable, for example with astropy."),
    (0, b"ARROW1", "an Arrow or Feather file", "Save the table as Parquet or CSV."),
    (0, b"%PDF", "a PDF document", "Save the table as CSV."),
    (0, b"\x89PNG", "a PNG image", "Choose the table with the labels."),
    (0, b"\xff\xd8\xff", "a JPEG image", "Choose the table with the labels."),
    (257, b"ustar", "a TAR archive", "Unpack it, and import the table inside."),
)


def appearance_of(file: File) -> str:
    """Return a sentence about what the file appears to be and what to do; empty if it may be a table of text."""
    for offset, signature, description, advice in _SIGNATURES:
        if file.head[offset:].startswith(signature):
            return f"This is not a text file but {description}. {advice}"
    if file.text.startswith("<?xml") or file.text.startswith("<!") or file.text[:200].lower().startswith("<html"):
        return "This looks like an XML or HTML file, but not like annotations of CVAT or a VOTable."
    if isinstance(file.json, list):
        return f"This looks like a JSON list{_with(file.first_keys)}, but not like annotations of a known program."
    if file.json is not None:
        return f"This looks like a JSON document{_with(file.keys)}, but not like annotations of a known program."
    return ""


def _with(keys: frozenset[str]) -> str:
    shown = ", ".join(map(repr, sorted(keys)[:8]))
    return f" with {shown}" if shown else ""
