"""Decisions for tests, made as the workbench makes them, and archives opened again."""

import csv
import io
import json
import re
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.models import Model
from django.dispatch import Signal
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from labeling.decisions.save import Request, Result, Shown, Target, apply
from labeling.exporting import Export, Options
from labeling.models import Action, Dataset, Item, LabelClass

Value = TypeVar("Value")
Row = TypeVar("Row", bound=Model)
MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[..., Path]
AT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def call_before(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[..., object]) -> None:
    """Call ``act`` with the same arguments before each call of a function, which does its work all the same."""
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: (act(*args, **kwargs), real(*args, **kwargs))[1])


def call_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[..., object]) -> None:
    """Call ``act`` with the same arguments after each call of a function."""
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: (real(*args, **kwargs), act(*args, **kwargs))[0])


def interrupt_at(n: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[..., None]:
    """Return a function that raises an error when it is called for the ``n``-th time."""
    calls = count(1)

    def stop(*_: object, **__: object) -> None:
        if next(calls) == n:
            raise error

    return stop


@contextmanager
def heard_from(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """Collect what a signal tells its receivers."""
    heard: list[dict[str, Any]] = []

    def hear(sender: object, signal: Signal, **kwargs: Any) -> None:
        heard.append(kwargs)

    signal.connect(hear)
    try:
        yield heard
    finally:
        signal.disconnect(hear)


def text(response: HttpResponse, status: int | None = None) -> str:
    """Return what an answer says, and check its status if there is only one right."""
    assert status in (None, response.status_code), response.status_code
    return response.content.decode()


def said(page: HttpResponse | str, status: int | None = None) -> str:
    """Return what an answer or a page says without its tags, with single spaces."""
    html = page if isinstance(page, str) else text(page, status)
    return " ".join(re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def assert_contains(page: Any, *parts: Any, lacks: Iterable[Any] = ()) -> None:
    """Assert that a page, an answer or a collection contains all the parts, and none of those that it lacks."""
    content = page.content.decode() if isinstance(page, HttpResponse) else page
    missing = [part for part in parts if part not in content]
    assert not missing, f"{missing} not in {content!r}"
    unwanted = [part for part in lacks if part in content]
    assert not unwanted, f"{unwanted} in {content!r}"


def command_output(*arguments: str) -> str:
    """Return what a management command writes to standard output."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def command_json(*arguments: str) -> Any:
    """Return what a management command writes with --json."""
    return json.loads(command_output(*arguments, "--json"))


def count_queries(act: Callable[..., object], *args: Any, **kwargs: Any) -> int:
    """Return how often the database is asked by a call."""
    with CaptureQueriesContext(connection) as queries:
        act(*args, **kwargs)
    return len(queries)


def not_none(value: Value | None) -> Value:
    """Check that there is a value, and return it."""
    assert value is not None
    return value


def fresh(row: Row) -> Row:
    """Return a row as the database has it now."""
    row.refresh_from_db()
    return row


def new_folder(path: Path) -> Path:
    """Make a folder, and return its path."""
    path.mkdir()
    return path


def decide(
    dataset: Dataset,
    kind: str,
    rows: Iterable[int] = (),
    label: str = "",
    *,
    user: User | None = None,
    at: datetime = AT,
    holder: str = "browser",
    seconds: float | None = None,
    queue: str = "random",
    **shown: Any,
) -> Result:
    """Make one action, like one key press, on items that were shown as said (``round_id``, ``rank`` …)."""
    items = Item.objects.filter(dataset=dataset, row__in=rows).order_by("row")
    how = Shown(queue=queue, **shown)
    targets = tuple(Target(item.pk, item.newest_annotation_id, seconds, how) for item in items)
    label_id = LabelClass.objects.get(dataset=dataset, name=label).pk if label else None
    request = Request(uuid.uuid4(), Action.Kind(kind), at, label_id, overwrite=True, targets=targets)
    (result,) = apply(dataset, [request], user=user, holder=holder).results
    assert result.status == "saved", result.error
    return result


def assign(dataset: Dataset, rows: Iterable[int], label: LabelClass) -> None:
    """Label the items of these rows in one action."""
    decide(dataset, Action.Kind.ASSIGN, rows, label.name)


def archive_bytes(dataset: Dataset, **options: Any) -> bytes:
    dataset.refresh_from_db()
    return b"".join(Export(dataset, Options(**options)))


def opened(content: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def table(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    text = archive.read(name).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    found = json.loads(archive.read("manifest.json"))
    assert isinstance(found, dict)
    return found
