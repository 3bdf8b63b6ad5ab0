"""Select what a backup holds: files of the store, and tables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Model

# Patterns of the files that cannot be computed again, or not with the same result: metadata columns, files of model
# versions, coordinates of maps, components of joined encoders, imported embeddings, people's model files,
# examples from outside a dataset, the best weights of quick trainings that were stopped, and images that were uploaded.
_PATTERNS = (
    "fields/*/*.np[yz]", "models/**/*", "maps/*/*.np[yz]", "vectors/*/*/reduction.npz", "vectors/*/*imported/*.npy",
    "encoders/own/*", "examples/*/*", "quick/*/kept.npz", "uploads/**/*",
)  # fmt: skip
# Folders of the store whose files refer to rows of the database.
FOLDERS = (
    "fields",
    "models",
    "maps",
    "vectors",
    "encoders",
    "examples",
    "quick",
    "neighbours",
    "squares",
    "uploads",
    "leakage",
)
# Nobody's work, or a way to sign in: left out of every backup.
_TRANSIENT = frozenset({"sessions.session", "api.token", "labeling.lease", "jobs.worker", "jobs.chunk"})
_TRANSIENT_APPS = frozenset({"axes"})
# Left out with --labels-only. Tables of these apps are computed from labels and images, but for some that are settings.
_DERIVED_APPS = frozenset({"jobs", "modeling", "sampling"})
_SETTINGS = frozenset({"modeling.encoderchoice", "modeling.retrainpolicy", "sampling.savedview"})
_DERIVED = frozenset({"admin.logentry"})

Query = Callable[[str], list[tuple[Any, ...]]]


def omitted_tables(*, labels_only: bool) -> list[str]:
    """Return the tables whose rows a backup does not hold. No other table refers to them."""
    return [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if _is_omitted(model, labels_only=labels_only)
    ]


def _is_omitted(model: type[Model], *, labels_only: bool) -> bool:
    label, app = model._meta.label_lower, model._meta.app_label
    if label in _TRANSIENT or app in _TRANSIENT_APPS:
        return True
    return labels_only and (label in _DERIVED or (app in _DERIVED_APPS and label not in _SETTINGS))


def store_files() -> Iterator[Path]:
    """Yield the files that a full backup holds, relative to the store."""
    store = Path(settings.STORE_DIR)
    for pattern in _PATTERNS:
        for file in sorted(store.glob(pattern)):
            is_draft = file.suffix in {".tmp", ".lock", ".part"} or ".unpacking-" in file.as_posix()
            if file.is_file() and not file.is_symlink() and not is_draft:
                yield file.relative_to(store)


def freeze(folder: Path) -> list[Path]:
    """Link or copy the store's files into ``folder``; return them, relative to it.

    Files of the store are replaced and never changed, so links keep the content of this moment at no cost.
    """
    frozen = []
    for file in store_files():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _link_or_copy(Path(settings.STORE_DIR) / file, target)
        except FileNotFoundError:  # replaced just now; missing_files() notices if the database needs it
            continue
        frozen.append(file)
    return frozen


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def missing_files(query: Query, frozen: list[Path]) -> list[str]:
    """Return the files that the database refers to and that are not among ``frozen``."""
    expected = [
        f"fields/{pk}/values-{generation}.npy"
        for pk, generation in query("SELECT id, generation FROM labeling_field WHERE generation > 0 ORDER BY id")
    ]
    expected += [
        f"maps/{pk}/coordinates-{generation}.npy"
        for pk, generation in query("SELECT id, generation FROM modeling_projection WHERE generation > 0 ORDER BY id")
    ]
    expected += [
        f"models/{pk}/probabilities.npy"
        for (pk,) in query("SELECT id FROM modeling_modelversion WHERE is_active ORDER BY id")
    ]
    existing = {file.as_posix() for file in frozen}
    return [name for name in expected if name not in existing]
