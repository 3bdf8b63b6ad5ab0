"""Measure an export of many items in each layout: time, size and peak memory.

    python -m benchmarks.layouts -n 10000

Makes a folder of small JPEG images and a store, labels every image, and runs ``hoshina export`` for each layout in a
process of its own, once as an archive and, where files are images, once as a folder with hard links. With ``--load``
each export is then loaded by the libraries of the tests, and compared with its manifest.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("galaxy", "star", "a/b", "NA", "nothing")
LINKED = ("csv", "imagefolder", "yolo", "coco", "labelstudio", "fiftyone", "croissant")
_ROOT = Path(__file__).resolve().parent.parent


def make_folder(folder: Path, n: int, side: int) -> Path:
    """Make ``n`` noisy images in folders of a thousand, and a table of their classes."""
    rng = np.random.default_rng(0)
    table = folder.parent / "labels.csv"
    with table.open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(("path", "label"))
        for number in range(n):
            path = Path(f"night{number // 1000}", f"image.{number}.jpg")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / path, quality=90)
            lines.writerow((path.as_posix(), CLASSES[number % len(CLASSES)]))
    return table


def manage(store: Path, *arguments: str) -> str:
    """Run a command of the store, and return what it prints."""
    environment = os.environ | {"AL_STORE_DIR": str(store), "PYTHONPATH": str(_ROOT)}
    ran = subprocess.run(
        [sys.executable, str(_ROOT / "manage.py"), *arguments], env=environment, capture_output=True, text=True
    )
    if ran.returncode:
        raise SystemExit(ran.stdout + ran.stderr)
    return ran.stdout


def measure(store: Path, output: Path, *arguments: str) -> tuple[float, float, int]:
    """Return the seconds and the peak memory in MB of an export by a process, and the images in it."""
    code = "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
    code += "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    code += "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    environment = os.environ | {"AL_STORE_DIR": str(store), "PYTHONPATH": str(_ROOT)}
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", code, str(_ROOT / "manage.py"), "export", "--output", str(output), "--json", *arguments],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if ran.returncode:
        raise SystemExit(ran.stdout + ran.stderr)
    return seconds, int(ran.stderr.split()[-1]) / 1024, json.loads(ran.stdout)["items"]


def load(exports: Path, side: int) -> None:
    """Load each export by the code that the page shows, and compare classes, splits and counts with its manifest."""
    from labeling.exporting.layouts import layouts
    from tests.labeling.exporting.layouts import test_consumers as consumers

    consumers.SIZE, consumers.EMPTY = (side, side), ()
    print("\n| layout | library | loaded unchanged, s |\n|---|---|---|")
    for (name, library), (read, _) in consumers.READERS.items():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "data").symlink_to(exports / name)
            os.chdir(folder)
            names: dict[str, object] = {}
            start = time.perf_counter()
            exec(next(each.code for each in layouts()[name].loading if each.library == library), names)
            counts, classes = read(names)
        expected = json.loads((exports / name / "manifest.json").read_bytes())["splits"]
        assert counts == {split: of_split["classes"] for split, of_split in expected.items()}, (name, library)
        assert classes in (None, sorted(CLASSES)), (name, library, classes)
        print(f"| `{name}` | {library} | {time.perf_counter() - start:.1f} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="the number of images (default: 10,000)")
    parser.add_argument("--side", type=int, default=128, help="their width and height in pixels (default: 128)")
    parser.add_argument("--load", action="store_true", help="load the exports with the libraries that they are for")
    options = parser.parse_args()
    from labeling.exporting.layouts import layouts

    with tempfile.TemporaryDirectory(prefix="hoshina-layouts-") as temporary:
        folder, store = Path(temporary, "pictures"), Path(temporary, "store")
        table = make_folder(folder, options.n, options.side)
        manage(store, "ingest", "--data-dir", str(folder))
        manage(store, "import_labels", str(table), "--create-classes")
        total = sum(file.stat().st_size for file in folder.rglob("*.jpg")) / 1e6
        print(f"{options.n:,} images, {total:.0f} MB\n")
        print("| layout | archive, s | peak, MB | size, MB | folder with links, s |\n|---|---|---|---|---|")
        for name in layouts():
            archive = Path(temporary, f"{name}.zip")
            seconds, peak, n = measure(store, archive, "--layout", name, "--with-images")
            assert n == options.n, (name, n)
            size = archive.stat().st_size / 1e6
            archive.unlink()
            linked = "–"
            if name in LINKED or options.load:
                more = ["--link"] if name in LINKED else []
                target = Path(temporary, "exports", name)
                linked = f"{measure(store, target, '--layout', name, '--folder', '--with-images', *more)[0]:.1f}"
            print(f"| `{name}` | {seconds:.1f} | {peak:.0f} | {size:.0f} | {linked if name in LINKED else '–'} |")
        if options.load:
            load(Path(temporary, "exports"), options.side)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    import django

    django.setup()
    main()
