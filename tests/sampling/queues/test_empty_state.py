"""What a page says in place of images when a dataset has none."""

import pytest
from django.test import Client

from hoshina.jobs.models import Job
from labeling.models import Dataset
from tests.factories import MakeDataset, assert_contains

pytestmark = pytest.mark.django_db


@pytest.fixture
def empty(make_dataset: MakeDataset) -> Dataset:
    return make_dataset(0)


def page(client: Client, queue: str = "random") -> str:
    return client.get(f"/d/pictures/grid/?queue={queue}").content.decode()


def ingest(dataset: Dataset, state: str, **fields: str) -> None:
    Job.objects.create(kind="ingest", queue="heavy", dataset_id=dataset.pk, key="ingest", state=state, **fields)


def test_a_folder_that_is_about_to_be_read_is_waited_for(client: Client, empty: Dataset) -> None:
    assert "Reading the folder" in page(client)
    ingest(empty, Job.State.RUNNING)
    assert_contains(page(client), "Reading the folder", "data-waiting")


def test_a_folder_that_could_not_be_read_says_why(client: Client, empty: Dataset) -> None:
    ingest(empty, Job.State.FAILED, error="The folder /away does not exist.", hint="Name it again.")
    html = page(client)
    assert_contains(html, "The folder /away does not exist. Name it again.", 'href="/jobs/"', lacks=["data-waiting"])


def test_a_folder_without_images_points_to_its_problems(client: Client, empty: Dataset) -> None:
    ingest(empty, Job.State.SUCCEEDED)
    assert_contains(page(client), "No images found", 'href="/d/pictures/problems/"')


def test_no_check_waits_is_said_whatever_state_is_shown(client: Client, make_dataset: MakeDataset) -> None:
    make_dataset(3)
    assert "No checks are waiting" in page(client, "checks")
