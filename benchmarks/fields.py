"""Filters by fields: a range over a million items against the bare NumPy mask; grid pages at 10,000 and at 1,000,000.

    uv run python -m benchmarks.fields [--large 1000000] [--small 10000] [--requests 100]

The mask is made in this process, turn by turn with NumPy's; pages are asked of two real servers in turn. Also: how
long a CSV file of as many lines takes to become fields, against the csv module alone.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.pages import Reader, line, p95, timed
from benchmarks.stage import stage

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
    """What a filter leaves of ``n`` candidates, and the mask that any program would need."""
    from labeling.fields import Column
    from labeling.models import Dataset, Field
    from sampling import conditions

    rng = np.random.default_rng(0)
    values = rng.normal(10, 4, n)
    values[rng.random(n) < 0.1] = np.nan
    column, asked = Column(Field.Kind.NUMBER, values), [conditions.Condition("mass", ("8..12",))]
    rows = np.flatnonzero(rng.random(n) < 0.97)
    own, plain, bare = [], [], []
    for _ in range(rounds):
        with patch.object(conditions, "column_named", lambda *_: column):
            own.append(timed(lambda: conditions.narrowed(Dataset(), rows, asked)))
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
            statistics.median(timed(lambda one=one: one.browser.get(one.first)) for _ in range(7)) for one in readers
        ]
        times: list[list[float]] = [[], []]
        for _ in range(requests):
            for reader, some in zip(readers, times, strict=True):
                some.append(timed(reader.turn))
        line(f"{query}, small", times[0])
        line(f"{query}, large", times[1])
        print(f"  first pages: {pulls[0]:.0f} ms and {pulls[1]:.0f} ms")
        print(f"  -> p95 large / small = {p95(times[1]) / p95(times[0]):.2f}")


def imports(n: int) -> None:
    """The two readings of a file of four columns and what they find, without the database."""
    from labeling.fields.filling import Filling
    from labeling.fields.reading import Wish, layout_of, lines_of
    from labeling.fields.values import Guess
    from labeling.models import Field

    text = "path,mass,night,at\n" + "".join(
        f"night{i % 97}/image{i:07d}.png,{i * 0.37:.3f},night{i % 97},2024-01-{1 + i % 28:02d}T01:02:03\n"
        for i in range(n)
    )
    stream = io.BytesIO(text.encode())

    def own() -> None:
        layout = layout_of(stream, Wish())
        guesses = [Guess() for _ in layout.names]
        for one in lines_of(stream, layout):
            for guess, value in zip(guesses, one.values, strict=True):
                guess.add(one.number, value)
        fillings = [Filling(Field.Kind(guess.kind), n) for guess in guesses]
        for row, one in enumerate(lines_of(stream, layout)):
            for filling, value in zip(fillings, one.values, strict=True):
                filling.put(row, value)
        for filling in fillings:
            filling.draft()

    def bare() -> None:
        stream.seek(0)
        wrapper = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        for _ in csv.reader(wrapper):
            pass
        wrapper.detach()

    def seconds(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    plain, made = seconds(bare), seconds(own)
    print(f"{n:,} lines to four columns: {made:.1f} s; the csv module alone, once: {plain:.1f} s")


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
        imports(options.large // 5)
        small = stack.enter_context(stage(Path(folder) / "small", options.small, MASS))
        large = stack.enter_context(stage(Path(folder) / "large", options.large, MASS))
        pages(small, large, options.requests)


if __name__ == "__main__":
    main()
