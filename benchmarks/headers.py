"""Time reading a few header cards of many small FITS files: astropy, our reader, and all decoder processes.

    python -m benchmarks.headers [--files 3000] [--rounds 5]

All methods take turns on the same files, from the file system's cache; every round has to give the same values.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

NAMES = ["OBJECT", "EXPTIME", "DATE-OBS", "ESO DET ID"]


def write(folder: Path, n: int) -> list[Path]:
    """Write files with 70 cards each.

    A third has the image in the first HDU, a third in the second, a third has a table after it.
    """
    from astropy.io import fits

    rng = np.random.default_rng(0)
    files = []
    for number in range(n):
        header = fits.Header([(f"KEY{key}", key * number * 0.37, "a comment") for key in range(60)])
        header["OBJECT"], header["EXPTIME"], header["DATE-OBS"] = (
            f"M {number % 97}",
            number / 4,
            "2011-06-07T06:33:02.7",
        )
        header["HIERARCH ESO DET ID"] = number
        pixels = rng.normal(0, 1, (32, 32)).astype(np.float32)
        table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])
        parts = [
            [fits.PrimaryHDU(pixels, header)],
            [fits.PrimaryHDU(), fits.ImageHDU(pixels, header)],
            [fits.PrimaryHDU(pixels, header), table],
        ][number % 3]
        files.append(folder / f"{number:06d}.fits")
        fits.HDUList(parts).writeto(files[-1])
    return files


def by_astropy(file: Path) -> list[str]:
    from astropy.io import fits

    with fits.open(file, memmap=False) as parts:
        part = next(part for part in parts if part.is_image and len(part.shape) >= 2)
        return [str(part.header.get(name, "")) for name in NAMES]


def compare(files: list[Path], rounds: int) -> None:
    from labeling.images.decoder_pool import decoders
    from labeling.images.file_headers import values_of
    from labeling.images.rendering import DEFAULT

    methods: dict[str, Callable[[], object]] = {
        "astropy's open and header": lambda: [by_astropy(file) for file in files],
        "our own reader, here": lambda: [values_of(file, NAMES) for file in files],
        "all decoders": lambda: list(decoders().card_values(files, NAMES, DEFAULT)),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(rounds + 1):  # the first round starts decoders and imports astropy
        values = []
        for name, work in methods.items():
            began = time.perf_counter()
            values.append(work())
            if number:
                times[name].append(time.perf_counter() - began)
        assert values[0] == values[1] == values[2]
    slow = statistics.median(times["astropy's open and header"])
    for name, durations in times.items():
        median = statistics.median(durations)
        print(f"{name}: {median / len(files) * 1e3:.3f} ms per file, {slow / median:.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AL_STORE_DIR": folder, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
        import django

        django.setup()
        files = Path(folder) / "files"
        files.mkdir()
        compare(write(files, options.files), options.rounds)


if __name__ == "__main__":
    main()
