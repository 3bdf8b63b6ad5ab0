"""Quick training on its page: the form and what it refuses, the curves of a run, how it ended, its files."""

import io
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone
from PIL import Image

from hoshina.core.parsing import parse_options
from hoshina.jobs.models import Job
from labeling.models import Dataset, Field
from modeling.backends import weights
from modeling.backends.quick import augmentation
from modeling.models import EncoderChoice, ModelVersion
from modeling.quick.options import QuickOptions
from modeling.versions import model_files
from tests.factories import MakeDataset, MakeFolder, assert_contains, said, text
from tests.modeling.factories import import_labels, make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
URL = "/d/pictures/quick/"
FORM = {
    "backbone": "mobilenet_v2", "is_fine_tuned": "no", "epochs": "4", "batch_size": "16", "image_side": "64",
    "validation_share": "20", "early_stopping": "3", "class_weights": "equal", "weights": "imagenet", "seed": "0",
    "is_used": "on",
}  # fmt: skip
EPOCHS = [
    {"epoch": 1, "loss": 0.9, "accuracy": 0.6, "val_loss": 0.8, "val_accuracy": 0.7, "seconds": 1.0},
    {"epoch": 2, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.75, "seconds": 1.0},
]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(60)
    import_labels(dataset, list(range(40)), np.arange(60) % 2)
    return dataset


@pytest.fixture(autouse=True)
def _weights(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide MobileNetV2's weights only, and no network."""
    settings.WEIGHTS_DIR = tmp_path / "weights"
    settings.WEIGHTS_DIR.mkdir()
    (settings.WEIGHTS_DIR / weights.MOBILENET_V2.file).touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-cache"))
    monkeypatch.setattr(augmentation, "_reachability", {})
    monkeypatch.setattr(weights, "connect", Mock(side_effect=OSError("no network here")))


def make_job(dataset: Dataset, state: str, **fields: Any) -> Job:
    now = timezone.now()
    given = {"params": asdict(QuickOptions(epochs=8)), "started_at": now, "stage_started_at": now, **fields}
    return Job.objects.create(
        kind="quick_train", queue="heavy", dataset_id=dataset.pk, key=f"quick_train:{dataset.pk}", state=state, **given
    )


def trained_version(dataset: Dataset, kind: str = "quick") -> ModelVersion:
    metrics = {"accuracy": 0.9, "accuracy_interval": [0.8, 0.95], "assistive_accuracy": 0.85}
    facts = {"class_ids": [1, 2], "n_labels": 40, "n_rows": 60, "n_decisions": 40, "metrics": metrics}
    return make_version(dataset, 3, kind=kind, is_active=True, is_chosen=True, **facts)


def ask(client: Client, url: str = URL) -> str:
    return text(client.get(url, headers={"HX-Request": "true"}), 200)


def test_the_form_says_where_weights_are_and_what_becomes_of_the_labels(client: Client, dataset: Dataset) -> None:
    page = ask(client)
    assert page.count('type="radio" name="backbone"') == 3
    assert page.count("will be downloaded") == 2
    assert "weights from AL_WEIGHTS_DIR" in page
    assert_contains(said(page), "28 train", "6 test")


def test_the_form_says_what_is_kept_together(client: Client, dataset: Dataset) -> None:
    assert "Identical images stay in one set." in said(ask(client))
    dataset.together_by = Field.objects.create(dataset=dataset, name="night", kind="text", source="csv")
    dataset.save(update_fields=["together_by"])
    assert "images and images of one night stay in one set, which may shift these numbers." in said(ask(client))


def test_the_same_on_a_page_of_its_own(client: Client, dataset: Dataset) -> None:
    page = client.get(URL).content.decode()
    assert page.startswith("<!doctype html>")
    assert 'id="quick"' in page


def test_it_begins_once_and_remembers_what_was_chosen(client: Client, dataset: Dataset) -> None:
    for _ in range(2):
        response = client.post(URL, {**FORM, "flip": "on"}, headers={"HX-Request": "true"})
        assert response.status_code == 200
        assert "hoshina:job" in response["HX-Trigger"]
    job = Job.objects.get(kind="quick_train")
    assert parse_options(QuickOptions, job.params) == QuickOptions(epochs=4, batch_size=16, image_side=64, flip=True)
    assert f"/quick/{job.pk}/" in ask(client), "while it is active the modal shows it"
    Job.objects.update(state="failed", error="The disk is full.", hint="Make room.")
    page = ask(client)
    assert 'name="image_side" id="id_image_side" value="64"' in page
    assert re.search(r'name="flip"[^>]*checked', page)
    assert "The disk is full. Make room." in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"image_side": "16"}, "needs images of at least 32 px"),
        ({"weights": "random"}, "the whole network must be trained"),
        ({"backbone": "resnet50"}, "no network here"),
        ({"backbone": "alexnet"}, "not one of the available choices"),
        ({"validation_share": "99"}, "less than or equal to 80"),
        ({"seed": ""}, "This field is required"),
    ],
)
def test_the_impossible_is_refused_in_words(
    client: Client, dataset: Dataset, changes: dict[str, str], words: str
) -> None:
    page = text(client.post(URL, {**FORM, **changes}, headers={"HX-Request": "true"}), 422)
    assert words in said(page).replace("&#x27;", "'")
    assert not Job.objects.filter(kind="quick_train").exists()


def test_missing_weights_leave_a_choice_before_the_run(client: Client, dataset: Dataset) -> None:
    told = said(client.post(URL, {**FORM, "backbone": "resnet50"}).content.decode())
    assert "Choose MobileNetV2, whose weights are here, or a randomly initialized network" in told
    given = {**FORM, "backbone": "resnet50", "weights": "random", "is_fine_tuned": "yes"}
    assert client.post(URL, given).status_code == 200
    assert Job.objects.get(kind="quick_train").params["weights"] == "random"


def test_too_few_labels(client: Client, make_dataset: MakeDataset) -> None:
    make_dataset(5)
    assert "needs 10 labels; there are 0" in said(ask(client))
    assert client.post(URL, FORM).status_code == 422


def test_a_change_is_answered_with_what_it_means(client: Client, dataset: Dataset) -> None:
    given = "&".join(f"{name}={value}" for name, value in FORM.items())
    page = ask(client, f"{URL}check/?{given}&validation_share=50&batch_size=64&rotate=on")
    assert_contains(said(page), "20 train", "so a batch has 20")
    assert "samples.png?" in page
    wrong = ask(client, f"{URL}check/?{given}&epochs=none")
    assert "Enter a whole number" in said(wrong)


def test_the_samples_are_what_a_training_would_see(
    client: Client, dataset: Dataset, picture_folder: MakeFolder
) -> None:
    folder = picture_folder(6)
    (folder / "image0000.png").write_bytes(b"no image")
    given = "&".join(f"{name}={value}" for name, value in FORM.items())
    response = client.get(f"{URL}samples.png?{given}&flip=on&brightness=on")
    sheet = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB"), int)
    assert sheet.shape[1] == 5 * 76 - 4, "the one that can't be read is left out"
    tiles = [sheet[76 * row : 76 * row + 72, :72] for row in range(4)]
    assert not np.array_equal(tiles[0], tiles[1])
    unchanged = client.get(f"{URL}samples.png?{given}")
    sheet = np.asarray(Image.open(io.BytesIO(unchanged.content)).convert("RGB"), int)
    assert np.array_equal(sheet[:72, :72], sheet[76 : 76 + 72, :72])
    assert client.get(f"{URL}samples.png?{given}&seed=x").status_code == 204


def test_a_run_shows_its_curves_and_asks_again_until_it_ends(client: Client, dataset: Dataset) -> None:
    live = {"epoch": 3, "batch": 2, "batches": 5, "loss": 0.4, "accuracy": 0.9}
    result = {"epochs": EPOCHS, "live": live, "n_train": 32, "n_stopping": 4, "n_test": 4, "best_epoch": 2}
    job = make_job(dataset, "running", result=result, stage="Training: epoch 3 of 8", done=12, total=40)
    page = text(client.get(f"{URL}{job.pk}/"), 200)
    assert_contains(page, 'hx-trigger="every 1s"', "Training: epoch 3 of 8")
    assert "batch 2 of 5, loss 0.400" in said(page)
    assert page.count("<figure") == 2
    assert "Best epoch so far: 2" in page
    Job.objects.update(state="cancelled", result={**result, "kept": {"epoch": 2, "val_accuracy": 0.75}})
    page = text(client.get(f"{URL}{job.pk}/"), 286)
    assert "every 1s" not in page
    assert "The best weights so far are kept: epoch 2, validation accuracy 75 %" in said(page)


def test_kept_weights_become_a_model(client: Client, dataset: Dataset) -> None:
    bare = make_job(dataset, "cancelled", result={})
    assert client.post(f"{URL}{bare.pk}/finish/").status_code == 404
    kept = make_job(dataset, "cancelled", result={"kept": {"epoch": 2, "val_accuracy": None}})
    assert client.post(f"{URL}{kept.pk}/finish/", headers={"HX-Request": "true"}).status_code == 200
    assert Job.objects.get(kind="quick_train", state="queued").params == {"finish": str(kept.pk)}


@pytest.mark.parametrize("state", ["cancelled", "failed", "lost"])
def test_however_it_was_stopped_what_is_kept_can_be_used(client: Client, dataset: Dataset, state: str) -> None:
    job = make_job(dataset, state, error="The worker that ran this stopped.", result={})
    assert 'id="quick-finish"' not in ask(client)
    Job.objects.filter(pk=job.pk).update(result={"kept": {"epoch": 4, "val_accuracy": 0.5}})
    page = ask(client)
    assert f"/quick/{job.pk}/finish/" in page
    assert "are kept: epoch 4" in said(page)


def test_a_success_is_told_beside_the_assistive_model(client: Client, dataset: Dataset) -> None:
    version = trained_version(dataset)
    make_job(dataset, "succeeded", result={"version": version.pk, "n_test": 20, "epochs": EPOCHS})
    told = said(ask(client))
    assert "Model 3 is in use : held-out accuracy 90 % on 20 test images (95 % interval 80 % to 95 %)" in told
    assert "the assistive model has 85 % on the same images" in told


def test_only_its_own_files_are_served(client: Client, dataset: Dataset, store: Path) -> None:
    version = trained_version(dataset)
    folder = model_files.folder_of(version) / "quick"
    folder.mkdir(parents=True)
    (folder / "classes.json").write_text("[]")
    (folder.parent / "head.npz").write_text("secret")
    response = client.get("/d/pictures/model/3/files/classes.json")
    assert b"".join(response.streaming_content) == b"[]"  # type: ignore[attr-defined]
    assert "pictures-model-3-classes.json" in response["Content-Disposition"]
    for name in ("other.json", "..%2Fhead.npz", ".."):
        assert client.get(f"/d/pictures/model/3/files/{name}").status_code == 404
    assert not EncoderChoice.objects.exists()


def test_an_assistive_version_has_no_such_files(client: Client, dataset: Dataset) -> None:
    trained_version(dataset, kind="assistive")
    assert client.get("/d/pictures/model/3/files/classes.json").status_code == 404
    assert client.post("/d/pictures/model/3/embed/").status_code == 404
