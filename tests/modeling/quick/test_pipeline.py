"""A quick training from labels to a version, by a real worker; stopped, finished, killed."""

import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from django.conf import settings
from django.utils import timezone
from PIL import Image

from hoshina.core.errors import Refusal
from hoshina.core.parsing import parse_options
from hoshina.jobs import lifecycle
from hoshina.jobs.models import Job
from labeling.fields import split_groups
from labeling.fields.metadata_table import Wish
from labeling.fields.save_table import import_fields
from labeling.images.rendering import Rendering
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Annotation, Dataset, LabelClass
from modeling.assistive.policy import retrain_if_due
from modeling.backends import choose_encoder
from modeling.backends.keras_networks import import_tensorflow, quiet
from modeling.models import ModelVersion
from modeling.predictions import held_out_of, predictions_of
from modeling.quick import checkpoints
from modeling.quick.options import QuickOptions
from modeling.quick.pipeline import make_encoder, quick_folder
from modeling.versions import active as active_version
from modeling.versions import model_files
from sampling.accuracy import estimate as accuracy_estimate
from sampling.models import AccuracyEstimate
from tests.factories import assert_contains, fresh, not_none
from tests.jobs.conftest import Store, open_store
from tests.modeling.factories import add_vectors, import_labels
from tests.modeling.weights import real_weights_dir
from tests.parts import wait_until
from tests.processes import run_python

pytestmark = pytest.mark.slow


S = Job.State
N, N_LABELLED, SIDE = 120, 100, 32
UNREADABLE = 3
AUDIT = (40, 41, 42, 43, 44, 46)
FROZEN = QuickOptions(image_side=SIDE, epochs=3, validation_share=0.5)
ENDLESS = QuickOptions(image_side=SIDE, epochs=200, early_stopping=0, is_fine_tuned=True, flip=True, is_used=False)


@dataclass
class Place:
    """A store with a dataset of bright and dark images, and a worker for heavy jobs."""

    store: Store
    dataset: Dataset
    worker: subprocess.Popen[bytes]
    job: Job

    @property
    def version(self) -> ModelVersion:
        return ModelVersion.objects.get(pk=self.job.result["version"])

    def begin(self, options: QuickOptions | None = None, **params: Any) -> Job:
        wanted = params if options is None else asdict(options)
        return lifecycle.enqueue("quick_train", dataset_id=self.dataset.pk, params=wanted)

    def wait_for_epochs(self, job: Job) -> None:
        def has_begun() -> bool:
            job.refresh_from_db()
            assert job.is_active, (job.state, job.error)
            return bool(job.result.get("epochs"))

        wait_until(has_begun, why="the first epoch")


def fill(folder: Path) -> None:
    """Return bright and dark noise in turns, of many sizes; some files come twice."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row in range(N):
        if row % 10 == 9:
            (folder / f"{row:03d}.png").write_bytes((folder / f"{row - 4:03d}.png").read_bytes())
            continue
        pixels = rng.integers(0, 90, (20 + row % 30, 40, 3), dtype=np.uint8) + np.uint8(150 * (row % 2))
        Image.fromarray(pixels).save(folder / f"{row:03d}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated: Path, django_db_blocker: Any) -> Iterator[Place]:
    """Provide a training, run once for all tests of this module, after an assistive model."""
    weights = str(real_weights_dir())
    root = tmp_path_factory.mktemp("quick")
    fill(root / "images")
    with django_db_blocker.unblock(), open_store(root / "store", migrated, "") as store:
        dataset = dataset_for(str(root / "images"), "pictures")
        lifecycle.run_now("ingest", dataset_id=dataset.pk)
        Job.objects.filter(kind="embed").update(state=S.CANCELLED)  # vectors are made up below
        for order, name in enumerate(("dark", "bright")):
            LabelClass.objects.create(dataset=dataset, name=name, colour="#E69F00", order=order)
        import_labels(dataset, list(range(N_LABELLED)), np.arange(N) % 2)
        Annotation.objects.filter(item__row__in=AUDIT).update(queue="audit", is_random_draw=True)
        add_vectors(dataset, np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32))
        lifecycle.run_now("retrain", dataset_id=dataset.pk)
        (root / "images" / f"{UNREADABLE:03d}.png").write_bytes(b"no image any more")
        log = (store.folder / "worker.log").open("ab")
        worker = store.manage("worker", "heavy", stdout=log, stderr=log, env={"AL_WEIGHTS_DIR": weights})
        log.close()
        wait_until(lambda: store.is_alive(worker), why="the worker")
        place = Place(store, dataset, worker, Job())
        place.job = place.begin(FROZEN)
        store.wait(place.job, S.SUCCEEDED, S.FAILED, S.LOST)
        assert place.job.state == S.SUCCEEDED, (place.job.error, (store.folder / "worker.log").read_text()[-3000:])
        yield place


def test_the_version_is_the_one_in_use_until_it_is_released(place: Place) -> None:
    version = place.version
    assert (version.kind, version.number, version.is_active, version.is_chosen) == ("quick", 2, True, True)
    assert parse_options(QuickOptions, version.options) == FROZEN
    assert (version.n_labels, version.n_rows) == (N_LABELLED - 1, N)
    assert version.n_decisions == N_LABELLED
    assert list(Job.objects.filter(state__in=Job.ACTIVE)) == []
    Dataset.objects.filter(pk=place.dataset.pk).update(n_decisions=1000)
    place.dataset.refresh_from_db()
    retrain_if_due(place.dataset)
    assert not Job.objects.filter(kind="retrain", state__in=Job.ACTIVE).exists(), "automatic retraining waits"
    active_version.release(place.dataset)
    assert not ModelVersion.objects.filter(is_chosen=True).exists()


def test_the_job_tells_curves_counts_and_what_retrain_prints(place: Place) -> None:
    told = place.job.result
    assert [one["epoch"] for one in told["epochs"]] == [1, 2, 3]
    assert set(told["epochs"][0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert told["live"]["epoch"] == 3
    assert told["live"]["batch"] == told["live"]["batches"] == 2
    assert told["n_train"] + told["n_stopping"] + told["n_test"] == N_LABELLED - 1
    assert told["best_epoch"] in (1, 2, 3)
    assert "1 labeled images could not be read." in told["notes"]
    assert {
        "model_version", "labels", "classes", "accuracy", "accuracy_interval", "ece_before", "ece_after",
        "log_loss_before", "log_loss_after", "temperature", "seconds", "version", "files",
    } <= set(told)  # fmt: skip
    assert "kept" not in told
    assert not checkpoints.job_folder(place.job.pk).exists()


def test_every_image_that_can_be_read_has_probabilities(place: Place) -> None:
    probabilities = not_none(model_files.open_probabilities(place.version))
    assert probabilities.shape == (N, 2)
    assert np.flatnonzero(np.isnan(probabilities).any(axis=1)).tolist() == [UNREADABLE]
    known = np.arange(N) != UNREADABLE
    np.testing.assert_allclose(probabilities[known].sum(axis=1), 1, atol=1e-5)
    unseen = np.arange(N_LABELLED, N)
    assert (probabilities[unseen].argmax(axis=1) == unseen % 2).all()


def test_only_the_test_half_is_held_out_and_measured(place: Place) -> None:
    version, held = place.version, not_none(model_files.open_held_out(place.version))
    assert len(held.rows) == place.job.result["n_test"]
    assert set(AUDIT) <= set(held.rows.tolist()), "what chance drew comes first"
    twins = {row - 4 for row in range(9, N, 10) if row in held.rows}
    assert twins <= set(held.rows.tolist()), "identical files are on one side"
    assert held.columns.tolist() == (held.rows % 2).tolist()
    probabilities = not_none(model_files.open_probabilities(version))
    np.testing.assert_allclose(held.probabilities, probabilities[held.rows], atol=1e-4)
    right = float((held.probabilities.argmax(axis=1) == held.columns).mean())
    assert version.metrics["accuracy"] == right
    assert np.array(version.metrics["confusion"]).sum() == len(held.rows)


def test_its_account_has_what_the_assistive_models_has(place: Place) -> None:
    assistive = ModelVersion.objects.get(kind="assistive")
    of_fits = {"C", "n_iter", "converged", "calibration_method", "class_weights", "steps"}
    assert set(assistive.metrics) - set(place.version.metrics) <= of_fits
    assert place.version.is_calibrated
    assert "validation labels, measured on the test set" in place.version.calibration_note
    assert len(place.version.metrics["epochs"]) == 3


def test_it_is_compared_with_the_assistive_model_on_the_same_images(place: Place) -> None:
    version, held = place.version, not_none(held_out_of(place.version))
    theirs = not_none(held_out_of(ModelVersion.objects.get(kind="assistive")))
    told = version.metrics["assistive"]
    assert (told["version"], told["n"]) == (1, len(held.rows))
    same = np.isin(theirs.rows, held.rows)
    wanted = float((theirs.predicted()[same] == theirs.given[same]).mean())
    assert told["accuracy"] == version.metrics["assistive_accuracy"] == wanted
    assert told["quick_accuracy"] == version.metrics["accuracy"]


def test_the_honest_accuracy_asks_nothing_that_it_was_taught(place: Place) -> None:
    """Also not where an earlier model's suggestion was written down with the label of the audit."""
    version = place.version
    held = not_none(held_out_of(version))
    dark = LabelClass.objects.get(name="dark")
    taught = sorted(set(range(N_LABELLED)) - set(held.rows.tolist()))[:5]
    changed = Annotation.objects.filter(item__row__in=taught)
    changed.update(queue="audit", is_random_draw=True, suggested_label_id=dark.pk)
    judged = accuracy_estimate.judge(version)
    assert (len(judged.right), int(judged.is_audit.sum())) == (len(held.rows), len(AUDIT))
    changed.update(queue="", is_random_draw=None, suggested_label_id=None)
    kept = AccuracyEstimate.objects.get(model_version=version)
    assert kept.n_audit == len(AUDIT)
    assert kept.n_items == len(held.rows) + N - N_LABELLED


@pytest.mark.skipif(sys.platform == "win32", reason="priorities have other names there")
def test_its_worker_gives_way_to_what_somebody_waits_for(place: Place) -> None:
    assert psutil.Process(place.worker.pid).nice() >= min(19, psutil.Process().nice() + 1)


# -- Its files ---------------------------------------------------------------------------------------
def test_its_files(place: Place) -> None:
    folder = quick_folder(place.version)
    names = {file.name for file in folder.iterdir()}
    assert names == set(place.job.result["files"])
    assert {
        "model.keras", "model.tflite", "saved_model.zip", "classes.json", "model_card.md", "classifier.zip",
    } <= names  # fmt: skip
    assert ("model.onnx" in names) != any("No ONNX file" in note for note in place.job.result["notes"])
    about = json.loads((folder / "classes.json").read_text())
    assert (about["classes"], about["temperature"]) == (["dark", "bright"], place.version.temperature)
    told = (folder / "model_card.md").read_text()
    assert_contains(told, f"Held-out accuracy on {place.job.result['n_test']} test images", "MobileNetV2")
    assert str(place.store.folder.parent) not in told, "names no folder"


@pytest.mark.parametrize("missing", ["model.keras", "model.tflite"])
def test_the_program_classifies_a_folder_as_the_version_does(place: Place, tmp_path: Path, missing: str) -> None:
    """In a process of its own, with one of the two models that it can use."""
    with zipfile.ZipFile(quick_folder(place.version) / "classifier.zip") as archive:
        archive.extractall(tmp_path)
    (program,) = tmp_path.iterdir()
    if missing == "model.tflite":
        shutil.copyfile(quick_folder(place.version) / "model.keras", program / "model.keras")
        (program / missing).unlink()
    done = run_python(program / "classify.py", place.dataset.data_dir)
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    lines = [line for line in table if not line["problem"]]
    assert (len(table), len(lines)) == (N, N - 1)
    assert f"{UNREADABLE:03d}.png: This is not an image but text." in done.stderr
    predictions = not_none(predictions_of(place.version))
    wanted = predictions.of_rows([int(line["path"].removesuffix(".png")) for line in lines])
    found = np.array([[float(line["p:dark"]), float(line["p:bright"])] for line in lines])
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    for line, one in zip(lines, wanted, strict=True):
        assert line["predicted"] == ["dark", "bright"][int(one.argmax())]


def test_the_saved_model_answers_alike(place: Place, tmp_path: Path) -> None:
    with zipfile.ZipFile(quick_folder(place.version) / "saved_model.zip") as archive:
        archive.extractall(tmp_path)
    tensorflow, _ = import_tensorflow()
    with quiet():
        model = tensorflow.saved_model.load(str(tmp_path / "saved_model"))
        first, second = model.serve(np.full((2, SIDE, SIDE, 3), 40, np.float32)).numpy().tolist()
    assert first == pytest.approx(second, abs=1e-6)
    assert sum(first) == pytest.approx(1, abs=1e-5)
    assert first[0] > 0.5, "dark"


def test_its_network_becomes_an_encoder(place: Place) -> None:
    backend = make_encoder(place.version)
    assert backend == "file:pictures-quick-2.keras"
    encoder = choose_encoder(backend, None, Path(settings.STORE_DIR) / "encoders")
    assert encoder.name == "pictures, quick training 2"
    assert (encoder.dim, encoder.input_side) == (1280, SIDE)
    vectors = encoder.encode([Image.new("RGB", (50, 40), colour) for colour in ("#222", "#222", "#ddd")])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[0] - vectors[2]).max() > 0.1
    assert make_encoder(place.version) == backend, "again is the same"


# -- Stopped, finished, killed ---------------------------------------------------------------------------
def test_what_is_impossible_is_said_by_the_job(place: Place) -> None:
    for params, words in (
        (asdict(QuickOptions(image_side=16)), "at least 32 px"),
        ({"epochs": 0}, "whole number"),
        ({"finish": "0" * 32}, "no longer exist"),
        ({"finish": "../../etc"}, "no longer exist"),
    ):
        with pytest.raises(Refusal, match=words) as refused:
            lifecycle.run_now("quick_train", dataset_id=place.dataset.pk, params=params)
        assert refused.value.hint or "px" in words
    assert ModelVersion.objects.filter(kind="quick").count() == 1


def test_a_cancelled_training_keeps_its_best_weights_which_can_be_finished(place: Place) -> None:
    lines = ["path,shelf", *(f"{row:03d}.png,{row // 5}" for row in range(N))]
    import_fields(place.dataset, io.BytesIO("\n".join(lines).encode()), Wish())
    split_groups.choose(place.dataset, "shelf")
    active = ModelVersion.objects.get(is_active=True)
    job = place.begin(ENDLESS)
    place.wait_for_epochs(job)
    assert job.stage.startswith("Training: epoch ")
    assert job.stage.endswith(" of 200")
    assert job.total == 200 * job.result["live"]["batches"]
    lifecycle.cancel(job)
    place.store.wait(job, S.CANCELLED)
    kept = job.result["kept"]
    assert kept["epoch"] == job.result["best_epoch"]
    assert kept["val_accuracy"] == job.result["epochs"][kept["epoch"] - 1]["val_accuracy"]
    assert not list(checkpoints.job_folder(job.pk).glob("*.tmp"))
    assert ModelVersion.objects.filter(kind="quick").count() == 1

    # Shown otherwise meanwhile: the network goes on seeing what it was taught with.
    Dataset.objects.update(rendering=Rendering(is_inverted=True).as_params())
    split_groups.choose(place.dataset, "")
    finishing = place.begin(finish=str(job.pk))
    place.store.wait(finishing, S.SUCCEEDED, S.FAILED)
    Dataset.objects.update(rendering={})
    assert finishing.state == S.SUCCEEDED, finishing.error
    version = ModelVersion.objects.get(pk=finishing.result["version"])
    assert (version.is_active, version.is_chosen, version.seconds > 0) == (False, False, True), "waits to be chosen"
    assert ModelVersion.objects.get(is_active=True) == active
    assert parse_options(QuickOptions, version.options) == ENDLESS
    assert finishing.result["epochs"][: kept["epoch"]] == job.result["epochs"][: kept["epoch"]]
    assert any("Stopped early" in note for note in finishing.result["notes"])
    held = not_none(model_files.open_held_out(version))
    assert len(held.rows) == job.result["n_test"]
    # What was kept together when it began: whole shelves, two of which share a file.
    assert held.groups is not None
    assert version.metrics["together"]["field"] == "shelf"
    shelves, counts = np.unique(held.rows // 5, return_counts=True)
    learnt = [row for row in range(N_LABELLED) if row != UNREADABLE]
    assert counts.tolist() == [sum(row // 5 == shelf for row in learnt) for shelf in shelves.tolist()]
    assert version.metrics["n_effective"] < len(held.rows)
    told = (quick_folder(version) / "model_card.md").read_text()
    assert f"images of one shelf ({version.metrics['together']['groups']} groups), are always in the same set" in told
    assert any("Images of one shelf are in one set" in note for note in finishing.result["notes"])
    assert json.loads((quick_folder(version) / "classes.json").read_text())["sees"]["rendering"] == {}
    probabilities = not_none(model_files.open_probabilities(version))
    np.testing.assert_allclose(held.probabilities, probabilities[held.rows], atol=1e-4)
    assert "kept" not in fresh(job).result, "its room is given back"
    assert not checkpoints.job_folder(job.pk).exists()


def test_a_training_that_is_given_up_keeps_its_best_epoch(place: Place) -> None:
    """Give a job up as if the machine had slept for longer than a silent worker is waited for."""
    job = place.begin(ENDLESS)
    place.wait_for_epochs(job)
    Job.objects.filter(pk=job.pk).update(state=S.LOST, finished_at=timezone.now(), error=lifecycle.SILENT)

    def is_kept() -> bool:
        job.refresh_from_db()
        return "kept" in job.result

    wait_until(is_kept, why="the best weights")
    assert (job.state, job.error) == (S.LOST, lifecycle.SILENT)
    assert job.result["kept"]["epoch"] == job.result["best_epoch"]


def test_a_killed_worker_leaves_a_job_that_says_so_and_can_be_begun_again(place: Place) -> None:
    job = place.begin(ENDLESS)
    place.wait_for_epochs(job)
    place.store.kill(place.worker)
    lifecycle.reap()
    job.refresh_from_db()
    assert (job.state, job.error) == (S.LOST, lifecycle.LOST)
    assert job.result["epochs"], "how far it came is still told"
    again = lifecycle.retry(job)
    assert (again.state, again.params) == (S.QUEUED, job.params)
    lifecycle.cancel(again)
