"""Home, the list of datasets, adding a folder, and the Problems page."""

from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from hoshina.core.roles import Role
from hoshina.jobs.models import Job
from labeling.models import Action, Dataset, Problem
from labeling.views import datasets as views
from tests.factories import MakeDataset, MakeFolder, assert_contains, count_queries, decide, text
from tests.people import account

pytestmark = pytest.mark.django_db

HOME, DATASETS = "/", "/datasets/"
PROBLEMS = "/d/pictures/problems/"


# -- Home -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["uv run hoshina", "hoshina"])
def test_home_without_datasets_offers_three_ways_to_begin(client: Client, settings: Any, command: str) -> None:
    assert settings.COMMAND == "uv run hoshina", "the tests run in a checkout"
    settings.COMMAND = command
    page = client.get(HOME)
    assert_contains(page, "Open a folder", "Upload images", "Try the demo", 'name="folder"', f">{command} up FOLDER<")


@pytest.fixture
def three(make_dataset: MakeDataset) -> list[Dataset]:
    return [make_dataset(1, name=name) for name in ("first", "second", "third")]


@pytest.mark.usefixtures("three")
def test_home_leads_to_the_newest_dataset_and_then_to_the_one_used_last(client: Client) -> None:
    assert client.get(HOME).headers["Location"] == "/d/third/"
    client.get("/d/second/classes/")
    assert client.get(HOME).headers["Location"] == "/d/second/"
    Dataset.objects.get(slug="second").delete()
    assert client.get(HOME).headers["Location"] == "/d/third/"


@pytest.mark.usefixtures("three")
def test_home_leads_to_the_dataset_that_the_address_asks_for(client: Client) -> None:
    client.get("/d/second/classes/")
    assert client.get(HOME, {"dataset": "first"}).headers["Location"] == "/d/first/"
    for unknown in ("nowhere", "no\x00where", "\x00"):
        assert client.get(HOME, {"dataset": unknown}).headers["Location"] == "/d/second/"


def test_home_and_datasets_refuse_other_methods(client: Client) -> None:
    assert client.post(HOME).status_code == 405
    assert client.put(DATASETS).status_code == 405


# -- The list -------------------------------------------------------------------------------------
def test_the_list_shows_how_far_each_dataset_is(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(10)
    Dataset.objects.update(n_items=12345, n_labelled=1000, n_unsure=200, n_skipped=34, n_missing=7)
    for number in range(3):
        Problem.objects.create(dataset=dataset, path=f"{number}", reason="empty")
    make_dataset(0, name="empty")
    found = text(client.get(DATASETS))
    assert_contains(found, "1,234 of 12,345", 'max="12345" value="1234"', "11,111", "7 missing")
    assert f'<a href="{PROBLEMS}">3</a>' in found
    assert found.count('<th scope="row">') == 2


def test_the_list_asks_the_database_as_often_for_many(client: Client, make_dataset: MakeDataset) -> None:
    asked = []
    client.get(DATASETS)
    for names, n in ((["a"], 10), (["b", "c", "d", "e"], 200)):
        for name in names:
            dataset = make_dataset(n, name=name)
            Problem.objects.bulk_create(Problem(dataset=dataset, path=f"{i}", reason="x") for i in range(n))
        asked.append(count_queries(client.get, DATASETS))
    assert asked[0] == asked[1] == 9


# -- Adding a folder ------------------------------------------------------------------------------
def test_a_folder_is_added_and_read(client: Client, picture_folder: MakeFolder, store: Path) -> None:
    folder = picture_folder(3)
    response = client.post(DATASETS, {"folder": f" {folder} ", "name": "Holiday  pictures"})
    dataset = Dataset.objects.get()
    assert (response.status_code, response.headers["Location"]) == (302, dataset.get_absolute_url())
    assert (dataset.name, dataset.root) == ("Holiday pictures", str(folder.resolve()))
    job = Job.objects.get()
    assert (job.kind, job.dataset_id, job.created_by) == ("ingest", dataset.pk, User.objects.get())
    assert client.get(HOME).headers["Location"] == dataset.get_absolute_url()


def test_without_a_name_it_is_called_after_the_folder(client: Client, picture_folder: MakeFolder, store: Path) -> None:
    client.post(DATASETS, {"folder": str(picture_folder(1, name="Sky & Sea"))})
    assert Dataset.objects.get().name == "Sky & Sea"


def test_folders_that_cannot_be_added_are_refused_in_words(
    client: Client, tmp_path: Path, store: Path, make_dataset: MakeDataset
) -> None:
    make_dataset(1, name="taken")
    (tmp_path / "file.png").write_bytes(b"")
    (store / "inner").mkdir()
    for data, words in (
        ({}, "Enter the folder's path."),
        ({"folder": "relative/path"}, "Enter the full path"),
        ({"folder": str(tmp_path / "gone")}, "does not exist"),
        ({"folder": str(tmp_path / "file.png")}, "is a file"),
        ({"folder": "~nobody-of-that-name/x"}, "no such home folder"),
        ({"folder": str(store / "inner")}, "HOSHINA stores its own files there"),
        ({"folder": str(store)}, "HOSHINA stores its own files there"),
        ({"folder": str(tmp_path), "name": "TAKEN"}, "There is already a dataset"),
        ({"folder": str(tmp_path), "name": "x" * 121}, "at most 120 characters"),
        ({"folder": "/a\x00b"}, "Null characters are not allowed"),
    ):
        response = client.post(DATASETS, data)
        assert response.status_code == 422, data
        assert words in unescape(text(response)), data
    assert Dataset.objects.count() == 1
    assert not Job.objects.exists()


def test_what_was_typed_comes_back_escaped(client: Client) -> None:
    found = text(client.post(DATASETS, {"folder": '"><script>alert(1)</script>'}))
    assert_contains(found, "&quot;&gt;&lt;script&gt;", lacks=["<script>alert"])


def test_only_administrators_add_folders(
    client: Client, picture_folder: MakeFolder, store: Path, settings: object
) -> None:
    settings.LOGIN_REQUIRED = True  # type: ignore[attr-defined]
    folder = str(picture_folder(1))
    client.force_login(account(Role.MANAGER))
    assert 'name="folder"' not in text(client.get(DATASETS))
    assert client.post(DATASETS, {"folder": folder}).status_code == 403
    assert not Dataset.objects.exists()
    client.force_login(account(Role.ADMINISTRATOR))
    assert 'name="folder"' in text(client.get(DATASETS))
    assert client.post(DATASETS, {"folder": folder}).status_code == 302


def test_no_folder_is_added_while_one_stands_for_all(client: Client, tmp_path: Path, settings: object) -> None:
    settings.DATA_DIR = tmp_path  # type: ignore[attr-defined]
    assert_contains(client.get(DATASETS), "AL_DATA_DIR is set", lacks=['name="folder"'])
    assert client.post(DATASETS, {"folder": str(tmp_path)}).status_code == 403


# -- Problems -------------------------------------------------------------------------------------
def test_no_problems_is_said(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    assert "Every image file found could be read." in text(client.get(PROBLEMS))
    Dataset.objects.update(n_items=0)
    assert "Nothing has been read yet." in text(client.get(PROBLEMS))
    Problem.objects.create(dataset=dataset, path=".", reason="The folder does not exist.")
    assert "The folder itself" in text(client.get(PROBLEMS))


def test_problems_are_grouped_by_reason(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(3)
    for path, reason in (("c.png", "empty"), ("a.png", "empty"), ("b.png", "truncated"), ("d.png", "empty")):
        Problem.objects.create(dataset=dataset, path=path, reason=reason)
    Problem.objects.create(dataset=make_dataset(1, name="other"), path="elsewhere.png", reason="empty")
    found = text(client.get(PROBLEMS))
    assert found.index("a.png") < found.index("c.png") < found.index("d.png") < found.index("b.png")
    assert found.count("<h2>empty</h2>") == 1
    assert_contains(found, '<td class="number">3</td>', lacks=["elsewhere"])
    assert_contains(client.get(PROBLEMS, {"reason": "truncated"}), "b.png", lacks=["a.png"])


def test_names_with_markup_and_newlines_are_harmless(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    for path, shown in (
        ("<script>alert(1)</script>.png", "&lt;script&gt;alert(1)&lt;/script&gt;.png"),
        ("two\nlines\r.png", r"two\nlines\r.png"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("family \U0001f469\u200d\U0001f469.png", "family \U0001f469\u200d\U0001f469.png"),
        ("{{ form }}{% x %}.png", "{{ form }}{% x %}.png"),
    ):
        Problem.objects.create(dataset=dataset, path=path, reason="<b>why</b>")
        found = text(client.get(PROBLEMS))
        assert shown in found
        assert_contains(found, lacks=["<script>alert", "<b>why"])


def test_many_problems_are_paged_without_gaps(
    client: Client, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PROBLEMS_ON_PAGE", 10)
    dataset = make_dataset(1)
    paths = [f"a&b={number:03}\n.png" for number in range(35)]
    Problem.objects.bulk_create(
        Problem(dataset=dataset, path=path, reason=f"reason {number % 2}") for number, path in enumerate(paths)
    )
    for query, expected in (("", 35), ("?reason=reason+0", 18)):
        seen: list[str] = []
        page = PROBLEMS + query
        while page:
            found = text(client.get(page))
            now = [number for number in range(35) if f"a&amp;b={number:03}" in found]
            assert len(now) <= 10
            seen += [f"{number}" for number in now]
            following = found.partition('rel="next" href="')[2].partition('"')[0]
            page = urlsplit(PROBLEMS)._replace(query=unescape(following).lstrip("?")).geturl() if following else ""
        assert len(seen) == len(set(seen)) == expected


def test_reasons_are_counted_among_a_bounded_number(
    client: Client, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "REASONS_AMONG", 5)
    dataset = make_dataset(1)
    Problem.objects.bulk_create(Problem(dataset=dataset, path=f"{i}", reason="x") for i in range(9))
    assert_contains(client.get(PROBLEMS), "Counts cover the first 5 files.", '<td class="number">5</td>')


def test_problems_ask_the_database_as_often_for_many(client: Client, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(1)
    client.get(PROBLEMS)
    asked = []
    for n in (10, 200):
        Problem.objects.bulk_create(Problem(dataset=dataset, path=f"{n} {i}", reason=f"r{i}") for i in range(n))
        asked.append(count_queries(client.get, PROBLEMS))
    assert asked[0] == asked[1] == 7


@pytest.mark.parametrize("query", [{"after": "\x00"}, {"reason": "\x00"}, {"after": "zzzz"}, {"reason": "none"}])
def test_odd_addresses_of_problems_are_no_error(
    client: Client, make_dataset: MakeDataset, query: dict[str, str]
) -> None:
    Problem.objects.create(dataset=make_dataset(1), path="a.png", reason="empty")
    assert client.get(PROBLEMS, query).status_code == 200


def test_the_folder_is_read_again_once(client: Client, make_dataset: MakeDataset, store: Path) -> None:
    dataset = make_dataset(1)
    page = reverse("labeling:read_again", args=["pictures"])
    assert client.get(page).status_code == 405
    for _ in range(2):
        response = client.post(page, follow=True)
        assert response.redirect_chain == [(PROBLEMS, 302)]
        assert "The Jobs page shows the progress." in text(response)
    job = Job.objects.get()
    assert (job.kind, job.dataset_id) == ("ingest", dataset.pk)


def test_addresses_of_unknown_datasets(client: Client) -> None:
    assert client.get("/d/nowhere/problems/").status_code == 404
    assert client.post("/d/nowhere/problems/read-again/").status_code == 404


def test_the_list_shows_a_cover_and_the_last_activity(client: Client, make_dataset: MakeDataset) -> None:
    dataset, _ = make_dataset(4), make_dataset(2, name="quiet")
    pictures, quiet = client.get(DATASETS).context["datasets"]
    assert (pictures.cover.item.row, pictures.last_activity) == (0, None)
    decide(dataset, "assign", [2], "cat")
    pictures, quiet = client.get(DATASETS).context["datasets"]
    assert pictures.cover.item.row == 2, "the first labeled item"
    assert pictures.last_activity == Action.objects.get().created_at
    assert quiet.cover.item.row == 0
    assert_contains(client.get(DATASETS), f'src="/api/thumb/{pictures.cover.item_id}', "never")
