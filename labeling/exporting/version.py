"""Versions for the manifest: of the application and of the libraries that shape what an export says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "django": ("django",),
    "numpy": ("numpy",),
    "pillow": ("pillow",),
    "astropy": ("astropy",),
    "tifffile": ("tifffile",),
}


@cache
def app_version() -> str:
    """Return the version of the installed package, which pyproject.toml sets."""
    return metadata.version("hoshina")


def library_versions(libraries: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Version of each library, by the first of its distributions that is installed; others are left out.

    One library may have several distributions: which one a machine needs (tensorflow or tensorflow-cpu) does
    not change what it computes, so it does not show.
    """
    found = {}
    for name, distributions in libraries.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
            break
    return found
