"""What the machine adds to an export."""

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from numpy.typing import NDArray

from labeling.decisions import classes
from labeling.models import Dataset, Item, LabelClass
from modeling.models import EmbeddingSet, EncoderChoice, ModelVersion
from modeling.versions import export as version_export
from modeling.versions.model_files import delete_files, save_probabilities
from tests.factories import MakeDataset, archive_bytes, assert_contains, decide, manifest, opened, table

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
EXTRAS = frozenset({"predictions"})


def save(model: ModelVersion, values: NDArray[np.float32]) -> None:
    with save_probabilities(model, *values.shape) as out:
        out[:] = values


def trained(dataset: Dataset, names: Sequence[str], probabilities: object) -> ModelVersion:
    """Return a model version of those classes with those probabilities, as a retrain leaves it."""
    values = np.asarray(probabilities, dtype=np.float32)
    encoder = EmbeddingSet.objects.create(
        dataset=dataset, fingerprint="f" * 64, encoder="HOG and colour", reason="TensorFlow is not installed",
        dim=324, n_vectors=len(values), is_active=True,
    )  # fmt: skip
    model = ModelVersion.objects.create(
        dataset=dataset, number=3, embedding_set=encoder, n_labels=10, n_rows=len(values), n_decisions=10,
        class_ids=[LabelClass.objects.get(dataset=dataset, name=name).pk for name in names],
        temperature=1.25, is_calibrated=True, calibration_note="on 10 labels", is_active=True,
        metrics={"accuracy": 0.75, "log_loss_after": 0.5, "confusion": [[1]]},
    )  # fmt: skip
    save(model, values)
    return model


def predictions(dataset: Dataset) -> list[dict[str, str]]:
    return table(opened(archive_bytes(dataset, extras=EXTRAS)), "predictions.csv")


def test_a_line_for_each_item_with_a_prediction(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(5)
    nan = np.nan
    # Item 2 has no vector, item 4 came after the model.
    trained(dataset, ["dog", "cat"], [[0.25, 0.75], [0.9, 0.1], [nan, nan], [1 / 3, 2 / 3]])
    ids = dict(Item.objects.values_list("row", "pk"))
    text = opened(archive_bytes(dataset, extras=EXTRAS)).read("predictions.csv").decode()
    assert text.split("\n") == [
        "item_id,path,predicted,probability,p:cat,p:dog,is_labeled,held_out",
        f"{ids[0]},image0000.png,cat,0.75,0.75,0.25,0,0",
        f"{ids[1]},image0001.png,dog,0.9,0.1,0.9,0,0",
        f"{ids[3]},image0003.png,cat,0.666667,0.666667,0.333333,0,0",
        "",
    ]


def test_classes_renamed_merged_and_deleted_since(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2, classes=("cat", "dog", "kitten", "emu"))
    trained(dataset, ["cat", "dog", "kitten", "emu"], [[0.2, 0.3, 0.4, 0.1], [0.1, 0.2, 0.1, 0.6]])
    by_name = {label.name: label for label in LabelClass.objects.all()}
    classes.merge(by_name["kitten"], by_name["cat"], user=None)
    classes.delete(by_name["emu"], user=None)
    classes.edit(by_name["dog"], name="hound", colour="#000000", key=None)
    rows = predictions(dataset)
    assert list(rows[0]) == [
        "item_id", "path", "predicted", "probability", "p:cat", "p:hound", "is_labeled", "held_out",
    ]  # fmt: skip
    assert [list(row.values())[2:6] for row in rows] == [["cat", "0.6", "0.6", "0.3"], ["cat", "0.2", "0.2", "0.2"]]


def test_when_all_classes_are_gone_there_are_no_lines(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    trained(dataset, ["cat", "dog"], [[0.2, 0.8], [0.5, 0.5]])
    for label in LabelClass.objects.all():
        classes.delete(label, user=None)
    assert predictions(dataset) == []


def test_many_items_come_in_batches(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_export, "_BATCH", 7)
    dataset = make_dataset(50)
    first = np.random.default_rng(1).random(50, dtype=np.float32)
    trained(dataset, ["cat", "dog"], np.stack([first, 1 - first], axis=1))
    rows = predictions(dataset)
    assert [row["path"] for row in rows] == [f"image{row:04d}.png" for row in range(50)]
    assert [float(row["p:cat"]) for row in rows] == pytest.approx(first.tolist(), rel=1e-5)


def test_the_manifest_tells_encoder_and_model(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    trained(dataset, ["cat", "dog"], [[0.2, 0.8], [0.5, 0.5]])
    told = manifest(opened(archive_bytes(dataset)))
    assert told["encoder"] == {
        "name": "HOG and colour", "fingerprint": "f" * 64, "dim": 324, "reason": "TensorFlow is not installed",
        "vectors": 2,
    }  # fmt: skip
    assert told["model"] == {
        "version": 3,
        "labels": 10,
        "classes": ["cat", "dog"],
        "calibration": {
            "method": "temperature", "params": {}, "temperature": 1.25, "is_calibrated": True,
            "note": "on 10 labels",
        },
        "measured": {"accuracy": 0.75, "log_loss_after": 0.5},
    }  # fmt: skip
    assert told["options"]["predictions"] is False
    assert told["embedding_backend"] == {"setting": settings.EMBEDDING_BACKEND, "chosen": None, "used": None}
    EmbeddingSet.objects.update(backend="hog")
    EncoderChoice.objects.create(dataset=dataset, backend="resnet18")
    told = manifest(opened(archive_bytes(dataset)))["embedding_backend"]
    assert (told["chosen"], told["used"]) == ("resnet18", "hog")


def test_an_encoder_without_a_model_is_told_too(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    EmbeddingSet.objects.create(dataset=dataset, fingerprint="e" * 64, encoder="HOG", dim=4, is_active=True)
    told = manifest(opened(archive_bytes(dataset)))
    assert told["encoder"]["fingerprint"] == "e" * 64
    assert told["model"] is None


def test_predictions_are_the_same_bytes_twice(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    decide(dataset, "assign", [0, 1], "cat")
    trained(dataset, ["cat", "dog"], [[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]])
    assert archive_bytes(dataset, extras=EXTRAS) == archive_bytes(dataset, extras=EXTRAS)


def test_lost_and_broken_arrays_are_said(make_dataset: MakeDataset, client: Client, store: Path) -> None:
    dataset = make_dataset(2)
    model = trained(dataset, ["cat", "dog"], [[0.2, 0.8], [0.5, 0.5]])
    assert version_export.why_not(dataset) == ""
    page = client.get(reverse("labeling:export", args=[dataset.slug]))
    assert_contains(page.content, b"Predictions of the model", lacks=[b"retrain first"])
    delete_files(model)
    assert "Retrain first" in version_export.why_not(dataset)
    save(model, np.zeros((2, 2), dtype=np.float32))
    ModelVersion.objects.update(class_ids=[1, 2, 3])
    assert "Retrain first" in version_export.why_not(dataset)
    assert client.get(reverse("labeling:export", args=[dataset.slug])).status_code == 200


def test_the_command_has_the_option(make_dataset: MakeDataset, tmp_path: Path) -> None:
    dataset = make_dataset(2)
    trained(dataset, ["cat", "dog"], [[0.2, 0.8], [0.5, 0.5]])
    output = tmp_path / "out.zip"
    call_command("export", "--with-predictions", "--output", str(output), stdout=io.StringIO())
    with zipfile.ZipFile(output) as archive:
        assert len(list(csv.reader(io.StringIO(archive.read("predictions.csv").decode())))) == 3
        assert manifest(archive)["options"]["predictions"] is True


def test_summing_columns() -> None:
    probabilities = np.array([[0.25, 0.25, 0.5], [np.nan, np.nan, np.nan]], dtype=np.float32)
    values = version_export.summed(probabilities, np.array([1, -1, 1]), 2)
    assert values[0].tolist() == [0.0, 0.75]
    assert np.isnan(values[1, 1])
