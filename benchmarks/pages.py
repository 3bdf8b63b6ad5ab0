"""Time grid pages at 10,000 and 1,000,000 items, Auto's pull, thumbnails, saving a label, and 8 users at once.

    python -m benchmarks.pages [--large 1000000] [--small 10000] [--requests 300]

Real web servers (waitress, SQLite in WAL mode) in separate processes are requested in turn over HTTP, so that
disturbances affect both. Prints medians, p95 and their ratios. Saving is compared with views that do nothing,
thumbnails with the same ones sent by Django and read from the disk.

Auto's pull ranks all items in a worker while the page shows a random sample. *Cold*: the files of the store are dropped
from the system's cache, the principal components of the embeddings (256 random numbers each) are not computed yet, and
the process has just started. *New process*: they are computed. *Warm*: the same process has ranked before, as a worker.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.retrain import drop_from_cache
from benchmarks.stage import Browser, run_script, stage

# Files and cached thumbnails of the first page.
PICTURES = """
import io
from pathlib import Path
from django.conf import settings
from PIL import Image
from labeling.images.decoder_pool import pictures
from labeling.models import Frame
dataset.root = str(Path(settings.STORE_DIR) / "pictures")
dataset.save()
for frame in Frame.objects.order_by("pk")[:60]:
    file = Path(dataset.root) / frame.path
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((256, 192), Image.Resampling.BICUBIC)
    image.save(file)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    frame.size, frame.mtime_ns = file.stat().st_size, file.stat().st_mtime_ns
    frame.save()
    pictures().keep(jpeg.getvalue(), ".jpg", frame.picture_hash, 256)
"""

# Embeddings of all items, and a label for each of 100 of them.
EMBEDDINGS = """
from modeling.models import EmbeddingSet
from modeling.store import merge_parts, save_part
vectors = EmbeddingSet.objects.create(dataset=dataset, fingerprint="stage", encoder="stage", dim=256, is_active=True)
for start in range(0, n, 50_000):
    rows = np.arange(start, min(n, start + 50_000))
    save_part(vectors, start, int(rows[-1]) + 1, rows, np.full(rows.size, 7, np.uint64),
              rng.standard_normal((rows.size, 256), np.float32))
merge_parts(vectors, n)
from labeling.decisions.save import Decision, record_import
from labeling.models import State
record_import(dataset, [Decision(n - i, State.LABELLED, labels[i % 10].pk) for i in range(100)], None)
"""
# Print the seconds and processor seconds of four pulls, each for a person who has seen none.
AUTO = """
import sys, time
from labeling.models import Dataset
from sampling.queues.pull import Filters, pull
from sampling.queues.registry import STRATEGIES
dataset, auto = Dataset.objects.get(), STRATEGIES["auto"]
for number in range(4):
    wall, used = time.perf_counter(), time.process_time()
    order = pull(dataset, auto, auto.params(), Filters(), seed=number, holder=f"{sys.argv[1]} {number}")
    assert order.n_ranked == auto.kept, order.n_ranked
    print(time.perf_counter() - wall, time.process_time() - used)
"""


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def line(name: str, values: list[float]) -> None:
    print(f"{name:<46} median {statistics.median(values):8.2f} ms   p95 {p95(values):8.2f} ms   n {len(values)}")


class Reader:
    """A user who turns one page of a queue after the other."""

    def __init__(self, address: str, queue: str) -> None:
        self.browser = Browser(address)
        self.first = f"/d/stage/grid/?queue={queue}&n=60"
        self.url = self.first

    def turn(self) -> None:
        page = self.browser.get(self.url).decode()
        match = re.search(r'data-next="([^"]*)"', page)
        assert match, page[:500]
        assert 'class="tile"' in page, page[:500]
        self.url = html.unescape(match.group(1)) or self.first


def grid(small: str, large: str, requests: int) -> None:
    for queue in ("uncertain", "all"):
        readers = [Reader(small, queue), Reader(large, queue)]
        pulls = [timed(reader.turn) for reader in readers]
        times: list[list[float]] = [[], []]
        for _ in range(requests):
            for reader, durations in zip(readers, times, strict=True):
                durations.append(timed(reader.turn))
        line(f"grid page, {queue}, small", times[0])
        line(f"grid page, {queue}, large", times[1])
        print(f"  first pull {pulls[0]:.0f} ms and {pulls[1]:.0f} ms (arrays read once per process)")
        print(f"  -> p95 large / small = {p95(times[1]) / p95(times[0]):.2f} (target 1.3)")


def auto(folder: Path, name: str) -> None:
    """Print the times of Auto's pull in a store without components, with components, and in the same process."""
    for file in folder.rglob("*"):
        if file.is_file():
            drop_from_cache(file)
    for state in ("cold", "new process"):
        first, *others = (
            [float(word) for word in line.split()] for line in run_script(folder, AUTO, state).splitlines()
        )
        print(f"Auto's pull, {name}, {state:<31} {1000 * first[0]:8.0f} ms   processor {1000 * first[1]:8.0f} ms")
    warm = [statistics.median(values) for values in zip(*others, strict=True)]
    print(f"Auto's pull, {name}, {'warm':<31} {1000 * warm[0]:8.0f} ms   processor {1000 * warm[1]:8.0f} ms")


def thumbs(folder: Path, address: str, requests: int) -> None:
    browser = Browser(address)
    page = browser.get("/d/stage/grid/?queue=all&n=60").decode()
    urls = [html.unescape(url) for url in re.findall(r'<img src="([^"]*)"', page)]
    files = sorted((folder / "thumbs").glob("*/*.jpg"))
    assert len(urls) == len(files) == 60
    signed: list[float] = []
    through_django: list[float] = []
    read: list[float] = []
    for number in range(requests):
        url, file = urls[number % 60], files[number % 60]
        signed.append(timed(lambda url=url: browser.get(url)))
        through_django.append(timed(lambda url=url: browser.get(url.partition("&k=")[0])))
        read.append(timed(file.read_bytes))
    line("a cached thumbnail", signed)
    line("the same through Django", through_django)
    line("the same read from the disk", read)
    print(f"  -> medians {statistics.median(signed) / statistics.median(through_django):.2f} of Django's")


def action(item: int, label: int) -> bytes:
    shown = {
        "queue": "uncertain",
        "round_id": 1,
        "rank": item,
        "score": 0.5,
        "selection_probability": 1.0,
        "model_version_id": 1,
        "suggested_label_id": label,
        "suggested_probability": 0.7,
    }
    return json.dumps({"actions": [{
        "uuid": str(uuid.uuid4()), "kind": "assign", "label": label, "at": datetime.now(UTC).isoformat(),
        "suggestion_shown": True, "items": [{"id": item, "seen": 0, "seconds": 1.2, "shown": shown}],
    }]}).encode()  # fmt: skip


def saving(address: str, requests: int) -> float:
    browser = Browser(address)
    saved: list[float] = []
    nothing: list[float] = []
    flushed: list[float] = []
    for number in range(requests):
        body = action(number + 1, number % 10 + 1)
        nothing.append(timed(lambda body=body: browser.post("/nothing/", body)))
        flushed.append(timed(lambda body=body: browser.post("/flushed/", body)))
        saved.append(timed(lambda body=body: browser.post("/d/stage/annotate/", body)))
    line("a view that does nothing", nothing)
    line("the same, and a label's bytes on the disk", flushed)
    line("saving a label", saved)
    ratio = statistics.median(saved) / statistics.median(nothing)
    print(f"  -> medians {ratio:.2f}, p95 {p95(saved) / p95(nothing):.2f} (target 1.5)")
    print(f"  -> of the view that flushes {statistics.median(saved) / statistics.median(flushed):.2f}")
    return p95(saved)


def labelers(address: str, alone: float, people: int, each: int) -> None:
    times: list[float] = []
    faults: list[str] = []

    def work(person: int) -> None:
        browser = Browser(address)
        for number in range(each):
            item = 2000 + person * each + number
            body = action(item, number % 10 + 1)
            try:
                times.append(timed(lambda body=body: browser.post("/d/stage/annotate/", body)))
            except (OSError, RuntimeError) as error:
                faults.append(str(error))

    threads = [threading.Thread(target=work, args=(person,)) for person in range(people)]
    before = _labeled(address)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n_saved = _labeled(address) - before
    line(f"{people} labelers at once, as fast as they can", times)
    print(f"  errors {len(faults)}, labels saved {n_saved} of {people * each}")
    print(f"  -> p95 {people} / p95 one = {p95(times) / alone:.2f}")

    # Users at a keyboard: three labels a second each, not as fast as a program.
    times.clear()

    def label_steadily(person: int) -> None:
        browser = Browser(address)
        for number in range(each // 2):
            started = time.perf_counter()
            body = action(20_000 - person * each - number, number % 10 + 1) if address else b""
            times.append(timed(lambda body=body: browser.post("/d/stage/annotate/", body)))
            time.sleep(max(0.0, 1 / 3 - (time.perf_counter() - started)))

    threads = [threading.Thread(target=label_steadily, args=(person,)) for person in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line(f"{people} labelers, three labels a second each", times)
    print(f"  -> p95 {people} / p95 one = {p95(times) / alone:.2f} (target 3)")


def _labeled(address: str) -> int:
    response = Browser(address).post("/d/stage/annotate/", json.dumps({"actions": []}).encode())
    return int(json.loads(response)["counts"]["labelled"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        small = stack.enter_context(stage(Path(folder) / "small", options.small, PICTURES + EMBEDDINGS))
        large = stack.enter_context(stage(Path(folder) / "large", options.large, EMBEDDINGS))
        grid(small, large, options.requests)
        auto(Path(folder) / "small", "small")
        auto(Path(folder) / "large", "large")
        thumbs(Path(folder) / "small", small, options.requests)
        alone = saving(large, options.requests)
        labelers(large, alone, people=8, each=100)


if __name__ == "__main__":
    main()
