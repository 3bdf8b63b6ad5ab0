"""Time filters by metadata: a range over a million items against a NumPy mask, and grid pages at two sizes.

    python -m benchmarks.fields [--large 1000000] [--small 10000] [--requests 100]

The mask is computed in this process, in turn with NumPy's; pages are requested from two real servers in turn. Also
measures the time and memory to import a CSV file with one line per image, in a separate process.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.pages import Reader, line, p95, timed
from benchmarks.stage import ROOT, stage

MASS = """
from labeling.fields.columns import Draft, save_column
from labeling.models import Field
for name in ("mass", "size"):
    field = Field.objects.create(dataset=dataset, name=name, kind="number", source="csv")
    values = rng.normal(10, 4, n)
    values[rng.random(n) < 0.1] = np.nan
    save_column(field, Draft(Field.Kind.NUMBER, values, []))
"""


def masks(n: int, rounds: int = 30) -> None:
    """Time a filter of ``n`` candidates, and the NumPy masks that any implementation needs."""
    from labeling.fields import Column
    from labeling.models import Dataset, Field
    from sampling.queues import field_filter

    rng = np.random.default_rng(0)
    values = rng.normal(10, 4, n)
    values[rng.random(n) < 0.1] = np.nan
    column, conditions = Column(Field.Kind.NUMBER, values), [field_filter.Condition("mass", ("8..12",))]
    rows = np.flatnonzero(rng.random(n) < 0.97)
    own, plain, bare = [], [], []
    for _ in range(rounds):
        with patch.object(field_filter, "column_named", lambda *_: column):
            own.append(timed(lambda: field_filter.narrowed(Dataset(), rows, conditions)))
        plain.append(timed(lambda: rows[((values >= 8) & (values <= 12))[rows]]))
        bare.append(timed(lambda: np.flatnonzero((values >= 8) & (values <= 12))))
    line(f"a range among {len(rows):,} candidates", own)
    line("NumPy: rows[mask[rows]]", plain)
    line("NumPy: the mask of all rows alone", bare)
    median = statistics.median(own)
    print(f"  -> medians {median / statistics.median(plain):.2f} and {median / statistics.median(bare):.2f}")


def pages(small: str, large: str, requests: int) -> None:
    for query in ("random&f.mass=8..12", "all&sort=mass&f.size=8..", "uncertain&f.mass=8..12", "all"):
        readers = [Reader(small, query), Reader(large, query)]
        pulls = [
            statistics.median(timed(lambda reader=reader: reader.browser.get(reader.first)) for _ in range(7))
            for reader in readers
        ]
        times: list[list[float]] = [[], []]
        for _ in range(requests):
            for reader, durations in zip(readers, times, strict=True):
                durations.append(timed(reader.turn))
        line(f"{query}, small", times[0])
        line(f"{query}, large", times[1])
        print(f"  first pages: {pulls[0]:.0f} ms and {pulls[1]:.0f} ms")
        print(f"  -> p95 large / small = {p95(times[1]) / p95(times[0]):.2f}")


# Prints two lines: seconds, and peak MiB of private memory (without the memory-mapped database).
IMPORT = """
import sys, threading, time, django
django.setup()
import psutil
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.models import Dataset, Field
me, ended, most = psutil.Process(), threading.Event(), [0]
def own():
    told = me.memory_info()
    return told.rss - getattr(told, "shared", 0)
def watch():
    while not ended.wait(0.05):
        most[0] = max(most[0], own())
dataset, before = Dataset.objects.get(), own()
threading.Thread(target=watch, daemon=True).start()
began = time.perf_counter()
with open(sys.argv[1], "rb") as stream:
    report = import_fields(dataset, stream, Wish())
seconds = time.perf_counter() - began
ended.set()
assert report.matched == dataset.n_items
print(seconds)
print((most[0] - before) / 2**20)
Field.objects.filter(name__in=("flux", "night", "at")).delete()
"""


def imports(store: Path, n: int) -> None:
    """Import a file of ``n`` lines as three fields of the dataset in ``store``, against the csv module and a dict."""
    file = store / "facts.csv"
    with file.open("w") as stream:
        stream.write("path,flux,night,at\n")
        for i in range(n):
            at = f"2024-01-{1 + i % 28:02d}T01:02:03"
            stream.write(f"night{i % 97}/image{i:07d}.png,{i * 0.37:.3f},night{i % 97},{at}\n")
    environment = os.environ | {"AL_STORE_DIR": str(store)}
    process = subprocess.run(
        [sys.executable, "-c", IMPORT, str(file)], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    seconds, megabytes = map(float, process.stdout.split())
    rows = {f"night{i % 97}/image{i:07d}.png": i for i in range(n)}
    began = time.perf_counter()
    with file.open(newline="") as stream:
        reader = csv.reader(stream)
        next(reader)
        for cells in reader:
            rows[cells[0]]
    bare = time.perf_counter() - began
    print(f"{n:,} lines to three columns: {seconds:.1f} s, {n / seconds:,.0f} lines/s, {seconds / bare:.0f} times csv")
    print(f"  plus a dict look-up ({bare:.2f} s); {megabytes:.0f} MiB, {megabytes * 2**20 / n:.0f} bytes per line")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ |= {"AL_STORE_DIR": folder, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
        import django

        django.setup()
        masks(options.large)
        small = stack.enter_context(stage(Path(folder) / "small", options.small, MASS))
        large = stack.enter_context(stage(Path(folder) / "large", options.large, MASS))
        imports(Path(folder) / "small", options.small)
        imports(Path(folder) / "large", options.large)
        pages(small, large, options.requests)


if __name__ == "__main__":
    main()
