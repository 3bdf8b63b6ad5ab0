"""Which labels of a table are one class: case and Unicode form do not matter, and numbers are compared as numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from labeling.decisions import classes
from labeling.importing.label_table import ImportProblem

MERGE, KEEP = "merge", "keep"
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?")
# What data frames make of a column of whole numbers with gaps.
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
_SHOWN = 5


class NumbersQuestion(ImportProblem):
    """Some labels are the same number in different spellings, such as 1 and 01; ``groups`` lists them."""

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        shown = "; ".join(", ".join(map(repr, group[:_SHOWN])) for group in groups[:_SHOWN])
        more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
        super().__init__(
            f"These labels are the same number written in different ways: {shown}{more}. Nothing was imported. "
            f"Choose whether they are one class (--same-numbers {MERGE}) or several (--same-numbers {KEEP})."
        )
        self.groups = groups


@dataclass
class Spellings:
    """What became of the labels, by their number in the list.

    ``class_of``: the class that exists; ``same_as``: the label of the class to make, for all others; ``merged``: labels
    that are taken for another spelling.
    """

    class_of: dict[int, int] = field(default_factory=dict)
    same_as: dict[int, int] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)


def word_of(label: str) -> str:
    """Return what labels have in common that mean the same class: case, spaces and Unicode form do not matter."""
    try:
        return classes.same_word(classes.tidy_name(label))
    except classes.ClassProblem:  # too long or invisible: no class has such a name
        return label


def matched(
    labels: Sequence[str], used: Collection[int], existing: Mapping[str, int], same_numbers: str, *, may_create: bool
) -> Spellings:
    """Find the class of each of the ``used`` labels; ``existing`` are the classes by name.

    A label that is a class's name is that class. 1.0 is 1, since data frames write it so. Other spellings of one number
    (1 and 01, 1.5 and 1.50) are one class or several as ``same_numbers`` says.

    Raises
    ------
    NumbersQuestion
        There are such spellings, and nothing says what they are.
    """
    found = Spellings()
    by_word = {word_of(name): pk for name, pk in existing.items()}
    pending: dict[str, list[int]] = {}
    for number in sorted(used):
        label = labels[number]
        pk = by_word.get(word_of(label))
        alike = [name for name in existing if _whole(name) == _whole(label)] if _NUMBER.fullmatch(label) else []
        if pk is not None:
            found.class_of[number] = pk
        elif len(alike) == 1:
            found.class_of[number] = existing[alike[0]]
            found.merged[label] = alike[0]
        else:
            pending.setdefault(_whole(label), []).append(number)
    questions = [
        group
        for group in _by_value(pending, labels, existing)
        if not _settle(group, found, labels, existing, same_numbers, may_create=may_create)
    ]
    if questions:
        raise NumbersQuestion([[*group.names, *(labels[number] for number in group.firsts)] for group in questions])
    return found


@dataclass(frozen=True)
class _Group:
    """Labels of one value: ``names`` of the classes that have it, and the labels' numbers by their spelling."""

    names: list[str]
    spellings: list[list[int]]

    @property
    def firsts(self) -> list[int]:
        return [numbers[0] for numbers in self.spellings]


def _by_value(pending: Mapping[str, list[int]], labels: Sequence[str], existing: Mapping[str, int]) -> list[_Group]:
    names: dict[Decimal | str, list[str]] = {}
    for name in existing:
        if _NUMBER.fullmatch(name):
            names.setdefault(Decimal(name), []).append(name)
    groups: dict[Decimal | str, _Group] = {}
    for spelling, numbers in pending.items():
        value = Decimal(spelling) if _NUMBER.fullmatch(spelling) else spelling
        group = groups.setdefault(value, _Group(names.get(value, []), []))
        # The shortest spelling first: 1 before 1.0.
        group.spellings.append(sorted(numbers, key=lambda number: (len(labels[number]), labels[number])))
    return list(groups.values())


def _settle(
    group: _Group,
    found: Spellings,
    labels: Sequence[str],
    existing: Mapping[str, int],
    same_numbers: str,
    *,
    may_create: bool,
) -> bool:
    """Say what the labels of a group are; False where a person has to."""
    n_meanings = len(group.names) + len(group.spellings)
    is_certain = n_meanings == 1 or not (may_create or group.names)
    if not is_certain and same_numbers not in (MERGE, KEEP):
        return False
    if not is_certain and same_numbers == MERGE:
        if len(group.names) > 1:
            raise ImportProblem(
                f"The classes {', '.join(map(repr, group.names))} are the same number. Merge them on the page Classes, "
                "then import again."
            )
        first = min(group.firsts, key=lambda number: (len(labels[number]), labels[number]))
        for number in (number for numbers in group.spellings for number in numbers):
            _merge(found, number, first, labels, group.names, existing)
        return True
    for numbers in group.spellings:
        for number in numbers:
            _merge(found, number, numbers[0], labels, [], existing)
    return True


def _merge(
    found: Spellings, number: int, first: int, labels: Sequence[str], names: list[str], existing: Mapping[str, int]
) -> None:
    if names:
        found.class_of[number] = existing[names[0]]
    else:
        found.same_as[number] = first
    name = names[0] if names else labels[first]
    if labels[number] != name:
        found.merged[labels[number]] = name


def _whole(label: str) -> str:
    """1 for 1.0 and 1.; any other label as it is."""
    match = _WHOLE.fullmatch(label)
    return match[1] if match else label
