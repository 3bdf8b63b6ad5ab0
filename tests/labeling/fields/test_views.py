"""The page of fields: imports in words, renaming, kinds, and what a page costs."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hoshina.core.errors import Refusal
from hoshina.core.storage import StoreError
from hoshina.jobs.lifecycle import run_now
from labeling.fields import column_of, field_edits
from labeling.fields.item_values import facts_of
from labeling.ingest.dataset_folder import dataset_for
from labeling.models import Dataset, Field
from tests.factories import MakeDataset, assert_contains

PAGE = "/d/pictures/fields/"
FACTS = "path,mass,band\nimage0000.png,1,g\nimage0001.png,2.5,unknown\nother.png,3,r\n"


@pytest.fixture
def dataset(store: Path, make_dataset: MakeDataset, transactional_db: None) -> Dataset:
    return make_dataset(5)


def send(client: Client, text: str = FACTS, *, htmx: bool = False, **given: str) -> tuple[int, str]:
    file = SimpleUploadedFile("facts.csv", text.encode())
    headers = {"HX-Request": "true"} if htmx else {}
    answer = client.post(PAGE, {"file": file, **given}, headers=headers)
    return answer.status_code, answer.content.decode()


def test_an_upload_says_what_it_did(dataset: Dataset, client: Client) -> None:
    status, page = send(client)
    assert status == 200
    assert "4 values of 2 images imported: mass (new, number), band (new, text)." in page
    assert_contains(page, "1 of 3 lines not imported: this dataset has no such images", "<h1>Fields</h1>")
    status, fragment = send(client, htmx=True)
    assert_contains(fragment, "No new values: mass, band.", 'id="fields-list"', lacks=["<h1>"])


def test_choices_of_the_form(dataset: Dataset, client: Client) -> None:
    status, _ = send(client, "galaxy,a,b\nimage0003,1,2\n", key="name", key_column="galaxy", columns="a", texts="a")
    assert status == 200
    assert list(Field.objects.values_list("name", "kind")) == [("a", "text")]
    assert [fact.text for fact in facts_of(dataset, 3)] == ["1"]


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        ("path,a\nimage0000.png\n", {}, "Nothing was imported. Line 2 has 1 value"),
        (FACTS, {"key": "sha"}, "The options are invalid"),
        (FACTS, {"columns": "colour"}, "There is no column"),
    ],
)
def test_a_bad_upload_is_refused_in_words(
    dataset: Dataset, client: Client, text: str, given: dict[str, str], words: str
) -> None:
    for htmx in (True, False):
        status, page = send(client, text, htmx=htmx, **given)
        assert (status, words in page) == (422, True)
    assert not Field.objects.exists()


def test_no_file_and_too_large_a_file(dataset: Dataset, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Choose a file first" in client.post(PAGE, {}).content.decode()
    monkeypatch.setattr("labeling.views.uploads.MAX_UPLOAD", 10)
    status, page = send(client)
    assert (status, "hoshina import_fields FILE --dataset pictures" in page) == (422, True)


def test_names_and_kinds_change(dataset: Dataset, client: Client) -> None:
    send(client)
    mass, band = Field.objects.order_by("pk")
    edit = f"{PAGE}{mass.pk}/edit/"
    assert 'value="mass"' in client.get(edit).content.decode()
    assert client.post(edit, {"name": " the  mass ", "kind": "text"}).status_code == 200
    mass.refresh_from_db()
    assert (mass.name, mass.kind, mass.n_known) == ("the mass", "text", 2)
    assert list(column_of(mass).vocabulary) == ["1", "2.5"]
    client.post(edit, {"name": "the mass", "kind": "number"})
    mass.refresh_from_db()
    assert column_of(mass).values[:2].tolist() == [1, 2.5]
    for given, words in (
        ({"name": "BAND", "kind": "number"}, "already a field “BAND”"),
        ({"name": " ", "kind": "number"}, "Enter a name"),
        ({"name": "x" * 81, "kind": "number"}, "at most 80 characters"),
        ({"name": "a\u202eb", "kind": "number"}, "invisible characters"),
        ({"name": "the mass", "kind": "colour"}, "Choose number, text or time"),
    ):
        answer = client.post(edit, given)
        assert (answer.status_code, words in answer.content.decode()) == (422, True)
    with pytest.raises(Refusal, match="'g' and 1 more value cannot be read as a number, so band stays text"):
        field_edits.change_kind(band, Field.Kind.NUMBER)


def test_a_field_is_asked_about_before_it_is_deleted(dataset: Dataset, client: Client) -> None:
    send(client)
    field = Field.objects.get(name="mass")
    address = f"{PAGE}{field.pk}/delete/"
    assert "Delete this field and its values?" in client.get(address).content.decode()
    assert "Deleted mass" in client.post(address).content.decode()
    assert client.post(address).status_code == 404
    assert [one.name for one in Field.objects.all()] == ["band"]


def test_nobody_looks_at_the_fields_of_another_dataset(
    dataset: Dataset, make_dataset: MakeDataset, client: Client
) -> None:
    send(client)
    make_dataset(2, name="others")
    pk = Field.objects.first().pk  # type: ignore[union-attr]
    for path in (
        f"/d/others/fields/{pk}/edit/",
        f"/d/others/fields/{pk}/delete/",
        f"/d/others/queues/field/?field={pk}",
    ):
        assert client.get(path).status_code == 404


def test_the_detail_tells_the_facts(dataset: Dataset, client: Client) -> None:
    send(client)
    page = client.get("/d/pictures/items/1/").content.decode()
    assert "<dt>mass</dt><dd><bdi>2.5</bdi></dd>" in page
    page = client.get("/d/pictures/items/4/detail/").content.decode()
    assert '<dt>mass</dt><dd><span class="muted">unknown</span></dd>' in page


def test_the_control_of_a_field_counts_its_values(dataset: Dataset, client: Client) -> None:
    send(client)
    mass, band = Field.objects.order_by("pk")
    assert_contains(client.get(f"/d/pictures/queues/field/?field={mass.pk}"), 'placeholder="1"', 'placeholder="2.5"')
    words = client.get(f"/d/pictures/queues/field/?field={band.pk}").content.decode()
    # The word "unknown" is not what is unknown: three items.
    assert_contains(words, 'value="=unknown"', '<i>unknown</i> <span class="muted">3</span>')
    # What the address asks for is filled in, even where it can't be.
    form = client.get("/d/pictures/queues/?queue=all&f.mass=2..&f.band=r&f.colour=3&sort=mass").content.decode()
    assert_contains(form, 'name="f.mass" value="2.."', 'class="inside"', 'name="f.band" value="r" checked')
    assert_contains(form, "This field no longer exists", 'id="choice-order"')
    form = client.get("/d/pictures/queues/?queue=random&f.mass=high").content.decode()
    assert "give a range like" in form


def test_a_field_whose_file_is_gone_says_so_everywhere(dataset: Dataset, client: Client, store: Path) -> None:
    send(client)
    for file in (store / "fields").rglob("values-*.npy"):
        file.unlink()
    with pytest.raises(StoreError):
        column_of(Field.objects.get(name="mass"))
    assert "is missing" in client.get("/d/pictures/items/1/").content.decode()
    assert "is missing" in client.get("/d/pictures/queues/?queue=all&f.mass=2..").content.decode()
    answer = client.get("/d/pictures/grid/?queue=all&f.mass=2..")
    assert (answer.status_code, "is missing" in answer.content.decode()) == (422, True)
    assert "is missing" in send(client, FACTS.replace("2.5", "2.75"))[1]
    assert client.get("/d/pictures/export.zip?metadata=on").status_code == 422


def test_fields_cost_the_queues_one_query_and_the_page_no_more_for_more_items(
    store: Path, make_dataset: MakeDataset, transactional_db: None, client: Client
) -> None:
    counts = []
    for n, name in ((5, "pictures"), (300, "many")):
        make_dataset(n, name=name)
        for path in (f"/d/{name}/queues/?queue=all", f"/d/{name}/fields/"):
            client.get(path)
            with CaptureQueriesContext(connection) as queries:
                client.get(path)
            counts.append(len(queries))
            about_fields = [one for one in queries.captured_queries if '"labeling_field"' in one["sql"]]
            assert len(about_fields) == 1
    assert counts[:2] == counts[2:]


def test_headers_without_anything_to_choose_say_so(store: Path, tmp_path: Path, client: Client, db: None) -> None:
    (tmp_path / "plain").mkdir()
    for number in range(3):
        pixels = np.full((8, 8), number, np.float32)
        fits.PrimaryHDU(pixels).writeto(tmp_path / "plain" / f"{number}.fits")
    run_now("ingest", dataset_id=dataset_for(tmp_path / "plain").pk)
    page = client.get("/d/plain/fields/cards/").content.decode()
    assert_contains(page, "The 3 sampled headers describe only the shape of the image.", lacks=["Read selected cards"])
