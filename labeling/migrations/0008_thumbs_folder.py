"""Thumbnails are cached under ``thumbs/`` of the store now; those made before move there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import migrations


def move_thumbnails(*_: Any) -> None:
    """Rename the folder of the cache. A store without one, or one that cannot be renamed, makes them anew."""
    before, after = (Path(settings.STORE_DIR) / name for name in ("thumbnails", "thumbs"))
    if before.is_dir() and not after.exists():
        try:
            before.rename(after)
        except OSError:
            return


class Migration(migrations.Migration):
    dependencies = [("labeling", "0007_together_by")]
    operations = [migrations.RunPython(move_thumbnails, migrations.RunPython.noop, elidable=True)]
