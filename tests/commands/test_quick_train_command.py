"""Test ``hoshina quick_train``."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from hoshina.core.parsing import parse_options
from labeling.decisions.save import Decision, record_import
from labeling.models import Dataset, State
from modeling.management.commands import quick_train
from modeling.models import ModelVersion
from modeling.quick.data import usual_options
from modeling.quick.options import QuickOptions
from tests.factories import MakeDataset, assert_contains, command_json
from tests.modeling.weights import real_weights_dir
from tests.parts import ROOT

pytestmark = pytest.mark.slow

N = 24
QUICKLY = ("--image-side", "32", "--epochs", "2", "--validation-share", "0.3")


def bright_and_dark(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row in range(N):
        pixels = rng.integers(0, 90, (30, 40, 3), dtype=np.uint8) + np.uint8(150 * (row % 2))
        Image.fromarray(pixels).save(folder / f"image{row:04d}.png")


@pytest.fixture
def dataset(make_dataset: MakeDataset, tmp_path: Path, store: Path) -> Dataset:
    """Create twenty labeled images of two classes, and four unlabeled ones."""
    bright_and_dark(tmp_path / "pictures")
    dataset = make_dataset(N)
    classes = list(dataset.classes.all())
    items = dataset.items.order_by("row")[:20]
    record_import(dataset, [Decision(item.pk, State.LABELLED, classes[item.row % 2].pk) for item in items], None)
    return dataset


@pytest.mark.django_db(transaction=True)
def test_it_trains_as_told(dataset: Dataset, settings: Any) -> None:
    settings.WEIGHTS_DIR = real_weights_dir()
    result = command_json("quick_train", *QUICKLY, "--flip")
    assert {
        "model_version", "labels", "classes", "accuracy", "accuracy_interval", "ece_before", "ece_after",
        "log_loss_before", "log_loss_after", "temperature", "seconds",
    } <= set(result)  # fmt: skip
    assert (result["model_version"], result["labels"], len(result["epochs"])) == (1, 20, 2)
    expected = QuickOptions(image_side=32, epochs=2, validation_share=0.3, flip=True)
    assert parse_options(QuickOptions, ModelVersion.objects.get().options) == expected

    lines = quick_train.report_lines(result)
    assert lines[0].startswith("Model 1: 20 labels of 2 classes, best epoch ")
    assert lines[1].startswith("Held-out accuracy on 3 test images ")
    assert "uncalibrated, too few validation labels" in lines[2]
    assert lines[-1].startswith("Files: classes.json, classifier.zip")
    assert usual_options(dataset) == expected, "what the next one does unless it is told otherwise"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--epochs", "0"), "--epochs: Give a whole number from 1", 2),
        (("--validation-share", "2"), "--validation-share: Give a share", 2),
        (("--image-side", "16"), "at least 32 px", 1),
        (("--weights", "random"), "the whole network must be trained", 1),
        (("--dataset", "cats"), "no dataset called", 1),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    dataset: Dataset, arguments: tuple[str, ...], message: str, code: int
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("quick_train", *arguments)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == code


def test_ctrl_c_keeps_what_was_learnt(tmp_path: Path) -> None:
    """Interrupt a separate process: exit code 1, one line of output, and the best weights are in the store."""
    bright_and_dark(tmp_path / "pictures")
    store = tmp_path / "store"
    environment = {
        **os.environ, "AL_STORE_DIR": str(store), "DJANGO_SETTINGS_MODULE": "hoshina.settings",
        "AL_WEIGHTS_DIR": str(real_weights_dir()),
    }  # fmt: skip

    def manage(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            # Children of a test run started in the background ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label"])
        table.writerows((f"image{row:04d}.png", ("dark", "bright")[row % 2]) for row in range(20))
    for command in (
        ("migrate", "-v0"),
        ("ingest", "--data-dir", str(tmp_path / "pictures"), "--json"),
        ("import_labels", str(labels), "--create-classes", "--json"),
    ):
        done = manage(*command)
        assert done.wait(timeout=300) == 0, done.communicate()
        done.communicate()
    running = manage("quick_train", "--image-side", "32", "--epochs", "200", "--early-stopping", "0", "--fine-tune")
    until = time.monotonic() + 300
    while not _epochs(store) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 1, err
    assert out == ""
    assert_contains(err, "Quick training was stopped.", lacks=["Traceback"])
    (file,) = store.glob("quick/*/kept.npz")
    with np.load(file) as arrays:
        assert arrays["parts"].shape == (20,)


def _epochs(store: Path) -> int:
    with sqlite3.connect(store / "app.db", timeout=30) as connection:
        row = connection.execute("select result from jobs_job where kind = 'quick_train'").fetchone()
    connection.close()
    return len(json.loads(row[0]).get("epochs", [])) if row else 0
