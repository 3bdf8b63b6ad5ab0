"""Compare quick training with the assistive model on held-out images, and time a retrain while one runs.

    AL_WEIGHTS_DIR=… python -m benchmarks.quick_train [accuracy] [retrain] [--data fashion stamps]

*accuracy*: 2,000 labeled Fashion-MNIST images and 8,000 held out; Tux Paint's stamps of folders with at least 15
(without mirror images), two thirds labeled. Everything uses the product: ingest, embed, labels from a CSV file,
retrain, quick_train; compares the versions' predictions for unlabeled images. Needs the packages dataset-fashion-mnist
and tuxpaint-stamps-default, and MobileNetV2's weights.

*retrain*: the seconds of a retrain alone, and while a worker fine-tunes MobileNetV2, in turn.
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
N_FASHION, N_LABELED, MIN_STAMPS = 10_000, 2_000, 15
N_RETRAINED = 2_500
AUGMENTED = ("--flip", "--zoom")
VARIANTS = {
    "classifier": (),
    "classifier, augmented": AUGMENTED,
    "fine-tuned": ("--fine-tune", *AUGMENTED),
}


class Workspace:
    """A separate store with a folder of images of known classes."""

    def __init__(self, folder: Path) -> None:
        self.store, self.images = folder / "store", folder / "images"
        self.images.mkdir(parents=True)
        self.truth: dict[str, str] = {}

    def manage(self, *command: str) -> dict[str, Any]:
        """Return the JSON output of a management command."""
        process = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=self.environment, check=True, stdout=subprocess.PIPE
        )
        return json.loads(process.stdout) if process.stdout.strip() else {}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AL_STORE_DIR": str(self.store), "TF_CPP_MIN_LOG_LEVEL": "3"}

    def fill(self, labeled: set[str]) -> None:
        """Ingest and embed all images, and label the given ones."""
        self.manage("migrate", "-v0")
        self.manage("ingest", "--data-dir", str(self.images), "--json")
        report = self.manage("embed", "--json")
        print(f"{report['items']:,} images by {report['encoder']}")
        file = self.store / "labels.csv"
        with file.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["path", "label"])
            table.writerows((path, self.truth[path]) for path in sorted(labeled))
        self.manage("import_labels", str(file), "--create-classes", "--json")

    def held_out_accuracy(self, labeled: set[str]) -> tuple[float, int]:
        """Return the accuracy of the active version on unlabeled images, and their number."""
        archive = self.store / "export.zip"
        self.manage("export", "--with-predictions", "--output", str(archive), "--force", "--json")
        import io
        import zipfile

        with zipfile.ZipFile(archive) as files:
            lines = csv.DictReader(io.StringIO(files.read("predictions.csv").decode()))
            right = [line["predicted"] == self.truth[line["path"]] for line in lines if line["path"] not in labeled]
        return float(np.mean(right)), len(right)


def fashion(workspace: Workspace, seed: int, n: int = N_FASHION) -> set[str]:
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + n * 784)[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(8 + n)[8:], np.uint8)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        name = f"{number:05d}.png"
        Image.fromarray(image).save(workspace.images / name)
        workspace.truth[name] = f"class {label}"
    return random_subset(workspace, N_LABELED, seed)


def stamps(workspace: Workspace, seed: int) -> set[str]:
    """Copy stamps without mirror images; the class is the outermost folder. Return the labeled ones."""
    files = sorted(f for f in STAMPS.rglob("*.png") if not f.stem.endswith(("_mirror", "_flip", "_mirror_flip")))
    folders = Counter(file.relative_to(STAMPS).parts[0] for file in files)
    for number, file in enumerate(files):
        label = file.relative_to(STAMPS).parts[0]
        if folders[label] >= MIN_STAMPS:
            name = f"{number:04d}.png"
            (workspace.images / name).write_bytes(file.read_bytes())
            workspace.truth[name] = label
    return random_subset(workspace, round(len(workspace.truth) * 2 / 3), seed)


def random_subset(workspace: Workspace, n: int, seed: int) -> set[str]:
    names = sorted(workspace.truth)
    chosen = np.random.default_rng(seed).choice(len(names), n, replace=False)
    return {names[at] for at in chosen}


def compare(data: str, side: int, epochs: int, seed: int) -> None:
    print(f"\n{data}, seed {seed}, {side} pixels, at most {epochs} epochs")
    with tempfile.TemporaryDirectory(prefix="quick-train-") as folder:
        workspace = Workspace(Path(folder))
        labeled = {"fashion": fashion, "stamps": stamps}[data](workspace, seed)
        workspace.fill(labeled)
        report = workspace.manage("retrain", "--json")
        show("assistive model", *workspace.held_out_accuracy(labeled), report)
        common = ("--image-side", str(side), "--epochs", str(epochs), "--seed", str(seed))
        off = [f"--no-{name.removeprefix('--')}" for name in (*AUGMENTED, "--fine-tune")]
        for name, more in VARIANTS.items():
            report = workspace.manage("quick_train", "--json", *common, *off, *more)
            show(name, *workspace.held_out_accuracy(labeled), report)


def show(name: str, accuracy: float, n: int, report: dict[str, Any]) -> None:
    own = f"{report['accuracy']:.3f}"
    ece = f"{report['ece_before']:.3f} -> {report['ece_after']:.3f}"
    epochs = f"  best of {len(report['epochs'])} epochs: {report['best_epoch']}" if "epochs" in report else ""
    print(f"  {name:24} held out {accuracy:.4f} of {n:,}; estimate {own}; ECE {ece}; {report['seconds']:.0f} s{epochs}")


def retrain_meanwhile(rounds: int) -> None:
    """Retrain in a separate process, as in the interactive worker, with and without a concurrent quick training."""
    with tempfile.TemporaryDirectory(prefix="quick-train-") as folder:
        workspace = Workspace(Path(folder))
        workspace.fill(fashion(workspace, 0, N_RETRAINED))
        alone = retrains(workspace, rounds)
        worker = subprocess.Popen([sys.executable, "manage.py", "worker", "heavy"], cwd=ROOT, env=workspace.environment)
        try:
            begin_training(workspace)
            beside = retrains(workspace, rounds)
        finally:
            worker.kill()
            worker.wait()
    print(f"a retrain alone {np.median(alone):.2f} s, during a quick training {np.median(beside):.2f} s: ", end="")
    print(f"{np.median(beside) / np.median(alone):.2f} times")


def retrains(workspace: Workspace, rounds: int) -> list[float]:
    """Return the reported seconds of retrains, without the first."""
    code = (
        "import django; django.setup(); from hoshina.jobs.lifecycle import run_now\n"
        f"print([run_now('retrain', dataset_id=1).result['seconds'] for _ in range({rounds} + 1)][1:])\n"
    )
    environment = {**workspace.environment, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return list(json.loads(process.stdout.splitlines()[-1]))


def begin_training(workspace: Workspace) -> None:
    """Have the worker fine-tune a network, and wait until it has started."""
    code = (
        "import django, time; django.setup(); from hoshina.jobs.lifecycle import enqueue\n"
        "params = dict(is_fine_tuned=True, epochs=100, early_stopping=0, flip=True)\n"
        "job = enqueue('quick_train', dataset_id=1, params=params)\n"
        "while not job.result.get('live'): time.sleep(0.5); job.refresh_from_db(); assert not job.error, job.error\n"
    )
    environment = {**workspace.environment, "DJANGO_SETTINGS_MODULE": "hoshina.settings"}
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
