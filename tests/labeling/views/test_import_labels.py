"""Importing labels on the page: the file, its preview, and the import."""

import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from hoshina.core.roles import Role
from labeling.importing import uploads
from labeling.models import Annotation, Dataset, Item, LabelClass, State
from tests.factories import MakeDataset, assert_contains, decide, text
from tests.people import account

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
LINE = b"path,label\nimage0019.png,dog\n"


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset) -> Dataset:
    """Provide twenty items: ten cats, five dogs, one unsure, one skipped."""
    dataset = make_dataset(20)
    decide(dataset, "assign", range(10), "cat")
    decide(dataset, "assign", range(10, 15), "dog")
    decide(dataset, "unsure", [15])
    decide(dataset, "skip", [16])
    return dataset


def text_of(response: HttpResponse, status: int | None = None) -> str:
    return " ".join(text(response, status).split())


def url(dataset: Dataset, name: str = "import") -> str:
    return reverse(f"labeling:{name}", args=[dataset.slug])


def upload(client: Client, dataset: Dataset, content: bytes, name: str = "labels.csv") -> HttpResponse:
    response = client.post(url(dataset), {"file": SimpleUploadedFile(name, content)}, headers=HTMX)
    assert isinstance(response, HttpResponse)
    return response


def opened(client: Client, dataset: Dataset, content: bytes, name: str = "labels.csv") -> tuple[str, HttpResponse]:
    """Upload a file, and return its token and the page with its preview."""
    address = upload(client, dataset, content, name)["HX-Redirect"]
    page = client.get(address)
    assert isinstance(page, HttpResponse)
    return page.context["token"], page


def load(client: Client, dataset: Dataset, content: bytes, **answers: str) -> HttpResponse:
    """Upload a file and import it with the answers of its preview."""
    token, _ = opened(client, dataset, content)
    response = client.post(url(dataset, "import_apply"), {"upload": token} | answers, headers=HTMX)
    assert isinstance(response, HttpResponse)
    return response


def n_kept(store: Path) -> int:
    return len(list((store / "imports").glob("*")))


def test_nothing_is_written_before_the_person_agrees(client: Client, dataset: Dataset, store: Path) -> None:
    before = Annotation.objects.count(), LabelClass.objects.count()
    ana = account(Role.MANAGER, "ana")
    client.force_login(ana)
    content = b"path,label,mass\nimage0019.png,dog,3\nimage0000.png,cat,4\nimage0001.png,emu,5\nno.png,cat,6\n"
    token, page = opened(client, dataset, content)
    said = text_of(page, 200)
    assert_contains(
        said, "4 lines: 1 new label, 1 unchanged, 1 replaced.",
        "New classes: emu (1).", "1 label would be replaced: 1 of someone unnamed", "<code>no.png</code>",
        '<option value="label" selected>', "labels.csv: CSV", lacks=["hx-confirm"],
    )  # fmt: skip
    assert (Annotation.objects.count(), LabelClass.objects.count()) == before
    answers = {"upload": token, "column-0": "image", "column-1": "label", "column-2": "field", "create_classes": "on"}
    again = client.post(url(dataset, "import_preview"), answers, headers=HTMX)
    assert again.content.lstrip().startswith(b'<section id="import-preview"')
    assert_contains(again, "Metadata fields: mass.")
    assert (Annotation.objects.count(), dataset.fields.count()) == (before[0], 0)
    done = client.post(url(dataset, "import_apply"), answers, headers=HTMX)
    assert done.content.lstrip().startswith(b'<div id="import"')
    assert "hoshina:labels" in done["HX-Trigger"]
    assert_contains(text_of(done), "2 applied, 1 unchanged, of 4 lines.", "1 label replaced: 1 of someone unnamed")
    assert Item.objects.get(dataset=dataset, row=19).label == LabelClass.objects.get(name="dog")
    assert Annotation.objects.latest("pk").annotator == ana
    assert dataset.fields.get().name == "mass"
    assert n_kept(store) == 0
    assert_contains(text_of(client.post(url(dataset, "import_apply"), answers), 422), "no longer here")


def test_classes_are_created_only_if_wanted(client: Client, dataset: Dataset) -> None:
    content = b"path,label\nimage0019.png,<b>emu</b>\n"
    response = load(client, dataset, content)
    assert "not imported because their classes do not exist" in text_of(response)
    assert b"<b>emu" not in response.content
    response = load(client, dataset, content, create_classes="on")
    assert "New classes: &lt;b&gt;emu&lt;/b&gt;." in text_of(response)
    assert Item.objects.get(dataset=dataset, row=19).label == LabelClass.objects.get(name="<b>emu</b>")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"path\x81\xff", "not text in Windows-1252"), (b"\n", "is empty"), (b"\x89HDF\r\n\x1a\n", "an HDF5 file")],
)
def test_a_file_that_makes_no_sense_is_refused_and_not_kept(
    client: Client, dataset: Dataset, store: Path, content: bytes, words: str
) -> None:
    page = text_of(upload(client, dataset, content), 422)
    assert_contains(page, "Nothing was imported.", words)
    assert n_kept(store) == 0


def test_no_file_and_too_large_a_file_are_refused(
    client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Choose a file first." in text(client.post(url(dataset), headers=HTMX), 422)
    monkeypatch.setattr("labeling.views.uploads.MAX_UPLOAD", 10)
    assert "hoshina import_labels FILE --dataset pictures" in text_of(upload(client, dataset, LINE), 422)


def test_documents_have_a_smaller_limit(
    client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("labeling.views.uploads.MAX_DOCUMENT", 20)
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    assert_contains(text_of(upload(client, dataset, b" [" + b" " * 99), 422), "the limit for JSON, XML and workbooks")
    assert "1 applied" in text_of(load(client, dataset, LINE + b"\n" * 99))


def test_a_large_upload_comes_from_disk(client: Client, dataset: Dataset, settings: Any) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    assert "1 applied" in text_of(load(client, dataset, LINE))


def test_without_scripts_each_step_is_a_page(client: Client, dataset: Dataset) -> None:
    assert 'enctype="multipart/form-data"' in text_of(client.get(url(dataset)))
    response = client.post(url(dataset), {"file": SimpleUploadedFile("labels.csv", LINE)})
    assert response.status_code == 303
    page = client.get(response["Location"])
    assert_contains(page, "<h1>Import labels</h1>", "Update the preview")
    token = page.context["token"]
    page = client.post(url(dataset, "import_preview"), {"upload": token, "column-1": "ignored"})
    assert_contains(text_of(page), "<h1>Import labels</h1>", "Choose the column of the labels", "disabled>Import")
    assert_contains(text_of(client.post(url(dataset, "import_apply"), {"upload": token})), "<h1>Import", "1 applied")


def test_columns_and_encoding_are_chosen_in_the_preview(client: Client, dataset: Dataset) -> None:
    token, page = opened(client, dataset, "galaxy|kind\nimage0019|dog\n".encode("utf-16"))
    assert "The columns are 'galaxy', 'kind'. Choose" in unescape(text_of(page))
    answers = {"upload": token, "column-0": "image", "column-1": "label"}
    page = client.post(url(dataset, "import_preview"), answers, headers=HTMX)
    assert_contains(text_of(page), "1 line: 1 new label", "1 line matched by file name only.")
    twice = client.post(url(dataset, "import_preview"), answers | {"column-1": "image"}, headers=HTMX)
    assert_contains(text_of(twice), "have the same meaning")
    wrong = client.post(url(dataset, "import_preview"), answers | {"encoding": "klingon"}, headers=HTMX)
    assert_contains(text_of(wrong, 422), "no encoding")
    assert_contains(text_of(client.post(url(dataset, "import_apply"), answers)), "1 applied")
    _, page = opened(client, dataset, "path,label\nimage0019.png,dög\n".encode("cp1252"))
    assert_contains(text_of(page), "read as Windows-1252", "New classes: dög (1).")


def test_the_preview_says_that_no_line_is_about_an_item(client: Client, dataset: Dataset) -> None:
    token, page = opened(client, dataset, b"path,id,label\nno.png,image0019,dog\n")
    assert "No line names an image of this dataset in the column path." in text_of(page)
    answers = {"upload": token, "column-0": "ignored", "column-1": "image", "column-2": "label"}
    assert_contains(text_of(client.post(url(dataset, "import_apply"), answers)), "1 applied", lacks=["No line names"])


def test_the_preview_asks_about_numbers(client: Client, dataset: Dataset) -> None:
    token, page = opened(client, dataset, b"path,label\nimage0017.png,1\nimage0018.png,01\n")
    assert_contains(text_of(page), '<span class="badge">1</span><span class="badge">01</span>', "disabled>Import")
    unanswered = client.post(url(dataset, "import_apply"), {"upload": token, "create_classes": "on"}, headers=HTMX)
    assert_contains(unanswered, "the same number written in different ways")
    assert not LabelClass.objects.filter(name__in=["1", "01"]).exists()
    answers = {"upload": token, "create_classes": "on", "same_numbers": "keep"}
    assert_contains(text_of(client.post(url(dataset, "import_preview"), answers)), "New classes: 1 (1), 01 (1).")
    assert "New classes: 1, 01." in text_of(client.post(url(dataset, "import_apply"), answers))


# -- The kept file ------------------------------------------------------------------------------------
@pytest.mark.attack("uploads of other people")
def test_a_token_serves_one_person_and_one_dataset(
    client: Client, dataset: Dataset, make_dataset: MakeDataset, settings: Any
) -> None:
    settings.LOGIN_REQUIRED = True
    other = make_dataset(20, name="others")
    client.force_login(account(Role.MANAGER, "ana"))
    token, _ = opened(client, dataset, LINE)
    strangers = Client()
    strangers.force_login(account(Role.MANAGER, "ben"))
    for who, where, given in (
        (strangers, dataset, token), (client, other, token), (client, dataset, token[:-1]), (client, dataset, ""),
        (client, dataset, "../../app.db"),
    ):  # fmt: skip
        for name in ("import_preview", "import_apply"):
            assert_contains(text_of(who.post(url(where, name), {"upload": given}), 422), "no longer here")
    assert Item.objects.get(dataset=dataset, row=19).state == State.UNLABELLED
    labelers = Client()
    labelers.force_login(account(Role.LABELER, "eve"))
    assert labelers.post(url(dataset, "import_apply"), {"upload": token}).status_code == 403


def test_expired_files_are_deleted(client: Client, dataset: Dataset, store: Path, monkeypatch: Any) -> None:
    opened(client, dataset, LINE)
    fresh, _ = opened(client, dataset, LINE)
    kept = {path.stat().st_mtime_ns: path for path in (store / "imports").iterdir()}
    oldest = kept[min(kept)]
    os.utime(oldest, (0, 0))
    uploads.forget_old()
    assert n_kept(store) == 1
    assert not oldest.exists()
    assert client.get(url(dataset, "import_preview"), {"upload": fresh}).status_code == 200
    monkeypatch.setattr(uploads, "SECONDS", -1)
    assert client.get(url(dataset, "import_preview"), {"upload": fresh}).status_code == 422


def test_an_import_is_undone_after_a_question_on_the_page(client: Client, dataset: Dataset) -> None:
    page = text_of(load(client, dataset, LINE))
    (identity,) = re.findall(r"\?import=(\w+)", page)
    asked = client.get(url(dataset, "import_undo"), {"import": identity}, headers=HTMX)
    assert_contains(text_of(asked), "Undo this import?", "Cancel", lacks=["hx-confirm"])
    assert Item.objects.get(dataset=dataset, row=19).label is not None
    client.post(url(dataset, "import_undo"), {"import": identity}, headers=HTMX)
    assert Item.objects.get(dataset=dataset, row=19).label is None


def test_the_import_needs_the_csrf_token(dataset: Dataset) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert upload(strict, dataset, LINE).status_code == 403
    assert strict.post(url(dataset, "import_apply"), {"upload": "x"}).status_code == 403
