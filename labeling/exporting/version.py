"""Versions for the manifest: of the application and of the libraries that shape what an export says."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata

from django.conf import settings

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "django": ("django",),
    "numpy": ("numpy",),
    "pillow": ("pillow",),
    "astropy": ("astropy",),
    "tifffile": ("tifffile",),
}


@cache
def app_version() -> str:
    """The version in pyproject.toml: the project is run from its folder, not installed as a package."""
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as stream:
        return str(tomllib.load(stream)["project"]["version"])


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
