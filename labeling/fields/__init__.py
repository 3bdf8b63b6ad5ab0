"""Store metadata about items: columns from tables, FITS headers and EXIF data."""

from labeling.fields.columns import Column, column_of

__all__ = ["Column", "column_of"]
