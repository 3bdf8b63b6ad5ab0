"""The workbench's page and the header that refreshes itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from tests.factories import MakeDataset, assert_contains

pytestmark = pytest.mark.django_db


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    dataset = make_dataset(12)
    Dataset.objects.filter(pk=dataset.pk).update(n_items=12_345, n_labelled=1_204, n_unsure=12, n_skipped=3)
    return dataset


def test_the_page_names_its_parts(client: Client, dataset: Dataset) -> None:
    LabelClass.objects.create(dataset=dataset, name="<b>bold</b>", colour="#4477AA", order=5)
    LabelClass.objects.create(dataset=dataset, name="gone", colour="#4477AA", order=6, is_retired=True)
    html = client.get("/d/pictures/").content.decode()
    assert "<!doctype html>" in html
    assert (
        '<b data-count="labelled">1,204</b><span class="of-items"> of <span data-count="items">12,345</span></span>'
        in html
    )
    assert_contains(html, 'value="1219" max="12345"', "&lt;b&gt;bold&lt;/b&gt;")
    assert_contains(html, 'data-annotate="/d/pictures/annotate/"', lacks=["<b>bold</b>", "gone"])


def test_nothing_on_the_page_needs_an_inline_script(client: Client, dataset: Dataset) -> None:
    response = client.get("/d/pictures/")
    html = response.content.decode()
    assert all("src=" in tag for tag in html.split("<script")[1:])
    assert "hx-on" not in html
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


def test_the_header_refreshes_with_the_classes_out_of_band(client: Client, dataset: Dataset) -> None:
    response = client.get("/d/pictures/header/", headers={"HX-Request": "true"})
    html = response.content.decode()
    assert html.strip().startswith('<div id="header"')
    assert '<ul id="class-pane" class="classes" hx-swap-oob="true">' in html
    assert "HX-Request" in response.headers["Vary"]
    assert "<html" not in html


def test_the_header_asks_for_itself_while_the_folder_is_read(client: Client, dataset: Dataset) -> None:
    polling = 'hx-trigger="every 2s, '
    assert polling not in client.get("/d/pictures/").content.decode()
    job = Job.objects.create(kind="ingest", queue="heavy", dataset_id=dataset.pk, key="ingest", state=Job.State.RUNNING)
    response = client.get("/d/pictures/header/", headers={"HX-Request": "true"})
    assert polling in response.content.decode()
    assert response.headers["HX-Trigger"] == "hoshina:job"
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUCCEEDED)
    response = client.get("/d/pictures/header/", headers={"HX-Request": "true"})
    assert polling not in response.content.decode()
    assert "HX-Trigger" not in response.headers


def test_an_empty_folder_is_not_asked_about_for_ever(client: Client, dataset: Dataset) -> None:
    Dataset.objects.filter(pk=dataset.pk).update(n_items=0, created_at=timezone.now())
    assert "every 2s" in client.get("/d/pictures/").content.decode()
    Dataset.objects.filter(pk=dataset.pk).update(created_at=timezone.now() - timedelta(minutes=2))
    assert "every 2s" not in client.get("/d/pictures/").content.decode()


def test_a_folder_that_could_not_be_read_is_not_being_read(client: Client, dataset: Dataset) -> None:
    Dataset.objects.filter(pk=dataset.pk).update(n_items=0, created_at=timezone.now())
    Job.objects.create(kind="ingest", queue="heavy", dataset_id=dataset.pk, key="", state=Job.State.FAILED)
    response = client.get("/d/pictures/header/", headers={"HX-Request": "true"})
    assert "every 2s" not in response.content.decode()
    assert "HX-Trigger" not in response.headers


def test_one_dataset_has_no_switcher_and_two_have_one(
    client: Client, dataset: Dataset, make_dataset: MakeDataset
) -> None:
    assert "choose another" not in client.get("/d/pictures/").content.decode()
    make_dataset(1, name="others")
    assert_contains(client.get("/d/pictures/"), "choose another", 'href="/d/others/"')


def test_queries_do_not_grow(
    client: Client, dataset: Dataset, make_dataset: MakeDataset, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client.get("/d/pictures/")
    for number in range(12):
        make_dataset(1, name=f"other{number}")
        LabelClass.objects.create(dataset=dataset, name=f"class {number}", colour="#4477AA", order=number)
    with django_assert_max_num_queries(6):  # session, user, and this page's four
        client.get("/d/pictures/")


@pytest.mark.parametrize("path", ["/d/nowhere/", "/d/nowhere/header/"])
def test_an_unknown_dataset_is_not_there(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_who_is_not_signed_in_signs_in_first(client: Client, dataset: Dataset, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    page = client.get("/d/pictures/", headers={"Accept": "text/html"})
    assert page.status_code == 302
    assert page.headers["Location"] == "/sign-in/?next=/d/pictures/"
    assert client.get("/d/pictures/header/", headers={"HX-Request": "true"}).status_code == 401


def test_only_reading(client: Client, dataset: Dataset) -> None:
    assert client.post("/d/pictures/").status_code == 405
