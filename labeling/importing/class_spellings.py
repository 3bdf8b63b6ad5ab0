"""Match the labels of a table to classes, ignoring case and Unicode form, and comparing numbers by value."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hoshina.core.errors import Refusal
from labeling.decisions import classes

MERGE, KEEP = "merge", "keep"
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?")
# Whole numbers as data frames write them in columns with missing values.
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
_SHOWN = 5


class NumbersQuestion(Refusal):
    """A table that spells the same number differently, such as 1 and 01; ``groups`` lists these labels."""

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        shown = "; ".join(", ".join(map(repr, group[:_SHOWN])) for group in groups[:_SHOWN])
        more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
        super().__init__(
            f"These labels are the same number with different spellings: {shown}{more}. Nothing was imported. "
            f"Choose whether they are one class (--same-numbers {MERGE}) or several (--same-numbers {KEEP})."
        )
        self.groups = groups


@dataclass
class Spellings:
    """The classes of labels, by the index of the label.

    ``class_of``: the existing class. ``same_as``: for other labels, the index of the label that names the new class.
    ``merged``: labels that are other spellings of a class, and the name of that class.
    """

    class_of: dict[int, int] = field(default_factory=dict)
    same_as: dict[int, int] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)


def word_of(label: str) -> str:
    """Return the key that all labels of the same class share. Case, spaces and Unicode form do not matter."""
    try:
        return classes.same_word(classes.tidy_name(label))
    except Refusal:  # too long or invisible, so no class has this name
        return label


def match_labels(
    labels: Sequence[str], used: Collection[int], existing: Mapping[str, int], same_numbers: str, *, may_create: bool
) -> Spellings:
    """Find the class of each of the ``used`` labels among ``existing`` classes (by name).

    A label that is the name of a class belongs to it. 1.0 is the same as 1, since data frames write it this way. Other
    spellings of a number (1 and 01, 1.5 and 1.50) are one class or several, depending on ``same_numbers``. Raises
    NumbersQuestion if there are such spellings and ``same_numbers`` is not set.
    """
    spellings = Spellings()
    by_word = {word_of(name): pk for name, pk in existing.items()}
    pending: dict[str, list[int]] = {}
    for number in sorted(used):
        label = labels[number]
        pk = by_word.get(word_of(label))
        alike = [name for name in existing if _whole(name) == _whole(label)] if _NUMBER.fullmatch(label) else []
        if pk is not None:
            spellings.class_of[number] = pk
        elif len(alike) == 1:
            spellings.class_of[number] = existing[alike[0]]
            spellings.merged[label] = alike[0]
        else:
            pending.setdefault(_whole(label), []).append(number)
    questions = [
        group
        for group in _by_value(pending, labels, existing)
        if not _resolve(group, spellings, labels, existing, same_numbers, may_create=may_create)
    ]
    if questions:
        raise NumbersQuestion([[*group.names, *(labels[number] for number in group.firsts)] for group in questions])
    return spellings


@dataclass(frozen=True)
class _Group:
    """Labels of equal value: the ``names`` of classes with this value, and the indices of labels by spelling."""

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
        # Sort the shortest spelling first: 1 before 1.0.
        group.spellings.append(sorted(numbers, key=lambda number: (len(labels[number]), labels[number])))
    return list(groups.values())


def _resolve(
    group: _Group,
    spellings: Spellings,
    labels: Sequence[str],
    existing: Mapping[str, int],
    same_numbers: str,
    *,
    may_create: bool,
) -> bool:
    """Match the labels of a group to a class. Return False if the user must decide."""
    n_meanings = len(group.names) + len(group.spellings)
    is_certain = n_meanings == 1 or not (may_create or group.names)
    if not is_certain and same_numbers not in (MERGE, KEEP):
        return False
    if not is_certain and same_numbers == MERGE:
        if len(group.names) > 1:
            raise Refusal(
                f"The classes {', '.join(map(repr, group.names))} are the same number. Merge them on the Classes page, "
                "then import again."
            )
        first = min(group.firsts, key=lambda number: (len(labels[number]), labels[number]))
        for number in (number for numbers in group.spellings for number in numbers):
            _merge(spellings, number, first, labels, group.names, existing)
        return True
    for numbers in group.spellings:
        for number in numbers:
            _merge(spellings, number, numbers[0], labels, [], existing)
    return True


def _merge(
    spellings: Spellings, number: int, first: int, labels: Sequence[str], names: list[str], existing: Mapping[str, int]
) -> None:
    if names:
        spellings.class_of[number] = existing[names[0]]
    else:
        spellings.same_as[number] = first
    name = names[0] if names else labels[first]
    if labels[number] != name:
        spellings.merged[labels[number]] = name


def _whole(label: str) -> str:
    """Return 1 for 1.0 and 1., and any other label unchanged."""
    match = _WHOLE.fullmatch(label)
    return match[1] if match else label
