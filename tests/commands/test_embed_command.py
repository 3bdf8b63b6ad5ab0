"""Test ``hoshina embed``: its output, its choice of dataset, and that killing it loses no finished work."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.jobs.models import Job
from labeling.management.datasets import pick_dataset
from labeling.models import Dataset
from modeling.encoders.pipeline import CHUNK_ROWS
from modeling.models import EmbeddingSet, EncoderChoice
from tests.factories import MakeDataset, MakeFolder, assert_contains, fresh
from tests.modeling.weights import WEIGHTS_FILE, hide_lite2, hide_weights, real_weights_dir
from tests.parts import ROOT

pytestmark = pytest.mark.slow

KEYS = {"encoder", "fingerprint", "reason", "items", "dim", "failed", "seconds"}


def manage(store: Path, *args: str, **variables: str) -> subprocess.Popen[str]:
    """Start a command in a separate process with a separate store."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env={**os.environ, "AL_STORE_DIR": str(store), "DJANGO_SETTINGS_MODULE": "hoshina.settings", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Wait for the process to end with ``code``, and return its standard output and error."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, err
    return out, err


@pytest.fixture
def ingested_store(tmp_path: Path, picture_folder: MakeFolder) -> Path:
    """Create a store with an ingested folder of six pictures."""
    folder = picture_folder(6)
    finished(manage(tmp_path / "store", "migrate", "-v0"))
    finished(manage(tmp_path / "store", "ingest", "--data-dir", str(folder), "--json"))
    return tmp_path / "store"


class TestAsAProcess:
    def test_json_is_all_that_is_printed(self, ingested_store: Path) -> None:
        weights = real_weights_dir()
        backend = ("--backend", "mobilenet_v2")
        out, _ = finished(manage(ingested_store, "embed", "--json", *backend, AL_WEIGHTS_DIR=str(weights)))
        result = json.loads(out)
        assert set(result) >= KEYS
        assert (result["encoder"], result["items"], result["dim"], result["failed"]) == ("MobileNetV2", 6, 1280, 0)
        vectors = np.load(next(ingested_store.rglob("vectors-*.npy")), mmap_mode="r")
        assert vectors.shape == (6, 1280)
        assert np.ptp(vectors, axis=0).max() > 0

    def test_without_weights_and_network(
        self, ingested_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hide_lite2(monkeypatch, tmp_path / "hidden")
        # A proxy that does not exist, so that no request leaves this machine.
        away = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "", "KERAS_HOME": str(tmp_path / "keras")}
        out, _ = finished(manage(ingested_store, "embed", "--json", AL_WEIGHTS_DIR="", **away))
        result = json.loads(out)
        assert (result["encoder"], result["items"]) == ("HOG + color + Scattering", 6)
        assert WEIGHTS_FILE in result["reason"]
        out, err = finished(manage(ingested_store, "embed", "--backend", "tensorflow", AL_WEIGHTS_DIR="", **away), 1)
        assert out == ""
        assert_contains(err, "could not be downloaded", lacks=["Traceback"])

    def test_killed_hard_it_goes_on_where_it_was(self, tmp_path: Path) -> None:
        folder, store = tmp_path / "large", tmp_path / "store"
        folder.mkdir()
        pixels = np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8)
        for number in range(CHUNK_ROWS + 150):
            pixels[0, 0] = (number % 256, number // 256, 0)
            Image.fromarray(pixels).save(folder / f"{number:04d}.png")
        finished(manage(store, "migrate", "-v0"))
        finished(manage(store, "ingest", "--data-dir", str(folder), "--json"))
        killed = manage(store, "embed", "--backend", "hog")
        deadline = time.monotonic() + 300
        while not list(store.rglob("parts/*.npy")) and killed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        killed.kill()
        killed.communicate()
        out, _ = finished(manage(store, "embed", "--backend", "hog", "--json"))
        result = json.loads(out)
        assert (result["items"], result["failed"]) == (CHUNK_ROWS + 150, 0)
        assert result["computed"] <= 150


@pytest.mark.django_db
class TestInProcess:
    @pytest.fixture(autouse=True)
    def _hog(self, settings: Any, store: Path) -> None:
        settings.EMBEDDING_BACKEND = "hog"

    @pytest.fixture
    def dataset(self, make_dataset: MakeDataset, picture_folder: MakeFolder) -> Dataset:
        picture_folder(4, name="pictures")
        return make_dataset(4, name="pictures")

    def test_words_for_people(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("embed")
        output = capsys.readouterr().out
        assert_contains(output, "pictures: 4 embeddings of 1,828 dimensions by HOG + color, 4 of them new", "as chosen")
        assert "could not be read" not in output

    def test_unreadable_images_are_said(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        (dataset.data_dir / "image0002.png").write_bytes(b"")
        call_command("embed")
        assert "1 image could not be read." in capsys.readouterr().out

    def test_failure_is_one_line(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        hide_lite2(monkeypatch, tmp_path / "hidden")
        with pytest.raises(CommandError, match="weights are not installed") as raised:
            call_command("embed", backend="efficientnet_lite2")
        assert "\n" not in str(raised.value)
        assert raised.value.returncode == 1

    def test_a_waiting_run_with_another_encoder_gives_way(
        self, dataset: Dataset, settings: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings.EMBEDDING_BACKEND = "auto"
        waiting = Job.objects.create(kind="embed", queue="heavy", dataset_id=dataset.pk, key=f"embed:{dataset.pk}")
        call_command("embed", "--backend", "hog", "--json")
        assert json.loads(capsys.readouterr().out)["items"] == 4
        assert fresh(waiting).state == Job.State.CANCELLED

    def test_a_dead_run_with_another_encoder_gives_way(self, dataset: Dataset) -> None:
        dead = Job.objects.create(
            kind="embed", queue="heavy", dataset_id=dataset.pk, key=f"embed:{dataset.pk}", state=Job.State.RUNNING,
            params={"backend": "tensorflow"},
        )  # fmt: skip
        call_command("embed")
        assert fresh(dead).state == Job.State.CANCELLED

    def test_a_waiting_run_of_the_same_kind_is_taken_over(self, dataset: Dataset) -> None:
        waiting = Job.objects.create(kind="embed", queue="heavy", dataset_id=dataset.pk, key=f"embed:{dataset.pk}")
        call_command("embed", "--json")
        assert fresh(waiting).state == Job.State.SUCCEEDED

    def test_list(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("embed", "--json")
        capsys.readouterr()
        call_command("embed", "--list")
        assert_contains(capsys.readouterr().out, "\n* hog ", "ResNet18", "pictures: 4 x 1,828 by HOG + color")
        call_command("embed", "--list", "--json")
        listed = json.loads(capsys.readouterr().out)
        assert listed["chosen"]["encoder"] == "HOG + color"
        assert {"mobilenet_v2", "efficientnet_b0", "resnet50", "resnet18", "hog"} <= {
            line["backend"] for line in listed["encoders"]
        }
        assert [embedding_set["active"] for embedding_set in listed["sets"]] == [True]
        assert EmbeddingSet.objects.count() == 1

    def test_list_tells_of_choices_and_model_files(
        self, dataset: Dataset, store: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        own = store / "encoders" / "own"
        own.mkdir(parents=True)
        (own / "birds.tflite").write_bytes(b"")
        (own / "birds.json").write_text('{"name": "Birds of Mey"}')
        EncoderChoice.objects.create(dataset=dataset, backend="patches")
        call_command("embed", "--list")
        assert_contains(capsys.readouterr().out, "Birds of Mey", "pictures: 'patches' was chosen for it.")
        call_command("embed", "--list", "--dataset", "pictures", "--json")
        listed = json.loads(capsys.readouterr().out)
        assert (listed["wanted"], listed["chosen"]["encoder"]) == ("patches", "Scattering")
        assert listed["choices"] == [{"dataset": "pictures", "backend": "patches"}]
        assert listed["encoders"][-1]["backend"] == "file:birds.tflite"

    def test_vectors_of_the_old_fallback_are_listed_as_auto(
        self,
        dataset: Dataset,
        settings: Any,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        settings.EMBEDDING_BACKEND, settings.WEIGHTS_DIR = "auto", None
        hide_weights(monkeypatch, tmp_path)
        facts = {"fingerprint": "f", "encoder": "Scattering", "dim": 1456, "backend": "patches"}
        EmbeddingSet.objects.create(dataset=dataset, is_active=True, **facts)
        call_command("embed", "--list", "--dataset", "pictures", "--json")
        listed = json.loads(capsys.readouterr().out)
        assert (listed["wanted"], listed["chosen"]["backend"]) == ("auto", "patches")

    def test_the_datasets_choice_counts_unless_a_run_insists(
        self, dataset: Dataset, capsys: pytest.CaptureFixture[str]
    ) -> None:
        EncoderChoice.objects.create(dataset=dataset, backend="patches")
        call_command("embed", "--json")
        assert json.loads(capsys.readouterr().out)["encoder"] == "Scattering"
        call_command("embed", "--backend", "hog", "--json")
        assert json.loads(capsys.readouterr().out)["encoder"] == "HOG + color"
        assert EncoderChoice.objects.get().backend == "patches"

    def test_no_such_encoder_is_wrong_usage(self, dataset: Dataset) -> None:
        with pytest.raises(CommandError, match="no encoder called 'magic'") as raised:
            call_command("embed", "--backend", "magic")
        assert raised.value.returncode == 2

    def test_list_of_one_dataset(
        self, dataset: Dataset, make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_dataset(1, name="other")
        call_command("embed", "--dataset", "pictures")
        capsys.readouterr()
        call_command("embed", "--list", "--dataset", "other", "--json")
        assert json.loads(capsys.readouterr().out)["sets"] == []


@pytest.mark.django_db
class TestPickDataset:
    def test_the_only_one(self, make_dataset: MakeDataset) -> None:
        dataset = make_dataset(0, name="birds")
        assert pick_dataset(None) == pick_dataset("birds") == dataset

    def test_by_its_name_in_addresses(self, make_dataset: MakeDataset) -> None:
        dataset = make_dataset(0, name="birds")
        Dataset.objects.filter(pk=dataset.pk).update(name="Birds of Mey")
        make_dataset(0, name="fish")
        assert pick_dataset("birds") == pick_dataset("Birds of Mey") == dataset

    def test_several_have_to_be_told_apart(self, make_dataset: MakeDataset) -> None:
        for name in ("fish", "birds"):
            make_dataset(0, name=name)
        with pytest.raises(CommandError, match="--dataset: birds, fish") as raised:
            pick_dataset(None)
        assert raised.value.returncode == 2

    def test_unknown_name(self, make_dataset: MakeDataset) -> None:
        make_dataset(0, name="birds")
        with pytest.raises(Refusal, match=r"no dataset called 'cats'\. The datasets are: birds\."):
            pick_dataset("cats")

    def test_none_at_all(self) -> None:
        with pytest.raises(Refusal, match="ingest --data-dir"):
            pick_dataset(None)

    def test_many_names_are_cut(self, make_dataset: MakeDataset) -> None:
        for number in range(25):
            make_dataset(0, name=f"set{number:02d}", classes=())
        with pytest.raises(CommandError, match=r"set19, …\.$"):
            pick_dataset(None)
