"""Give exports the near-duplicates of a dataset."""

from __future__ import annotations

from labeling.exporting.near_duplicates import register
from modeling.leakage.files import near_duplicates_of

register(near_duplicates_of)
