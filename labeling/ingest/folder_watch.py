"""Watched folders: what is new in them is read without anybody's asking.

A folder is looked at again and again, because notices of the operating system (inotify and its like) don't come
from network disks, miss what was copied while nothing ran, and have to be asked for folder by folder. A look reads
names, sizes and times only, and the pause after it is so long that looking takes a twentieth of the time at most,
however large the folder is. What was last seen is kept with the dataset, so a restart begins where it stopped.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connections
from django.db.models import Q
from django.utils import timezone

from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.images.folder_walk import walk
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.models import Dataset

log = logging.getLogger(__name__)

# A file that was written to within so many seconds may not be complete: it is left for the next look.
SETTLED = 2.0
SHORTEST_PAUSE = 2.0
_PAUSE_PER_LOOK = 19
_PAUSE_WHEN_AWAY = 30.0
# A look that has not ended by then may be taken over: its process may be dead.
_LONGEST_LOOK = 60.0
_TICK = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a folder looked like: how many complete files, and a digest of their names, sizes and times."""

    n: int
    digest: str


def is_settled(status: os.stat_result, settled: float) -> bool:
    """Whether a file was not written to for ``settled`` seconds. A time in the future says nothing: clocks differ."""
    return abs(time.time() - status.st_mtime) >= settled


def look(root: Path, extensions: Sequence[str]) -> Look:
    """Look at a folder without opening a file; what may still be written is left out.

    Raises
    ------
    OSError
        When the folder cannot be listed.
    """
    digest, n = hashlib.blake2b(digest_size=16), 0
    for found in walk(root, extensions, skip=settings.STORE_DIR):
        words = found.problem
        if not words:
            try:
                status = os.stat(root / found.path)  # noqa: PTH116 - a million of them
            except OSError:  # gone again, or not to be read: an ingest will tell
                continue
            if not is_settled(status, SETTLED):
                continue
            words = f"{status.st_size} {status.st_mtime_ns}"
        n += 1
        digest.update(b"%s\x00%s\x00" % (os.fsencode(found.path), words.encode("utf-8", "replace")))
    return Look(n, digest.hexdigest())


def pause_after(seconds: float) -> float:
    """How long to wait after a look that took ``seconds``."""
    return max(SHORTEST_PAUSE, _PAUSE_PER_LOOK * seconds)


def params_like_last(dataset: Dataset) -> dict[str, Any]:
    """The parameters of another ingest: the endings that the last one was told to read."""
    last = Job.objects.filter(kind="ingest", dataset_id=dataset.pk, state=Job.State.SUCCEEDED).order_by("-created_at")
    extensions = next((job.params.get("extensions") for job in last[:1]), None)
    return {"extensions": extensions} if extensions else {}


def look_at_due() -> None:
    """Look at every watched folder whose time has come, and have those read in which something changed."""
    due = Q(next_look_at=None) | Q(next_look_at__lte=timezone.now())
    for dataset in Dataset.objects.filter(due, is_watched=True):
        # Of several workers one looks: the others find the time changed.
        mine = Dataset.objects.filter(pk=dataset.pk, is_watched=True, next_look_at=dataset.next_look_at)
        if mine.update(next_look_at=timezone.now() + timedelta(seconds=_LONGEST_LOOK)):
            _look_at(dataset)


def _look_at(dataset: Dataset) -> None:
    began = time.monotonic()
    params = params_like_last(dataset)
    changes: dict[str, Any] = {}
    shortest = 0.0
    try:
        seen = look(dataset.data_dir, params.get("extensions") or DEFAULT_EXTENSIONS)
    except OSError as error:
        log.warning("The watched folder %s cannot be looked at: %s", dataset.data_dir, error)
        shortest = _PAUSE_WHEN_AWAY
    else:
        # A folder without a single image is a disk that is not there just now.
        if seen.n and seen.digest != dataset.last_look and _ingest(dataset, params):
            changes["last_look"] = seen.digest
    pause = timedelta(seconds=max(shortest, pause_after(time.monotonic() - began)))
    Dataset.objects.filter(pk=dataset.pk).update(next_look_at=timezone.now() + pause, **changes)


def _ingest(dataset: Dataset, params: dict[str, Any]) -> bool:
    """Whether a new ingest will read what was seen; one that runs already may have passed by."""
    if Job.objects.filter(kind="ingest", dataset_id=dataset.pk, state__in=Job.ACTIVE).exists():
        return False
    enqueue("ingest", dataset_id=dataset.pk, params=params | {"settled": SETTLED})
    return True


def watch(stopped: threading.Event) -> None:
    """Look at what is due until ``stopped`` is set; outlives a database that is busy or away."""
    try:
        while not stopped.wait(_TICK):
            try:
                look_at_due()
            except AnyDatabaseError as error:
                log.warning("The watched folders could not be looked up, trying again: %s", error)
                connections.close_all()
    finally:
        connections.close_all()


def start(stopped: threading.Event) -> threading.Thread:
    """A thread that watches until ``stopped`` is set."""
    thread = threading.Thread(target=watch, args=(stopped,), name="watch", daemon=True)
    thread.start()
    return thread
