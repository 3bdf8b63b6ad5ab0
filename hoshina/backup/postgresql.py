"""Copy the tables of a PostgreSQL database out and in.

``COPY`` needs no program beside Python and no server of the same version, as ``pg_dump`` would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from hoshina.backup.archive import Archive, Writer, damaged
from hoshina.backup.contents import Query, omitted_tables

Tables = dict[str, list[str]]


def _member(table: str) -> str:
    return f"tables/{table}.copy"


# -- Dumping --------------------------------------------------------------------------------------
def dump(writer: Writer, folder: Path, freeze: Callable[[Query], None], *, labels_only: bool) -> Tables:
    """Add the rows of all tables as of one moment, without the omitted ones; return the columns of each table."""
    omitted = set(omitted_tables(labels_only=labels_only))
    tables: Tables = {}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        freeze(_rows)
        for table in _our_tables():
            if table in omitted:
                continue
            description = connection.introspection.get_table_description(cursor, table)
            tables[table] = [column.name for column in description]
            writer.add(_member(table), _copied_out(cursor, f"COPY {_described(table, tables[table])} TO STDOUT"))
    return tables


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _copied_out(cursor: Any, sql: str) -> Iterator[bytes | memoryview]:
    with cursor.copy(sql) as copy:
        yield from copy


def _our_tables() -> list[str]:
    """Return the tables of all models; Django's table of migrations is not among them."""
    return sorted(connection.introspection.django_table_names(only_existing=True, include_views=False))


def _described(table: str, columns: list[str]) -> str:
    quote = connection.ops.quote_name
    return f"{quote(table)} ({', '.join(map(quote, columns))})"


# -- Loading --------------------------------------------------------------------------------------
def has_datasets() -> bool:
    """Return whether the present database holds a dataset."""
    return "labeling_dataset" in connection.introspection.table_names() and bool(
        _rows("SELECT 1 FROM labeling_dataset LIMIT 1")
    )


def load(archive: Archive, folder: Path) -> None:
    """Replace all tables by those of the archive, in one transaction: if it fails, nothing has changed."""
    manifest = archive.manifest
    with transaction.atomic():
        _drop_tables()
        _create_tables(manifest.schema)
        present = set(_our_tables()) | set(connection.introspection.table_names())
        if not set(manifest.tables) <= present:
            raise damaged(archive.path, f"it has tables that its version lacks: {set(manifest.tables) - present}")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")  # migrations set some of them to be checked at once
            # Migrations add rows, too; the archive has them.
            names = ", ".join(map(connection.ops.quote_name, sorted(manifest.tables)))
            cursor.execute(f"TRUNCATE {names} CASCADE")
            for table, columns in manifest.tables.items():
                with cursor.copy(f"COPY {_described(table, columns)} FROM STDIN") as copy:
                    for piece in archive.read(_member(table)):
                        copy.write(piece)
            _reset_sequences(cursor, list(manifest.tables))


def _create_tables(migrations: list[tuple[str, str]]) -> None:
    """Create the tables as these migrations, all of a version, leave them."""
    executor = MigrationExecutor(connection)
    graph = executor.loader.graph
    nodes = {key for key in migrations if key in graph.nodes}
    # A migration that another one depends on is no target: it would be undone down to it.
    executor.migrate(sorted(key for key in nodes if not nodes & {child.key for child in graph.node_map[key].children}))


def _drop_tables() -> None:
    tables = [name for name in connection.introspection.table_names() if name in _all_tables()]
    if tables:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {', '.join(map(connection.ops.quote_name, tables))} CASCADE")


def _all_tables() -> set[str]:
    return {*_our_tables(), MigrationRecorder.Migration._meta.db_table}


def _reset_sequences(cursor: Any, tables: list[str]) -> None:
    """Let new rows get ids after those that were loaded."""
    for table in tables:
        for sequence in connection.introspection.get_sequences(cursor, table):
            column = connection.ops.quote_name(sequence["column"])
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, %s), "  # noqa: S608 - names that PostgreSQL reported
                f"GREATEST((SELECT max({column}) FROM {connection.ops.quote_name(table)}), 1))",
                [connection.ops.quote_name(table), sequence["column"]],
            )
