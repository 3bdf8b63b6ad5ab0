"""Quick training against the assistive model on images that neither has seen; and a retrain while one runs.

    AL_WEIGHTS_DIR=… python -m benchmarks.quick_train [accuracy] [retrain] [--data fashion stamps]

*accuracy*: 2,000 labelled Fashion-MNIST images and 8,000 held out; Tux Paint's stamps of the folders with 15 or more
(their mirror images left out), two thirds labelled. Everything goes the way of the product: ingest, embed, labels from
a CSV file, retrain, quick_train; what is compared is what the versions say of the images without a label. Takes the
packages dataset-fashion-mnist and tuxpaint-stamps-default, and MobileNetV2's weights.

*retrain*: the seconds of a retrain with nothing else going on, and while a worker fine-tunes MobileNetV2, in turns.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FASHION = Path("/usr/share/datasets/fashion-mnist")
STAMPS = Path("/usr/share/tuxpaint/stamps")
N_FASHION, N_LABELLED, FEWEST_STAMPS = 10_000, 2_000, 15
N_RETRAINED = 2_500
AUGMENTED = ("--flip", "--zoom")
WAYS = {
    "classifier": (),
    "classifier, augmented": AUGMENTED,
    "fine-tuned": ("--fine-tune", *AUGMENTED),
}


class Place:
    """A store of its own, with a folder of images whose classes are known."""

    def __init__(self, folder: Path) -> None:
        self.store, self.images = folder / "store", folder / "images"
        self.images.mkdir(parents=True)
        self.truth: dict[str, str] = {}

    def manage(self, *command: str) -> dict[str, Any]:
        """What a command prints as JSON."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE
        )
        return json.loads(done.stdout) if done.stdout.strip() else {}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AL_STORE_DIR": str(self.store), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def fill(self, labelled: set[str]) -> None:
        """Ingest, embed, and label those images."""
        self.manage("migrate", "-v0")
        self.manage("ingest", "--data-dir", str(self.images), "--json")
        told = self.manage("embed", "--json")
        print(f"{told['items']:,} images by {told['encoder']}")
        file = self.store / "labels.csv"
        with file.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["path", "label"])
            table.writerows((path, self.truth[path]) for path in sorted(labelled))
        self.manage("import_labels", str(file), "--create-classes", "--json")

    def held_out_accuracy(self, labelled: set[str]) -> tuple[float, int]:
        """How right the active version is about the images without a label, by the export's predictions."""
        archive = self.store / "export.zip"
        self.manage("export", "--with-predictions", "--output", str(archive), "--force", "--json")
        import io
        import zipfile

        with zipfile.ZipFile(archive) as files:
            lines = csv.DictReader(io.StringIO(files.read("predictions.csv").decode()))
            right = [line["predicted"] == self.truth[line["path"]] for line in lines if line["path"] not in labelled]
        return float(np.mean(right)), len(right)


def fashion(place: Place, seed: int, n: int = N_FASHION) -> set[str]:
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + n * 784)[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(8 + n)[8:], np.uint8)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        name = f"{number:05d}.png"
        Image.fromarray(image).save(place.images / name)
        place.truth[name] = f"class {label}"
    return some(place, N_LABELLED, seed)


def stamps(place: Place, seed: int) -> set[str]:
    """The pictures themselves; those that end so are their mirror images. The class is the outermost folder."""
    files = sorted(f for f in STAMPS.rglob("*.png") if not f.stem.endswith(("_mirror", "_flip", "_mirror_flip")))
    folders = Counter(file.relative_to(STAMPS).parts[0] for file in files)
    for number, file in enumerate(files):
        label = file.relative_to(STAMPS).parts[0]
        if folders[label] >= FEWEST_STAMPS:
            name = f"{number:04d}.png"
            (place.images / name).write_bytes(file.read_bytes())
            place.truth[name] = label
    return some(place, round(len(place.truth) * 2 / 3), seed)


def some(place: Place, n: int, seed: int) -> set[str]:
    names = sorted(place.truth)
    chosen = np.random.default_rng(seed).choice(len(names), n, replace=False)
    return {names[at] for at in chosen}


def compare(data: str, side: int, epochs: int, seed: int) -> None:
    print(f"\n{data}, seed {seed}, {side} pixels, at most {epochs} epochs")
    with tempfile.TemporaryDirectory(prefix="quick-train-") as folder:
        place = Place(Path(folder))
        labelled = {"fashion": fashion, "stamps": stamps}[data](place, seed)
        place.fill(labelled)
        told = place.manage("retrain", "--json")
        show("assistive model", *place.held_out_accuracy(labelled), told)
        common = ("--image-side", str(side), "--epochs", str(epochs), "--seed", str(seed))
        off = [f"--no-{name.removeprefix('--')}" for name in (*AUGMENTED, "--fine-tune")]
        for name, more in WAYS.items():
            told = place.manage("quick_train", "--json", *common, *off, *more)
            show(name, *place.held_out_accuracy(labelled), told)


def show(name: str, accuracy: float, n: int, told: dict[str, Any]) -> None:
    own = f"{told['accuracy']:.3f}"
    ece = f"{told['ece_before']:.3f} -> {told['ece_after']:.3f}"
    epochs = f"  best of {len(told['epochs'])} epochs: {told['best_epoch']}" if "epochs" in told else ""
    print(f"  {name:24} held out {accuracy:.4f} of {n:,}; says {own}; ECE {ece}; {told['seconds']:.0f} s{epochs}")


def retrain_meanwhile(rounds: int) -> None:
    """Retrains in a process of their own, as in the interactive worker, with and without a quick training beside."""
    with tempfile.TemporaryDirectory(prefix="quick-train-") as folder:
        place = Place(Path(folder))
        place.fill(fashion(place, 0, N_RETRAINED))
        alone = retrains(place, rounds)
        worker = subprocess.Popen([sys.executable, "manage.py", "worker", "heavy"], cwd=ROOT, env=place.environment)
        try:
            begin_training(place)
            beside = retrains(place, rounds)
        finally:
            worker.kill()
            worker.wait()
    print(f"a retrain alone {np.median(alone):.2f} s, beside a quick training {np.median(beside):.2f} s: ", end="")
    print(f"{np.median(beside) / np.median(alone):.2f} times")


def retrains(place: Place, rounds: int) -> list[float]:
    """The seconds that retrains say they took, the first left out."""
    code = (
        "import django; django.setup(); from hoshina.jobs.lifecycle import run_now\n"
        f"print([run_now('retrain', dataset_id=1).result['seconds'] for _ in range({rounds} + 1)][1:])\n"
    )
    environment = {**place.environment, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def begin_training(place: Place) -> None:
    """Have the worker fine-tune a network, and wait until it is at it."""
    code = (
        "import django, time; django.setup(); from hoshina.jobs.lifecycle import enqueue\n"
        "params = dict(is_fine_tuned=True, epochs=100, early_stopping=0, flip=True)\n"
        "job = enqueue('quick_train', dataset_id=1, params=params)\n"
        "while not job.result.get('live'): time.sleep(0.5); job.refresh_from_db(); assert not job.error, job.error\n"
    )
    environment = {**place.environment, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["accuracy", "retrain", []], default=[])
    parser.add_argument("--data", nargs="+", choices=["fashion", "stamps"], default=["fashion", "stamps"])
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    began = time.monotonic()
    if not arguments.what or "accuracy" in arguments.what:
        for data in arguments.data:
            for seed in arguments.seeds:
                compare(data, arguments.side, arguments.epochs, seed)
    if not arguments.what or "retrain" in arguments.what:
        retrain_meanwhile(arguments.rounds)
    print(f"{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
