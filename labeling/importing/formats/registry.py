"""Look up importers by their entry points, and find the one for a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import BinaryIO

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer
from labeling.importing.formats.delimited import Delimited
from labeling.importing.formats.unsupported import appearance_of
from labeling.tables.layout import Layout, Rank

GROUP = "hoshina.importers"


@cache
def importers() -> dict[str, Importer]:
    """Return all importers by name, in the order in which they are tried; tables of text are last."""
    found: dict[str, Importer] = {point.name: point.load()() for point in metadata.entry_points(group=GROUP)}
    # The default needs no entry point, so that imports work where the package's metadata is older than its code.
    found.pop(Delimited.name, None)
    others = sorted(found.items(), key=lambda entry: (entry[1].order, entry[0]))
    return {**dict(others), Delimited.name: Delimited()}


def reader_of(name: str) -> Callable[[BinaryIO, Rank, str], Layout]:
    """Return a function that reads a file of this name in any of the formats as a table."""
    return lambda stream, rank, encoding: open_table(stream, rank, encoding, name)


def open_table(stream: BinaryIO, rank: Rank, encoding: str = "", name: str = "") -> Layout:
    """Recognize the format of a file and return its table.

    ``name`` is that of the file. Raises Refusal, naming the format that the file appears to have, if no importer reads
    it.
    """
    file = File(stream, name, encoding)
    if encoding:  # so it is text
        return Delimited().layout(file, rank)
    for importer in importers().values():
        if importer.recognizes(file):
            return importer.layout(file, rank)
    titles = ", ".join(importer.title for importer in importers().values())
    raise Refusal(f"{appearance_of(file)} It can't be imported.", f"Formats that can: {titles}.")
