"""Test the import of a record on the page and through the API."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from hoshina.core.errors import Refusal
from hoshina.core.roles import Role
from labeling.history import archive
from labeling.history.archive import ExportFiles, is_record
from labeling.models import Annotation, Dataset
from tests.api.clients import Program, problem, read
from tests.factories import MakeDataset, archive_bytes, assert_contains, decide, text
from tests.people import account

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def sent(exported: Path) -> SimpleUploadedFile:
    return SimpleUploadedFile("export.zip", exported.read_bytes(), "application/zip")


@pytest.fixture
def dataset(exported: Path, store: Path, make_dataset: MakeDataset, empty_store: Callable[[], None]) -> Dataset:
    """Provide the same images, without decisions and classes."""
    empty_store()
    return make_dataset(40, classes=())


def url(dataset: Dataset, name: str) -> str:
    return reverse(f"labeling:{name}", args=[dataset.slug])


def previewed(client: Client, dataset: Dataset, sent: SimpleUploadedFile) -> Any:
    """Upload the file, and return the page with its preview."""
    return client.get(client.post(url(dataset, "import"), {"file": sent}, headers=HTMX)["HX-Redirect"])


def test_the_page_shows_a_record_and_imports_it_on_request(
    client: Client, dataset: Dataset, sent: SimpleUploadedFile
) -> None:
    client.force_login(account(Role.ADMINISTRATOR, "ana"))
    page = previewed(client, dataset, sent)
    said = " ".join(text(page, 200).split())
    assert_contains(
        said, "export.zip: record of decisions", "about 35 images", "<dd>cat, =dog, owl</dd>", "<dd>ana, ben</dd>",
        "1 of these people have no account", "with which nobody can sign in: ben.",
    )  # fmt: skip
    assert Annotation.objects.count() == dataset.classes.count() == 0
    done = client.post(url(dataset, "import_apply"), {"upload": page.context["token"]}, headers=HTMX)
    n_decisions = Annotation.objects.count()
    assert_contains(
        " ".join(text(done, 200).split()), f"{n_decisions} decisions about 35 images were restored, with 4 classes.",
        "Inactive accounts created, with which nobody can sign in: ben.",
    )  # fmt: skip
    assert n_decisions > 30
    assert "hoshina:labels" in done["HX-Trigger"]
    assert not User.objects.get(username="ben").is_active
    # It was deleted, and the dataset has decisions now.
    assert "no longer here" in text(client.post(url(dataset, "import_apply"), {"upload": page.context["token"]}), 422)


def test_only_an_administrator_creates_accounts(client: Client, dataset: Dataset, sent: SimpleUploadedFile) -> None:
    client.force_login(account(Role.MANAGER, "ana"))
    page = previewed(client, dataset, sent)
    assert_contains(text(page, 200), "Ask an administrator to import the record", 'class="button primary" disabled')
    refused = client.post(url(dataset, "import_apply"), {"upload": page.context["token"]}, headers=HTMX)
    assert_contains(text(refused, 422), "The record has 1 person without an account, such as ben.")
    assert Annotation.objects.count() == dataset.classes.count() == 0
    User.objects.create_user("ben")
    client.post(url(dataset, "import_apply"), {"upload": page.context["token"]}, headers=HTMX)
    assert Annotation.objects.filter(annotator__username="ben").exists()


def test_a_record_that_does_not_fit_is_refused_in_the_preview(
    client: Client, dataset: Dataset, sent: SimpleUploadedFile, make_dataset: MakeDataset
) -> None:
    client.force_login(account(Role.ADMINISTRATOR, "ana"))
    few = make_dataset(30, name="few", classes=())
    assert_contains(text(previewed(client, few, sent), 422), "images of the record are not in this dataset")
    other = make_dataset(40, name="other")
    sent.seek(0)
    assert_contains(text(previewed(client, other, sent), 422), "The dataset has classes already")
    decide(other, "assign", [0], "cat")
    sent.seek(0)
    assert_contains(text(previewed(client, other, sent), 422), "The dataset has decisions already")


def test_programs_import_a_record(dataset: Dataset, sent: SimpleUploadedFile, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    path = f"datasets/{dataset.slug}/labels"

    def post(program: Program, **options: Any) -> Any:
        sent.seek(0)
        return program.client.post(f"/api/v1/{path}", {"file": sent, **options}, headers=program.headers)

    manager, administrator = Program(account(Role.MANAGER, "ana")), Program(account(Role.ADMINISTRATOR, "root"))
    found = read(post(manager, preview=True))
    assert (found["items"], found["classes"], found["new_people"]) == (35, ["cat", "=dog", "owl"], ["ben"])
    assert "1 person without an account" in problem(post(manager), 422)["detail"]
    assert problem(post(administrator, create_classes=True), 422)["field"] == "create_classes"
    assert Annotation.objects.count() == 0
    assert read(post(administrator))["decisions"] == Annotation.objects.count() > 30
    assert "has decisions already" in problem(post(administrator), 422)["detail"]


def zipped(**files: bytes) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        for name, content in files.items():
            written.writestr(name.replace("_", "."), content)
    return stream


def test_what_is_taken_for_a_record(dataset: Dataset, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with exported.open("rb") as stream:
        assert is_record(stream)
        assert stream.tell() == 0
        monkeypatch.setattr(archive, "_MOST_LISTED", 100)
        assert not is_record(stream)  # a list of members that would fill the memory is not read
    monkeypatch.undo()
    assert is_record(zipped(manifest_json=b"{}", annotations_csv=b""))
    for content in (zipped(manifest_json=b"{}"), zipped(), io.BytesIO(b"path,label\n"), io.BytesIO(b"PK\5\6")):
        assert not is_record(content)
    assert not is_record(io.BytesIO(archive_bytes(dataset)))


def test_files_that_would_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ExportFiles(zipfile.ZipFile(zipped(manifest_json=b'{"files": {}}', a_csv=b"x" * 200, b_csv=b"y\n" * 50)))
    monkeypatch.setattr(archive, "_MAX_LINE", 100)
    monkeypatch.setattr(archive, "_MAX_WHOLE", 150)
    with pytest.raises(Refusal, match=r"a\.csv has a line of more than 100 bytes"):
        list(files.lines("a.csv"))
    with pytest.raises(Refusal, match=r"a\.csv has more than 0 MiB"):
        files.read("a.csv")
    assert list(files.lines("b.csv")) == [b"y\n"] * 50
