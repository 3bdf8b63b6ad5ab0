"""Write files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(file: Path, text: str) -> None:
    """Replace ``file`` by one with this text that nobody but its owner may read, in a folder closed to others."""
    _close_to_others(file.parent)
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(file)


def _close_to_others(store: Path) -> None:
    """Let nobody else enter the store: the sessions in its database would let them in as well."""
    mode = store.stat().st_mode
    if mode & 0o077 and os.name == "posix":
        store.chmod(mode & 0o7700)
