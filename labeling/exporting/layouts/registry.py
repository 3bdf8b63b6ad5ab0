"""Look up layouts by their entry points."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from hoshina.core.errors import Refusal
from labeling.exporting.layouts.base import Layout
from labeling.exporting.layouts.csv_tables import CsvTables
from labeling.exporting.options import DEFAULT_LAYOUT

GROUP = "hoshina.exporters"


@cache
def layouts() -> dict[str, Layout]:
    """Return all layouts by name: the default first, then the others in the order of their titles."""
    found: dict[str, Layout] = {point.name: point.load()() for point in metadata.entry_points(group=GROUP)}
    # The default needs no entry point, so that exports work where the package's metadata is older than its code.
    found.pop(DEFAULT_LAYOUT, None)
    others = sorted(found.items(), key=lambda entry: entry[1].title.casefold())
    return {DEFAULT_LAYOUT: CsvTables(), **dict(others)}


def layout_named(name: str) -> Layout:
    """Return a layout. Raises Refusal if there is none of this name."""
    try:
        return layouts()[name]
    except KeyError:
        raise Refusal(f"There is no layout {name!r}.", f"The layouts are {', '.join(layouts())}.") from None
