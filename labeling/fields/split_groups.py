"""Group images for splits: images with the same value in the dataset's group field stay in one set.

Images of one night, patient or object are more alike than their class explains. If some of them are in the training set
and others in the test set, a model appears better than it is on new nights.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.exporting.splits import Files, joined, split_key
from labeling.fields.columns import column_of, is_known
from labeling.fields.item_values import texts_of
from labeling.models import Dataset, Field

# With fewer groups than folds, accuracy is measured in fewer parts.
FEW_GROUPS = 20
# A group with more than this share of the images leaves little for the other sets.
LARGE_SHARE = 0.5


# -- The choice ---------------------------------------------------------------------------------------------
def chosen(dataset: Dataset) -> Field | None:
    """Return the field by which the dataset's images are grouped now; one query."""
    return Field.objects.filter(keeps_together=dataset.pk).first()


def choose(dataset: Dataset, name: str) -> Field | None:
    """Group images by the field of that name from now on; "" groups only identical files.

    Raises Refusal if there is no such field.
    """
    field = named(dataset, name) if name else None
    dataset.together_by = field
    Dataset.objects.filter(pk=dataset.pk).update(together_by=field)
    return field


def named(dataset: Dataset, name: str) -> Field:
    """Return the field of that name. Raises Refusal with the existing names if there is none."""
    field = Field.objects.filter(dataset=dataset, name__iexact=name).first()
    if field is None:
        names = ", ".join(Field.objects.filter(dataset=dataset).values_list("name", flat=True))
        there = f"There are: {names}." if names else "There are no fields yet: import them first."
        raise Refusal(f"There is no field {name!r} to group by. {there}")
    return field


# -- Its groups ---------------------------------------------------------------------------------------------
class Groups:
    """The current values of a field as groups. Raises StoreError if they can't be read."""

    def __init__(self, field: Field) -> None:
        self._column = column_of(field)

    def texts(self, rows: array[int]) -> Sequence[str]:
        """Return the group of each row, "" if unknown."""
        return texts_of(self._column, np.asarray(rows, dtype=np.int64))

    def keys(self, rows: array[int] | NDArray[np.int64], own: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
        """Return a key for each row, (n,), equal within a group; ``own`` (n,) is used for rows without a group."""
        values = self._column.of_rows(np.asarray(rows, dtype=np.int64))
        _, first, place = np.unique(values, return_index=True, return_inverse=True)
        texts = self.texts(array("q", (int(rows[position]) for position in first.tolist())))
        keys = np.array([split_key(f"group:{text}", seed) for text in texts], dtype=np.uint64)
        has_group = np.array([text != "" for text in texts], dtype=np.bool_)
        return np.where(has_group[place], keys[place], own) if len(keys) else own

    def known(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the rows have a value, bool (n,)."""
        return is_known(self._column.kind, self._column.of_rows(rows))


def keys_together(
    groups: Groups | None, rows: NDArray[np.int64], hashes: Sequence[Sequence[str]], seed: int = 0
) -> NDArray[np.uint64]:
    """Return a key for each item, (n,), equal for items that share a file or a group, directly or through others.

    ``hashes`` are those of each item's files; an item without files needs a unique value there.
    """
    files = Files(seed)
    for some in hashes:
        files.add(some)
    keys = files.keys()
    if groups is not None:
        keys.append(groups.keys(rows, keys[0], seed))
    return joined(keys)


# -- Texts for people ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Tally:
    """How a field divides the images of a dataset."""

    name: str
    n_items: int
    n_known: int
    n_groups: int
    largest: int

    @property
    def n_unknown(self) -> int:
        """Return the number of images without a value: each is its own group."""
        return max(0, self.n_items - self.n_known)

    @property
    def warning(self) -> str:
        """Return a problem with the choice and what to do about it; "" if there is none."""
        n_groups, share = self.n_groups + self.n_unknown, self.largest / max(1, self.n_items)
        problems = (
            (not self.n_known,
             f"No image has a {self.name} yet, so only identical files are grouped. Import its values, or choose "
             "another field."),
            (self.largest == 1,
             f"No two images have the same {self.name}, so only identical files are grouped."),
            (self.largest >= self.n_items,
             f"All images have the same {self.name}: none can be held out, so accuracy cannot be measured. Choose a "
             "field that divides them."),
            (share > LARGE_SHARE,
             f"The largest group has {share:.0%} of the images. So one of the sets is small, "
             "and accuracy depends on few images. Choose a finer field."),
            (n_groups < FEW_GROUPS,
             f"{n_groups} groups are few. The interval of the accuracy depends on them, so it is wide, however many "
             "images there are."),
        )  # fmt: skip
        return next((text for is_so, text in problems if is_so), "")


def tally_of(dataset: Dataset, field: Field) -> Tally:
    """Count a field's groups, from its values read once per generation. Raises StoreError if they cannot be read."""
    return Tally(field.name, dataset.n_items, field.n_known, *_counted(field.pk, field.generation))


@lru_cache(maxsize=64)
def _counted(pk: int, generation: int) -> tuple[int, int]:
    """Return the number of different values, and the number of rows of the most common one, of a generation."""
    column = column_of(Field.objects.get(pk=pk))
    values = column.values[column.known()]
    counts = np.bincount(values) if column.is_text else np.unique(values, return_counts=True)[1]
    return int(np.count_nonzero(counts)), int(counts.max(initial=0))
