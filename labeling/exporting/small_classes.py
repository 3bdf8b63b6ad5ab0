"""Tell which classes have too few labels to train on or to be tested with, for the export page and the data card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hoshina.core.plural import counted
from labeling.exporting.splits import SPLITS

# With fewer test images, an accuracy of 90 % has a 95 % interval of more than 35 percentage points.
FEW = 10
# Names in a sentence; the table has all of them.
_NAMED = 6


def split_warnings(counts: Mapping[str, Sequence[int]], shares: Sequence[int]) -> list[str]:
    """Return sentences about classes without labels, without images in a split, or with few images in the test set.

    ``counts`` has the numbers of images in `SPLITS` of each class; ``shares`` are the sizes of the splits, in percent
    or images; a split of size 0 is left out.
    """
    warnings = []
    empty = [name for name, row in counts.items() if not sum(row)]
    if empty:
        warnings.append(f"No image is labeled {_names(empty, 'or')}.")
    for place, split in enumerate(SPLITS):
        if shares[place] and (absent := [name for name, row in counts.items() if sum(row) and not row[place]]):
            warnings.append(f"No image of {_names(absent, 'or')} is in the split {split}: label more of them.")
    test = len(SPLITS) - 1
    if few := [f"{name} ({row[test]})" for name, row in counts.items() if 0 < row[test] < FEW]:
        warnings.append(f"Accuracy by class will be imprecise: fewer than {FEW} test images of {_names(few, 'and')}.")
    return warnings


def _names(names: Sequence[str], last: str) -> str:
    """Return ``a, b or c``."""
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} {last} {counted(len(names) - _NAMED, 'other')}"
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
