"""Time the map's server side: bytes of its points, colors of a million points, and a lasso as filter of queues.

    python -m benchmarks.map [--points 1000000] [--inside 10000] [--requests 40]

A real web server (waitress, SQLite) is requested over HTTP, with and without a lasso in turn, so that disturbances
affect both. Prints medians and their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.pages import line, timed
from benchmarks.stage import ROOT, Browser, stage

MAKE = """
import sys, numpy as np
import django; django.setup()
from labeling.models import Dataset
from modeling.maps.coordinates import save_coordinates
from modeling.models import EmbeddingSet, Projection
dataset = Dataset.objects.get()
vectors = EmbeddingSet.objects.create(dataset=dataset, fingerprint="none", encoder="none", dim=2)
n = dataset.n_items
made = Projection.objects.create(dataset=dataset, embedding_set=vectors, name="Map", method="umap", n_points=n)
rng = np.random.default_rng(0)
cloud = rng.integers(0, 50, n)
places = rng.uniform(0, 100, (50, 2))[cloud] + rng.normal(size=(n, 2)) * rng.uniform(1, 4, 50)[cloud, None]
save_coordinates(made, places.astype(np.float32))
"""


def with_map(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AL_")} | {
        "AL_STORE_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
    }
    subprocess.run([sys.executable, "-c", MAKE], cwd=ROOT, env=environment, check=True)


def circle(points: np.ndarray, n_inside: int, corners: int) -> np.ndarray:
    """Return the corners of a lasso that contains ``n_inside`` points around the densest place."""
    counts, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=64)
    at = np.unravel_index(counts.argmax(), counts.shape)
    center = np.array([x[at[0]], y[at[1]]])
    radius = np.sort(np.hypot(*(points - center).T))[n_inside]
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    ring = center + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.clip(np.rint(ring), 0, 65534).astype(int)


def payload(browser: Browser, folder: Path) -> np.ndarray:
    """Compare the bytes of points and one coloring with JSON of the same: stored coordinates and a class each."""
    body, classes = browser.get("/d/stage/map/1/points/?g=1"), browser.get("/d/stage/map/1/colours/?by=predicted")
    points = np.frombuffer(body, "<u2").reshape(-1, 2)
    places = np.load(next(folder.glob("maps/1/coordinates-*.npy")))
    labeled = zip(places.astype(str).tolist(), classes, strict=True)
    plain = "[" + ",".join(f"[{x},{y},{label}]" for (x, y), label in labeled) + "]"
    short = json.dumps([[*pair, label] for pair, label in zip(points.tolist(), classes, strict=True)])
    size = len(body) + len(classes)
    print(f"points and a class: {len(points):,} in {size / 1e6:.2f} MB; as JSON {len(plain) / 1e6:.2f} MB")
    print(f"  -> bytes / JSON = {size / len(plain):.3f} (target 0.25)")
    print(f"  -> bytes / JSON of the 16-bit numbers, which is less precise = {size / len(short):.3f}")
    return points


EACH = (
    "points/?g=1", "colours/?by=label", "colours/?by=state", "colours/?by=predicted", "colours/?by=uncertainty",
    "legend/?by=predicted", "changes/?since=0&by=label", "clusters/", "at/?row=77", "thumbs/?rows=1,2,3,4,5",
)  # fmt: skip


def colours(browser: Browser, requests: int) -> None:
    for what in EACH:
        first = timed(lambda what=what: browser.get(f"/d/stage/map/1/{what}"))
        times = [timed(lambda what=what: browser.get(f"/d/stage/map/1/{what}")) for _ in range(requests)]
        line(what, times)
        print(f"  the first time {first:.0f} ms")


def lassos(browser: Browser, corners: np.ndarray, requests: int) -> None:
    """Time the first page of each queue with and without a lasso in turn, each time with a new pull and a new lasso."""
    n_lassos = 0
    for queue in ("uncertain", "random", "all", "band"):
        plain = f"/d/stage/grid/?queue={queue}&n=60"
        times: tuple[list[float], list[float]] = ([], [])
        for number in range(requests + 1):
            n_lassos += 1
            region = "_".join(f"{x}-{y}" for x, y in np.clip(corners - n_lassos % 400, 0, 65534))
            for address, durations in zip((plain, f"{plain}&map=1&region={region}"), times, strict=True):
                took = timed(lambda address=address: browser.get(address))
                if number:  # the first request reads arrays
                    durations.append(took)
        line(f"first page of {queue}, all images", times[0])
        line(f"first page of {queue}, in a lasso", times[1])
        print(f"  -> lasso / all = {statistics.median(times[1]) / statistics.median(times[0]):.2f} (target 1)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--inside", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder), options.points) as address:
        with_map(Path(folder))
        browser = Browser(address)
        points = payload(browser, Path(folder))
        corners = circle(points.astype(float), min(options.inside, len(points) // 2), 120)
        colours(browser, options.requests)
        lassos(browser, corners, options.requests)


if __name__ == "__main__":
    main()
