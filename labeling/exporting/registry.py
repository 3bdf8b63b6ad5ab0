"""Register the sections that other packages add to exports, so that this package does not depend on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labeling.exporting.scope import Scope
from labeling.exporting.zip_stream import Member
from labeling.models import Dataset


@dataclass(frozen=True)
class Contribution:
    """The content that a section adds to one export, determined once at its start."""

    manifest: Mapping[str, Any] = field(default_factory=dict)
    members: Sequence[Member] = ()


@dataclass(frozen=True)
class Section:
    """A part of the export that another package provides.

    Parameters
    ----------
    name : Name of the option: ``--with-<name>`` of the command, and a checkbox on the page.
    title : Title of the option for users.
    contribute : ``(dataset, is_wanted) -> Contribution``. The manifest keys are always included, the files only if
        wanted.
    why_not : ``dataset -> message``: why the files are not available and what to do; empty if they are.
    tables : ``(dataset, scope) -> files``, written with the tables if the option is chosen. Only these files can be
        rebuilt as of an earlier time; sections without them are left out then.
    is_rare : Whether the page shows the option folded.
    libraries : Libraries whose versions the manifest lists, with the names of their distributions.
    """

    name: str
    title: str
    contribute: Callable[[Dataset, bool], Contribution]
    why_not: Callable[[Dataset], str]
    tables: Callable[[Dataset, Scope], Iterable[Member]] | None = None
    is_rare: bool = False
    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_sections: dict[str, Section] = {}


def register(section: Section) -> None:
    """Add a section to all exports, or replace the section of the same name."""
    _sections[section.name] = section


def sections() -> list[Section]:
    """Return all sections by name, which is their order in the archive."""
    return [_sections[name] for name in sorted(_sections)]
