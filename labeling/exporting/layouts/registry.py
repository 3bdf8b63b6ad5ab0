"""Look up layouts by their entry points."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from hoshina.core.errors import Refusal
from labeling.exporting.layouts.base import Layout
from labeling.exporting.options import DEFAULT_LAYOUT

GROUP = "hoshina.exporters"


@cache
def layouts() -> dict[str, Layout]:
    """Return all layouts by name: the default first, then the others in the order of their names."""
    found = {point.name: point for point in metadata.entry_points(group=GROUP)}
    names = sorted(found, key=lambda name: (name != DEFAULT_LAYOUT, name))
    return {name: found[name].load()() for name in names}


def layout_named(name: str) -> Layout:
    """Return a layout. Raises Refusal if there is none of this name."""
    try:
        return layouts()[name]
    except KeyError:
        raise Refusal(f"There is no layout {name!r}.", f"The layouts are {', '.join(layouts())}.") from None
