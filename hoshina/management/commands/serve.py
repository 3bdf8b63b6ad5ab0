"""Define ``hoshina serve``: run only the web server (waitress, the same on Linux, macOS and Windows)."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection
from django.urls import get_resolver

from hoshina.core import schema
from hoshina.core.commands import HoshinaCommand
from hoshina.core.parent_watch import is_child_of_up


class Command(HoshinaCommand):
    needs_database = not is_child_of_up()  # `up` prepares it
    help = "Serve the pages. Start workers with hoshina worker, or everything at once with hoshina up."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="default: AL_HOST or 127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: AL_PORT or 8000")
        parser.add_argument("--threads", type=int, default=8)

    def handle(self, *args: Any, host: str, port: int, threads: int, **options: Any) -> None:
        if settings.LOCAL_ONLY and host not in {"127.0.0.1", "localhost", "::1"}:
            raise CommandError(f"To listen on {host}, set AL_HOST={host}, which turns on sign-in.")
        from hoshina.web.server import create_server
        from hoshina.wsgi import application

        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = socket.create_server(address[:2], family=family, backlog=1024)
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error
        server = create_server(application, listening, threads=threads)
        threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        if is_child_of_up():
            wait_for_tables()
        server.run()  # ends with SIGTERM or Ctrl-C, after answering the current requests


def wait_for_tables() -> None:
    """Wait until `up` has created or migrated the tables. Connections wait meanwhile, instead of failing."""
    while True:
        try:
            if schema.state() != "old":
                break
        except DatabaseError:  # `up` says what is wrong with the database
            pass
        connection.close()
        time.sleep(0.05)
    connection.close()


def _warm_up() -> None:
    """Load what the first page and the first job need."""
    import hoshina.celery  # noqa: F401
    from hoshina.jobs import registry

    get_resolver().url_patterns  # noqa: B018
    registry.discover()
