"""Rename, archive and delete datasets from their page and from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from hoshina.core.roles import Role
from hoshina.jobs.models import Job
from labeling.ingest.dataset_folder import dataset_for
from labeling.ingest.folder_watch import check_due_folders
from labeling.models import Action, Dataset, Item
from modeling.assistive.policy import on_decided
from tests.factories import MakeDataset, MakeFolder, assert_contains, command_json, command_output, fresh, said, text
from tests.modeling.factories import clouds_dataset
from tests.people import account

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("store")]
PAGE = "/d/pictures/manage/"


# -- Rename --------------------------------------------------------------------------------------------
def test_a_new_name_and_the_old_address(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    response = client.post(f"{PAGE}rename/", {"name": "  Night   sky "}, follow=True)
    assert_contains(said(response), "The dataset is now called Night sky.", "Manage · Night sky")
    assert fresh(dataset).slug == "pictures"
    assert client.get("/d/pictures/").status_code == 200
    client.post(f"{PAGE}rename/", {"name": "night sky"})  # its own name in another spelling
    assert fresh(dataset).name == "night sky"


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "a\x07b", "OTHER", "\x00"])
def test_a_name_that_is_refused(client: Client, make_dataset: MakeDataset, name: str) -> None:
    dataset = make_dataset(1)
    make_dataset(1, name="other")
    response = client.post(f"{PAGE}rename/", {"name": name})
    assert_contains(text(response, 422), 'id="rename-error"', "Choose another name.")
    assert fresh(dataset).name == "pictures"


# -- Archive -------------------------------------------------------------------------------------------
def test_an_archived_dataset_is_listed_apart_and_readable(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    make_dataset(1, name="other")
    response = client.post(f"{PAGE}archive/", {"on": "1"}, follow=True)
    page = text(response)
    assert "pictures is archived." in page
    assert page.count('<th scope="row">') == 1
    assert_contains(said(page), "1 archived dataset", "pictures 0 of 3 with a decision, archived")
    assert client.get("/d/pictures/").status_code == 200
    assert "/d/other/" in client.get("/").headers["Location"]
    assert "archived since" in text(client.get(PAGE))
    client.post(f"{PAGE}archive/", {"on": "0"})
    assert fresh(dataset).archived_at is None


def test_archiving_twice_keeps_the_date(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    client.post(f"{PAGE}archive/", {"on": "1"})
    archived_at = fresh(dataset).archived_at
    client.post(f"{PAGE}archive/", {"on": "1"})
    assert archived_at
    assert fresh(dataset).archived_at == archived_at


@pytest.mark.parametrize("is_archived", [False, True])
def test_archived_datasets_are_neither_scanned_nor_retrained(
    make_dataset: MakeDataset, picture_folder: MakeFolder, is_archived: bool
) -> None:
    picture_folder(2)
    dataset, _ = clouds_dataset(make_dataset, 40, n_labeled=30)
    Job.objects.all().delete()
    call_command("dataset", "pictures", "--archive" if is_archived else "--unarchive")
    Dataset.objects.update(is_watched=True, last_look="")
    for file in Path(dataset.root).iterdir():
        file.touch()
        import os

        os.utime(file, (1_700_000_000, 1_700_000_000))
    check_due_folders()
    on_decided(None, dataset.pk, 10**6)
    assert set(Job.objects.values_list("kind", flat=True)) == (set() if is_archived else {"ingest", "retrain"})


# -- Delete --------------------------------------------------------------------------------------------
def test_the_page_says_what_will_be_deleted_and_offers_the_export(client: Client, make_dataset: MakeDataset) -> None:
    make_dataset(3)
    page = text(client.get(PAGE))
    assert_contains(page, 'href="/d/pictures/export/"', "Export the labels first", "Type <b>pictures</b> to confirm")
    assert_contains(said(page), "3 items with their history", "Image files are never touched", "0 models")


@pytest.mark.parametrize("name", ["", "picture", "PICTURES", "other"])
def test_the_name_has_to_be_typed(client: Client, make_dataset: MakeDataset, name: str) -> None:
    make_dataset(3)
    response = client.post(f"{PAGE}delete/", {"name": name})
    assert_contains(text(response, 422), 'id="delete-error"', "Type the name of the dataset, pictures")
    assert not Job.objects.exists()


def test_a_deleted_dataset_disappears_at_once(
    client: Client, make_dataset: MakeDataset, picture_folder: MakeFolder
) -> None:
    dataset = make_dataset(3)
    Dataset.objects.update(root=str(picture_folder(1).resolve()))
    response = client.post(f"{PAGE}delete/", {"name": "pictures "}, follow=True)
    assert "Deleting pictures. The Jobs page shows the progress." in said(response)
    assert text(response).count('<th scope="row">') == 0
    for path in (PAGE, "/d/pictures/", "/d/pictures/classes/"):
        assert client.get(path).status_code == 404
    job = Job.objects.get()
    assert (job.kind, job.dataset_id, job.params, job.queue) == (
        "delete_dataset",
        dataset.pk,
        {"name": "pictures"},
        "heavy",
    )
    with pytest.raises(CommandError, match="There is no dataset yet"):
        call_command("dataset", "pictures")
    # The folder can be added again under the same name meanwhile.
    again = dataset_for(fresh(dataset).root)
    assert (again.name, again.slug) == ("pictures", "pictures")


@pytest.mark.parametrize(
    ("role", "deletes"), [(Role.LABELER, False), (Role.MANAGER, False), (Role.ADMINISTRATOR, True)]
)
def test_only_administrators_delete(
    client: Client, make_dataset: MakeDataset, settings: Any, role: Role, deletes: bool
) -> None:
    settings.LOGIN_REQUIRED = True
    make_dataset(3)
    client.force_login(account(role))
    assert client.post(f"{PAGE}delete/", {"name": "pictures"}).status_code == (302 if deletes else 403)
    assert Dataset.objects.present().exists() is not deletes
    assert Job.objects.exists() is deletes


# -- The command -----------------------------------------------------------------------------------------
def test_the_command(make_dataset: MakeDataset) -> None:
    make_dataset(3)
    facts = json.loads(command_output("dataset", "pictures", "--json"))
    assert {
        "dataset": "pictures",
        "slug": "pictures",
        "archived": False,
        "items": 3,
        "decided": 0,
    }.items() <= facts.items()
    assert "sky: 3 items" in command_output("dataset", "pictures", "--rename", "sky")
    assert "sky (archived)" in command_output("dataset", "sky", "--archive")
    assert "(archived)" not in command_output("dataset", "sky", "--unarchive")
    with pytest.raises(CommandError, match="Choose another name"):
        call_command("dataset", "sky", "--rename", "")
    with pytest.raises(CommandError, match=r"would delete sky .* add --yes"):
        call_command("dataset", "sky", "--delete")
    assert Item.objects.count() == 3
    result = json.loads(command_output("dataset", "sky", "--delete", "--yes", "--json"))
    assert (result["dataset"], result["items"]) == ("sky", 3)
    assert set(result) == {"dataset", "items", "freed_bytes", "reusable_bytes"}
    assert not Dataset.objects.exists()
    assert not Action.objects.exists()


def test_a_dataset_is_described_for_its_exports(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(2)
    texts = {"description": " Stars\r\nand galaxies ", "license": "CC-BY-4.0", "citation": "@misc{a}"}
    client.post(f"/d/{dataset.slug}/manage/describe/", texts)
    page = text(client.get(f"/d/{dataset.slug}/manage/"))
    assert_contains(page, ">Stars\nand galaxies</textarea>", 'value="CC-BY-4.0"', "@misc{a}</textarea>")
    refused = client.post(f"/d/{dataset.slug}/manage/describe/", texts | {"license": "x" * 201})
    assert refused.status_code == 422
    assert_contains(text(refused), "The license has 201 characters. Use at most 200.", "Stars")
    dataset.refresh_from_db()
    assert dataset.license == "CC-BY-4.0"
    result = command_json("dataset", dataset.name, "--citation", "Doe 2026")
    assert (result["citation"], result["description"]) == ("Doe 2026", "Stars\nand galaxies")
