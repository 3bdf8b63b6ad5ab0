"""Provide what every management command shares: a database that is ready, and failures on one line."""

from __future__ import annotations

import glob
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    SystemCheckError,
    handle_default_options,
)
from django.db import Error as DatabaseError
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from filelock import FileLock

from hoshina.core import schema
from hoshina.core.errors import Refusal, sentences
from hoshina.core.sqlite_copy import copy_database

# Copies of the SQLite file from before a migration.
_COPIES_KEPT = 2


class Failure(CommandError):
    """A failure of a command: the message says what happened, ``hint`` what to do about it."""

    def __init__(self, message: str, hint: str = "", *, returncode: int = 1) -> None:
        super().__init__(sentences(message, hint), returncode=returncode)
        self.message = message
        self.hint = hint


class HoshinaCommand(BaseCommand):
    """A command of the product.

    Called from the command line, it creates or migrates the embedded database first. Every failure is one line on
    standard error, or with ``--json`` an object with the keys ``error`` and ``hint`` on standard output. The exit
    code is 1 for a failure and 2 for wrong usage.
    """

    # They import every page, which takes a second.
    requires_system_checks: list[str] = []
    needs_database = True

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if self._called_from_command_line and wants_json(sys.argv):
            parser.error = _usage_error  # type: ignore[method-assign]
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        self._called_from_command_line = True
        options = self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        handle_default_options(options)
        values = vars(options)
        arguments = values.pop("args", ())
        try:
            self._prepare()
            self.execute(*arguments, **values)
        except Exception as error:
            if values["traceback"]:
                raise
            failure = error if isinstance(error, CommandError) else _as_failure(error)
            _report(failure, as_json=bool(values.get("json")))
            sys.exit(failure.returncode)
        finally:
            connections.close_all()

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Refusal as refusal:
            raise Failure(refusal.message, refusal.hint) from refusal

    def print_result(self, result: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
        """Print a result as one JSON object, or its ``lines`` for people."""
        self.stdout.write(json.dumps(result, ensure_ascii=False) if as_json else "\n".join(lines))

    def _prepare(self) -> None:
        if self.needs_database:
            prepare_database()


def prepare_database(*, may_migrate_server: bool = False) -> None:
    """Create or migrate the embedded database, unless it is up to date.

    An existing SQLite file is copied first, because migrations cannot be undone. Raises Failure if a database server
    has not been migrated (unless ``may_migrate_server``) or does not answer, and Refusal if a later version of HOSHINA
    has used the store.
    """
    try:
        schema.refuse_newer()
        if not _is_migration_due():
            return
        if connection.vendor != "sqlite" and not may_migrate_server:
            raise Failure("The tables of the database are missing or out of date.", "Run hoshina migrate.")
        # When several commands start on a new store, one of them creates its tables.
        with FileLock(settings.STORE_DIR / "migrate.lock"):
            if _is_migration_due():
                if connection.vendor == "sqlite" and (applied := schema.applied()):
                    _copy_before_migrating(applied)
                call_command("migrate", verbosity=0, interactive=False)
    except (DatabaseError, sqlite3.Error, OSError) as error:
        raise _as_failure(error) from error


def _is_migration_due() -> bool:
    """Return whether migrations are pending. Takes a tenth of the time of a migration without work."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _copy_before_migrating(applied: set[schema.Migration]) -> None:
    """Copy the SQLite file to ``app.db.before-<first new migration>``, and keep the two newest of such copies."""
    database = Path(str(connection.settings_dict["NAME"]))
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    new = next(migration for migration, _ in plan if (migration.app_label, migration.name) not in applied)
    copy = database.with_name(f"{database.name}.before-{new.app_label}.{new.name}")
    draft = copy.with_name(f"{copy.name}.tmp")
    draft.unlink(missing_ok=True)
    copy_database(draft)
    shutil.copymode(database, draft)
    draft.replace(copy)
    copies = sorted(
        database.parent.glob(f"{glob.escape(database.name)}.before-*"), key=lambda file: file.stat().st_mtime
    )
    for older in copies[:-_COPIES_KEPT]:
        older.unlink()


def wants_json(argv: list[str]) -> bool:
    """Return whether a command line asks for JSON."""
    return "--json" in argv[2:]


def print_failure(message: str, hint: str = "", *, as_json: bool) -> None:
    """Print a failure: one line on standard error, or one JSON object on standard output."""
    if as_json:
        print(json.dumps({"error": _in_a_line(message), "hint": _in_a_line(hint)}, ensure_ascii=False))
    else:
        print(_in_a_line(sentences(message, hint)), file=sys.stderr)


def _report(error: CommandError, *, as_json: bool) -> None:
    if isinstance(error, SystemCheckError):  # a list, which Django has laid out
        print(error, file=sys.stderr)
    elif isinstance(error, Failure):
        print_failure(error.message, error.hint, as_json=as_json)
    else:
        print_failure(str(error), as_json=as_json)


def _as_failure(error: Exception) -> Failure:
    """Return the failure that reports an exception."""
    if isinstance(error, Refusal):
        return Failure(error.message, error.hint)
    if isinstance(error, DatabaseError | sqlite3.Error):
        where = "The database" if settings.DATABASE_URL else f"The database {settings.DATABASES['default']['NAME']}"
        return Failure(f"{where} does not answer: {error}.", "Check that its server runs and its disk is connected.")
    if isinstance(error, OSError):
        name = f": {error.filename}" if error.filename else ""
        return Failure(f"{error.strerror or error}{name}.")
    return Failure(f"{type(error).__name__}: {error}", "This is a bug; --traceback shows where.")


def _usage_error(message: str) -> NoReturn:
    print_failure(message, "See --help.", as_json=True)
    sys.exit(2)


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
