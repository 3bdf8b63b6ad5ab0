"""Measure the preview and the import of a CSV file of labels: seconds, and the peak of memory.

    python -m benchmarks.import_labels [-n 100000]

Each step runs in a process of its own, on a dataset with as many items as the file has lines. Ten classes; a hundredth
of the items already has a label, and most of these are replaced or equal.
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
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CLASSES = 10


def main() -> None:
    """Create the dataset, preview the file, and import it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=100_000)
    parser.add_argument("--step", choices=("make", "preview", "import"))
    options = parser.parse_args()
    if options.step:
        _step(options.step, options.n)
        return
    with tempfile.TemporaryDirectory() as store:
        for step in ("make", "preview", "import"):
            command = [sys.executable, "-m", "benchmarks.import_labels", "-n", str(options.n), "--step", step]
            subprocess.run(command, env=os.environ | {"AL_STORE_DIR": store}, cwd=HERE, check=True)


def _step(step: str, n: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    import django

    django.setup()
    from django.conf import settings

    file = Path(settings.STORE_DIR) / "labels.csv"
    if step == "make":
        _make(file, n)
        return
    from labeling.importing.columns import Choice
    from labeling.importing.save_table import import_labels, preview_labels
    from labeling.models import Dataset

    dataset = Dataset.objects.get()
    before, began = _peak_mb(), time.monotonic()
    with file.open("rb") as stream:
        if step == "preview":
            report = preview_labels(dataset, stream, choice=Choice(), create_classes=True)
        else:
            report = import_labels(dataset, stream, user=None, create_classes=True)
    seconds = round(time.monotonic() - began, 1)
    numbers = {"step": step, "lines": n, "seconds": seconds, "added_mb": round(_peak_mb() - before)}
    print(json.dumps(numbers | {"applied": report.applied, "replaced": report.replaced.total}))


def _peak_mb() -> float:
    """Return the most memory that this process has used, on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _make(file: Path, n: int) -> None:
    from django.core.management import call_command

    from labeling.decisions.save import Decision, record_import
    from labeling.models import Dataset, Item, LabelClass, State

    call_command("migrate", verbosity=0)
    dataset = Dataset.objects.create(name="images", slug="images", root="/images", n_items=n)
    first = LabelClass.objects.create(dataset=dataset, name="class 0", colour="#808080")
    paths = [f"night{row // 1000:04d}/image{row:07d}.png" for row in range(n)]
    for start in range(0, n, 20_000):
        items = [Item(dataset=dataset, row=row, path=paths[row]) for row in range(start, min(start + 20_000, n))]
        Item.objects.bulk_create(items, batch_size=900)
    ids = list(Item.objects.filter(row__lt=n // 100).values_list("pk", flat=True))
    for start in range(0, len(ids), 900):
        record_import(dataset, [Decision(pk, State.LABELLED, first.pk) for pk in ids[start : start + 900]], None)
    with file.open("w", encoding="utf-8") as stream:
        stream.write("path,label\n")
        stream.writelines(f"{path},class {0 if row < n // 200 else row % CLASSES}\n" for row, path in enumerate(paths))


if __name__ == "__main__":
    main()
