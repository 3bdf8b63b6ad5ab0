"""A retrain that is asked for before there are embeddings: they are computed first, and it follows."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError
from django.db import connections
from django.test import Client
from django.utils import timezone

from hoshina.core.errors import Refusal
from hoshina.jobs import console
from hoshina.jobs.lifecycle import cancel, claim, enqueue, execute, run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset
from modeling.assistive import policy
from modeling.models import EmbeddingSet, ModelVersion, RetrainPolicy
from tests.factories import MakeDataset, MakeFolder, command_json, command_output, decide, fresh, not_none
from tests.modeling.factories import add_vectors, two_clouds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


@pytest.fixture
def dataset(make_dataset: MakeDataset, picture_folder: MakeFolder, settings: Any) -> Dataset:
    """Provide twelve images that can be read, of which four are labeled; no embeddings."""
    settings.EMBEDDING_BACKEND = "hog"
    picture_folder(12)
    dataset = make_dataset(12)
    decide(dataset, "assign", [0, 1], "cat")
    decide(dataset, "assign", [2, 3], "dog")
    dataset.refresh_from_db()
    return dataset


def work() -> list[tuple[str, str]]:
    """Run the waiting job of that kind here, as a worker would."""
    done = []
    while queued := Job.objects.filter(state=Job.State.QUEUED, kind__in=("embed", "retrain")).first():
        job = not_none(claim(queued.pk))
        execute(job)
        done.append((job.kind, job.state))
    return done


DONE = Job.State.SUCCEEDED.value


# -- The key R ------------------------------------------------------------------------------------------
def ask(client: Client, dataset: Dataset) -> dict[str, Any]:
    response = client.post(f"/d/{dataset.slug}/model/retrain/")
    assert response.status_code == 204
    return dict(json.loads(response.headers["HX-Trigger"]))


def test_r_without_embeddings_computes_them_and_trains(dataset: Dataset, client: Client) -> None:
    words = "Embeddings are computed first. The model is trained as soon as they are ready."
    assert ask(client, dataset)["hoshina:toast"] == {"text": words}
    assert ask(client, dataset).keys() == {"hoshina:job", "hoshina:toast"}
    assert list(Job.objects.values_list("kind", "state")) == [("embed", Job.State.QUEUED)]
    assert "embeddings, then training" in client.get(f"/d/{dataset.slug}/model/badge/").content.decode()
    assert "as soon as they are ready" in client.get(f"/d/{dataset.slug}/model/").content.decode()
    assert work() == [("embed", DONE), ("retrain", DONE)]
    assert ModelVersion.objects.get().n_labels == 4
    assert not RetrainPolicy.objects.get().is_requested
    # Once: the next embedding job brings no further training of its own accord than before.
    assert ask(client, dataset) == {"hoshina:job": {}}


def test_r_while_they_are_being_computed_joins_that_job(dataset: Dataset, client: Client) -> None:
    job = not_none(claim(enqueue("embed", dataset_id=dataset.pk).pk))
    assert ask(client, dataset)["hoshina:toast"]["text"].startswith("Embeddings are being computed.")
    assert Job.objects.count() == 1
    execute(job)
    assert work() == [("retrain", DONE)]


def test_labels_of_one_class_are_said_before_anything_is_computed(dataset: Dataset, client: Client) -> None:
    decide(dataset, "clear", [2, 3])
    assert ask(client, dataset) == {"hoshina:job": {}}
    assert work() == [("retrain", Job.State.FAILED.value)]
    assert "Only one class has labels: cat (2)" in Job.objects.get().error


def test_a_retrain_of_labels_that_have_no_embedding_yet_waits_for_them(dataset: Dataset) -> None:
    # Embeddings of the second half alone, as in the middle of an embedding job.
    X, _ = two_clouds(12)
    vectors = add_vectors(dataset, X, np.arange(12) > 5)
    assert run_now("retrain", dataset_id=dataset.pk).result == {"waits_for": "embed"}
    assert Job.objects.get(kind="embed").state == Job.State.QUEUED
    assert RetrainPolicy.objects.get().is_requested
    assert work() == [("embed", DONE), ("retrain", DONE)]
    assert ModelVersion.objects.get().embedding_set != vectors


def test_images_that_cannot_be_read_end_in_words_and_not_in_a_circle(
    make_dataset: MakeDataset, picture_folder: MakeFolder, settings: Any, client: Client
) -> None:
    settings.EMBEDDING_BACKEND = "hog"
    folder = picture_folder(8)
    dataset = make_dataset(8)
    decide(dataset, "assign", [0], "cat")
    decide(dataset, "assign", [1], "dog")
    for row in (0, 1):
        (folder / f"image{row:04d}.png").write_bytes(b"no picture")
    ask(client, dataset)
    assert work() == [("embed", DONE), ("retrain", Job.State.FAILED.value)]
    assert "2 labeled images have no embedding yet" in Job.objects.get(kind="retrain").error


def test_the_form_of_the_policy_loses_no_request(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from modeling.assistive.views import PolicyForm

    given = {"min_new": 7, "share_new": 10, "calibration": "none", "class_weights": "equal"}
    before = policy.policy_of(dataset)
    form = PolicyForm(given, instance=before)
    assert form.is_valid()
    client = Client()
    monkeypatch.setattr("modeling.assistive.views.policy_of", lambda _: before)
    policy.request_retrain(dataset)
    assert client.post(f"/d/{dataset.slug}/model/policy/", given).status_code == 200
    kept = RetrainPolicy.objects.get()
    assert (kept.min_new, kept.is_requested) == (7, True)


# -- By itself ------------------------------------------------------------------------------------------
def enough(dataset: Dataset) -> None:
    decide(dataset, "assign", range(4, 12), "cat")
    policy.on_decided(None, dataset.pk, Dataset.objects.get(pk=dataset.pk).n_decisions)


def test_an_automatic_retrain_has_embeddings_computed(dataset: Dataset) -> None:
    assert not Job.objects.exists()
    enough(dataset)
    assert list(Job.objects.values_list("kind", flat=True)) == ["embed"]
    assert work() == [("embed", DONE), ("retrain", DONE)]
    assert ModelVersion.objects.get().n_labels == 12


def test_embedding_that_was_cancelled_does_not_start_again_unasked(dataset: Dataset, client: Client) -> None:
    cancel(enqueue("embed", dataset_id=dataset.pk))
    enough(dataset)
    assert Job.objects.count() == 1
    ask(client, dataset)  # but for a person
    assert work() == [("embed", DONE), ("retrain", DONE)]


# -- The command ----------------------------------------------------------------------------------------
def retrain() -> dict[str, Any]:
    return dict(command_json("retrain"))


def test_the_command_computes_embeddings_then_trains(dataset: Dataset) -> None:
    told = retrain()
    assert (told["model_version"], told["labels"]) == (1, 4)
    assert (told["embedded"]["items"], told["embedded"]["computed"]) == (12, 12)
    assert "embedded" not in retrain()  # they are there now
    EmbeddingSet.objects.all().delete()
    out = command_output("retrain")
    assert out.startswith("Computed 12 embeddings with HOG")
    assert "Model 3: 4 labels of 2 classes" in out
    assert not Job.objects.filter(kind="retrain").exclude(state=DONE).exists()


def test_new_labeled_images_are_embedded_before_the_command_trains(dataset: Dataset) -> None:
    X, _ = two_clouds(12)
    add_vectors(dataset, X, np.arange(12) != 1)
    told = retrain()
    assert told["labels"] == 4
    assert told["embedded"]["computed"] == 12  # by the encoder in force


def test_the_command_says_what_is_missing_of_the_labels_first(dataset: Dataset) -> None:
    decide(dataset, "clear", range(4))
    with pytest.raises(CommandError, match="There are no labels yet"):
        retrain()
    assert not Job.objects.filter(kind="embed").exists()


@pytest.fixture
def elsewhere(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Add an embedding job that a process of another machine runs."""
    monkeypatch.setattr(console, "FOLLOW_EVERY", 0.02)
    job = enqueue("embed", dataset_id=dataset.pk)
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.RUNNING, worker="another-machine:1:x", heartbeat_at=timezone.now(), stage="HOG", total=12
    )
    job.refresh_from_db()
    return job


def later(act: Callable[[], Any]) -> threading.Thread:
    def run() -> None:
        time.sleep(0.3)
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_command_waits_for_the_embedding_that_another_process_runs(elsewhere: Job, dataset: Dataset) -> None:
    def finish() -> None:
        X, _ = two_clouds(12)
        add_vectors(dataset, X)
        Job.objects.filter(pk=elsewhere.pk).update(
            state=DONE, result={"encoder": "test", "items": 12, "computed": 12}, finished_at=timezone.now()
        )

    thread = later(finish)
    told = retrain()
    thread.join()
    assert (told["labels"], told["embedded"]["encoder"]) == (4, "test")
    assert Job.objects.filter(kind="embed").count() == 1


def test_the_command_takes_over_what_the_other_process_gave_back(elsewhere: Job) -> None:
    thread = later(lambda: Job.objects.filter(pk=elsewhere.pk).update(state=Job.State.QUEUED, worker=""))
    assert retrain()["labels"] == 4
    thread.join()
    assert fresh(elsewhere).state == DONE


def test_the_command_tells_how_the_others_embedding_failed(elsewhere: Job) -> None:
    failed = {"state": Job.State.FAILED, "error": "The disk is full.", "hint": "Make room."}
    thread = later(lambda: Job.objects.filter(pk=elsewhere.pk).update(**failed))
    with pytest.raises(CommandError, match="The disk is full"):
        retrain()
    thread.join()
    assert not ModelVersion.objects.exists()


def test_a_failed_retrain_after_embedding_is_an_error_of_the_job(dataset: Dataset) -> None:
    with pytest.raises(Refusal, match="no embeddings"):
        run_now("retrain", dataset_id=dataset.pk, params={"is_after_embedding": True})
