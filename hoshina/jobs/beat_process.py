"""Send a worker's heartbeats from a separate process, which no native call of the worker can delay.

Used with Redis, where others cannot look up the worker's process: it may run on another machine or in a container.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from typing import Any

log = logging.getLogger(__name__)


def start(worker: str) -> subprocess.Popen[bytes]:
    """Start a process that sends heartbeats for ``worker`` for as long as this process lives."""
    from django.conf import settings

    from hoshina.core.processes import module_command, module_environment

    options = {"worker": worker, "database": settings.DATABASES["default"], "seconds": settings.JOB_HEARTBEAT}
    process = subprocess.Popen(
        module_command("hoshina.jobs.beat_process"), stdin=subprocess.PIPE, env=module_environment()
    )
    assert process.stdin is not None
    # The pipe stays open: the process ends when this one does, for any reason.
    process.stdin.write(json.dumps(options, default=str).encode() + b"\n")
    process.stdin.flush()
    return process


def beat(worker: str) -> None:
    """Record that the worker, its running jobs and its chunks of other jobs are alive."""
    from hoshina.jobs import clock
    from hoshina.jobs.models import Chunk, Job, Worker

    now = clock.now()
    Worker.objects.filter(name=worker).update(seen_at=now)
    Job.objects.filter(worker=worker, state=Job.State.RUNNING).update(heartbeat_at=now)
    Chunk.objects.filter(worker=worker, done=False).update(heartbeat_at=now)


def main() -> None:
    """Send heartbeats until standard input ends, that is, until the process that started this one ends."""
    options: dict[str, Any] = json.loads(sys.stdin.readline())
    _set_up(options["database"])
    from django.db import Error as AnyDatabaseError
    from django.db import connection

    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    while not ended.wait(options["seconds"]):
        try:
            beat(options["worker"])
        except AnyDatabaseError as error:
            log.warning("A heartbeat could not be saved, trying again: %s", error)
            connection.close()


def _set_up(database: dict[str, Any]) -> None:
    """Set up Django with the models of jobs alone, which takes a third of the memory."""
    import django
    from django.conf import settings

    apps = ["django.contrib.contenttypes", "django.contrib.auth", "hoshina.jobs"]
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=apps,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def _wait_for_the_end(ended: threading.Event) -> None:
    while sys.stdin.read(4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
