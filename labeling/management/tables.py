"""Arguments that the commands for tables share."""

from __future__ import annotations

from django.core.management.base import CommandParser

from labeling.tables.item_column import KEYS


def add_table_arguments(parser: CommandParser) -> None:
    """Add ``--key`` and ``--encoding``."""
    parser.add_argument(
        "--key", type=_key, default=("", ""), metavar="COLUMN",
        help="the column that names the images; or how they are named: path, item_id, name (of the file, with or "
        "without its ending), or both as name=COLUMN. By default found by the column's name (path, item_id, file_name, "
        "filepath, image, image_id, …)",
    )  # fmt: skip
    parser.add_argument(
        "--encoding", default="", help="of the file, such as utf-8, cp1252, cp1251, utf-16 (default: found out)"
    )


def _key(text: str) -> tuple[str, str]:
    """Return how items are named, and in which column."""
    kind, sign, column = text.partition("=")
    if kind in KEYS:
        return kind, column
    return "", text if sign else kind
