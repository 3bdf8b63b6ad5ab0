"""Look up the versions of the application and of relevant libraries for the manifest."""

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
    """Return the version of each installed library, from the first of its distributions that is installed.

    A library may have several distributions. Which one a machine needs (tensorflow or tensorflow-cpu) does not affect
    its results, so the manifest does not name it.
    """
    versions = {}
    for name, distributions in libraries.items():
        for distribution in distributions:
            try:
                versions[name] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
            break
    return versions
