"""Predictions of another model: formats, bad rows, classes, calibration, audit, and how retraining treats them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from modeling.external.predictions import Report, Request, import_predictions
from modeling.models import ModelVersion
from modeling.predictions import active_predictions, held_out_of, predictions_of
from modeling.versions import active as active_version
from modeling.versions import model_files
from sampling.models import AccuracyEstimate
from tests.factories import (
    MakeDataset,
    archive_bytes,
    assert_contains,
    command_json,
    command_output,
    manifest,
    not_none,
    opened,
    said,
    table,
)
from tests.modeling.factories import clouds_dataset, import_labels

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]

Array = NDArray[Any]
N = 40


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return clouds_dataset(make_dataset, N)[0]


@pytest.fixture
def P() -> Array:
    """Provide overconfident predictions of two classes: five of six are right for labels in turns."""
    y = np.arange(N) % 2
    wrong = np.arange(N) % 6 == 5
    sure = np.where(wrong, 0.02, 0.98)
    return np.stack([np.where(y == 0, sure, 1 - sure), np.where(y == 1, sure, 1 - sure)], axis=1)


def paths_of(dataset: Dataset) -> list[str]:
    return list(dataset.items.order_by("row").values_list("path", flat=True))


def csv(folder: Path, dataset: Dataset, P: Array, header: str = "path,p:cat,p:dog") -> Path:
    lines = [f"{path},{','.join(map(str, row))}" for path, row in zip(paths_of(dataset), P.tolist(), strict=False)]
    (folder / "clip.csv").write_text("\n".join([header, *lines]))
    return folder / "clip.csv"


def imported(dataset: Dataset, file: Path, **options: Any) -> tuple[ModelVersion, Report]:
    return import_predictions(dataset, Request(file, **options))


class TestFormats:
    @pytest.mark.parametrize("layout", ["csv", "npz", "parquet"])
    def test_probabilities(self, dataset: Dataset, tmp_path: Path, P: Array, layout: str) -> None:
        file = tmp_path / f"clip.{layout}"
        if layout == "csv":
            csv(tmp_path, dataset, P)
        elif layout == "npz":
            np.savez(file, probabilities=P, classes=np.array(["cat", "dog"]), path=np.array(paths_of(dataset)))
        else:
            pq.write_table(pa.table({"path": paths_of(dataset), "p:dog": P[:, 1], "p:cat": P[:, 0]}), file)
        version, report = imported(dataset, file)
        found = not_none(predictions_of(version))
        cat = [label and label.name for label in found.labels].index("cat")
        assert np.allclose(found.probabilities[:, cat], P[:, 0], atol=1e-6)
        assert (report.rows, report.items, report.without_prediction) == (N, N, 0)
        assert version.kind == "external"
        assert not version.is_calibrated

    def test_a_label_with_a_score(self, dataset: Dataset, tmp_path: Path) -> None:
        LabelClass.objects.create(dataset=dataset, name="wolf", colour="#000000", order=2)
        rows = [("cat", 0.8), ("dog", 0.6), ("wolf", 1.0)]
        lines = [f"{path},{label},{score}" for path, (label, score) in zip(paths_of(dataset), rows, strict=False)]
        (tmp_path / "e.csv").write_text("\n".join(["file_name,label,score", *lines]))
        version, report = imported(dataset, tmp_path / "e.csv")
        found = not_none(predictions_of(version)).probabilities
        assert np.allclose(found[:3], [[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0, 0, 1]], atol=1e-5)
        assert np.isnan(found[3:]).all()
        assert report.without_prediction == N - 3

    def test_what_an_export_writes_can_be_read_again(self, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        version, _ = imported(dataset, csv(tmp_path, dataset, P))
        active_version.choose(version)
        archive = opened(archive_bytes(dataset, extras=frozenset({"predictions"})))
        (tmp_path / "again.csv").write_bytes(archive.read("predictions.csv"))
        again, _ = imported(dataset, tmp_path / "again.csv")
        first, second = (not_none(predictions_of(one)).probabilities for one in (version, again))
        assert np.allclose(first, second, atol=1e-5)


class TestBadRows:
    def test_they_are_left_out_and_counted(self, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        P = P[:8].copy()
        P[0], P[1], P[2], P[3] = [np.nan, 1], [-0.5, 1.5], [0.4, 0.4], [0.5, 0.51]
        file = csv(tmp_path, dataset, P)
        first = paths_of(dataset)[4]
        extra = f"\nelsewhere.png,0.5,0.5\n{first},{P[4, 0]},{P[4, 1]}\n{paths_of(dataset)[9]},high,low"
        file.write_text(file.read_text() + extra)
        version, report = imported(dataset, file)
        facts = report.as_json()
        assert (facts["not_numbers"], facts["negative"], facts["wrong_sum"]) == (2, 1, 1)
        assert facts["wrong_sum_names"] == [paths_of(dataset)[2]]
        assert (facts["unknown_names"], facts["duplicates"], facts["items"]) == (["elsewhere.png"], 1, 5)
        assert np.allclose(not_none(predictions_of(version)).probabilities[3], [0.5 / 1.01, 0.51 / 1.01])

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([[98.0, 2.0]], "1 row whose probabilities do not sum to 1"),
            ([[-3.0, 4.0]], "1 row with negative values"),
            ([["nan", "nan"]], "1 row with missing values"),
        ],
    )
    def test_no_usable_row(self, dataset: Dataset, tmp_path: Path, values: Any, message: str) -> None:
        refused(dataset, message, csv(tmp_path, dataset, np.array(values)))

    def test_two_predictions_of_one_image(self, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        file = csv(tmp_path, dataset, P)
        file.write_text(f"{file.read_text()}\n{paths_of(dataset)[0]},0.5,0.5")
        refused(dataset, "Keep one prediction for each image", file)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("path,p:cat,p:bird\na,0.5,0.5", "does not have 1 class of the file: bird"),
            ("path,p:cat\na,1", "predictions of 1 class"),
            ("path,p:cat,p:Cat\na,0.5,0.5", "Several columns or labels are about"),
            ("path,cat,dog\na,0.5,0.5", "There are no predictions"),
            ("colour,p:cat,p:dog\na,0.5,0.5", "No column names the images"),
            ("", "is empty"),
        ],
    )
    def test_other_tables(self, dataset: Dataset, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "e.csv").write_text(text)
        refused(dataset, message, tmp_path / "e.csv")

    def test_arrays_that_do_not_fit(self, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        file = tmp_path / "e.npz"
        np.savez(file, probabilities=P, path=np.array(paths_of(dataset)))
        refused(dataset, "has the arrays 'probabilities', 'path'", file)
        np.savez(file, probabilities=P, classes=np.array(["cat"]), path=np.array(paths_of(dataset)))
        refused(dataset, "one column for each class", file)
        np.savez(file, probabilities=P, classes=np.array(["cat", "dog"]), path=np.array(paths_of(dataset)[1:]))
        refused(dataset, "39 keys .path. and 40 rows", file)


def refused(dataset: Dataset, message: str, file: Path) -> None:
    """Assert that an import is refused with a message, and leaves neither a version nor a class."""
    before = list(LabelClass.objects.values_list("name", flat=True))
    with pytest.raises(Refusal, match=message):
        imported(dataset, file)
    assert not ModelVersion.objects.exists()
    assert list(LabelClass.objects.values_list("name", flat=True)) == before


class TestClasses:
    def test_they_are_created_on_request(self, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        file = csv(tmp_path, dataset, np.pad(P, ((0, 0), (0, 1))), "path,p:cat,p:DOG,p:wolf")
        version, report = imported(dataset, file, may_create=True)
        assert report.created_classes == ["wolf"]
        assert [label and label.name for label in not_none(predictions_of(version)).labels] == ["cat", "dog", "wolf"]

    def test_a_labeled_class_that_the_file_lacks_counts_as_wrong(
        self, dataset: Dataset, tmp_path: Path, P: Array
    ) -> None:
        LabelClass.objects.create(dataset=dataset, name="wolf", colour="#000000", order=2)
        import_labels(dataset, list(range(30)), np.where(np.arange(N) < 6, 2, np.arange(N) % 2))
        version, report = imported(dataset, csv(tmp_path, dataset, P))
        assert report.classes == ["cat", "dog", "wolf"]
        assert version.metrics["accuracy"] == pytest.approx(20 / 30)

    def test_a_failure_takes_created_classes_back(
        self, dataset: Dataset, tmp_path: Path, P: Array, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: object) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr("modeling.external.predictions._write", full)
        with pytest.raises(OSError, match="No space"):
            imported(dataset, csv(tmp_path, dataset, P, "path,p:cat,p:bird"), may_create=True)
        assert not ModelVersion.objects.exists()
        assert not LabelClass.objects.filter(name="bird").exists()


class TestQuality:
    @pytest.fixture
    def version(self, store: Path, dataset: Dataset, tmp_path: Path, P: Array) -> ModelVersion:
        import_labels(dataset, list(range(36)), np.arange(N) % 2)
        return imported(dataset, csv(tmp_path, dataset, P))[0]

    def test_they_are_calibrated_on_the_labels(self, version: ModelVersion) -> None:
        assert version.is_calibrated
        assert version.temperature > 1.1  # overconfident
        assert version.metrics["log_loss_after"] < version.metrics["log_loss_before"]
        found = not_none(predictions_of(version)).probabilities
        assert found[0, 0] < 0.98
        odds = np.log(0.98 / 0.02) / version.temperature
        assert found[0, 0] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-5)

    def test_they_are_measured_on_the_labels(self, version: ModelVersion) -> None:
        assert version.metrics["accuracy"] == pytest.approx(30 / 36)
        held = not_none(held_out_of(version))
        assert held.rows.tolist() == list(range(36))
        assert not held.is_alone.any()

    def test_the_audit_measures_them(self, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        from labeling.models import Annotation

        import_labels(dataset, list(range(36)), np.arange(N) % 2)
        Annotation.objects.filter(item__row__lt=24).update(is_random_draw=True)
        version, _ = imported(dataset, csv(tmp_path, dataset, P))
        estimate = AccuracyEstimate.objects.get(model_version=version)
        assert (estimate.n_audit, estimate.n_right) == (24, 20)

    def test_its_page(self, client: Client, dataset: Dataset, version: ModelVersion) -> None:
        page = said(client.get(f"/d/{dataset.slug}/model/{version.number}/"), 200)
        assert_contains(
            page, "imported predictions", "measured on 36 labels", "Too high if the predictions", "clip.csv"
        )


class TestRetraining:
    @pytest.fixture(autouse=True)
    def _chosen(self, store: Path, dataset: Dataset, tmp_path: Path, P: Array) -> None:
        import_labels(dataset, list(range(30)), np.arange(N) % 2)
        self.result = command_json("import_predictions", str(csv(tmp_path, dataset, P)))

    def test_the_import_is_used_and_chosen(self, dataset: Dataset) -> None:
        version = ModelVersion.objects.get(is_active=True)
        assert version.is_chosen
        assert (self.result["model_version"], self.result["used"]) == (version.number, True)
        assert not_none(active_predictions(dataset)).model == version

    def test_a_retrain_makes_a_version_but_does_not_replace_it(self, dataset: Dataset, client: Client) -> None:
        result = run_now("retrain", dataset_id=dataset.pk).result
        assert (result["model_version"], result["in_use"]) == (2, 1)
        assert ModelVersion.objects.get(is_active=True).number == 1
        answer = client.post(f"/d/{dataset.slug}/model/retrain/")
        assert "Model 1, which you chose, stays in use" in answer["HX-Trigger"]
        assert "stays in use" in command_output("retrain")
        trained = ModelVersion.objects.get(number=2)
        assert active_version.choose(trained) is None
        assert ModelVersion.objects.get(is_active=True).number == 2

    def test_the_export_names_the_source(self, dataset: Dataset) -> None:
        archive = opened(archive_bytes(dataset, extras=frozenset({"predictions"})))
        assert manifest(archive)["model"]["imported"]["file"] == "clip.csv"
        assert len(table(archive, "predictions.csv")) == N

    def test_queues_use_it(self, dataset: Dataset) -> None:
        found = command_json("queue", "uncertain", "-n", "5")
        assert len(found["items"]) == 5
        assert all(item["probability"] is not None for item in found["items"])

    def test_missing_files_are_explained(self, dataset: Dataset) -> None:
        version = ModelVersion.objects.get(number=1)
        model_files.delete_files(version)
        with pytest.raises(Refusal, match="Import the file again"):
            run_now("predict", dataset_id=dataset.pk, params={"version": 1, "is_refresh": False})


def test_import_only(dataset: Dataset, tmp_path: Path, P: Array) -> None:
    out = io.StringIO()
    call_command("import_predictions", str(csv(tmp_path, dataset, P)), "--no-use", stdout=out)
    assert_contains(out.getvalue(), "Model 1 (clip): predictions of 40 images", "choose model 1 on the page Model")
    assert not ModelVersion.objects.filter(is_active=True).exists()


def test_an_upload_becomes_a_job(client: Client, dataset: Dataset, tmp_path: Path, P: Array) -> None:
    address = f"/d/{dataset.slug}/model/import/"
    assert_contains(said(client.post(address), 422), "Choose a file first.")
    upload = SimpleUploadedFile("clip.csv", csv(tmp_path, dataset, P).read_bytes())
    assert_contains(said(client.post(address, {"file": upload, "name": "CLIP", "use": "on"}), 200), "being imported")
    job = Job.objects.get(kind="import_predictions")
    run_now("import_predictions", dataset_id=dataset.pk, params=job.params)
    assert_contains(said(client.get(address)), "Model 1 (CLIP): predictions of 40 images", "Model 1 is in use.")
    assert not Path(job.params["file"]).exists()
