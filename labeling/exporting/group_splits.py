"""Splits by groups: items of equal value in a field share one, so that nothing of a group leaks into the test."""

from __future__ import annotations

from hoshina.core.storage import StoreError
from labeling.exporting.options import OptionError
from labeling.fields.metadata_table import FieldProblem
from labeling.fields.split_groups import Groups, named
from labeling.models import Dataset


def groups_by(dataset: Dataset, name: str) -> Groups:
    """The groups of the field of that name. Raises OptionError where there is none, or its values can't be read."""
    try:
        return Groups(named(dataset, name))
    except (FieldProblem, StoreError) as problem:
        raise OptionError(str(problem)) from problem
