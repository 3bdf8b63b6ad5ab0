"""Add the arguments of the commands for tables, and read their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from django.core.management.base import CommandParser
from tqdm import tqdm

from hoshina.core.errors import Refusal
from labeling.tables.item_column import KEYS

Result = TypeVar("Result")


def add_table_arguments(parser: CommandParser) -> None:
    """Add ``--key`` and ``--encoding``."""
    parser.add_argument(
        "--key", type=_key, default=("", ""), metavar="COLUMN",
        help="the column that names the images; or how images are named: path, item_id or name (of the file, with or "
        "without its extension); or both, as name=COLUMN (default: the column with a usual name such as path, item_id, "
        "file_name, filepath, image, image_id)",
    )  # fmt: skip
    parser.add_argument(
        "--encoding", default="", help="encoding of the file, such as utf-8, cp1252, cp1251, utf-16 (default: detected)"
    )


def read_table(
    options: dict[str, Any], work: Callable[[BinaryIO, Callable[[int, int], None]], Result], *, unit: str, verb: str
) -> Result:
    """Call ``work`` with the opened file and a progress function, and return its result. Raises Refusal."""
    file: Path = options["file"].expanduser()
    # None shows the bar only on a terminal.
    bar = tqdm(unit=unit, desc=verb, leave=False, disable=True if options["json"] else None)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        with bar, file.open("rb") as stream:
            return work(stream, progress)
    except OSError as error:
        raise Refusal(f"{file} could not be read: {error.strerror or error}.") from error
    except Refusal as problem:
        raise Refusal(f"{file}: {problem.message}", problem.hint) from problem


def listed(names: Iterable[str], at_most: int = 10) -> str:
    """Return the first names, and the number of others."""
    items = list(names)
    more = f" and {len(items) - at_most} more" if len(items) > at_most else ""
    return ", ".join(items[:at_most]) + more


def _key(text: str) -> tuple[str, str]:
    """Return the kind of key and its column, each "" if not given."""
    kind, sign, column = text.partition("=")
    if kind in KEYS:
        return kind, column
    return "", text if sign else kind
