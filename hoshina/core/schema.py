"""Compare the migrations of the store with those of this version."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from django.apps import apps
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from hoshina.core.errors import Refusal

Migration = tuple[str, str]
_PACKAGES = frozenset({"hoshina", "labeling", "modeling", "sampling"})


def state() -> str:
    """Return "current", "old" (run migrate) or "new" (the store belongs to a later version)."""
    found = MigrationRecorder(connection).applied_migrations().keys()
    if later_than_this(found):
        return "new"
    return "old" if _of_this_version() - found else "current"


def applied() -> set[Migration]:
    """Return the migrations of the store; empty for a new store."""
    return set(MigrationRecorder(connection).applied_migrations())


def later_than_this(migrations: Iterable[Migration]) -> list[Migration]:
    """Return the migrations of our apps that this version does not have."""
    return sorted(key for key in set(migrations) - _of_this_version() if key[0] in _our_labels())


def refuse_newer() -> None:
    """Raise Refusal if a later version of HOSHINA has migrated the store."""
    if later := later_than_this(applied()):
        raise Refusal(
            f"A newer version of HOSHINA has used this store (it has the migration {'.'.join(later[-1])}).",
            "Update HOSHINA, or restore a backup that this version made.",
        )


@cache
def _of_this_version() -> frozenset[Migration]:
    return frozenset(MigrationLoader(None).disk_migrations)


@cache
def _our_labels() -> frozenset[str]:
    return frozenset(config.label for config in apps.get_app_configs() if config.name.split(".")[0] in _PACKAGES)
