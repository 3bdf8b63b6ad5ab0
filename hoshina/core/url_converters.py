"""Convert numbers in addresses."""

from __future__ import annotations

from django.urls import register_converter
from django.urls.converters import IntConverter


class NumberConverter(IntConverter):
    """Whole numbers that fit the columns of a database; larger ones are not found, as any that do not exist."""

    regex = "[0-9]{1,18}"


def register() -> None:
    """Register the converter as ``number``, for the modules of URLs."""
    register_converter(NumberConverter, "number")
