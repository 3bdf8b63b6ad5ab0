"""Show what takes disk space in the store, and clear what is made again when it is needed."""

from __future__ import annotations

import glob
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from hoshina.core.errors import Refusal
from hoshina.core.folder_size import FolderSize, folder_size, size_of
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires_to_change

# The folders of the store and what is in them. Those that can be cleared are caches.
_TITLES = {
    "vectors": "Embeddings",
    "models": "Model versions and predictions",
    "maps": "Maps",
    "neighbours": "Graphs of nearest neighbors",
    "thumbs": "Thumbnails",
    "squares": "Inputs of encoders",
    "leakage": "Signatures and near-duplicates",
    "encoders": "Encoders and model files",
    "examples": "Examples to compare with",
    "fields": "Values of fields",
    "compiled": "Compiled code",
    "keras": "Downloaded weights",
    "demo": "Images of the demo",
    "uploads": "Uploaded images",
    "imports": "Files that are being imported",
    "logs": "Logs",
}
CLEARABLE = {"thumbs": "AL_THUMBNAILS_MB", "squares": "AL_SQUARES_MB"}
_PAGE_SECONDS = 3.0


@dataclass(frozen=True)
class Part:
    """Describe a part of the store; ``limit`` in bytes, for those that have one."""

    name: str
    title: str
    size: FolderSize
    limit: int | None = None

    @property
    def can_be_cleared(self) -> bool:
        return self.name in CLEARABLE


def parts(*, seconds: float = float("inf")) -> list[Part]:
    """Return the parts of the store, the largest first; counting stops after ``seconds``."""
    until = time.monotonic() + seconds
    limits = {"thumbs": settings.THUMBNAILS_MEGABYTES << 20, "squares": settings.SQUARES_MEGABYTES << 20}
    found, other = list[Part](), list[FolderSize]()
    for entry in os.scandir(settings.STORE_DIR):
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and entry.name.startswith("app.db"):
            continue
        size = folder_size(Path(entry.path), until=until) if is_folder else FolderSize(size_of(entry), 1)
        title = "The store before a restore" if entry.name.startswith("before-restore-") else _TITLES.get(entry.name)
        if is_folder and title:
            found.append(Part(entry.name, title, size, limits.get(entry.name)))
        else:
            other.append(size)
    files = [FolderSize(path.stat().st_size, 1) for path in _database_files() if path.exists()]
    if files:
        found.append(Part("database", "Database", _sum(files)))
    found.append(Part("other", "Other files", _sum(other)))
    return sorted(found, key=lambda part: -part.size.n_bytes)


def _sum(sizes: list[FolderSize]) -> FolderSize:
    return FolderSize(
        sum(size.n_bytes for size in sizes),
        sum(size.n_files for size in sizes),
        any(size.is_partial for size in sizes),
    )


def _database_files() -> list[Path]:
    if settings.DATABASE_URL:
        return []
    name = Path(settings.DATABASES["default"]["NAME"])
    # With the copies from before a migration.
    copies = name.parent.glob(f"{glob.escape(name.name)}.before-*")
    return [name, *(name.with_name(f"{name.name}{suffix}") for suffix in ("-wal", "-shm")), *copies]


def clear(name: str) -> int:
    """Delete a cache, which is filled again when it is needed. Return the bytes that became free. Raises Refusal."""
    if name not in CLEARABLE:
        raise Refusal(f"{name!r} can't be cleared.", f"Choose one of {', '.join(sorted(CLEARABLE))}.")
    folder = settings.STORE_DIR / name
    n_bytes = folder_size(folder).n_bytes
    # Renamed first: whoever writes there meanwhile starts a new folder.
    doomed = settings.STORE_DIR / f"{name}.cleared"
    shutil.rmtree(doomed, ignore_errors=True)
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return 0
    shutil.rmtree(doomed)
    return n_bytes


@requires_to_change(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def page(request: HtmxHttpRequest) -> HttpResponse:
    """List what takes space; clear a cache."""
    if request.method == "POST":
        try:
            n_bytes = clear(request.POST.get("clear", ""))
        except Refusal as problem:
            return HttpResponse(str(problem), status=422, content_type="text/plain")
        messages.success(request, f"{n_bytes / 2**20:,.1f} MB are free again. What is needed is made again.")
        return redirect("disk")
    context: dict[str, Any] = {
        "parts": parts(seconds=_PAGE_SECONDS),
        "usage": shutil.disk_usage(settings.STORE_DIR),
        "store": settings.STORE_DIR,
    }
    return render(request, "disk.html", context)
