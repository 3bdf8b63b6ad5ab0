"""Define the options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hoshina.core.errors import Refusal
from labeling.exporting.splits import SPLITS

MAX_SEED = 2**63 - 1
DEFAULT_SPLITS = (80, 10, 10)
DEFAULT_LAYOUT = "csv"


@dataclass(frozen=True)
class Options:
    """The options of an export.

    ``splits``: percentages of train, val and test. ``group_by``: the field whose equal values share a split ("" for
    none). ``extras``: names of the sections whose files are included. ``escapes_formulas``: whether tables are safe to
    open in a spreadsheet. ``layout``: the name of a layout (:mod:`labeling.exporting.layouts`). ``role``: which file of
    items with several files other layouts than the default contain. ``as_of``: a time or a round up to which decisions
    count (:func:`labeling.exporting.past.past_of`). ``numbers_annotators``: whether people have numbers in place of
    names. ``with_unsure``: whether other layouts contain unsure and skipped images, as two more classes.
    ``checks_leakage``: whether near-duplicates share a
    split (:mod:`labeling.exporting.near_duplicates`).
    """

    with_images: bool = False
    seed: int = 0
    splits: tuple[int, int, int] = DEFAULT_SPLITS
    extras: frozenset[str] = frozenset()
    group_by: str = ""
    escapes_formulas: bool = False
    layout: str = DEFAULT_LAYOUT
    role: str = ""
    as_of: str = ""
    numbers_annotators: bool = False
    with_unsure: bool = False
    checks_leakage: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise Refusal(f"The seed is {self.seed}. Use a whole number from 0 to {MAX_SEED}.")
        if any(not 0 <= share <= 100 for share in self.splits):
            raise Refusal("Each split must be a whole percentage from 0 to 100.")
        if sum(self.splits) != 100:
            raise Refusal(f"The splits add up to {sum(self.splits)} %. They must add up to 100 %.")

    def as_manifest(self) -> dict[str, Any]:
        of_layout: dict[str, Any] = (
            {} if self.layout == DEFAULT_LAYOUT else {"layout": self.layout, "role": self.role or None}
        )
        if self.with_unsure:
            of_layout["unsure"] = True
        if self.numbers_annotators:
            of_layout["annotators"] = "numbers"
        return of_layout | {
            "images": self.with_images or self.layout != DEFAULT_LAYOUT,
            "seed": self.seed,
            "splits": dict(zip(SPLITS, self.splits, strict=True)),
            "group_by": self.group_by or None,
            "escape_formulas": self.escapes_formulas,
            "leakage_check": self.checks_leakage,
        }


def parse_splits(text: str) -> tuple[int, int, int]:
    """Parse percentages of train, val and test, such as ``"80,10,10"``.

    Raises Refusal if the text is not three whole percentages that add up to 100.
    """
    try:
        train, val, test = (int(part) for part in text.split(","))
    except ValueError as error:
        raise Refusal(
            f"The splits are {text!r}. Give three whole percentages for train, val and test, such as 80,10,10."
        ) from error
    return Options(splits=(train, val, test)).splits
