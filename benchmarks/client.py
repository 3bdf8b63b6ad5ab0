"""Time the Python client on 10,000 images: labels per second, a queue as a table, and all items.

    python -m benchmarks.client [--items 10000] [--repeats 5]

A real web server in a separate process is requested over HTTP, as from a notebook on the same machine. Prints medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hoshina_client import Dataset, connect

from benchmarks.api import PREPARE
from benchmarks.stage import run_script, stage


def seconds(act: Callable[[], object], repeats: int) -> float:
    """Return the median of the seconds that a call takes, after one that does not count."""
    act()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure(dataset: Dataset, n_items: int, repeats: int) -> None:
    items = dataset.queue("random", 100)
    one = seconds(lambda: dataset.label(items[0], "class 1", overwrite=True), repeats * 4)
    many = seconds(lambda: dataset.label(items, "class 1", overwrite=True), repeats)
    ids = [item.id for item in dataset.items(include=(), page=1000)][:5000]
    most = seconds(lambda: dataset.label(ids, "class 2", overwrite=True), repeats)
    table = seconds(lambda: dataset.queue("random", 50).to_pandas(), repeats)
    everything = seconds(lambda: list(dataset.items(include=(), page=1000)), repeats)
    predicted = seconds(lambda: list(dataset.items(include=["prediction"], page=1000)), repeats)
    print(f"label, one item a call:       {1 / one:10,.0f} labels/s")
    print(f"label, 100 items a call:      {100 / many:10,.0f} labels/s")
    print(f"label, {len(ids):,} items a call:    {len(ids) / most:10,.0f} labels/s")
    print(f"queue of 50 to_pandas():      {1000 * table:10,.0f} ms")
    print(f"items(), {n_items:,}:             {everything:10.2f} s")
    print(f"items(), with predictions:    {predicted:10.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        store.mkdir()
        with stage(store, options.items) as address:
            token = run_script(store, PREPARE).split()[-1]
            with connect(address, token) as server:
                measure(server.dataset("stage"), options.items, options.repeats)


if __name__ == "__main__":
    main()
