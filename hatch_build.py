"""Add to the wheel what lies beside the packages: templates, static files, license and the built documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

REQUIRED = ("templates", "static", "LICENSE")
OPTIONAL = ("site",)  # the documentation, once `site/` has been built


class BesideThePackages(BuildHookInterface[Any]):
    """Copy the files into the package `hoshina` (settings.RESOURCES_DIR)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the files of a wheel. An editable installation reads them from the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        found = [name for name in OPTIONAL if (root / name).exists()]
        build_data["force_include"] |= {str(root / name): f"hoshina/{name}" for name in (*REQUIRED, *found)}
