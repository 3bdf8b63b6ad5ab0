"""Define what a layout of an export is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from hoshina.core.errors import Refusal
from labeling.exporting.contents import Contents
from labeling.exporting.options import Options
from labeling.exporting.zip_stream import Member
from labeling.models import Dataset


@dataclass(frozen=True)
class Loading:
    """Code that loads an export from the folder ``data``.

    ``library``: what it uses. ``by_hand``: the version of a library that is too large for the tests, with which
    benchmarks/heavy_consumers.py was run; empty if the tests run the code.
    """

    library: str
    code: str
    by_hand: str = ""


class Layout(ABC):
    """Write an export in a layout.

    ``name``: of the option. ``title``, ``sentence``: say what it is. ``loading``: how programs load it. ``has_card``:
    whether one of its files has the data card.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    sentence: ClassVar[str]
    loading: ClassVar[tuple[Loading, ...]]
    has_card: ClassVar[bool] = False

    def check(self, dataset: Dataset, options: Options) -> None:
        """Raise Refusal if the layout is not possible for this dataset with these options."""
        if why_not := self.why_not():
            raise Refusal(why_not)
        if not dataset.n_labelled and not options.as_of:
            raise Refusal("No image is labeled yet.", f"The layout {self.name} has only labeled images.")
        if dataset.roles and options.role not in dataset.roles:
            raise Refusal(
                f"Each item has several files, and the layout {self.name} has one image per item.",
                f"Choose which with --role: {', '.join(dataset.roles)}.",
            )

    def why_not(self) -> str:
        """Return what is missing on this machine; empty if nothing is."""
        return ""

    @abstractmethod
    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the files of the export, all but its manifest. None may need the whole export in memory."""
