"""The Export page, the archive's address, and the import form."""

from html import escape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling.decisions.content_changes import mark_content_changed
from labeling.exporting.images import ImagesSize, images_size
from labeling.exporting.layouts import layouts
from labeling.models import Dataset, Frame, Item, State
from tests.factories import (
    MakeDataset,
    archive_bytes,
    assert_contains,
    count_queries,
    decide,
    manifest,
    opened,
    table,
    text,
)

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    """Provide twenty items: ten cats, five dogs, one unsure, one skipped."""
    dataset = make_dataset(20)
    decide(dataset, "assign", range(10), "cat")
    decide(dataset, "assign", range(10, 15), "dog")
    decide(dataset, "unsure", [15])
    decide(dataset, "skip", [16])
    return dataset


def export_url(dataset: Dataset) -> str:
    return f"/d/{dataset.slug}/export/"


def zip_url(dataset: Dataset) -> str:
    return f"/d/{dataset.slug}/export.zip"


def text_of(response: HttpResponse, status: int | None = None) -> str:
    return " ".join(text(response, status).split())


# -- The page ---------------------------------------------------------------------------------------
def test_the_page_names_classes_with_too_few_images(client: Client, dataset: Dataset) -> None:
    page = text_of(client.get(export_url(dataset)))
    assert "No image of dog is in the split test: label more of them." in page
    assert "Accuracy by class will be imprecise: fewer than 10 test images of cat (1)." in page
    assert "Accuracy by class will be imprecise" in opened(archive_bytes(dataset)).read("data_card.md").decode()


def test_the_page_says_what_will_be_in_it(client: Client, dataset: Dataset) -> None:
    response = client.get(export_url(dataset))
    assert response.status_code == 200
    assert [template.name for template in response.templates][:1] == ["labeling/exporting/page.html"]
    text = text_of(response)
    assert_contains(text, "15 labeled, 1 unsure, 1 skipped", "The training set gets the other 80 %.")
    assert 'action="/d/pictures/export.zip"' in text
    assert response.context["splits"] == [("train", 80, 12), ("val", 10, 2), ("test", 10, 1)]


def test_the_page_counts_what_the_archive_will_hold(client: Client, dataset: Dataset) -> None:
    chosen = {"val": "30", "test": "20", "seed": "9"}
    page = client.get(export_url(dataset), chosen)
    archive = opened(client.get(zip_url(dataset), chosen).getvalue())
    splits = manifest(archive)["splits"]
    parts = [splits[name] for name in ("train", "val", "test")]
    assert [total for _, _, total in page.context["splits"]] == [part["items"] for part in parts]
    for row in page.context["class_rows"]:
        assert row.counts == [part["classes"].get(row.label.name, 0) for part in parts]


def test_a_changed_option_brings_the_form_alone(client: Client, dataset: Dataset) -> None:
    response = client.get(export_url(dataset), {"val": "0", "test": "50"}, headers=HTMX)
    assert response.status_code == 200
    assert response.templates[0].name == "labeling/exporting/_form.html"
    assert response.content.lstrip().startswith(b'<form id="export"')
    assert "The training set gets the other 50 %." in text_of(response)
    assert "HX-Request" in response["Vary"]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"val": "60", "test": "50"}, "Validation and test add up to 110 %"),
        ({"val": "-1"}, "Enter a whole number from 0 to 100."),
        ({"val": ""}, "Enter a whole number from 0 to 100."),
        ({"test": "ten"}, "Enter a whole number from 0 to 100."),
        ({"seed": "9223372036854775808"}, "Enter a whole number from 0 to 9223372036854775807."),
        ({"seed": '"><script>'}, "Enter a whole number"),
    ],
)
def test_an_impossible_option_is_refused_in_words(
    client: Client, dataset: Dataset, chosen: dict[str, str], words: str
) -> None:
    for address, headers in ((export_url(dataset), {}), (export_url(dataset), HTMX), (zip_url(dataset), {})):
        response = client.get(address, chosen, headers=headers)
        assert response.status_code == 422
        assert words in text_of(response)
        assert b"<script>" not in response.content


def test_the_page_costs_the_same_for_more_items_and_classes(
    client: Client, make_dataset: MakeDataset, dataset: Dataset
) -> None:
    large = make_dataset(300, name="large", classes=tuple(f"class {number}" for number in range(40)))
    decide(large, "assign", range(250), "class 3")
    client.get(export_url(dataset))
    small_page, large_page = (count_queries(client.get, export_url(shown)) for shown in (dataset, large))
    assert small_page == large_page


def test_an_empty_dataset_says_what_to_do(client: Client, make_dataset: MakeDataset) -> None:
    assert "Nothing is labeled yet" in text_of(client.get(export_url(make_dataset(0, classes=()))))


def test_an_unknown_dataset_is_not_found(client: Client) -> None:
    for name in ("export", "export_zip", "import"):
        assert client.get(reverse(f"labeling:{name}", args=["nothing"])).status_code == 404


def test_whoever_is_not_signed_in_gets_nothing(client: Client, dataset: Dataset, settings: Any) -> None:
    settings.LOGIN_REQUIRED = True
    assert client.get(export_url(dataset)).status_code == 302
    assert client.get(zip_url(dataset)).status_code == 302
    assert client.get(export_url(dataset), headers=HTMX).status_code == 401
    upload = {"file": SimpleUploadedFile("labels.csv", b"path,label\nimage0019.png,cat\n")}
    assert client.post(reverse("labeling:import", args=[dataset.slug]), upload, headers=HTMX).status_code == 401
    assert Item.objects.get(dataset=dataset, row=19).state == State.UNLABELLED


# -- The archive ------------------------------------------------------------------------------------
def test_the_archive_is_streamed(client: Client, dataset: Dataset) -> None:
    response = client.get(zip_url(dataset), {"val": "20", "test": "20", "seed": "4", "images": "false"})
    assert response.status_code == 200
    assert response.streaming
    assert not response.has_header("Content-Length")
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"] == 'attachment; filename="pictures.zip"'
    content = response.getvalue()
    assert content == archive_bytes(dataset, seed=4, splits=(60, 20, 20), escapes_formulas=True)
    assert len(table(opened(content), "labels.csv")) == 17


def test_the_page_offers_the_layouts_with_a_sentence_and_code(client: Client, dataset: Dataset) -> None:
    page = text(client.get(f"{export_url(dataset)}?layout=tfrecord", headers={"hx-request": "true"}), 200)
    for layout in layouts().values():
        assert_contains(page, f'value="{layout.name}"', escape(layout.sentence))
    assert_contains(page, 'value="tfrecord" checked', "Load it with tf.data", "tf.data.TFRecordDataset")
    assert_contains(page, "hoshina export --dataset pictures --layout tfrecord", "only in the tables (CSV)")
    assert 'aria-labelledby="contents-title" hidden' in page
    assert 'aria-labelledby="contents-title" hidden' not in text(client.get(export_url(dataset)), 200)


def test_the_archive_has_the_layout(client: Client, dataset: Dataset) -> None:
    archive = opened(client.get(f"{zip_url(dataset)}?layout=coco").getvalue())
    assert set(archive.namelist()) == {
        "annotations.json",
        "train.json",
        "val.json",
        "test.json",
        "data_card.md",
        "manifest.json",
    }
    assert_contains(client.get(f"{zip_url(dataset)}?layout=zip"), "There is no such layout")


def test_the_file_of_items_with_several_is_chosen(client: Client, dataset: Dataset) -> None:
    Dataset.objects.update(roles=["image", "reference"])
    assert_contains(
        client.get(f"{export_url(dataset)}?layout=coco"), '<option value="reference">', "--layout coco --role image"
    )
    archive = opened(client.get(f"{zip_url(dataset)}?layout=coco&role=reference").getvalue())
    assert manifest(archive)["options"]["role"] == "reference"


def test_an_earlier_export_and_numbers_are_options(client: Client, dataset: Dataset) -> None:
    page = text_of(client.get(export_url(dataset), {"as_of": "2001-01-01", "layout": "imagefolder"}), 200)
    assert_contains(page, "Rebuilds the export of the end of a day", "two more classes", lacks=["Labels in each split"])
    assert "Labels in each split" in text_of(client.get(export_url(dataset)))
    refused = text_of(client.get(zip_url(dataset), {"as_of": "2001-01-01"}), 422)
    assert "No decision was saved until 2001-01-01" in refused
    assert "The first decision was saved at" in refused
    today = {"as_of": timezone.now().date().isoformat(), "annotations": "on", "number_annotators": "on"}
    archive = opened(client.get(zip_url(dataset), today).getvalue())
    assert manifest(archive)["as_of"]["not_rebuilt"]
    assert {line["annotator"] for line in table(archive, "annotations.csv")} <= {"", "annotator-1"}


def test_predictions_without_a_model_are_refused(client: Client, dataset: Dataset) -> None:
    assert "There are no predictions yet" in text_of(client.get(export_url(dataset)))
    assert "There are no predictions yet" in text_of(client.get(zip_url(dataset), {"predictions": "on"}), 422)


def test_missing_images_do_not_stop_it(client: Client, dataset: Dataset) -> None:
    archive = opened(client.get(zip_url(dataset), {"images": "on"}).getvalue())
    assert manifest(archive)["images"]["missing"]["count"] == 15


@pytest.mark.parametrize(("size", "is_included"), [(66_666_666, True), (66_666_667, False)])
def test_images_are_ticked_while_they_total_less_than_1_gb(
    client: Client, dataset: Dataset, size: int, is_included: bool
) -> None:
    Frame.objects.filter(item__state=State.LABELLED).update(size=size)  # 15 of them
    Frame.objects.exclude(item__state=State.LABELLED).update(size=10**12)
    page = client.get(export_url(dataset))
    assert page.context["form"]["images"].value() is is_included
    text = text_of(page)
    assert ("files of 15 labeled images, 953.7 MB in total" in text) is is_included
    assert ("They are left out unless you tick the box, because they total 1 GB or more." in text) is not is_included

    def has_images(**given: str | list[str]) -> bool:
        told = manifest(opened(client.get(zip_url(dataset), given).getvalue()))
        return bool(told["options"]["images"])

    assert has_images(seed="1") is is_included
    # As the form sends it, without and with the tick; and as addresses had it before.
    assert has_images(images="false") is False
    assert has_images(images=["false", "on"]) is True
    assert has_images(images="on") is True
    unticked = client.get(export_url(dataset), {"images": "false", "val": "20"}, headers=HTMX)
    assert unticked.context["form"]["images"].value() is False


def test_the_size_of_the_images_is_added_up_in_a_few_queries(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.exporting.images._AT_ONCE", 4)
    for row, item in enumerate(dataset.items.order_by("row")):
        item.frames.update(size=10**row if row < 8 else 1)
    assert images_size(dataset) == ImagesSize(11_111_118, is_total=True)  # 8 of 10^0 to 10^7, and 7 more
    dataset.items.get(row=1).frames.update(size=2 * 10**9)
    assert not images_size(dataset).is_included
    assert count_queries(images_size, dataset) == 2  # it ends where the limit is passed


def test_the_page_counts_what_changed_after_its_decision(client: Client, dataset: Dataset) -> None:
    assert "content-changed" not in text_of(client.get(export_url(dataset)))
    items = dict(dataset.items.values_list("row", "pk"))
    mark_content_changed([items[0], items[15], items[19]])  # row 19 has no decision
    page = client.get(export_url(dataset))
    assert page.context["n_changed"] == 2
    assert 'href="/d/pictures/?queue=all&amp;state=changed"' in text_of(page)
    rows = table(opened(archive_bytes(dataset)), "labels.csv")
    assert [row["path"] for row in rows if row["content_changed"] == "1"] == ["image0000.png", "image0015.png"]
    assert {row["content_changed"] for row in rows} == {"0", "1"}
