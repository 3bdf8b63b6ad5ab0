"""The page on which files are grouped: a trial while a template is typed, and the job that does it."""

from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from hoshina.core.roles import Role
from hoshina.jobs.models import Job
from labeling.ingest.grouping_preview import suggest
from labeling.models import Dataset, Item, State
from labeling.views import grouping as views
from tests import factories
from tests.factories import assert_contains
from tests.labeling.groups import FLAT, ingest_groups, write_triplets
from tests.people import account

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    write_triplets(tmp_path / "in", range(4))
    (tmp_path / "in" / "sn1_ref.png").unlink()
    ingest_groups(tmp_path / "in")
    return Dataset.objects.get()


def text(response: HttpResponse, status: int | None = None) -> str:
    return " ".join(unescape(factories.text(response, status)).split())


def page(dataset: Dataset) -> str:
    return reverse("labeling:grouping", args=[dataset.slug])


def trial(dataset: Dataset) -> str:
    return reverse("labeling:grouping_trial", args=[dataset.slug])


def test_the_page_proposes_what_fits_and_tells_what_is_so_now(client: Client, dataset: Dataset) -> None:
    assert_contains(text(client.get(page(dataset))), "<code>{id}_{role}.png</code>", "Each file is an item.")
    found = text(client.get(page(dataset), {"template": FLAT}))
    assert_contains(found, 'value="{id}_{role}.png"', "<b>4 items</b>: 3 complete, 1 incomplete")
    ingest_groups(dataset.data_dir, "{id}_{role:target,diff}.png")
    assert_contains(text(client.get(page(dataset))), 'value="{id}_{role}.png"', 'value="target, diff"')


def test_the_trial_is_a_fragment_that_writes_nothing(client: Client, dataset: Dataset) -> None:
    before = list(Item.objects.values()), list(Dataset.objects.values()), Job.objects.count()
    found = text(client.get(trial(dataset), {"template": FLAT, "roles": "target, ref"}))
    assert found.startswith('<section id="grouping-trial"')
    assert "11 files → <b>4 items</b>: 3 complete, 1 incomplete; 4 files left out." in found
    assert '<bdi>sn1</bdi> <span class="hint">no ref</span>' in found
    assert "Its role would be “diff”, which is not one of target, ref." in found
    assert (list(Item.objects.values()), list(Dataset.objects.values()), Job.objects.count()) == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"template": "{id}.png"}, "The template must contain {role}."),
        ({"template": FLAT, "roles": "a,,b"}, "is not a valid role name"),
        ({"template": ""}, "Each file is an item."),
        ({"template": "{id}x{role}.png"}, "11 files → <b>0 items</b>; 11 files left out."),
        ({"template": FLAT + "\x00"}, "Null characters"),
        ({"template": "<b>{id}{role}"}, "between {id} and {role}"),
    ],
)
def test_a_trial_of_what_cannot_be_says_so(client: Client, dataset: Dataset, given: dict[str, str], words: str) -> None:
    assert words in text(client.get(trial(dataset), given))


def test_a_trial_of_very_many_files_stops_in_time(
    client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_TRIAL_SECONDS", 0)
    write_triplets(dataset.data_dir, range(4, 100), roles=("ref",))
    write_triplets(dataset.data_dir, range(100, 350), roles=("diff",))
    assert "the first files of this large folder" in text(client.get(trial(dataset), {"template": FLAT}))


def test_grouping_is_a_job_that_reads_the_folder(client: Client, dataset: Dataset) -> None:
    Job.objects.create(
        kind="ingest", dataset_id=dataset.pk, state=Job.State.SUCCEEDED, params={"extensions": [".png"]}, queue="heavy"
    )
    response = client.post(page(dataset), {"template": f" {FLAT} ", "roles": "target,ref"})
    assert (response.status_code, response.headers["Location"]) == (302, f"/d/{dataset.slug}/")
    job = Job.objects.get(kind="ingest", state=Job.State.QUEUED)
    assert job.params == {"extensions": [".png"], "grouping": "{id}_{role:target,ref}.png"}
    # While that waits or runs its template could not be changed.
    response = client.post(page(dataset), {"template": FLAT})
    assert (response.status_code, "is being read" in text(response)) == (422, True)


def test_labels_that_would_be_lost_are_told_before_anything_is_done(client: Client, dataset: Dataset) -> None:
    Item.objects.filter(path="sn0_ref.png").update(state=State.UNSURE)
    Dataset.objects.update(n_unsure=1)
    assert "1 item has a decision" in text(client.get(page(dataset)))
    response = text(client.post(page(dataset), {"template": FLAT}), 422)
    assert_contains(response, "1 image of in has a decision", "import the labels.csv")
    assert not Job.objects.filter(kind="ingest").exists()


def test_only_managers_may(client: Client, dataset: Dataset, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    client.force_login(account(Role.LABELER))
    assert "Only managers may change how files are grouped." in text(client.get(page(dataset)))
    assert client.post(page(dataset), {"template": FLAT}).status_code == 403
    client.force_login(account(Role.MANAGER))
    assert client.post(page(dataset), {"template": FLAT}).status_code == 302


def test_a_folder_that_is_gone_is_told(client: Client, dataset: Dataset) -> None:
    dataset.data_dir.rename(dataset.data_dir.with_name("gone"))
    assert "does not exist" in text(client.get(page(dataset)))
    assert client.get(trial(dataset), {"template": FLAT}).status_code == 200


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([f"sn_{number}_{role}.fits.gz" for number in range(9) for role in ("a", "b")], ["{id}_{role}.fits.gz"]),
        ([f"n/{role}/{number}.png" for number in range(9) for role in ("a", "b")], ["{role}/{id}.png"]),
        ([f"n/x{number}/{role}.png" for number in range(9) for role in ("a", "b")], ["{id}/{role}.png"]),
        ([f"{role}-{number}.png" for number in range(9) for role in ("a", "b")], ["{role}-{id}.png"]),
        ([f"image{number:04}.png" for number in range(20)], []),
        ([f"image_{number:04}.png" for number in range(20)], []),
        ([f"field-{number}.{band}.png" for number in range(20) for band in "gri"][:-1], ["{id}.{role}.png"]),
        ([], []),
        (["a", ".b", "c.{d}"], []),
    ],
)
def test_templates_are_proposed_that_most_names_fit(paths: list[str], expected: list[str]) -> None:
    assert suggest(paths) == expected
    are_common = any("{id}.{role}" in template for template in expected)  # the bands g, r and i
    assert suggest(paths, is_usual=True) == (expected if are_common else [])
