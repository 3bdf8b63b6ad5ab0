"""Trying a template out on a folder: what would become of its files. Names only; nothing is opened or written."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from labeling.images.folder_walk import Found
from labeling.ingest.grouping_template import MAX_ROLES, Template, in_order

EXAMPLES = 5
_USUAL_SHAPES = (
    "{id}_{role}",
    "{role}_{id}",
    "{id}-{role}",
    "{role}-{id}",
    "{id}.{role}",
    "{id}/{role}",
    "{role}/{id}",
)
_LIKELY_ROLES = 8
_SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Example:
    """A path, or an item's path, and what there is to say about it."""

    path: str
    words: str


@dataclass
class Trial:
    """What a template makes of a folder.

    ``roles``: the number of files of each, in order. ``n_complete`` of the ``n_groups`` have a file of every role.
    ``n_doubled``: files beyond the first of their role in their group. ``is_partial``: time ran out after
    ``n_files``, so that groups may seem incomplete that are not.
    """

    template: str
    n_files: int = 0
    n_groups: int = 0
    n_complete: int = 0
    n_unmatched: int = 0
    n_doubled: int = 0
    is_partial: bool = False
    roles: dict[str, int] = field(default_factory=dict)
    complete: list[Example] = field(default_factory=list)
    incomplete: list[Example] = field(default_factory=list)
    unmatched: list[Example] = field(default_factory=list)
    doubled: list[Example] = field(default_factory=list)

    @property
    def n_incomplete(self) -> int:
        return self.n_groups - self.n_complete

    @property
    def has_too_many_roles(self) -> bool:
        return len(self.roles) > MAX_ROLES

    def as_json(self) -> dict[str, object]:
        """For ``ingest --try --json``; the lists hold a few examples each."""
        return {
            "template": self.template,
            "files": self.n_files,
            "groups": self.n_groups,
            "complete": self.n_complete,
            "incomplete": self.n_incomplete,
            "unmatched": self.n_unmatched,
            "doubled": self.n_doubled,
            "roles": self.roles,
            "complete_examples": [one.path for one in self.complete],
            "incomplete_examples": [{"group": one.path, "missing": one.words} for one in self.incomplete],
            "unmatched_examples": [{"path": one.path, "reason": one.words} for one in self.unmatched],
            "doubled_examples": [{"path": one.path, "role": one.words} for one in self.doubled],
        }


def try_out(template: Template, walk: Callable[[], Iterable[Found]], *, seconds: float | None = None) -> Trial:
    """Compare every file's path with ``template``.

    ``walk()`` gives the files, and is asked twice where there are examples to look for. About 10 bytes are kept of a
    file, so a million of them are no matter. After ``seconds`` the rest is left out.
    """
    trial = Trial(template.text)
    keys, role_of = array("Q"), array("H")
    numbers: dict[str, int] = {role: number for number, role in enumerate(template.roles)}
    for path in _paths(walk, trial, seconds):
        trial.n_files += 1
        place = template.place(path)
        if place is None:
            trial.n_unmatched += 1
            if len(trial.unmatched) < EXAMPLES:
                trial.unmatched.append(Example(path, template.why_not(path)))
        elif len(numbers) < 2**16 or place.role in numbers:
            keys.append(_key(place.group))
            role_of.append(numbers.setdefault(place.role, len(numbers)))
    _count(trial, template, _Counted(np.asarray(keys, np.uint64), np.asarray(role_of, np.uint16), numbers), walk)
    return trial


def _paths(walk: Callable[[], Iterable[Found]], trial: Trial, seconds: float | None) -> Iterator[str]:
    until = None if seconds is None else time.monotonic() + seconds
    for found in walk():
        if not found.problem:
            if until is not None and trial.n_files % 256 == 255 and time.monotonic() > until:
                trial.is_partial = True
                return
            yield found.path


def _key(group: str) -> int:
    """64 bits of a group's name: two of a million groups share theirs with a chance of 1 in 30 million."""
    digest = hashlib.blake2b(group.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class _Counted:
    """Groups and their roles, in order: each pair of ``keys`` and ``roles`` once, and how many files it has."""

    def __init__(self, keys: NDArray[np.uint64], roles: NDArray[np.uint16], numbers: dict[str, int]) -> None:
        self.names = list(numbers)
        self.per_role = np.bincount(roles, minlength=len(numbers))
        order = np.lexsort((roles, keys))
        keys, roles = keys[order], roles[order]
        is_new = np.ones(len(keys), dtype=np.bool_)
        is_new[1:] = (keys[1:] != keys[:-1]) | (roles[1:] != roles[:-1])
        firsts = np.flatnonzero(is_new)
        self.keys, self.roles = keys[firsts], roles[firsts]
        self.n_files = np.diff(np.append(firsts, len(keys)))
        self.groups, self.starts, self.sizes = np.unique(self.keys, return_index=True, return_counts=True)

    def of(self, group: int) -> dict[str, int]:
        """The number of files of each role that a group has; empty where there is no such group."""
        at = int(np.searchsorted(self.groups, np.uint64(group)))
        if at == len(self.groups) or int(self.groups[at]) != group:
            return {}
        part = slice(int(self.starts[at]), int(self.starts[at] + self.sizes[at]))
        return {self.names[role]: int(n) for role, n in zip(self.roles[part], self.n_files[part], strict=True)}


def _count(trial: Trial, template: Template, counted: _Counted, walk: Callable[[], Iterable[Found]]) -> None:
    order = template.roles or in_order(counted.names)
    files = dict(zip(counted.names, counted.per_role.tolist(), strict=True))
    trial.roles = {role: files[role] for role in order}
    trial.n_groups = len(counted.groups)
    trial.n_complete = int((counted.sizes == len(order)).sum())
    trial.n_doubled = int((counted.n_files - 1).sum())
    _show(trial, template, counted, walk)


def _show(trial: Trial, template: Template, counted: _Counted, walk: Callable[[], Iterable[Found]]) -> None:
    """Look for the first examples of each kind, no longer than that takes."""
    n_alike = int(counted.n_files[counted.n_files > 1].sum())
    wanted = sum(min(EXAMPLES, n) for n in (trial.n_complete, trial.n_incomplete, n_alike))
    order = list(trial.roles)
    for found in walk():
        if len(trial.complete) + len(trial.incomplete) + len(trial.doubled) >= wanted:
            return
        place = None if found.problem else template.place(found.path)
        n_files = counted.of(_key(place.group)) if place else {}
        if place is None or not n_files:
            continue
        if n_files.get(place.role, 0) > 1:
            _add(trial.doubled, Example(found.path, place.role))
        if len(n_files) == len(order):
            _add(trial.complete, Example(place.group, ""))
        else:
            _add(trial.incomplete, Example(place.group, ", ".join(role for role in order if role not in n_files)))


def _add(examples: list[Example], example: Example) -> None:
    if len(examples) < EXAMPLES and example not in examples:
        examples.append(example)


def suggest(paths: Sequence[str]) -> list[str]:
    """Templates that some files' names fit, the best first: most files in whole groups, of 2 to 8 roles."""
    endings = Counter(_ending(path) for path in paths)
    if not endings:
        return []
    ending = endings.most_common(1)[0][0]
    files = [Found(path) for path in paths if _ending(path) == ending]
    told: list[tuple[int, str]] = []
    for shape in _USUAL_SHAPES:
        trial = try_out(Template.read(shape + ending), lambda: files)
        n_whole = trial.n_complete * len(trial.roles)
        if 2 <= len(trial.roles) <= _LIKELY_ROLES and not trial.n_doubled and 2 * n_whole > len(files):
            told.append((n_whole, trial.template))
    return [template for _, template in sorted(told, key=lambda one: -one[0])][:_SUGGESTED]


def _ending(path: str) -> str:
    """The ending of a name: ".png", ".fits.gz"; "" where that would be no text for a template."""
    _, *parts = path.rpartition("/")[2].lstrip(".").split(".")
    kept = parts[-2:] if parts[-1:] in (["gz"], ["fz"]) else parts[-1:]
    return "".join(f".{part}" for part in kept) if all(part.isalnum() for part in kept) else ""
