"""Measure what embedding costs beside the encoder when several heavy workers share it, as they do on several machines.

    python -m benchmarks.machines [--images 20000] [--workers 1 2 4] [--encoder hog]

Fashion-MNIST as PNG files is read once, with PostgreSQL and Redis; then 1, 2 and 4 heavy workers with one thread each
embed copies of that database and store. Where workers outnumber the cores, wall-clock times say little, so the figures
are seconds of processor time per chunk of 256 images: of a worker within the encoder and outside it, of PostgreSQL and
Redis. The job's own part (finding stale images, merging the parts) is serial, whatever the number of workers.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.label_efficiency.data import _fashion_images
from benchmarks.stage import ROOT
from tests.parts import postgres_server, redis_server


# -- In a worker ------------------------------------------------------------------------------------
class Meter:
    """Add up calls, seconds and processor seconds of functions in a worker, and write them to a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sums: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])

    def wrap(self, module: Any, name: str) -> None:
        """Measure a function of a module, in the main thread, where jobs run."""
        function: Callable[..., Any] = getattr(module, name)

        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                sums = self.sums[name]
                sums[0] += 1
                sums[1] += time.perf_counter() - wall
                sums[2] += time.thread_time() - processor
                if name == "_do":
                    self.file.write_text(json.dumps(self.sums))

        setattr(module, name, measured)


def be_worker(file: Path) -> None:
    """Run a heavy worker whose functions are measured."""
    import django

    django.setup()
    from django.core.management import call_command

    from hoshina.jobs import chunks
    from modeling import store
    from modeling.encoders import pipeline

    meter = Meter(file)
    for module, names in ((chunks, ("_take", "_do")), (store, ("save_part", "merge_parts"))):
        for name in names:
            meter.wrap(module, name)
    for name in ("encode_items", "stale_rows", "encoder_of", "embed"):
        meter.wrap(pipeline, name)
    call_command("worker", "heavy")


# -- Around them ------------------------------------------------------------------------------------
class Site:
    """Hold a database and a store that processes share."""

    def __init__(self, folder: Path, database: str, broker: str, encoder: str) -> None:
        self.folder = folder
        self.connection = psycopg.connect(database, autocommit=True)
        plain = {name: value for name, value in os.environ.items() if not name.startswith("AL_") or "WEIGHTS" in name}
        self.environment = plain | {
            "AL_STORE_DIR": str(folder), "AL_DATABASE_URL": database, "AL_BROKER_URL": broker, "AL_TOKEN": "0",
            "AL_EMBEDDING_BACKEND": encoder, "DJANGO_SETTINGS_MODULE": "hoshina.settings", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
        }  # fmt: skip

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def query(self, sql: str) -> list[Any]:
        return self.connection.execute(sql).fetchall()  # type: ignore[arg-type]

    def worker(self, file: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.machines", "--as-worker", str(file)]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment)


def processor_seconds(process: psutil.Process) -> float:
    """Return the processor seconds of a process and of all its children, those that ended included."""
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        times = member.cpu_times()
        total += times.user + times.system + (times.children_user + times.children_system)
    return total


def embed(site: Site, n_workers: int, servers: dict[str, psutil.Process]) -> None:
    """Embed the images with this many workers, and print the figures."""
    files = [site.folder / f"worker{number}.json" for number in range(n_workers)]
    workers = [site.worker(file) for file in files]
    try:
        _wait(lambda: site.query("SELECT count(*) FROM jobs_worker") == [(n_workers,)])
        queue = "from hoshina.jobs.lifecycle import enqueue; enqueue('embed', dataset_id=1)"
        site.manage("shell", "-v", "0", "-c", queue)
        before = {name: processor_seconds(server) for name, server in servers.items()}
        began = [processor_seconds(psutil.Process(worker.pid)) for worker in workers]
        _wait(lambda: site.query("SELECT 1 FROM jobs_job WHERE kind = 'embed' AND state = 'succeeded'") == [(1,)])
        used = [processor_seconds(psutil.Process(worker.pid)) for worker in workers]
        after = {name: processor_seconds(server) for name, server in servers.items()}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    # The last file is written after the last chunk; only the job's worker has the sums of its serial parts by then.
    report(site, [json.loads(file.read_text()) for file in files if file.exists()], sum(used) - sum(began),
           {name: after[name] - before[name] for name in servers})  # fmt: skip


def report(site: Site, meters: list[dict[str, list[float]]], used: float, servers: dict[str, float]) -> None:
    [(wall,)] = site.query(
        "SELECT extract(epoch FROM finished_at - started_at)::float FROM jobs_job WHERE kind = 'embed'"
    )
    [(rows,)] = site.query("SELECT n_vectors FROM modeling_embeddingset")

    def total(name: str, column: int) -> float:
        return sum(meter.get(name, [0, 0, 0])[column] for meter in meters)

    n = int(total("_do", 0))

    outside = (total("_do", 2) - total("encode_items", 2) + total("_take", 2)) / n
    encoder = used / n - outside
    shares = "/".join(str(int(meter.get("_do", [0])[0])) for meter in meters)
    print(f"{len(meters)} workers: {wall:.1f} s by the clock, {n} chunks ({shares}), {rows / wall:.0f} images/s")
    print(f"  processor time per chunk: encoder and decoders {1000 * encoder:.0f} ms, rest of the worker")
    print(f"    {1000 * outside:.1f} ms, " + ", ".join(f"{name} {1000 * s / n:.1f} ms" for name, s in servers.items()))
    print(f"  not embedding: {(outside + sum(servers.values()) / n) / (used + sum(servers.values())) * n:.1%} of it")
    print(f"  a chunk by the clock: {1000 * total('_do', 1) / n:.0f} ms, of which encoder "
          f"{1000 * total('encode_items', 1) / n:.0f}, saving {1000 * total('save_part', 1) / n:.1f}; claiming one "
          f"{1000 * total('_take', 1) / total('_take', 0):.1f} ms")  # fmt: skip
    serial = total("stale_rows", 2) + total("merge_parts", 2)
    print(f"  serial: {total('stale_rows', 2):.2f} s finding images, {total('merge_parts', 2):.2f} s merging")
    each = encoder + outside + servers["postgres"] / n
    for many in (8, 32):
        seconds = rounds(n, many) * each + serial
        print(f"  {many} workers on as many cores would take {seconds:.1f} s ({n * each / seconds:.0f} times as fast), "
              f"and PostgreSQL {servers['postgres'] / seconds:.2f} cores")  # fmt: skip
    sys.stdout.flush()


def rounds(n_chunks: int, n_workers: int) -> int:
    """Return how many chunks the busiest worker does: parts are merged between batches, which double in size."""
    from modeling.encoders.pipeline import _growing_batches

    batches = _growing_batches([(0, 1)] * n_chunks, 0)
    return sum(-(-len(batch) // n_workers) for batch in batches)


def _wait(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 900
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("the workers did not get ready or did not end")
        time.sleep(0.5)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--encoder", default="hog")
    parser.add_argument("--as-worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_worker:
        be_worker(options.as_worker)
        return
    import django

    django.setup()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pictures, store = Path(folder) / "pictures", Path(folder) / "store"
        pictures.mkdir()
        for number, image in enumerate(islice(_fashion_images(), options.images)):
            image.save(pictures / f"{number:05}.png")
        database = stack.enter_context(postgres_server())
        redis = stack.enter_context(redis_server())
        me = psutil.Process()
        servers = {child.name(): child for child in me.children() if "redis" in child.name() or "post" in child.name()}
        site = Site(store, database, redis.url, options.encoder)
        store.mkdir()
        site.manage("migrate", "-v", "0")
        site.manage("ingest", f"--data-dir={pictures}", "--json")
        site.query("DELETE FROM jobs_job RETURNING 1")  # the embedding that follows an ingest
        site.connection.close()  # a database is copied only while nobody uses it
        for n in options.workers:
            copy = database.replace("/postgres", f"/workers_{n}")
            with psycopg.connect(database.replace("/postgres", "/template1"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE workers_{n} TEMPLATE postgres")  # type: ignore[arg-type]
            shutil.copytree(store, Path(folder) / f"store_{n}")
            sharing = Site(Path(folder) / f"store_{n}", copy, redis.url, options.encoder)
            embed(sharing, n, servers)
            sharing.connection.close()


if __name__ == "__main__":
    main()
