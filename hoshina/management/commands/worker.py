"""Define ``hoshina worker [QUEUE…]``: run background jobs."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from hoshina.core.commands import HoshinaCommand
from hoshina.core.parent_watch import is_child_of_up
from hoshina.jobs import clock
from hoshina.jobs.models import Worker
from hoshina.jobs.presence import host
from hoshina.jobs.registry import QUEUES

_NICENESS = 10


class Command(HoshinaCommand):
    needs_database = not is_child_of_up()  # `up` prepares it
    help = "Run a worker for background jobs. Start as many as you like, on any machine."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queues", nargs="*", metavar="QUEUE", choices=[*QUEUES, []], help=", ".join(QUEUES))
        parser.add_argument("--check", action="store_true", help="check whether this machine's worker is alive")

    def handle(self, *args: Any, queues: list[str], check: bool, **options: Any) -> None:
        names = ",".join(queues or QUEUES)
        if check:
            self._check(names)
            return
        import warnings

        from celery.exceptions import SecurityWarning

        from hoshina.celery import app

        os.environ["CELERY_SKIP_CHECKS"] = "true"  # commands of HOSHINA run without system checks
        # Celery warns about root because of pickled messages, which are not accepted here.
        warnings.simplefilter("ignore", SecurityWarning)
        # Not through `celery worker`, whose command line takes half a second to load.
        worker = app.Worker(
            queues=names.split(","),
            hostname=f"{names.replace(',', '-')}@{host()}",
            pool_cls="solo",
            concurrency=1,
            loglevel="INFO" if options["verbosity"] > 1 else "WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
            # Celery's event loop may hang when Redis restarts; the plain loop (the only one on Windows) does not.
            use_eventloop=False,
        )
        if names == "heavy":
            _give_way()
        if "heavy" in names:
            from hoshina.jobs.runner import stopping
            from labeling.ingest import folder_watch

            folder_watch.start(stopping)
        worker.start()
        sys.exit(worker.exitcode)

    def _check(self, names: str) -> None:
        since = clock.now() - timedelta(seconds=settings.JOB_STALE)
        here = f"{host()}:"
        if not Worker.objects.filter(name__startswith=here, queues=names, seen_at__gte=since).exists():
            raise CommandError(f"No worker for {names} is running on this machine.")
        self.stdout.write("The worker is alive.")


def _give_way() -> None:
    """Lower the priority of a worker that only runs long jobs, in favor of what users wait for."""
    process = psutil.Process()
    if sys.platform == "win32":
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        process.nice(min(19, process.nice() + _NICENESS))
