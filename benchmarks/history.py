"""Measure the record of all decisions: seconds of its export and its import, and the peaks of memory.

    python -m benchmarks.history [-n 1000000] [--imported 100000]

Each step runs in a process of its own. Half of the images are decided twice, 50 per action, with rounds, suggestions
and times, as the workbench saves them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
CLASSES, TILES = 10, 50
STEPS = ("make", "export", "as_of", "parquet")


def main() -> None:
    """Create and export a dataset with ``n`` decisions, then another one that is also imported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=1_000_000)
    parser.add_argument("--imported", type=int, default=100_000)
    parser.add_argument("--step")
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    if options.step:
        _step(options.step, options.n, options.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(folder, "store", options.n, STEPS)
        _run(folder, "first", options.imported, ("make", "export"))
        _run(folder, "second", options.imported, ("empty", "import"))


def _run(folder: str, store: str, n: int, steps: tuple[str, ...]) -> None:
    file = Path(folder, "export.zip")
    for step in steps:
        command = [sys.executable, "-m", "benchmarks.history", "-n", str(n), "--step", step, "--file", str(file)]
        subprocess.run(command, env=os.environ | {"AL_STORE_DIR": str(Path(folder, store))}, cwd=HERE, check=True)


def _step(step: str, n: int, file: Path) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    import django

    django.setup()
    from labeling.models import Dataset

    if step in ("make", "empty"):
        _make(n, with_decisions=step == "make")
        return
    dataset = Dataset.objects.get()
    before, began = _peak_mb(), time.monotonic()
    if step == "import":
        from labeling.history.restore import restore

        n = restore(dataset, file).decisions
    else:
        _export(dataset, step, file)
    seconds = round(time.monotonic() - began, 1)
    size = round(file.stat().st_size / 2**20)
    numbers = {"step": step, "decisions": n, "seconds": seconds, "added_mb": round(_peak_mb() - before)}
    print(json.dumps(numbers | {"file_mb": size}), flush=True)


def _export(dataset: Any, step: str, file: Path) -> None:
    from labeling.exporting import Export, Options
    from labeling.exporting.canonical_text import moment
    from labeling.models import Action

    extras = {"export": {"annotations"}, "parquet": {"annotations-parquet"}, "as_of": set[str]()}[step]
    middle = Action.objects.order_by("pk")[Action.objects.count() // 2]
    as_of = moment(middle.created_at) if step == "as_of" else ""
    with file.open("wb") as stream:
        stream.writelines(Export(dataset, Options(extras=frozenset(extras), as_of=as_of)))


def _peak_mb() -> float:
    """Return the most memory that this process has used, on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _make(n: int, *, with_decisions: bool) -> None:
    from django.core.management import call_command

    from labeling.models import Dataset, Frame, Item, LabelClass

    call_command("migrate", verbosity=0)
    n_items = n * 2 // 3
    dataset = Dataset.objects.create(name="images", slug="images", root="/images", n_items=n_items)
    item = Item.objects.create(dataset=dataset, row=0, path="night0000/image0000000.png")
    Frame.objects.create(
        item=item, dataset=dataset, path=item.path, sha256=f"{0:064x}", size=1, mtime_ns=1, width=64, height=64,
        format="PNG",
    )  # fmt: skip
    path = "printf('night%04d/image%07d.png', (i - 1) / 1000, i - 1)"
    _multiply(Item, n_items, row="i - 1", path=path)
    _multiply(Frame, n_items, item_id="i", path=path, sha256="printf('%064x', i - 1)")
    if with_decisions:
        for number in range(CLASSES):
            LabelClass.objects.create(dataset=dataset, name=f"class {number}", colour="#808080", order=number)
        _decide(dataset, n, n_items)


def _decide(dataset: Any, n: int, n_items: int) -> None:
    """Make one decision as the workbench does, and copy it with other images, actions and rounds."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from labeling.decisions import sql
    from labeling.models import Action, Annotation, LabelClass
    from sampling.models import Round

    user, label = User.objects.create_user("ana"), LabelClass.objects.order_by("pk")[0]
    round_ = Round.objects.create(dataset=dataset, queue="auto", seed=1)
    action = Action.objects.create(uuid=uuid.uuid4(), dataset=dataset, kind="assign", annotator=user, holder="a" * 40)
    Annotation.objects.create(
        item_id=1, action=action, state=1, label=label, annotator=user, decided_at=timezone.now(), seconds=1.25,
        queue="auto", round_id=round_.pk, rank=0, score=0.123456789, selection_probability=0.01,
        suggestion_shown=True, suggested_label_id=label.pk, suggested_probability=0.987654321, is_random_draw=False,
    )  # fmt: skip
    _multiply(Round, n // TILES)
    _multiply(Action, n // TILES, uuid="lower(hex(randomblob(16)))")
    _multiply(
        Annotation, n, item_id=f"(i - 1) % {n_items} + 1", action_id=f"(i - 1) / {TILES} + 1",
        label_id=f"{label.pk} + i % {CLASSES}", previous_id=f"CASE WHEN i > {n_items} THEN i - {n_items} END",
        round_id=f"(i - 1) / {TILES} + 1", rank=f"(i - 1) % {TILES}",
    )  # fmt: skip
    sql.settle_dataset(dataset)
    sql.add_to_counters(dataset, {"n_labelled": n_items, "n_decisions": n}, {})


def _multiply(model: Any, n: int, **values: str) -> None:
    """Copy the only row of a table until there are n, in SQLite, with expressions of the row number ``i``."""
    from django.db import connection

    names = [field.column for field in model._meta.concrete_fields]
    chosen = ", ".join({"id": "i", **values}.get(name, f"t.{name}") for name in names)
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM n JOIN {table} t ON t.id = 1",
            [n],
        )


if __name__ == "__main__":
    main()
