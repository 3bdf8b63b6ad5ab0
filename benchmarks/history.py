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

HERE = Path(__file__).resolve().parent.parent
CLASSES, TILES, IN_BATCH = 10, 50, 10_000
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


def _export(dataset: object, step: str, file: Path) -> None:
    from labeling.exporting import Export, Options
    from labeling.exporting.canonical_text import moment
    from labeling.models import Action, Dataset

    assert isinstance(dataset, Dataset)
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
    for start in range(0, n_items, IN_BATCH):
        rows = range(start, min(start + IN_BATCH, n_items))
        items = [Item(dataset=dataset, row=row, path=f"night{row // 1000:04d}/image{row:07d}.png") for row in rows]
        Item.objects.bulk_create(items, batch_size=900)
        frames = [
            Frame(
                item=item, dataset=dataset, path=item.path, sha256=f"{item.row:064x}", size=1, mtime_ns=1, width=64,
                height=64, format="PNG",
            )
            for item in items
        ]  # fmt: skip
        Frame.objects.bulk_create(frames, batch_size=900)
    if not with_decisions:
        return
    for number in range(CLASSES):
        LabelClass.objects.create(dataset=dataset, name=f"class {number}", colour="#808080", order=number)
    _decide(dataset, n)


def _decide(dataset: object, n: int) -> None:
    from django.contrib.auth.models import User
    from django.utils import timezone

    from labeling.decisions import sql
    from labeling.models import Action, Annotation, Dataset, Item, LabelClass, State
    from sampling.models import Round

    assert isinstance(dataset, Dataset)
    user = User.objects.create_user("ana")
    labels = list(LabelClass.objects.values_list("pk", flat=True))
    ids = list(Item.objects.order_by("row").values_list("pk", flat=True))
    latest: dict[int, int] = {}
    for start in range(0, n, IN_BATCH):
        n_actions = IN_BATCH // TILES
        rounds = Round.objects.bulk_create(Round(dataset=dataset, queue="auto", seed=1) for _ in range(n_actions))
        actions = Action.objects.bulk_create(
            [
                Action(uuid=uuid.uuid4(), dataset=dataset, kind="assign", annotator=user, holder="a" * 40)
                for _ in range(n_actions)
            ]
        )
        made = []
        for place in range(start, min(start + IN_BATCH, n)):
            number, item_id = (place - start) // TILES, ids[place % len(ids)]
            made.append(
                Annotation(
                    item_id=item_id, action=actions[number], state=State.LABELLED, label_id=labels[place % CLASSES],
                    previous_id=latest.get(item_id), annotator=user, decided_at=timezone.now(), seconds=1.25,
                    queue="auto", round_id=rounds[number].pk, rank=place % TILES, score=0.123456789,
                    selection_probability=0.01, suggestion_shown=True, suggested_label_id=labels[0],
                    suggested_probability=0.987654321, is_random_draw=False,
                )
            )  # fmt: skip
        Annotation.objects.bulk_create(made, batch_size=500)
        latest |= {annotation.item_id: annotation.pk for annotation in made}
    sql.settle_dataset(dataset)
    sql.add_to_counters(dataset, {"n_labelled": len(ids), "n_decisions": n}, {})


if __name__ == "__main__":
    main()
