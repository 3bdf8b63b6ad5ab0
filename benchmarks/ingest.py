"""Time ingest against a minimal loop doing the same physical work; both sides of a ratio are measured in one run.

``python -m benchmarks.ingest [--photos 1000] [--large 200] [--small 20000] [--runs 3]``

* photographs: ingest / a loop of threads that decodes at reduced scale, resizes and encodes a thumbnail;
* 12-megapixel JPEGs, with thumbnails and encoder inputs: ingest / a loop that decodes every pixel with Pillow, and the
same in as many threads;
* ingest and embedding: both jobs / decoding each file once for the encoder, then the encoder alone on all of them;
* small files: ingest / reading each file's bytes, and one ``executemany`` for each of the two tables;
* a rescan without changes, and one after the folder was renamed;
* peak memory, including decoders, with a tenth of the small files and with all of them. SQLite's page cache is limited
to 2 MB here; normally it grows with the database to 64 MB.

The encoder is that of AL_EMBEDDING_BACKEND and AL_WEIGHTS_DIR.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
# Number of distinct photographs; the others are copies.
N_DISTINCT = 50
THREADS = min(8, (os.cpu_count() or 2) + 1)  # as in an ingest

INGEST = """
import json, sys, threading, time
import django, psutil
django.setup()
from hoshina.jobs.lifecycle import run_now
from labeling.ingest.dataset_folder import dataset_for
children, sizes = psutil.Process(), []

def watch():
    while not sizes or sizes[-1] is not None:
        total = 0
        for child in children.children():
            try:
                total += child.memory_info().rss
            except psutil.Error:
                pass
        sizes.append(total)
        time.sleep(0.1)

threading.Thread(target=watch, daemon=True).start()
dataset = dataset_for(sys.argv[1], "bench")
if len(sys.argv) > 2:
    from django.db import connection
    connection.cursor().execute("PRAGMA cache_size = -2000")
    connection.cursor().execute("PRAGMA mmap_size = 0")
result = run_now("ingest", dataset_id=dataset.pk).result
if sys.platform == "linux":  # getrusage counts the parent's memory, too
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) * 1024
elif sys.platform == "darwin":
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
else:
    peak = psutil.Process().memory_info().peak_wset
print(json.dumps(result | {"peak": peak, "peak_of_decoders": max(sizes)}))
"""

EMBED = """
import json
import django
django.setup()
from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
print(json.dumps(run_now("embed", dataset_id=Dataset.objects.get().pk).result))
"""

BARE = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import django, numpy as np
django.setup()
from labeling.images.open_image import open_for_resizing
from modeling.encoders.pipeline import encoder_of
from django.conf import settings
encoder = encoder_of(settings.EMBEDDING_BACKEND)
files = sorted(Path(sys.argv[1]).rglob("*.jpg"))
encoder.encode_prepared(np.stack([encoder.prepare(open_for_resizing(files[0], encoder.decode_side))]))
began = time.perf_counter()
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    pixels = list(pool.map(lambda file: encoder.prepare(open_for_resizing(file, encoder.decode_side)), files))
decoded = time.perf_counter()
for first in range(0, len(pixels), encoder.batch_size):
    encoder.encode_prepared(np.stack(pixels[first : first + encoder.batch_size]))
print(json.dumps({"encoder": encoder.name, "decode": decoded - began, "model": time.perf_counter() - decoded}))
"""


class Store:
    """Provide a separate, empty store, in which folders are ingested as by the command."""

    def __init__(self, folder: Path) -> None:
        inherited = {"AL_EMBEDDING_BACKEND", "AL_WEIGHTS_DIR"}
        # If it were set, every start would compile every module again, unlike on users' machines.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = {
            name: value for name, value in os.environ.items() if name in inherited or not name.startswith("AL_")
        } | {
            "AL_STORE_DIR": str(folder),
            "DJANGO_SETTINGS_MODULE": "hoshina.settings",
        }
        self._run("manage.py", "migrate", "-v0")

    def ingest(self, images: Path, *, is_cache_small: bool = False) -> dict[str, float]:
        """Return the report of the ingest, with its peak memory in bytes."""
        return dict(json.loads(self._run("-c", INGEST, str(images), *["small cache"] * is_cache_small)))

    def embed(self) -> dict[str, float]:
        return dict(json.loads(self._run("-c", EMBED)))

    def bare_vectors(self, images: Path) -> dict[str, float]:
        return dict(json.loads(self._run("-c", BARE, str(images), str(THREADS))))

    def _run(self, *arguments: str) -> str:
        process = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return process.stdout.strip().splitlines()[-1] if process.stdout.strip() else ""


def fresh(folder: Path) -> Store:
    shutil.rmtree(folder, ignore_errors=True)
    return Store(folder)


# -- Files -------------------------------------------------------------------------------------------
def write_photos(folder: Path, n: int, *, width: int, height: int) -> None:
    """Write JPEGs with the texture of photographs: smooth shapes with some grain.

    After the first ones, files are copies that differ only after the end of the image, so that each has its own hash.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(n):
        if number >= N_DISTINCT:
            original = folder / f"{number % N_DISTINCT:05d}.jpg"
            (folder / f"{number:05d}.jpg").write_bytes(original.read_bytes() + str(number).encode())
            continue
        coarse = Image.fromarray(rng.integers(0, 255, (height // 60, width // 60, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = pixels + rng.integers(-6, 6, pixels.shape, dtype=np.int16)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.jpg", quality=90)


def write_small(folder: Path, n: int) -> None:
    """Write distinct PNGs of 16 x 16 pixels, a thousand per folder."""
    rng = np.random.default_rng(0)
    for number in range(n):
        if number % 1000 == 0:
            below = folder / f"{number // 1000:04d}"
            below.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(below / f"{number:07d}.png")


# -- Bare loops --------------------------------------------------------------------------------------
def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def thumbnail(file: Path) -> int:
    """Decode at reduced scale, resize, and encode."""
    with Image.open(file) as image:
        image.draft("RGB", (256, 256))
        image.thumbnail((256, 256), Image.Resampling.BICUBIC, reducing_gap=2.0)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=85)
    return len(out.getvalue())


def full_decode(file: Path) -> int:
    with Image.open(file) as image:
        image.load()
        return image.width


def run_in_threads(work: Callable[[Path], int], folder: Path, threads: int = THREADS) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, files(folder)):
            pass
    return time.perf_counter() - began


def bare_rows(folder: Path, database: Path) -> float:
    """Read each file's bytes with the same threads, and insert a row into each of two tables."""
    database.unlink(missing_ok=True)
    began = time.perf_counter()
    paths_on_disk = files(folder)
    with ThreadPoolExecutor(THREADS) as pool:
        sizes = list(pool.map(lambda file: len(file.read_bytes()), paths_on_disk, chunksize=64))
    with sqlite3.connect(database) as connection:
        connection.execute("create table item (id integer primary key, row integer unique, path text unique)")
        connection.execute("create table frame (id integer primary key, item integer, path text unique, size integer)")
        paths = [str(file) for file in paths_on_disk]
        connection.executemany("insert into item (row, path) values (?, ?)", enumerate(paths))
        rows = ((number + 1, path, size) for number, (path, size) in enumerate(zip(paths, sizes, strict=True)))
        connection.executemany("insert into frame (item, path, size) values (?, ?, ?)", rows)
    connection.close()
    return time.perf_counter() - began


# -- What is compared ----------------------------------------------------------------------------------
def compare(name: str, work: Path, images: Path, bare: Callable[[], float], runs: int, target: str) -> None:
    """Run both sides in turn. Print the medians, and the speed of the ingest relative to the minimal loop."""
    bares, ingests = [], []
    for _ in range(runs):
        bares.append(bare())
        ingests.append(fresh(work / "store").ingest(images)["seconds"])
    ratio = statistics.median(bares) / statistics.median(ingests)
    print(
        f"{name}: ingest {statistics.median(ingests):.2f} s, bare {statistics.median(bares):.2f} s, "
        f"{ratio:.2f} x the speed (target {target})",
        flush=True,
    )


def with_vectors(work: Path, images: Path, runs: int) -> None:
    """Run both jobs in sequence, as users wait for them, against one decoding and the encoder alone."""
    bares, ours, name = [], [], ""
    for _ in range(runs):
        store = fresh(work / "store")
        bare = store.bare_vectors(images)
        bares.append(bare["decode"] + bare["model"])
        name = str(bare["encoder"])
        ours.append(store.ingest(images)["seconds"] + store.embed()["seconds"])
    ratio = statistics.median(ours) / statistics.median(bares)
    print(
        f"ingest and embedding ({name}): {statistics.median(ours):.2f} s, one decoding and the encoder alone "
        f"{statistics.median(bares):.2f} s: {ratio:.2f} (target <= 1.1)",
        flush=True,
    )


def small_files(work: Path, n: int, runs: int) -> None:
    write_small(work / "tenth", n // 10)
    write_small(work / "small", n)
    bare = work / "bare.db"
    compare(f"{n:,} small files", work, work / "small", lambda: bare_rows(work / "small", bare), runs, ">= 0.67")
    store = fresh(work / "store")
    tenth = store.ingest(work / "tenth", is_cache_small=True)
    store = fresh(work / "store")
    whole = store.ingest(work / "small", is_cache_small=True)
    for n_files, report in ((n // 10, tenth), (n, whole)):
        print(
            f"peak memory, {n_files:,} files: {report['peak'] / 2**20:.0f} MiB, "
            f"decoders {report['peak_of_decoders'] / 2**20:.0f} MiB",
            flush=True,
        )
    rescan = store.ingest(work / "small")
    print(f"rescan without changes: {rescan['seconds']:.2f} s, peak {rescan['peak'] / 2**20:.0f} MiB", flush=True)
    (work / "renamed").mkdir()
    (work / "small").rename(work / "renamed" / "night")
    moved = store.ingest(work / "renamed")
    print(
        f"rescan of a renamed folder: {moved['seconds']:.2f} s, {moved['moved']:,} moved, "
        f"peak {moved['peak'] / 2**20:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1000, help="JPEGs of 1600 x 1200")
    parser.add_argument("--large", type=int, default=200, help="JPEGs of 4000 x 3000")
    parser.add_argument("--small", type=int, default=20_000, help="PNGs of 16 x 16; 100,000 take minutes")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hoshina-bench-") as folder:
        work = Path(folder)
        if options.photos:
            write_photos(work / "photos", options.photos, width=1600, height=1200)
            photos = work / "photos"
            compare("photographs", work, photos, lambda: run_in_threads(thumbnail, photos), options.runs, ">= 0.75")
            with_vectors(work, photos, options.runs)
        if options.large:
            write_photos(work / "large", options.large, width=4000, height=3000)
            large = work / "large"
            compare("12 megapixels", work, large, lambda: run_in_threads(full_decode, large, 1), options.runs, ">= 4")
            compare(
                "12 megapixels, in threads", work, large, lambda: run_in_threads(full_decode, large), options.runs, "-"
            )
        if options.small:
            small_files(work, options.small, options.runs)


if __name__ == "__main__":
    main()
