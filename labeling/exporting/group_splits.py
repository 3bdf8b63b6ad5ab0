"""Split items by groups: items with equal values in a field share a split, so that no group leaks into the test set."""

from __future__ import annotations

from hoshina.core.storage import StoreError
from labeling.exporting.options import OptionError
from labeling.fields.metadata_table import FieldProblem
from labeling.fields.split_groups import Groups, named
from labeling.models import Dataset


def groups_by(dataset: Dataset, name: str) -> Groups:
    """Return the groups of a field by its name. Raises OptionError if it does not exist or can't be read."""
    try:
        return Groups(named(dataset, name))
    except (FieldProblem, StoreError) as problem:
        raise OptionError(str(problem)) from problem
