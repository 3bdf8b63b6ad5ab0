"""What rooms above add to an export: this room asks the registry and knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labeling.exporting.zip_stream import Member
from labeling.models import Dataset


@dataclass(frozen=True)
class Contribution:
    """What a section adds to one export, decided once when the export begins."""

    manifest: Mapping[str, Any] = field(default_factory=dict)
    members: Sequence[Member] = ()


@dataclass(frozen=True)
class Section:
    """A part of the export that another room provides.

    Parameters
    ----------
    name
        Name of the option: ``--with-<name>`` of the command, a tick box of the page.
    title
        The option in a person's words.
    contribute
        ``(dataset, is_wanted) -> Contribution``. The manifest's keys come always, the files if wanted.
    why_not
        ``dataset -> words`` why the files can't be had now and what to do about it; empty where they can.
    libraries
        Libraries whose versions the manifest lists, with the names of their distributions.
    """

    name: str
    title: str
    contribute: Callable[[Dataset, bool], Contribution]
    why_not: Callable[[Dataset], str]
    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_sections: dict[str, Section] = {}


def register(section: Section) -> None:
    """Make a section part of every export; registering it again replaces it."""
    _sections[section.name] = section


def sections() -> list[Section]:
    """Every section, by name: the order in which they appear in the archive."""
    return [_sections[name] for name in sorted(_sections)]
