"""Measure the search for near-duplicates on planted copies, and its time and memory for a million signatures.

    python -m benchmarks.leakage [--images 10000] [--seed 7] [--encoder hog] [--rows 1000000] [--folder PHOTOS]

The images are Fashion-MNIST, and the stamps and pictures of two programs (Debian: dataset-fashion-mnist,
tuxpaint-stamps-default, stellarium-data). A fifth of them gets a copy of a random kind: resized to 50-90 %, JPEG of
quality 30-80, cropped by 2-8 %, up to 20 % brighter or darker, rotated by 1-2°, or a burst frame (shifted by up to 3 %,
with noise). Recall is the share of copies in the group of their original. Pairs of two different originals are counted
too: some of the files are themselves copies of others, so not all of these are false. Thresholds were chosen with seed
1. Another seed gives other copies, and an even one the other half of the photographs.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.fft import dct

from benchmarks.label_efficiency.data import FASHION
from modeling.algorithms.near_duplicates import NearDuplicates, find_near_duplicates, grouped
from modeling.algorithms.neighbors import Graph, project
from modeling.algorithms.perceptual_hash import SIDE, Pixels, hashes_of, signature_of
from modeling.algorithms.registration import is_blank
from modeling.algorithms.rows import cores

PHOTOS = (Path("/usr/share/tuxpaint/stamps"), Path("/usr/share/stellarium"))
_LONGEST = 256
# One original in this many has a copy.
_EVERY = 5
# Synthetic pictures have this many frequencies in each direction, and are made in blocks of rows.
_WAVES, _MADE_AT_ONCE = 8, 20_000
Kind = Callable[[Image.Image, np.random.Generator], Image.Image]


# -- Copies -------------------------------------------------------------------------------------------
def resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    share = rng.uniform(0.5, 0.9)
    return image.resize((max(2, int(image.width * share)), max(2, int(image.height * share))), Image.Resampling.LANCZOS)


def compressed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=int(rng.integers(30, 81)))
    return Image.open(io.BytesIO(content.getvalue()))


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    share, (left, top) = rng.uniform(0.02, 0.08), rng.uniform(0, 1, 2)
    x, y = image.width * share, image.height * share
    right, bottom = image.width - x + left * x, image.height - y + top * y
    return image.crop((round(left * x), round(top * y), round(right), round(bottom)))


def brighter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 + rng.uniform(0.05, 0.2) * rng.choice([-1, 1]))


def rotated(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    angle = rng.uniform(1, 2) * rng.choice([-1, 1])
    return image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0)))


def burst_frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    x, y = rng.uniform(-0.03, 0.03, 2) * image.size
    moved = image.transform(image.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, y), Image.Resampling.BICUBIC)
    pixels = np.asarray(moved, np.float64)
    return Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


KINDS: tuple[Kind, ...] = (resized, compressed, cropped, brighter, rotated, burst_frame)


# -- Images -------------------------------------------------------------------------------------------
def photos() -> Iterator[Image.Image]:
    for folder in PHOTOS:
        for file in sorted([*folder.rglob("*.png"), *folder.rglob("*.jpg")]):
            image = Image.open(file)
            image.thumbnail((_LONGEST, _LONGEST))
            ground = Image.new("RGBA", image.size, "#808080")
            ground.alpha_composite(image.convert("RGBA"))
            yield ground.convert("RGB")


def fashion(n: int, seed: int) -> Iterator[Image.Image]:
    pixels = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    images = pixels.reshape(-1, 28, 28)
    for row in np.random.default_rng(seed).permutation(len(images))[:n]:
        yield Image.fromarray(images[row]).convert("RGB")


class Planted:
    """Images in turn with copies: signatures, inputs of an encoder, and the original and kind of each copy."""

    def __init__(self, n: int, seed: int, encoder: str) -> None:
        from modeling.encoders.pipeline import encoder_of

        self._encoder = encoder_of(encoder)
        rng = np.random.default_rng(seed)
        signatures, prepared = [], []
        self.original: list[int] = []
        self.kind: list[int] = []
        self.is_photo: list[bool] = []
        for image, is_photo in _mixed(n, seed):
            made = [image]
            has_copy = len(signatures) < n and rng.integers(_EVERY) == 0
            kind = int(rng.integers(len(KINDS)))
            if has_copy:
                made.append(KINDS[kind](image, rng).convert("RGB"))
            first = len(signatures)
            for number, picture in enumerate(made):
                signatures.append(signature_of(picture))
                prepared.append(self._encoder.prepare(picture))
                self.original.append(first)
                self.kind.append(kind if number else -1)
                self.is_photo.append(is_photo)
            if len(signatures) >= n:
                break
        self.signatures: Pixels = np.stack(signatures)
        batches = range(0, len(prepared), 64)
        self.X = np.concatenate([self._encoder.encode_prepared(np.stack(prepared[i : i + 64])) for i in batches])


def _mixed(n: int, seed: int) -> Iterator[tuple[Image.Image, bool]]:
    """Yield half of the photographs, chosen by the seed, then Fashion-MNIST."""
    for number, image in enumerate(photos()):
        if number % 2 == seed % 2:
            yield image, True
    yield from ((image, False) for image in fashion(n, seed))


# -- Measurements -------------------------------------------------------------------------------------
def search(signatures: Pixels, graph: Graph | None) -> NearDuplicates:
    rows = np.flatnonzero(~is_blank(signatures))
    return find_near_duplicates(signatures, hashes_of(signatures), rows, graph, tell=lambda *_: None)


def measure_planted(n: int, seed: int, encoder: str) -> None:
    from modeling.encoders.neighbor_cache import NEIGHBOURS, made_graph
    from modeling.leakage.pipeline import graph_of_signatures

    planted = Planted(n, seed, encoder)
    blank = is_blank(planted.signatures)
    rows = np.flatnonzero(~blank)
    Z = project(planted.X, rng=np.random.default_rng(0))
    graphs: dict[str, Graph | None] = {
        encoder: made_graph(Z, NEIGHBOURS, lambda *_: None, seed=0)[0],
        "signatures": graph_of_signatures(planted.signatures, rows, lambda *_: None),
    }
    for name, graph in graphs.items():
        began = time.perf_counter()
        found = search(planted.signatures, graph)
        seconds = time.perf_counter() - began
        print(f"{len(planted.signatures):,} images, graph of {name}: {seconds:.1f} s, {found.n_candidates:,} compared")
        report(planted, found, blank)


def report(planted: Planted, found: NearDuplicates, blank: NDArray[np.bool_]) -> None:
    groups = grouped(found.pairs, len(planted.signatures))
    original, kind, is_photo = np.array(planted.original), np.array(planted.kind), np.array(planted.is_photo)
    for place, function in enumerate(KINDS):
        for what, of in (("photographs", is_photo), ("Fashion-MNIST", ~is_photo)):
            copies = np.flatnonzero((kind == place) & of & ~blank[original])
            recall = (groups[copies] == groups[original[copies]]).mean()
            print(f"  {function.__name__:12} {what:14} {len(copies):5} copies  recall {recall:.3f}")
    others = found.pairs[original[found.pairs[:, 0]] != original[found.pairs[:, 1]]]
    for what, of in (("photographs", is_photo), ("Fashion-MNIST", ~is_photo)):
        count = int(of[others[:, 0]].sum())
        print(f"  pairs of different originals, {what}: {count} ({1000 * count / of.sum():.1f} per 1,000 images)")
    print(f"  blank {blank.sum()}, largest group {np.bincount(groups).max()}, chain pairs dropped {found.n_chained}")


def synthetic(n: int, seed: int, file: Path) -> Pixels:
    """Write and map signatures of ``n`` smooth random pictures: a thousand of each kind, alike as galaxies are.

    Every twentieth is a copy of the tenth before it, with noise, and every hundredth one and the same picture.
    """
    rng = np.random.default_rng(seed)
    waves = dct(np.eye(SIDE, dtype=np.float32), axis=0, norm="ortho")[:_WAVES]
    pictures = np.einsum("ax,by->abxy", waves, waves).reshape(_WAVES**2, SIDE**2)
    a, b = np.divmod(np.arange(_WAVES**2), _WAVES)
    strength = (1 / (1 + np.hypot(a, b))).astype(np.float32)
    strength[0] = 0
    kinds = rng.normal(size=(max(1, n // 1000), _WAVES**2)).astype(np.float32)
    signatures = np.lib.format.open_memmap(file, "w+", np.uint8, (n, SIDE, SIDE))
    for start in range(0, n, _MADE_AT_ONCE):
        count = min(_MADE_AT_ONCE, n - start)
        own = rng.normal(size=(count, _WAVES**2)).astype(np.float32)
        weights = strength * (0.7 * own + 0.7 * kinds[rng.integers(0, len(kinds), count)])
        gray = (weights @ pictures).reshape(count, SIDE, SIDE)
        gray *= 45 / gray.std()
        copies = np.arange(19, count, 20)
        gray[copies] = gray[copies - 10] + rng.normal(0, 4, (len(copies), SIDE, SIDE))
        gray[99::100] = gray[0] if start == 0 else signatures[0].astype(np.float32) - 128
        signatures[start : start + count] = (128 + gray).clip(0, 255)
    signatures.flush()
    return np.load(file, mmap_mode="r")


class Stages:
    """Add up the seconds of each stage that is reported."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._stage, self._since = "", time.perf_counter()

    def tell(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def report(self) -> None:
        self.tell("", 0, 0)
        for stage, seconds in self._seconds.items():
            if stage:
                print(f"  {stage}: {seconds:.0f} s", flush=True)


def measure_rows(n: int, seed: int) -> None:
    """Time the check of ``n`` synthetic signatures without embeddings, so with the graph of signatures."""
    from modeling.leakage.pipeline import described, graph_of_signatures

    with TemporaryDirectory() as folder:
        signatures = synthetic(n, seed, Path(folder) / "signatures.npy")
        before = _peak()
        stages, began = Stages(), time.perf_counter()
        blank, hashes = described(signatures, stages.tell)
        rows = np.flatnonzero(~blank)
        graph = graph_of_signatures(signatures, rows, stages.tell)
        found = find_near_duplicates(signatures, hashes, rows, graph, tell=stages.tell)
        groups = grouped(found.pairs, n)
        seconds = time.perf_counter() - began
    copies = np.setdiff1d(np.arange(19, n, 20), np.arange(99, n, 100))
    same = np.arange(99, n, 100)
    recall = (groups[copies] == groups[copies - 10]).mean()
    others = np.setdiff1d(found.pairs.ravel(), np.concatenate([copies, copies - 10, same, [0]]))
    print(f"{n:,} rows: {seconds:.0f} s, {found.n_candidates:,} aligned")
    stages.report()
    together = np.unique(groups[same], return_counts=True)[1].max()
    print(f"  recall {recall:.3f}, {together:,} of {len(same):,} equal pictures in one group, others {len(others):,}")
    print(f"  peak {_peak():.2f} GiB with the mapped signatures, {before:.2f} before")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_decoding(folder: Path) -> None:
    """Time the signatures of the images in a folder, decoded as by the job."""
    from labeling.images.open_image import open_for_resizing
    from modeling.leakage.signatures import SignatureEncoder

    encoder = SignatureEncoder()
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png", ".fits"})
    megapixels = sum(np.prod(Image.open(file).size) for file in files if file.suffix != ".fits") / 1e6
    began = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        n = sum(1 for _ in pool.map(lambda file: encoder.prepare(open_for_resizing(file, encoder.decode_side)), files))
    seconds = time.perf_counter() - began
    print(f"{folder}: {n} images, {megapixels / max(1, n):.2f} megapixels each, {n / seconds:.0f} per second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="images with their copies; 0 for none")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--encoder", default="hog")
    parser.add_argument("--rows", type=int, default=1_000_000, help="synthetic signatures; 0 for none")
    parser.add_argument("--folder", type=Path, help="also time the signatures of the images in a folder")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    import django

    django.setup()
    if options.images:
        measure_planted(options.images, options.seed, options.encoder)
    if options.rows:
        measure_rows(options.rows, options.seed)
    if options.folder:
        measure_decoding(options.folder)


if __name__ == "__main__":
    main()
