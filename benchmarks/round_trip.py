"""Measure a round trip: export with the record of decisions, import into an empty store, export again.

    python -m benchmarks.round_trip -n 10000 --layouts csv imagefolder

Makes a folder of small JPEG images, labels them in one store, and restores the record in another one that scanned the
same folder. Fails if a file of a layout differs between exports of the two stores, or the counts of a split do.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.layouts import make_folder, manage

# They tell of the store: the files of models, and when embeddings were computed.
ABOUT_THE_STORE = {"manifest.json", "data_card.md"}


def timed(name: str, store: Path, *arguments: str) -> None:
    """Run a command of the store, and print how long it took."""
    began = time.perf_counter()
    manage(store, *arguments)
    print(f"| {name} | {time.perf_counter() - began:.1f} |", flush=True)


def described(archive: Path) -> tuple[dict[str, Any], Any]:
    """Return the size and CRC-32 of each file of an export, images included, and the counts of its splits."""
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("manifest.json"))
        files = {member.filename: (member.file_size, member.CRC) for member in opened.infolist()}
    for name in ABOUT_THE_STORE:
        files.pop(name, None)
    return files, (manifest["counts"], manifest["splits"])


def main() -> None:
    """Print the seconds of each step, and the number of equal files of each layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="the number of images (default: 10,000)")
    parser.add_argument("--side", type=int, default=32, help="their width and height in pixels (default: 32)")
    parser.add_argument("--layouts", nargs="+", default=["csv", "imagefolder"], help="layouts to compare")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hoshina-round-trip-") as temporary:
        folder, record = Path(temporary, "pictures"), Path(temporary, "record.zip")
        first, second = Path(temporary, "first"), Path(temporary, "second")
        table = make_folder(folder, options.n, options.side)
        print("| step | s |\n|---|---|")
        timed("scan", first, "ingest", "--data-dir", str(folder))
        timed("import the labels", first, "import_labels", str(table), "--create-classes")
        timed("export the record", first, "export", "--with-annotations", "--no-images", "--output", str(record))
        timed("scan in the other store", second, "ingest", "--data-dir", str(folder))
        timed("import the record", second, "import_labels", str(record), "--history")
        for layout in options.layouts:
            more = ["--with-annotations"] if layout == "csv" else []
            archives = [Path(temporary, f"{layout}-{store.name}.zip") for store in (first, second)]
            for store, archive in zip((first, second), archives, strict=True):
                manage(store, "export", "--layout", layout, "--with-images", *more, "--output", str(archive))
            before, after = map(described, archives)
            if before != after:
                differing = [
                    name for name in before[0].keys() | after[0].keys() if before[0].get(name) != after[0].get(name)
                ]
                raise SystemExit(f"{layout}: {len(differing)} files differ, such as {sorted(differing)[:5]}")
            print(f"`{layout}`: {len(before[0]):,} files with the same bytes, and the same counts in every split")


if __name__ == "__main__":
    main()
