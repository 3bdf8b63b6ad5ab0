"""What a person may choose about an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labeling.exporting.splits import SPLITS

MAX_SEED = 2**63 - 1
DEFAULT_SPLITS = (80, 10, 10)


class OptionError(ValueError):
    """An option that can't be, in words for the person."""


@dataclass(frozen=True)
class Options:
    """``splits``: percent for train, val and test; ``group_by``: the field whose equal values share a split ("": none);
    ``extras``: names of sections whose files are wanted."""

    with_images: bool = False
    seed: int = 0
    splits: tuple[int, int, int] = DEFAULT_SPLITS
    extras: frozenset[str] = frozenset()
    group_by: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise OptionError(f"The seed is {self.seed}; give a whole number from 0 to {MAX_SEED}.")
        if any(not 0 <= share <= 100 for share in self.splits):
            raise OptionError("Each split is a whole percentage from 0 to 100.")
        if sum(self.splits) != 100:
            raise OptionError(f"The splits make {sum(self.splits)} % together; they have to make 100 %.")

    def as_manifest(self) -> dict[str, Any]:
        return {
            "images": self.with_images,
            "seed": self.seed,
            "splits": dict(zip(SPLITS, self.splits, strict=True)),
            "group_by": self.group_by or None,
        }


def parse_splits(text: str) -> tuple[int, int, int]:
    """``"80,10,10"`` as percentages of train, val and test.

    Raises
    ------
    OptionError
        It is not three whole percentages that make 100 together.
    """
    try:
        train, val, test = (int(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"The splits are {text!r}; give three whole percentages for train, val and test, like 80,10,10."
        ) from error
    return Options(splits=(train, val, test)).splits
