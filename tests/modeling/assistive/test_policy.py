"""When the model is retrained: by labels that hold, not by every press of a key."""

import pytest
from django.test import Client
from django.utils import timezone

from hoshina.jobs.models import Job
from labeling.models import Action, Dataset
from modeling.assistive import policy
from modeling.assistive.policy import labels_to_go, new_labels, policy_of
from modeling.models import ModelVersion
from tests.factories import MakeDataset, count_queries, decide
from tests.modeling.factories import add_vectors, make_version, two_clouds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def press(dataset: Dataset, rows: list[int], name: str = "cat", kind: Action.Kind = Action.Kind.ASSIGN) -> None:
    decide(dataset, kind, rows, name if kind == Action.Kind.ASSIGN else "", at=timezone.now(), holder="me", queue="")
    dataset.refresh_from_db()


def undo(dataset: Dataset) -> None:
    press(dataset, [], kind=Action.Kind.UNDO)


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide 100 items, 50 of them labeled before the model was trained."""
    dataset = make_dataset(100)
    press(dataset, list(range(25)))
    press(dataset, list(range(25, 50)), "dog")
    make_version(dataset, n_labels=50, n_rows=100, n_decisions=dataset.n_decisions, is_active=True)
    return dataset


def count(dataset: Dataset) -> int:
    return new_labels(dataset, ModelVersion.objects.get())


def test_labels_that_were_undone_do_not_count(dataset: Dataset) -> None:
    press(dataset, list(range(50, 54)))
    assert count(dataset) == 4
    for _ in range(5):
        press(dataset, list(range(54, 85)))
        undo(dataset)
    assert dataset.n_decisions == 50 + 4 + 10 * 31
    assert count(dataset) == 4


def test_counting_stops_at_enough_labels(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "AT_ONCE", 4)
    press(dataset, list(range(50, 80)))
    assert count(dataset) == 30
    assert new_labels(dataset, ModelVersion.objects.get(), enough=10) == 12
    assert labels_to_go(dataset, policy_of(dataset), ModelVersion.objects.get()) == 0


def test_a_label_that_is_changed_counts_once(dataset: Dataset) -> None:
    press(dataset, [3], "dog")
    press(dataset, [3], "cat")
    press(dataset, [60], "dog")
    press(dataset, [60], "cat")
    assert count(dataset) == 2
    undo(dataset)
    assert count(dataset) == 2, "the first label of the item holds again"


def test_what_is_no_label_does_not_count(dataset: Dataset) -> None:
    press(dataset, [70, 71], kind=Action.Kind.UNSURE)
    press(dataset, [72], kind=Action.Kind.SKIP)
    press(dataset, [2], kind=Action.Kind.CLEAR)
    assert count(dataset) == 0


def test_other_datasets_do_not_count_and_many_decisions_are_read_in_parts(
    dataset: Dataset, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_dataset(40, name="other")
    monkeypatch.setattr(policy, "AT_ONCE", 7)
    for start in range(50, 90, 10):
        press(dataset, list(range(start, start + 10)))
        press(other, list(range(start - 50, start - 40)))
    assert count(dataset) == 40
    monkeypatch.setattr(policy, "MOST_READ", 39)
    assert count(dataset) == 40, "so many that each counts"


def test_the_count_costs_no_more_for_more_labels_before(dataset: Dataset) -> None:
    press(dataset, [50])
    assert (count(dataset), count_queries(count, dataset)) == (1, 3)
    ModelVersion.objects.update(n_decisions=dataset.n_decisions)
    assert (count(dataset), count_queries(count, dataset)) == (0, 1)


def test_the_page_says_in_how_many_more_labels(dataset: Dataset, client: Client) -> None:
    press(dataset, list(range(50, 54)))
    undo(dataset)
    press(dataset, list(range(50, 54)))
    assert "automatically, in 16 more labels" in client.get("/d/pictures/model/").content.decode()
    assert "4 new labels" in client.get("/d/pictures/model/badge/").content.decode()
    press(dataset, list(range(54, 69)))
    assert "automatically, in 1 more label <a" in client.get("/d/pictures/model/").content.decode()
    assert labels_to_go(dataset, policy_of(dataset), ModelVersion.objects.get()) == 1


def test_undone_labels_do_not_retrain(dataset: Dataset) -> None:
    X, _ = two_clouds(100)
    add_vectors(dataset, X)
    assert policy_of(dataset).min_new == 20
    for _ in range(3):
        press(dataset, list(range(50, 65)))
        undo(dataset)
    assert not Job.objects.filter(kind="retrain").exists()
    press(dataset, list(range(50, 69)))
    assert not Job.objects.filter(kind="retrain").exists()
    press(dataset, [69])
    assert Job.objects.filter(kind="retrain").count() == 1
