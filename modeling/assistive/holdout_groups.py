"""Find which labeled images must be held out together: images of one group of the chosen field, and identical files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.fields.split_groups import LARGE_SHARE, Groups, chosen, keys_together
from labeling.models import Dataset, Field


@dataclass(frozen=True)
class HoldoutGroups:
    """Group keys of labeled images.

    ``keys`` uint64 (n,), equal for images that must be in the same part of a split; ``field`` is the chosen field,
    if any; ``is_known`` bool (n,), which images have a value in it.
    """

    keys: NDArray[np.uint64]
    field: Field | None
    is_known: NDArray[np.bool_]

    def only(self, mask: NDArray[np.bool_]) -> HoldoutGroups:
        """Return the subset where ``mask`` bool (n,) is true."""
        return replace(self, keys=self.keys[mask], is_known=self.is_known[mask])

    def groups(self) -> NDArray[np.int64] | None:
        """Return group numbers from 0, (n,), equal for images to hold out together; None if all images are separate."""
        distinct, numbers = np.unique(self.keys, return_inverse=True)
        return None if len(distinct) == len(self.keys) else numbers.astype(np.int64)

    def as_json(self) -> dict[str, Any] | None:
        """Return the field and the sizes of its groups, to be stored with a version; None if no field was chosen."""
        if self.field is None:
            return None
        sizes = np.unique(self.keys, return_counts=True)[1]
        return {
            "field_id": self.field.pk,
            "field": self.field.name,
            "groups": len(sizes),
            "largest": int(sizes.max(initial=0)),
            "unknown": int(np.count_nonzero(~self.is_known)),
        }

    def remark(self) -> str:
        """Return a warning about the groups of these labels; "" if there is none."""
        facts = self.as_json()
        if facts is None or not len(self.keys):
            return ""
        name, share = facts["field"], facts["largest"] / len(self.keys)
        if not self.is_known.any():
            return f"no labeled image has a {name}, so only identical files were grouped"
        if share > LARGE_SHARE:
            return f"one {name} has {share:.0%} of the labels, so accuracy depends on few images: label others"
        return ""


def holdout_groups_of(
    dataset: Dataset, rows: NDArray[np.int64], hashes: Sequence[Sequence[str]], seed: int = 0
) -> HoldoutGroups:
    """Return the group keys of labeled images; ``hashes`` are the hashes of each image's files, at least one each.

    Raises
    ------
    Refusal : the values of the chosen field cannot be read. Training without the groups would mislead.
    """
    field = chosen(dataset)
    groups = Groups(field) if field is not None else None
    is_known = np.zeros(len(rows), np.bool_) if groups is None else groups.known(rows)
    return HoldoutGroups(keys_together(groups, rows, hashes, seed), field, is_known)
