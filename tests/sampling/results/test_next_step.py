"""The recommendation on the page Results: each state of a dataset leads to the action that helps most."""

import numpy as np
import pytest
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from labeling.models import Dataset
from modeling.assistive.policy import policy_of
from modeling.models import ModelVersion, RetrainPolicy
from tests.factories import MakeDataset, decide
from tests.modeling.factories import add_vectors, clouds_dataset, decide_rows, import_labels, two_clouds
from tests.sampling.factories import POINTS, decide_shown, estimates_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
PAGE = "/d/pictures/results/"
FLAT = [(n, 0.9, 5000) for n in (2000, 4000, 8000, 16_000)]


def step(client: Client) -> tuple[str, str, str, bool]:
    """Return title, button, address and whether the button sends a request."""
    found = client.get(PAGE).context["step"]
    return found.title, found.button, found.url, found.is_post


def audit(dataset: Dataset, rows: list[int], y: np.ndarray) -> None:
    """Label these rows as a random sample."""
    names = list(dataset.classes.values_list("name", flat=True))
    for row in rows:
        decide_shown(dataset, [row], names[int(y[row])], queue="audit")
    dataset.refresh_from_db()


def test_an_empty_dataset_needs_images(make_dataset: MakeDataset, client: Client) -> None:
    make_dataset(0)
    assert step(client) == ("Add images", "Datasets", "/datasets/", False)


def test_from_no_labels_to_the_first_model(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(60)
    X, y = two_clouds(60)
    add_vectors(dataset, X)
    policy = policy_of(dataset)
    policy.is_automatic = False
    policy.save()
    assert step(client) == ("Label images of two classes", "Label images", "/d/pictures/?queue=auto", False)
    decide_rows(dataset, list(range(30)), y)
    assert step(client) == ("Train the first model", "Train", "/d/pictures/model/retrain/", True)
    run_now("retrain", dataset_id=dataset.pk)
    assert step(client) == ("Audit the model", "Label 20 random images", "/d/pictures/?queue=audit", False)
    audit(dataset, list(range(30, 48)), y)
    assert step(client)[0] == "Retrain the model", "18 labels are newer, and nothing retrains automatically"
    run_now("retrain", dataset_id=dataset.pk)
    assert step(client)[:2] == ("Audit the model", "Label 2 random images")


def test_labels_newer_than_the_model_wait_for_the_automatic_retrain(make_dataset: MakeDataset, client: Client) -> None:
    dataset, y = clouds_dataset(make_dataset, 80, 40)
    run_now("retrain", dataset_id=dataset.pk)
    import_labels(dataset, [70, 71], y)
    assert step(client)[0] == "Audit the model", "two labels are too few to retrain"
    ModelVersion.objects.update(is_chosen=True)
    assert step(client)[0] == "Retrain the model", "a chosen model is not replaced automatically"


def test_labels_that_the_model_disagrees_with_are_reviewed(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(200)
    X, y = two_clouds(200)
    add_vectors(dataset, (X + 8.0 * y[:, None]).astype(np.float32))
    wrong = y.copy()
    wrong[:8] = 1 - wrong[:8]
    audit(dataset, list(range(100)), wrong)
    run_now("retrain", dataset_id=dataset.pk)
    title, button, url, is_post = step(client)
    assert (title, url, is_post) == ("Review suspect labels", "/d/pictures/?queue=suspects", False)
    assert button.startswith("Review ")
    assert 5 <= int(button.split()[1]) <= 12


def test_the_forecast_and_the_interval_decide_between_more_labels_and_more_audit(
    make_dataset: MakeDataset, client: Client
) -> None:
    dataset = make_dataset(900, classes=("cat", "dog"))
    newest = estimates_at(dataset, POINTS)[-1]
    ModelVersion.objects.filter(pk=newest.model_version_id).update(is_active=True)
    RetrainPolicy.objects.create(dataset=dataset)
    decide_shown(dataset, list(range(20)), "cat", queue="audit")
    ModelVersion.objects.update(n_decisions=Dataset.objects.get().n_decisions)
    title, button, url, _ = step(client)
    assert (title, url) == ("Measure the accuracy more precisely", "/d/pictures/?queue=audit")
    assert button.startswith("Label 1")
    assert button.endswith("more random images")
    newest.low, newest.high = newest.value - 0.02, newest.value + 0.02
    newest.save()
    title, button, url, _ = step(client)
    assert (title, url) == ("Label more images", "/d/pictures/?queue=auto")
    assert "more image" in button
    assert "more labels for +1 point" in client.get(PAGE).content.decode()


def test_when_more_labels_hardly_help_the_dataset_is_exported(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(60, classes=("cat", "dog"))
    newest = estimates_at(dataset, FLAT)[-1]
    ModelVersion.objects.filter(pk=newest.model_version_id).update(is_active=True)
    decide_shown(dataset, list(range(20)), "cat", queue="audit")
    ModelVersion.objects.update(n_decisions=Dataset.objects.get().n_decisions)
    assert step(client) == ("Export the dataset", "Export", "/d/pictures/export/", False)
    assert "More labels would hardly help: 500 more" in client.get(PAGE).content.decode()


def test_a_class_that_the_model_is_certain_of_is_swept(make_dataset: MakeDataset, client: Client) -> None:
    dataset = make_dataset(400)
    X, y = two_clouds(400)
    add_vectors(dataset, (X + 40.0 * y[:, None]).astype(np.float32))
    audit(dataset, list(range(200)), y)
    run_now("retrain", dataset_id=dataset.pk)
    title, button, url, _ = step(client)
    assert title == button
    assert title.startswith("Sweep ")
    assert url.startswith("/d/pictures/?queue=sweep&of=")
    assert "almost certainly" in client.get(PAGE).content.decode()


def test_when_everything_is_decided_unsure_images_come_before_the_export(
    make_dataset: MakeDataset, client: Client
) -> None:
    dataset, y = clouds_dataset(make_dataset, 60, 59)
    decide(dataset, "unsure", [59])
    run_now("retrain", dataset_id=dataset.pk)
    assert step(client)[:3] == (
        "Decide the unsure images", "Show 1 unsure image", "/d/pictures/?queue=all&state=unsure",
    )  # fmt: skip
    import_labels(dataset, [59], y)
    run_now("retrain", dataset_id=dataset.pk)
    assert step(client)[:2] == ("Export the dataset", "Export")
