"""Define ``hoshina up [FOLDER]``: run web server, workers and ingest in one process tree, and open the browser."""

from __future__ import annotations

import _thread
import argparse
import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as AnyDatabaseError
from django.db import connection
from filelock import FileLock, Timeout

from hoshina import health
from hoshina.api import local_access
from hoshina.core import sign_in_token
from hoshina.core.commands import HoshinaCommand, prepare_database
from hoshina.core.parsing import whole_number
from hoshina.core.processes import describe, lives, module_command
from hoshina.core.storage import replacing
from hoshina.jobs import lifecycle, presence, registry
from hoshina.jobs.console import Bars
from hoshina.jobs.models import Job
from hoshina.management import supervision
from hoshina.web.open_browser import open_browser
from hoshina.web.sign_in import first_sign_in_path, local_sign_in_path

log = logging.getLogger(__name__)

PORTS_TRIED = 50


class Command(HoshinaCommand):
    needs_database = False  # it prepares the database while the web server starts
    help = "Start everything for a folder of images and open the browser. Ctrl-C stops it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder",
            nargs="?",
            metavar="FOLDER",
            help="a folder of images (default: AL_DATA_DIR; without both, choose one in the browser)",
        )
        parser.add_argument("--demo", action="store_true", help="the 1,797 handwritten digits of scikit-learn")
        parser.add_argument("--port", type=_port, default=settings.PORT, help="default: AL_PORT or 8000")
        parser.add_argument("--no-browser", action="store_true", help="print the address without opening it")
        parser.add_argument(
            "--no-token",
            action="store_true",
            help="let everybody who can log in to this machine open the pages, without the link to sign in",
        )
        parser.add_argument("--dataset", metavar="NAME", help="name of the dataset (default: name of the folder)")
        parser.add_argument(
            "--group", metavar='"{id}_{role}.fits"', help="group files whose paths end like this into one item"
        )
        parser.add_argument("--roles", metavar="target,ref,diff", help="the roles to use, in order")
        parser.add_argument(
            "--labels-from-folders", action="store_true", help="label the images of FOLDER by their class folders"
        )
        parser.add_argument(
            "--watch", action="store_true", help="add new files automatically (without FOLDER: to every dataset)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        folder = _folder(options)
        settings.STORE_DIR.mkdir(parents=True, exist_ok=True)
        with _hold_store() as held, _stop_signals() as stopped:
            _Up(self, options, held, stopped).run(folder)


def _port(text: str) -> int:
    port = whole_number(text, 5)
    if port is None or not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected a whole number from 1 to 65535.")
    return port


def _folder(options: dict[str, Any]) -> Path | None:
    if options["folder"] is None and settings.DATA_DIR is not None and not options["demo"]:
        options["folder"] = settings.DATA_DIR
    if options["folder"] is None:
        if options["group"] is not None or options["roles"]:
            raise CommandError("Name the folder whose files to group.", returncode=2)
        return None
    if options["demo"]:
        raise CommandError("Name a folder or --demo, not both.", returncode=2)
    folder = Path(options["folder"]).expanduser().absolute()
    if not folder.is_dir():
        from labeling.ingest.dataset_folder import folder_problem, url_problem

        raise CommandError(url_problem(str(options["folder"])) or folder_problem(folder))
    return folder


class _Holder:
    """The process that holds the store, for a second ``up`` to read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._written: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def write(self, **content: Any) -> None:
        if content != self._written:
            with replacing(self.file) as stream:
                stream.write(json.dumps(content).encode())
            self._written = content


@contextmanager
def _hold_store() -> Iterator[_Holder]:
    holder = _Holder(settings.STORE_DIR / "up.json")
    lock = FileLock(settings.STORE_DIR / "up.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        state = holder.read()
        raise CommandError(
            f"Another `up` (process {state.get('pid', 'unknown')}) runs on {settings.STORE_DIR}: open "
            f"{state.get('url', 'its page')}, or stop it first."
        ) from error
    try:
        # From an `up` that was killed: its children end on their own within a second or two.
        supervision.end_leftovers(holder.read().get("children", []), patience=8)
        holder.write(pid=os.getpid())
        yield holder
        holder.file.unlink(missing_ok=True)
    finally:
        lock.release()


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Yield an event that is set by Ctrl-C, SIGTERM or closing the terminal; a later Ctrl-C interrupts at once."""
    stopped = threading.Event()
    pressed_at = float("-inf")

    def stop(number: int, _: object) -> None:
        nonlocal pressed_at
        # One key press may arrive twice: from the terminal, and from `uv run`, which forwards it.
        if stopped.is_set() and number == signal.SIGINT and time.monotonic() - pressed_at > 1:
            raise KeyboardInterrupt
        if not stopped.is_set():
            pressed_at = time.monotonic()
        # In a thread: this one may hold the event's lock when the signal arrives, which would be a deadlock.
        _thread.start_new_thread(stopped.set, ())

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handlers = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in handlers.items():
            # A key press that arrives twice must not interrupt a clean shutdown at its end.
            signal.signal(number, signal.SIG_IGN if stopped.is_set() else handler)


def free_port(host: str, first: int) -> int:
    """Return the first port from ``first`` on that is free."""
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        if not _answers(host, port) and _can_bind(host, port):
            return port
    raise CommandError(f"No free port from {first} to {first + PORTS_TRIED - 1}; name another with --port.")


def _answers(host: str, port: int) -> bool:
    nearby = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with socket.create_connection((nearby, port), timeout=0.5):
            return True
    except OSError:
        return False


def _can_bind(host: str, port: int) -> bool:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    try:
        socket.create_server(address[:2], family=family).close()
    except OSError:
        return False
    return True


class _Up:
    """One run of ``up`` that holds its store."""

    def __init__(self, command: BaseCommand, options: dict[str, Any], held: _Holder, stopped: threading.Event) -> None:
        self.command = command
        self.options = options
        self.held = held
        self.stopped = stopped
        self.port = free_port(settings.HOST, options["port"])
        self.bars = Bars()
        self.say = self.bars.say
        self.began_at = time.monotonic()
        self.launcher = _launcher()
        self.tree = supervision.Tree(on_death=_give_back)
        self.logs: Path = settings.STORE_DIR / "logs"
        self.ingest_log = self.logs / "ingest.log"
        self.ingest_identity = ""
        self.ingest: subprocess.Popen[bytes] | None = None
        self.page = ""
        self.needs_token = settings.TOKEN_REQUIRED and not options["no_token"]
        if options["no_token"]:
            os.environ["AL_TOKEN"] = "0"  # noqa: S105 (for the web server, which is a process of its own)

    @property
    def url(self) -> str:
        host = settings.HOST if settings.LOCAL_ONLY else health.allowed_host(settings.ALLOWED_HOSTS)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def run(self, folder: Path | None) -> None:
        if self.port != self.options["port"]:
            self.say(f"Port {self.options['port']} is busy; using {self.port}.")
        self.say(f"Data is stored in {settings.STORE_DIR}")
        self._plant()
        opened = False
        try:
            web, *workers = self.tree.children
            web.start()  # it loads its pages while the tables are created
            prepare_database(may_migrate_server=True)
            self._start_ingest(folder)
            self._note()
            while not self.stopped.is_set() and not self._is_abandoned():
                for line in self.tree.look():
                    self.say(line)
                opened = opened or self._open()
                if opened and workers and self._has_first_images():
                    for worker in workers:
                        worker.start()
                    workers = []
                self._note()
                self._look_at_ingest()
                self._show_jobs()
                self.stopped.wait(self._pause() if opened else 0.1)
        finally:
            self.bars.close()
            self.say("Stopping…")
            self._stop()

    def _pause(self) -> float:
        """Return the seconds until this process looks again: few while something goes on, to save power otherwise."""
        return 2.0 if self.ingest is None and not self.bars.active and self.tree.is_running else 0.5

    def _is_abandoned(self) -> bool:
        """Return whether `uv run`, which waits for this process and forwards signals to it, was killed."""
        return bool(self.launcher) and not lives(self.launcher)

    def _plant(self) -> None:
        commands = {
            "The web server": ("web", "serve", "--host", settings.HOST, "--port", str(self.port)),
            "The interactive worker": ("worker-interactive", "worker", "interactive"),
            "The heavy worker": ("worker-heavy", "worker", "heavy"),
        }
        for name, (file, *arguments) in commands.items():
            log_file = self.logs / f"{file}.log"
            self.tree.children.append(supervision.Child(name, module_command("hoshina", *arguments), log_file))

    def _note(self) -> None:
        """Record this process as the holder of the store, and the children that a later `up` may have to wait for."""
        children = [child.identity for child in self.tree.children if child.identity]
        if self.ingest is not None:
            children.append(self.ingest_identity)
        self.held.write(pid=os.getpid(), url=self.url, children=children)

    def _open(self) -> bool:
        """Return whether the server answers; print the address and open the browser the first time."""
        try:
            health.ask(settings.HOST, self.port, allowed=health.allowed_host(settings.ALLOWED_HOSTS), timeout=1)
        except (OSError, HTTPException):
            return False
        if not settings.LOGIN_REQUIRED:
            local_access.offer(self.url)
        address = self.url + self.page
        self.say(f"HOSHINA is at {address} (Ctrl-C stops it)")
        if self.needs_token:
            sign_in_token.renew()  # an earlier link may be in the history of a terminal
            address = self.url.rstrip("/") + local_sign_in_path(f"/{self.page}")
            self.say(f"Sign in with this link, which works once: {address}")
        if settings.LOGIN_REQUIRED and (path := first_sign_in_path()):
            self.say(f"Nobody has a password yet. Sign in once with this link: {self.url.rstrip('/')}{path}")
        if not self.options["no_browser"]:
            threading.Thread(target=open_browser, args=(address,), daemon=True).start()
        return True

    def _start_ingest(self, folder: Path | None) -> None:
        """Create the dataset at once, so that the first page shows it, and start reading the folder."""
        name = self.options["dataset"]
        if self.options["demo"]:
            from labeling.ingest.demo_images import DEMO_NAME, demo_folder, write_digits

            folder = write_digits(demo_folder())
            name = name or DEMO_NAME
        if folder is None:
            if self.options["watch"]:
                apps.get_model(settings.JOB_DATASET_MODEL)._default_manager.update(is_watched=True, next_look_at=None)
            return
        from labeling.ingest.dataset_folder import dataset_for

        dataset = dataset_for(folder, name)
        if self.options["watch"]:
            type(dataset).objects.filter(pk=dataset.pk).update(is_watched=True, next_look_at=None)
        if type(dataset).objects.count() > 1:  # otherwise the first page shows it anyway
            self.page = f"?dataset={dataset.slug}"
        arguments = [f"--data-dir={folder}", f"--dataset={dataset.name}"]
        arguments += ["--labels-from-folders"] if self.options["labels_from_folders"] else []
        arguments += [f"--{name}={self.options[name]}" for name in ("group", "roles") if self.options[name] is not None]
        command = module_command("hoshina", "ingest", *arguments)
        with self.ingest_log.open("wb") as output:
            self.ingest = supervision.start(command, stdout=output.fileno(), stderr=subprocess.STDOUT)
        self.ingest_identity = supervision.identity_of(self.ingest)

    def _look_at_ingest(self) -> None:
        """Print how the ingest ended; its output is meant for users."""
        if self.ingest is not None and self.ingest.poll() is not None:
            self.ingest = None
            self.say(self.ingest_log.read_text(encoding="utf-8", errors="replace").strip())

    def _has_first_images(self) -> bool:
        """Return whether the ingest has made progress: until then workers must not compete with it for the CPUs."""
        if self.ingest is None or time.monotonic() - self.began_at > 20:
            return True
        return Job.objects.filter(kind="ingest", state=Job.State.RUNNING, done__gt=0).exists()

    def _show_jobs(self) -> None:
        try:
            active = Job.objects.filter(state__in=Job.ACTIVE).exclude(kind__in=registry.quiet_kinds())
            self.bars.show(list(active.order_by("created_at")[:8]))
        except AnyDatabaseError as error:
            self.say(f"The database cannot be reached: {error}")
            connection.close()

    def _stop(self) -> None:
        patience = settings.JOB_GRACE + 2
        try:
            local_access.withdraw()
        except AnyDatabaseError as error:
            log.warning("The token of this machine could not be revoked; the next `up` does so: %s", error)
            connection.close()
        if self.ingest is not None:
            self.ingest.terminate()
        self.tree.stop(patience=patience)
        if self.ingest is not None:
            supervision.stop([self.ingest], patience=1)
            _give_back(self.ingest_identity)


def _give_back(identity: str) -> None:
    """Requeue the jobs of a child that is known to be dead at once, without waiting for its heartbeat to expire."""
    name = f"{presence.host()}:{identity}"
    try:
        lifecycle.give_back_all(name)
        presence.say_gone(name)
    except AnyDatabaseError as error:
        log.warning("The jobs of %s could not be requeued; that happens when its heartbeats time out: %s", name, error)
        connection.close()


def _launcher() -> str:
    parent = psutil.Process().parent()
    try:
        return describe(parent.pid) if parent and parent.name() in {"uv", "uv.exe"} else ""
    except psutil.Error:
        return ""
