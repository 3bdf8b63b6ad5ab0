"""Facts about the items from outside the images: columns from CSV files and from the headers of FITS files."""

from labeling.fields.columns import Column, column_of

__all__ = ["Column", "column_of"]
