"""Watch folders and ingest them automatically when they change.

Folders are polled, because file system notifications (inotify and similar) do not work on network disks, miss files
that were copied while nothing was running, and must be requested for each folder. A poll reads only names, sizes and
times. The pause after it is so long that polling takes at most a twentieth of the time, however large the folder is.
The last state is stored with the dataset, so that watching continues there after a restart.
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

from hoshina.jobs import clock
from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from labeling.images.folder_walk import walk
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.models import Dataset

log = logging.getLogger(__name__)

# Files modified within this many seconds may be incomplete and are left for the next poll.
SETTLED = 2.0
SHORTEST_PAUSE = 2.0
_PAUSE_PER_LOOK = 19
_PAUSE_WHEN_AWAY = 30.0
# After this many seconds, another process may take over a poll, because its process may be dead.
_LONGEST_LOOK = 60.0
_TICK = 3.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a folder: the number of complete files, and a digest of their names, sizes and times."""

    n: int
    digest: str


def is_settled(status: os.stat_result, settled: float) -> bool:
    """Return whether a file's time is ``settled`` seconds ago, or in the future, because clocks differ."""
    return abs(time.time() - status.st_mtime) >= settled


def take_snapshot(root: Path, extensions: Sequence[str]) -> Snapshot:
    """Return a folder's state, without files that may still be written to. Opens no file. Raises OSError."""
    digest, n = hashlib.blake2b(digest_size=16), 0
    for file in walk(root, extensions, skip=settings.STORE_DIR):
        state = file.problem
        if not state:
            try:
                status = os.stat(root / file.path)  # noqa: PTH116 - faster, for a million files
            except OSError:  # removed or unreadable; ingest reports it
                continue
            if not is_settled(status, SETTLED):
                continue
            state = f"{status.st_size} {status.st_mtime_ns}"
        n += 1
        digest.update(b"%s\x00%s\x00" % (os.fsencode(file.path), state.encode("utf-8", "replace")))
    return Snapshot(n, digest.hexdigest())


def pause_after(seconds: float) -> float:
    """Return how many seconds to wait after a poll that took ``seconds``."""
    return max(SHORTEST_PAUSE, _PAUSE_PER_LOOK * seconds)


def params_of_last_ingest(dataset: Dataset) -> dict[str, Any]:
    """Return the parameters for another ingest: the extensions of the last successful one."""
    last = Job.objects.filter(kind="ingest", dataset_id=dataset.pk, state=Job.State.SUCCEEDED).order_by("-created_at")
    extensions = next((job.params.get("extensions") for job in last[:1]), None)
    return {"extensions": extensions} if extensions else {}


def check_due_folders() -> None:
    """Poll all watched folders that are due, and ingest those that changed."""
    due = Q(next_look_at=None) | Q(next_look_at__lte=clock.now())
    for dataset in Dataset.objects.in_use().filter(due, is_watched=True):
        # Only one of several workers polls. The others find the time changed.
        claimed = Dataset.objects.filter(pk=dataset.pk, is_watched=True, next_look_at=dataset.next_look_at)
        if claimed.update(next_look_at=clock.now() + timedelta(seconds=_LONGEST_LOOK)):
            _check_folder(dataset)


def _check_folder(dataset: Dataset) -> None:
    began = time.monotonic()
    params = params_of_last_ingest(dataset)
    changes: dict[str, Any] = {}
    shortest = 0.0
    try:
        snapshot = take_snapshot(dataset.data_dir, params.get("extensions") or DEFAULT_EXTENSIONS)
    except OSError as error:
        log.warning("The watched folder %s cannot be read: %s", dataset.data_dir, error)
        shortest = _PAUSE_WHEN_AWAY
    else:
        # A folder without any image is probably an unmounted disk.
        if snapshot.n and snapshot.digest != dataset.last_look and _ingest(dataset, params):
            changes["last_look"] = snapshot.digest
    pause = timedelta(seconds=max(shortest, pause_after(time.monotonic() - began)))
    Dataset.objects.filter(pk=dataset.pk).update(next_look_at=clock.now() + pause, **changes)


def _ingest(dataset: Dataset, params: dict[str, Any]) -> bool:
    """Enqueue an ingest. Return False if one is active, which may already have passed the changed files."""
    if Job.objects.filter(kind="ingest", dataset_id=dataset.pk, state__in=Job.ACTIVE).exists():
        return False
    enqueue("ingest", dataset_id=dataset.pk, params=params | {"settled": SETTLED})
    return True


def watch(stopped: threading.Event) -> None:
    """Poll due folders until ``stopped`` is set. Continues after database errors."""
    try:
        while not stopped.wait(_TICK):
            try:
                check_due_folders()
            except AnyDatabaseError as error:
                log.warning("Could not read the watched folders from the database, trying again: %s", error)
                connections.close_all()
    finally:
        connections.close_all()


def start(stopped: threading.Event) -> threading.Thread:
    """Start and return a thread that watches folders until ``stopped`` is set."""
    thread = threading.Thread(target=watch, args=(stopped,), name="watch", daemon=True)
    thread.start()
    return thread
