"""Preview how a template would group the files of a folder, from their names only."""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from labeling.images.folder_walk import FoundFile, walk
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.ingest.dataset_folder import folder_problem
from labeling.ingest.folder_watch import params_of_last_ingest
from labeling.ingest.grouping_template import MAX_ROLES, Template, has_usual_roles, in_order
from labeling.models import Dataset

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
# A page waits for the suggestions, so in a folder of millions they are made from the first files.
_SUGGEST_FROM = 4000
_SUGGEST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Example:
    """The path of a file or item, with a comment."""

    path: str
    note: str


@dataclass
class Preview:
    """How a template would group the files of a folder.

    ``roles``: the number of files of each role, in order. ``n_complete``: groups that have a file of every role.
    ``n_doubled``: files beyond the first of their role in their group. ``is_partial``: whether time ran out after
    ``n_files``, so that complete groups may appear incomplete.
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
        """Return the preview for ``ingest --try --json``, with a few examples in each list."""
        return {
            "template": self.template,
            "files": self.n_files,
            "groups": self.n_groups,
            "complete": self.n_complete,
            "incomplete": self.n_incomplete,
            "unmatched": self.n_unmatched,
            "doubled": self.n_doubled,
            "roles": self.roles,
            "complete_examples": [example.path for example in self.complete],
            "incomplete_examples": [{"group": example.path, "missing": example.note} for example in self.incomplete],
            "unmatched_examples": [{"path": example.path, "reason": example.note} for example in self.unmatched],
            "doubled_examples": [{"path": example.path, "role": example.note} for example in self.doubled],
        }


def preview_grouping(
    template: Template, walk: Callable[[], Iterable[FoundFile]], *, seconds: float | None = None
) -> Preview:
    """Return how ``template`` would group the files.

    ``walk()`` returns the files. It is called a second time to find examples, if there are any. Only about 10 bytes are
    kept per file, so a million files are no problem. Files are ignored after ``seconds``.
    """
    preview = Preview(template.text)
    keys, role_of = array("Q"), array("H")
    numbers: dict[str, int] = {role: number for number, role in enumerate(template.roles)}
    for path in _paths(walk, preview, seconds):
        preview.n_files += 1
        place = template.place(path)
        if place is None:
            preview.n_unmatched += 1
            if len(preview.unmatched) < EXAMPLES:
                preview.unmatched.append(Example(path, template.why_not(path)))
        elif len(numbers) < 2**16 or place.role in numbers:
            keys.append(_key(place.group))
            role_of.append(numbers.setdefault(place.role, len(numbers)))
    counts = _GroupCounts(np.asarray(keys, np.uint64), np.asarray(role_of, np.uint16), numbers)
    n_files = dict(zip(counts.names, counts.per_role.tolist(), strict=True))
    preview.roles = {role: n_files[role] for role in template.roles or in_order(counts.names)}
    preview.n_groups = len(counts.groups)
    preview.n_complete = int((counts.sizes == len(preview.roles)).sum())
    preview.n_doubled = int((counts.n_files - 1).sum())
    _show(preview, template, counts, walk)
    return preview


def _paths(walk: Callable[[], Iterable[FoundFile]], preview: Preview, seconds: float | None) -> Iterator[str]:
    until = None if seconds is None else time.monotonic() + seconds
    for file in walk():
        if not file.problem:
            if until is not None and preview.n_files % 256 == 255 and time.monotonic() > until:
                preview.is_partial = True
                return
            yield file.path


def _key(group: str) -> int:
    """Return a 64-bit hash of a group's name. Among a million groups, a collision has a chance of 1 in 30 million."""
    digest = hashlib.blake2b(group.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class _GroupCounts:
    """The number of files of each pair of group and role, in the order of groups and roles."""

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
        """Return the number of files of each role in a group; empty if there is no such group."""
        at = int(np.searchsorted(self.groups, np.uint64(group)))
        if at == len(self.groups) or int(self.groups[at]) != group:
            return {}
        part = slice(int(self.starts[at]), int(self.starts[at] + self.sizes[at]))
        return {self.names[role]: int(n) for role, n in zip(self.roles[part], self.n_files[part], strict=True)}


def _show(preview: Preview, template: Template, counts: _GroupCounts, walk: Callable[[], Iterable[FoundFile]]) -> None:
    """Add the first examples of each kind, stopping as soon as they are complete."""
    n_alike = int(counts.n_files[counts.n_files > 1].sum())
    n_examples = sum(min(EXAMPLES, n) for n in (preview.n_complete, preview.n_incomplete, n_alike))
    order = list(preview.roles)
    for file in walk():
        if len(preview.complete) + len(preview.incomplete) + len(preview.doubled) >= n_examples:
            return
        place = None if file.problem else template.place(file.path)
        n_files = counts.of(_key(place.group)) if place else {}
        if place is None or not n_files:
            continue
        if n_files.get(place.role, 0) > 1:
            _add(preview.doubled, Example(file.path, place.role))
        if len(n_files) == len(order):
            _add(preview.complete, Example(place.group, ""))
        else:
            _add(preview.incomplete, Example(place.group, ", ".join(role for role in order if role not in n_files)))


def _add(examples: list[Example], example: Example) -> None:
    if len(examples) < EXAMPLES and example not in examples:
        examples.append(example)


def files_of(dataset: Dataset) -> Iterable[FoundFile]:
    """Find the files of a dataset's folder, with the extensions of its last ingest."""
    extensions = params_of_last_ingest(dataset).get("extensions") or DEFAULT_EXTENSIONS
    return walk(dataset.data_dir, extensions, skip=settings.STORE_DIR)


def suggestions_for(dataset: Dataset, *, is_usual: bool = False) -> list[str]:
    """Return the templates that :func:`suggest` finds for the first files of a dataset's folder, in half a second."""
    if folder_problem(dataset.data_dir):
        return []
    until = time.monotonic() + _SUGGEST_SECONDS
    paths: list[str] = []
    for found in islice(files_of(dataset), _SUGGEST_FROM):
        if time.monotonic() > until:
            break
        paths += [] if found.problem else [found.path]
    return suggest(paths, is_usual=is_usual)


def suggest(paths: Sequence[str], *, is_usual: bool = False) -> list[str]:
    """Return templates with 2 to 8 roles that match file names, those with most files in complete groups first.

    With ``is_usual``, all roles have common names, such as "ref" or "g": folders may also be named after classes.
    """
    endings = Counter(_ending(path) for path in paths)
    if not endings:
        return []
    ending = endings.most_common(1)[0][0]
    files = [FoundFile(path) for path in paths if _ending(path) == ending]
    scored: list[tuple[int, str]] = []
    for shape in _USUAL_SHAPES:
        preview = preview_grouping(Template.read(shape + ending), lambda: files)
        n_whole = preview.n_complete * len(preview.roles)
        is_likely = 2 <= len(preview.roles) <= _LIKELY_ROLES and (not is_usual or has_usual_roles(preview.roles))
        if is_likely and not preview.n_doubled and 2 * n_whole > len(files):
            scored.append((n_whole, preview.template))
    return [template for _, template in sorted(scored, key=lambda pair: -pair[0])][:_SUGGESTED]


def _ending(path: str) -> str:
    """Return the extension of a name, such as ".png" or ".fits.gz"; "" if it cannot be part of a template."""
    _, *parts = path.rpartition("/")[2].lstrip(".").split(".")
    extensions = parts[-2:] if parts[-1:] in (["gz"], ["fz"]) else parts[-1:]
    return "".join(f".{part}" for part in extensions) if all(part.isalnum() for part in extensions) else ""
