"""Describe the default layout: tables, and the image files under their own paths."""

from __future__ import annotations

from collections.abc import Iterator

from labeling.exporting.contents import Contents
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.options import Options
from labeling.exporting.zip_stream import Member
from labeling.models import Dataset

PANDAS = """
import pandas as pd

labels = pd.read_csv("data/labels.csv", dtype={"label": str}, keep_default_na=False, na_values={"label": [""]})
splits = pd.read_csv("data/splits.csv", usecols=["item_id", "split"])
table = labels.dropna(subset="label").merge(splits, on="item_id")
"""


class CsvTables(Layout):
    """Every decision in tables, also unsure and skipped, and the images under their own paths."""

    name = "csv"
    title = "Tables (CSV)"
    sentence = "All decisions in CSV tables, also unsure and skipped images, with the files under their own paths."
    loading = (Loading("pandas", PANDAS),)

    def check(self, dataset: Dataset, options: Options) -> None:
        """Accept every dataset."""

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the tables."""
        return contents.tables()
